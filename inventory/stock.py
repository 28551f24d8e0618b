"""Stock levels and the one ledger: how many there are, and every change that made it so.

Owns `stock_level`, `unsellable_stock` and `stock_ledger`. Each counter change is exactly one
ledger row. Movements are facts: they are recorded even when `on_hand` falls below what is
reserved; the shortfall is published, with the promises that it puts at risk.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Query, records, records_of, rows_of
from inventory.tables import MAX_UNITS, reservation, stock_ledger, stock_level, unsellable_stock

Key = tuple[UUID, str]
"""A location and a SKU."""

LAST_ID = UUID(int=2**128 - 1)


class Level(msgspec.Struct, frozen=True):
    """The counters of one SKU at one location."""

    location_id: UUID
    sku: str
    on_hand: int
    reserved: int
    safety_stock: int

    @property
    def key(self) -> Key:
        """The location and the SKU."""
        return self.location_id, self.sku

    @property
    def available_to_promise(self) -> int:
        """What may still be promised: never below zero."""
        return max(0, self.on_hand - self.reserved - self.safety_stock)


class Entry(msgspec.Struct, frozen=True):
    """One ledger row to be: the change of one level's counters and why."""

    location_id: UUID
    sku: str
    kind: str
    actor: str
    on_hand_delta: int = 0
    reserved_delta: int = 0
    unsellable_delta: int = 0
    reason: str | None = None
    reference: UUID | None = None
    id: UUID = msgspec.field(default_factory=ids.uuid7)


class Movement(msgspec.Struct, frozen=True):
    """Goods that came, went or were counted.

    `receive`, `return`: `quantity` units more. `sale`, `write_off`: fewer. `adjust`: a signed
    difference. `count`: the new absolute number. With `unsellable` set, the units are not sellable:
    they stand under that reason instead of `on_hand`.
    """

    location_id: UUID
    sku: str
    kind: str
    quantity: int
    actor: str
    reason: str | None = None
    reference: UUID | None = None
    unsellable: str | None = None


class Moved(msgspec.Struct, frozen=True):
    """A level after its movements, and by how many units promises exceed what is there."""

    level: Level
    short: int


class LedgerRow(msgspec.Struct, frozen=True):
    """A change of one level as it stands in the ledger."""

    id: UUID
    at: datetime
    location_id: UUID
    sku: str
    kind: str
    on_hand_delta: int
    reserved_delta: int
    unsellable_delta: int
    reason: str | None
    actor: str
    reference: UUID | None


class _Unsellable(msgspec.Struct, frozen=True):
    reason: str
    quantity: int


class QuantityOutOfRange(CommerceError):
    """No count of one SKU at one location may pass a million units."""

    code = "quantity_out_of_range"
    sku: str
    quantity: int
    maximum: int = MAX_UNITS


_KEYS = rows_of("k", location_id=Uuid(), sku=Text())
_OF_KEYS = tuple_(stock_level.c.location_id, stock_level.c.sku).in_(
    select(_KEYS.c.location_id, _KEYS.c.sku)
)
_DELTAS = rows_of("d", location_id=Uuid(), sku=Text(), on_hand=Integer(), reserved=Integer())
_UNSELLABLE = rows_of("u", location_id=Uuid(), sku=Text(), reason=Text(), quantity=Integer())
_SAFETY = rows_of("s", location_id=Uuid(), sku=Text(), safety_stock=Integer())
_ENTRIES = records_of(
    "entries",
    id=Uuid(),
    location_id=Uuid(),
    sku=Text(),
    kind=Text(),
    on_hand_delta=Integer(),
    reserved_delta=Integer(),
    unsellable_delta=Integer(),
    reason=Text(),
    actor=Text(),
    reference=Uuid(),
)
_ENTRY_COLUMNS = list(_ENTRIES.c)

