"""Reservations: promises of stock. One object for a cart, a checkout, a till basket, an order line.

    held -> committed -> fulfilled, or released | expired

A demand asks for several SKUs at once and is all or nothing; its reservations share its id. A hold
lives until `expires_at`; a dead hold never comes back. Expired holds count as free at once: they
are reclaimed when a new demand needs them, and a sweep tidies up the rest.

Locks: levels by key first, then reservations by key. `hold` is hot and takes many demands.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    insert,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.sql import Connection, Query, columns_of, records, records_of, rows_of
from inventory import stock
from inventory.demands import (
    Demand,
    Held,
    HoldExpired,
    Refused,
    Reservation,
    Want,
    decide,
    summed,
)
from inventory.stock import Entry
from inventory.tables import reservation

SWEEP_PAGE = 500
RECLAIM_PAGE = 1_000


_TIME = DateTime(timezone=True)
_WANTED = records_of(
    "promises",
    demand_id=Uuid(),
    location_id=Uuid(),
    sku=Text(),
    quantity=Integer(),
    hold_class=Text(),
    state=Text(),
    expires_at=_TIME,
    promised_at=_TIME,
    created_at=_TIME,
)
_KEYS = rows_of("k", location_id=Uuid(), sku=Text())
_PROMISES = rows_of("m", demand_id=Uuid(), promise=_TIME)
_CHOSEN = rows_of("c", demand_id=Uuid(), location_id=Uuid(), sku=Text())
_PARTS = rows_of("p", demand_id=Uuid(), location_id=Uuid(), sku=Text(), quantity=Integer())
_NOW = bindparam("now", type_=DateTime(timezone=True))
_DEMANDS = bindparam("demand_ids", type_=ARRAY(Uuid))
_PRIMARY = (reservation.c.demand_id, reservation.c.location_id, reservation.c.sku)

OF_DEMANDS = Query(
    select(reservation).where(reservation.c.demand_id == any_(_DEMANDS)).order_by(*_PRIMARY),
    Reservation,
)
LOCK_OF_DEMANDS = Query(
    select(reservation)
    .where(reservation.c.demand_id == any_(_DEMANDS))
    .order_by(*_PRIMARY)
    .with_for_update(key_share=True),
    Reservation,
)
WRITE = Query(
    insert(reservation).from_select([column.name for column in _WANTED.c], select(*_WANTED.c))
)
EXPIRED_AT_KEYS = Query(
    select(reservation)
    .where(
        tuple_(reservation.c.location_id, reservation.c.sku).in_(
            select(_KEYS.c.location_id, _KEYS.c.sku)
        ),
        reservation.c.state == "held",
        reservation.c.expires_at <= _NOW,
    )
    .limit(RECLAIM_PAGE)
    .with_for_update(skip_locked=True, key_share=True),
    Reservation,
)
EXPIRED = Query(
    select(reservation.c.demand_id)
    .where(reservation.c.state == "held", reservation.c.expires_at <= _NOW)
    .order_by(reservation.c.expires_at)
    .limit(SWEEP_PAGE),
    UUID,
)
OLDEST_EXPIRED = Query(
    select(func.min(reservation.c.expires_at)).where(reservation.c.state == "held"), datetime
)
COMMIT = Query(
    update(reservation)
    .values(
        state="committed",
        expires_at=null(),
        hold_class="order",
        promised_at=_PROMISES.c.promise,
    )
    .where(reservation.c.demand_id == _PROMISES.c.demand_id, reservation.c.state == "held")
)
EXTEND = Query(
    update(reservation)
    .values(expires_at=func.greatest(reservation.c.expires_at, bindparam("until", type_=_TIME)))
    .where(reservation.c.demand_id == any_(_DEMANDS), reservation.c.state == "held")
)
LEAVE = Query(
    update(reservation)
    .values(state=bindparam("new_state", type_=Text()))
    .where(
        reservation.c.demand_id == _CHOSEN.c.demand_id,
        reservation.c.location_id == _CHOSEN.c.location_id,
        reservation.c.sku == _CHOSEN.c.sku,
    )
)
SHRINK = Query(
    update(reservation)
    .values(quantity=reservation.c.quantity - _PARTS.c.quantity)
    .where(
        reservation.c.demand_id == _PARTS.c.demand_id,
        reservation.c.location_id == _PARTS.c.location_id,
        reservation.c.sku == _PARTS.c.sku,
    )
)


async def hold(
    conn: Connection, demands: Sequence[Demand], *, now: datetime
) -> list[Held | Refused | HoldExpired]:
    """Promise stock for many demands at once, first come, first served.

    Each demand is all or nothing. Repeating a demand's id changes nothing: it is Held while it
    lives, and HoldExpired after. A fixed number of statements, however many demands.
    """
    levels = await stock.lock(conn, {(w.location_id, w.sku) for d in demands for w in d.wants})
    asked = [each.id for each in demands if not each.new]
    known = _by_demand(await conn.run(OF_DEMANDS, demand_ids=asked)) if asked else {}
    new = list({each.id: each for each in demands if each.id not in known}.values())
    outcomes = decide(levels, (), new)
    if any(isinstance(outcome, Refused) for outcome in outcomes):
        expired = await _lock_expired(conn, outcomes, now)
        if expired:
            await _expire(conn, expired, now)
            outcomes = decide(levels, expired, new)
    held = [d for d, outcome in zip(new, outcomes, strict=True) if isinstance(outcome, Held)]
    await _write(conn, held, now)
    answers: dict[UUID, Held | Refused | HoldExpired] = {
        demand.id: outcome for demand, outcome in zip(new, outcomes, strict=True)
    }
    for demand_id, reservations in known.items():
        lives = all(each.alive(now) or each.state == "fulfilled" for each in reservations)
        answers[demand_id] = Held(demand_id) if lives else HoldExpired(demand_id=demand_id)
    return [answers[each.id] for each in demands]


async def commit(
    conn: Connection, promises: Mapping[UUID, datetime | None], *, now: datetime
) -> set[UUID]:
    """Turn living holds into promises without end; demand ids with their promised times.

    Returns the demands that are committed now. One that is missing is dead: its caller may hold
    again under a new id. Committed already: nothing changes.
    """
    if not promises:
        return set()
    locked = _by_demand(await conn.run(LOCK_OF_DEMANDS, demand_ids=list(promises)))
    alive = [id_ for id_, group in locked.items() if all(each.alive(now) for each in group)]
    await conn.run(COMMIT, demand_id=alive, promise=[promises[id_] for id_ in alive])
    return set(alive)


async def extend(
    conn: Connection, demand_ids: Sequence[UUID], *, until: datetime, now: datetime
) -> set[UUID]:
    """Let living holds live until then, if that is longer. Returns those that still lived.

    Of one that lost a single SKU to another demand nothing lives any more.
    """
    if not demand_ids:
        return set()
    locked = _by_demand(await conn.run(LOCK_OF_DEMANDS, demand_ids=list(demand_ids)))
    alive = [
        demand_id
        for demand_id, group in locked.items()
        if all(each.state == "held" and each.alive(now) for each in group)
    ]
    if alive:
        await conn.later(EXTEND, demand_ids=alive, until=until)
    return set(alive)


async def fulfill(
    conn: Connection, demand_id: UUID, *, actor: str, now: datetime
) -> list[Reservation]:
    """The goods of a demand leave: `on_hand` and `reserved` fall together.

    Returns what left; a second call finds nothing alive and returns an empty list. A hold that is
    past its time but not yet swept still counts: the goods did leave.
    """
    return await _leave(conn, [demand_id], "fulfilled", kind="fulfill", actor=actor, now=now)


async def release(
    conn: Connection, demand_id: UUID, *, actor: str, now: datetime, reason: str | None = None
) -> list[Reservation]:
    """Give a promise back. Returns what was given back; a second call returns an empty list."""
    return await release_many(conn, [demand_id], actor=actor, now=now, reason=reason)


async def release_many(
    conn: Connection,
    demand_ids: Sequence[UUID],
    *,
    actor: str,
    now: datetime,
    reason: str | None = None,
) -> list[Reservation]:
    """Give several promises back at once, in as many statements as one."""
    return await _leave(
        conn, demand_ids, "released", kind="release", actor=actor, now=now, reason=reason
    )


async def release_part(
    conn: Connection, demand_id: UUID, wants: Sequence[Want], *, actor: str, now: datetime
) -> None:
    """Give back some units of a living demand: the pick found fewer than promised.

    Units beyond what is promised are a bug of the caller. Not safe to repeat.
    """
    await stock.lock(conn, {(each.location_id, each.sku) for each in wants})
    living = {
        each.key: each
        for each in await conn.run(LOCK_OF_DEMANDS, demand_ids=[demand_id])
        if each.alive(now)
    }
    whole: list[Want] = []
    part: list[Want] = []
    for want in wants:
        promised = living[want.location_id, want.sku]
        assert 0 < want.quantity <= promised.quantity
        (whole if want.quantity == promised.quantity else part).append(want)
    if whole:
        await _set_state(conn, [living[w.location_id, w.sku] for w in whole], "released")
    if part:
        await conn.run(
            SHRINK,
            demand_id=[demand_id] * len(part),
            **columns_of(part, "location_id", "sku", "quantity"),
        )
    entries = [
        Entry(w.location_id, w.sku, "release", actor, reserved_delta=-w.quantity,
              reason="short_pick", reference=demand_id)
        for w in wants
    ]  # fmt: skip
    await stock.post(conn, entries, now=now)


async def gather(
    conn: Connection, demand_ids: Sequence[UUID], *, into: UUID, actor: str, now: datetime
) -> set[UUID]:
    """Put living holds together under one new demand, for a caller who has counted on each.

    The promise goes on without a gap, even where the shelf has fallen short meanwhile. Returns the
    demands that are dead; then nothing is changed.
    """
    known = await conn.run(OF_DEMANDS, demand_ids=list(demand_ids))
    await stock.lock(conn, {each.key for each in known})
    locked = await conn.run(LOCK_OF_DEMANDS, demand_ids=list(demand_ids))
    missing = set(demand_ids) - {each.demand_id for each in locked}
    dead = missing | {each.demand_id for each in locked if not each.alive(now)}
    if dead or not locked:
        return dead
    await _set_state(conn, locked, "released")
    entries = [
        Entry(each.location_id, each.sku, "release", actor, reserved_delta=-each.quantity,
              reason="gathered", reference=each.demand_id)
        for each in locked
    ]  # fmt: skip
    await stock.post(conn, entries, now=now)
    wants = tuple(Want(each.location_id, each.sku, each.quantity) for each in locked)
    until = max(each.expires_at or now for each in locked)
    await _write(conn, [Demand(into, wants, "order", actor, until)], now)
    return set()


async def sweep(conn: Connection, *, now: datetime) -> int:
    """Expire up to 500 demands whose holds have run out; returns how many. Safe to repeat."""
    demand_ids = list(dict.fromkeys(await conn.run(EXPIRED, now=now)))
    if not demand_ids:
        return 0
    candidates = await conn.run(OF_DEMANDS, demand_ids=demand_ids)
    await stock.lock(conn, {each.key for each in candidates})
    locked = await conn.run(LOCK_OF_DEMANDS, demand_ids=demand_ids)
    dead = [each for each in locked if each.state == "held" and not each.alive(now)]
    await _expire(conn, dead, now)
    return len({each.demand_id for each in dead})


async def of_demands(conn: Connection, demand_ids: Iterable[UUID]) -> list[Reservation]:
    """The reservations of these demands, in any state."""
    return await conn.run(OF_DEMANDS, demand_ids=list(demand_ids))


async def oldest_expiry(conn: Connection) -> datetime | None:
    """When the first hold that stands runs out; long past means that the sweep is late."""
    return await conn.first(OLDEST_EXPIRED)


async def _leave(
    conn: Connection,
    demand_ids: Sequence[UUID],
    state: str,
    *,
    kind: str,
    actor: str,
    now: datetime,
    reason: str | None = None,
) -> list[Reservation]:
    known = await conn.run(OF_DEMANDS, demand_ids=list(demand_ids))
    await stock.lock(conn, {each.key for each in known})
    locked = await conn.run(LOCK_OF_DEMANDS, demand_ids=list(demand_ids))
    living = [each for each in locked if each.state in ("held", "committed")]
    if not living:
        return []
    await _set_state(conn, living, state)
    gone = -1 if kind == "fulfill" else 0
    entries = [
        Entry(each.location_id, each.sku, kind, actor, on_hand_delta=gone * each.quantity,
              reserved_delta=-each.quantity, reason=reason, reference=each.demand_id)
        for each in living
    ]  # fmt: skip
    await stock.post(conn, entries, now=now)
    return living


async def _lock_expired(
    conn: Connection, outcomes: Sequence[Held | Refused], now: datetime
) -> list[Reservation]:
    short = {
        (shortage.location_id, shortage.sku)
        for outcome in outcomes
        if isinstance(outcome, Refused)
        for shortage in outcome.shortages
    }
    return await conn.run(
        EXPIRED_AT_KEYS,
        location_id=[key[0] for key in short],
        sku=[key[1] for key in short],
        now=now,
    )


async def _expire(conn: Connection, dead: Sequence[Reservation], now: datetime) -> None:
    if not dead:
        return
    await _set_state(conn, dead, "expired")
    entries = [
        Entry(each.location_id, each.sku, "expire", "system", reserved_delta=-each.quantity,
              reference=each.demand_id)
        for each in dead
    ]  # fmt: skip
    await stock.post(conn, entries, now=now)


async def _set_state(conn: Connection, chosen: Sequence[Reservation], state: str) -> None:
    await conn.run(LEAVE, new_state=state, **columns_of(chosen, "demand_id", "location_id", "sku"))


async def _write(conn: Connection, demands: Sequence[Demand], now: datetime) -> None:
    promises = [
        Reservation(
            demand_id=each.id,
            location_id=key[0],
            sku=key[1],
            quantity=quantity,
            hold_class=each.hold_class,
            state="held" if each.expires_at else "committed",
            expires_at=each.expires_at,
            promised_at=each.promised_at,
            created_at=now,
        )
        for each in demands
        for key, quantity in summed(each).items()
    ]
    if not promises:
        return
    await conn.later(WRITE, promises=records(promises))
    actors = {each.id: each.actor for each in demands}
    entries = [
        Entry(
            location_id=each.location_id,
            sku=each.sku,
            kind="hold",
            actor=actors[each.demand_id],
            reserved_delta=each.quantity,
            reference=each.demand_id,
        )
        for each in promises
    ]
    await stock.post(conn, entries, now=now)


def _by_demand(reservations: Sequence[Reservation]) -> dict[UUID, list[Reservation]]:
    grouped: dict[UUID, list[Reservation]] = {}
    for each in reservations:
        grouped.setdefault(each.demand_id, []).append(each)
    return grouped