LEVELS = Query(select(stock_level).where(_OF_KEYS), Level)
LOCK_LEVELS = Query(
    select(stock_level)
    .where(_OF_KEYS)
    .order_by(stock_level.c.location_id, stock_level.c.sku)
    .with_for_update(key_share=True),
    Level,
)
CREATE_LEVELS = Query(
    upsert(stock_level)
    .from_select(
        ["location_id", "sku"],
        select(_KEYS.c.location_id, _KEYS.c.sku).order_by(_KEYS.c.location_id, _KEYS.c.sku),
    )
    .on_conflict_do_nothing()
)
CHANGE_LEVELS = Query(
    update(stock_level)
    .values(
        on_hand=stock_level.c.on_hand + _DELTAS.c.on_hand,
        reserved=stock_level.c.reserved + _DELTAS.c.reserved,
    )
    .where(stock_level.c.location_id == _DELTAS.c.location_id, stock_level.c.sku == _DELTAS.c.sku)
)
SET_SAFETY_STOCK = Query(
    update(stock_level)
    .values(safety_stock=_SAFETY.c.safety_stock)
    .where(stock_level.c.location_id == _SAFETY.c.location_id, stock_level.c.sku == _SAFETY.c.sku)
)
WRITE_LEDGER = Query(
    insert(stock_ledger).from_select(
        [*(c.name for c in _ENTRY_COLUMNS), "at"],
        select(*_ENTRY_COLUMNS, bindparam("now", type_=DateTime(timezone=True))),
    )
)
_MORE_UNSELLABLE = upsert(unsellable_stock).from_select(
    ["location_id", "sku", "reason", "quantity"],
    select(*(c for c in _UNSELLABLE.c if c.name != "position")).order_by(
        _UNSELLABLE.c.location_id, _UNSELLABLE.c.sku, _UNSELLABLE.c.reason
    ),
)
CHANGE_UNSELLABLE = Query(
    _MORE_UNSELLABLE.on_conflict_do_update(
        index_elements=["location_id", "sku", "reason"],
        set_={"quantity": unsellable_stock.c.quantity + _MORE_UNSELLABLE.excluded.quantity},
    )
)
UNSELLABLE_OF = Query(
    select(unsellable_stock.c.reason, unsellable_stock.c.quantity)
    .where(
        unsellable_stock.c.location_id == bindparam("at"),
        unsellable_stock.c.sku == bindparam("of"),
        unsellable_stock.c.quantity > 0,
    )
    .order_by(unsellable_stock.c.reason),
    _Unsellable,
)
PROMISES_AT_RISK = Query(
    select(reservation.c.demand_id)
    .where(
        reservation.c.location_id == bindparam("at"),
        reservation.c.sku == bindparam("of"),
        reservation.c.state.in_(("held", "committed")),
    )
    .order_by(reservation.c.promised_at.desc().nulls_first(), reservation.c.demand_id.desc())
    .limit(20),
    UUID,
)
LEDGER_OF = Query(
    select(stock_ledger)
    .where(
        stock_ledger.c.location_id == bindparam("at"),
        stock_ledger.c.sku == bindparam("of"),
        stock_ledger.c.id < bindparam("before"),
    )
    .order_by(stock_ledger.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    LedgerRow,
)


async def levels(conn: Connection, keys: Iterable[Key]) -> dict[Key, Level]:
    """The counters as they stand, without a lock; keys never stocked are left out."""
    wanted = sorted(set(keys))
    rows = await conn.run(
        LEVELS, location_id=[key[0] for key in wanted], sku=[key[1] for key in wanted]
    )
    return {row.key: row for row in rows}


async def lock(conn: Connection, keys: Iterable[Key]) -> dict[Key, Level]:
    """Lock the levels of all keys, in order, for the rest of the transaction.

    Missing levels are created with zeros. Two first movements of one new key may in theory meet in
    a deadlock; the database names a loser, and its transaction is repeated.
    """
    missing = set(keys)
    found: dict[Key, Level] = {}
    create = False
    while missing:
        wanted = sorted(missing)
        columns = {"location_id": [key[0] for key in wanted], "sku": [key[1] for key in wanted]}
        if create:
            await conn.run(CREATE_LEVELS, **columns)
        found |= {row.key: row for row in await conn.run(LOCK_LEVELS, **columns)}
        missing -= found.keys()
        create = True
    return found


async def post(conn: Connection, entries: Sequence[Entry], *, now: datetime) -> None:
    """Change locked levels and write the ledger: two statements, however many entries."""
    if not entries:
        return
    deltas: dict[Key, tuple[int, int]] = {}
    for entry in entries:
        on_hand, reserved = deltas.get((entry.location_id, entry.sku), (0, 0))
        deltas[entry.location_id, entry.sku] = (
            on_hand + entry.on_hand_delta,
            reserved + entry.reserved_delta,
        )
    await conn.later(
        CHANGE_LEVELS,
        location_id=[key[0] for key in deltas],
        sku=[key[1] for key in deltas],
        on_hand=[delta[0] for delta in deltas.values()],
        reserved=[delta[1] for delta in deltas.values()],
    )
    await conn.later(WRITE_LEDGER, entries=records(entries), now=now)


async def move(
    conn: Connection, movements: Sequence[Movement], *, now: datetime
) -> dict[Key, Moved]:
    """Record facts about goods; never refused for lack of stock. Not safe to repeat.

    Raises QuantityOutOfRange for more than a million units. A level that ends with fewer units
    than are promised records `stock.shortfall` with the promises of the latest promised times.
    """
    before = await lock(conn, ((each.location_id, each.sku) for each in movements))
    on_hand = {key: level.on_hand for key, level in before.items()}
    entries, out_of_sale = [], []
    for each in movements:
        delta = _delta(each, on_hand[each.location_id, each.sku])
        if each.unsellable is None:
            on_hand[each.location_id, each.sku] += delta
            if abs(on_hand[each.location_id, each.sku]) > MAX_UNITS:
                raise QuantityOutOfRange(sku=each.sku, quantity=each.quantity)
        elif delta:
            out_of_sale.append(each)
        if delta:
            entries.append(_entry(each, delta))
    await post(conn, entries, now=now)
    await _change_unsellable(conn, out_of_sale)
    moved = {}
    for key, level in before.items():
        after = msgspec.structs.replace(level, on_hand=on_hand[key])
        moved[key] = Moved(after, max(0, after.reserved - after.on_hand))
    await _publish_shortfalls(conn, before, moved, movements, now)
    return moved


async def history(
    conn: Connection, key: Key, *, before: UUID = LAST_ID, page: int = 100
) -> list[LedgerRow]:
    """The ledger of one level, newest first: why it is 3 and not 7."""
    return await conn.run(LEDGER_OF, at=key[0], of=key[1], before=before, page=page)


async def unsellable(conn: Connection, key: Key) -> dict[str, int]:
    """Units that are there but cannot be sold, by reason."""
    rows = await conn.run(UNSELLABLE_OF, at=key[0], of=key[1])
    return {row.reason: row.quantity for row in rows}


async def set_safety_stock(conn: Connection, wanted: dict[Key, int]) -> None:
    """Keep so many units from online sale. Repeating it changes nothing."""
    await lock(conn, wanted)
    await conn.run(
        SET_SAFETY_STOCK,
        location_id=[key[0] for key in wanted],
        sku=[key[1] for key in wanted],
        safety_stock=list(wanted.values()),
    )


def _delta(movement: Movement, on_hand: int) -> int:
    if abs(movement.quantity) > MAX_UNITS:
        raise QuantityOutOfRange(sku=movement.sku, quantity=movement.quantity)
    if movement.kind == "count":
        return movement.quantity - on_hand
    return -movement.quantity if movement.kind in ("sale", "write_off") else movement.quantity


def _entry(movement: Movement, delta: int) -> Entry:
    sellable = movement.unsellable is None
    return Entry(
        location_id=movement.location_id,
        sku=movement.sku,
        kind=movement.kind,
        actor=movement.actor,
        on_hand_delta=delta if sellable else 0,
        unsellable_delta=0 if sellable else delta,
        reason=movement.reason if sellable else movement.unsellable,
        reference=movement.reference,
    )


async def _change_unsellable(conn: Connection, movements: Sequence[Movement]) -> None:
    totals: dict[tuple[UUID, str, str], int] = {}
    for each in movements:
        assert each.unsellable is not None
        key = (each.location_id, each.sku, each.unsellable)
        totals[key] = totals.get(key, 0) + _delta(each, 0)
    if totals:
        await conn.run(
            CHANGE_UNSELLABLE,
            location_id=[key[0] for key in totals],
            sku=[key[1] for key in totals],
            reason=[key[2] for key in totals],
            quantity=list(totals.values()),
        )


async def _publish_shortfalls(
    conn: Connection,
    before: dict[Key, Level],
    moved: dict[Key, Moved],
    movements: Sequence[Movement],
    now: datetime,
) -> None:
    actors = {(each.location_id, each.sku): each.actor for each in movements}
    facts = []
    for key, outcome in moved.items():
        old = before[key]
        if outcome.short <= max(0, old.reserved - old.on_hand):
            continue
        at_risk = await conn.run(PROMISES_AT_RISK, at=key[0], of=key[1])
        facts.append(
            events.Event(
                type="stock.shortfall",
                aggregate="location",
                aggregate_id=key[0],
                location_id=key[0],
                actor=actors[key],
                payload={"sku": key[1], "short": outcome.short, "demand_ids": at_risk},
            )
        )
    await events.record(conn, facts, now=now)
