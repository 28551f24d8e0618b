"""What stock must agree on with itself, and the repair of what can be derived.

The ledger explains every counter, and reservations explain what is reserved. Where a counter and
the ledger disagree about goods, nobody can derive which is right: the repair keeps the counter,
which was promised from, and books the difference as `unexplained`, for a person to count the shelf.
What is reserved can be derived from the reservations, so it is.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from commerce.kernel.auditing import Check, Finding, count_of, reference, total
from commerce.kernel.events import event
from commerce.kernel.sql import Connection, Query, records
from inventory import stock
from inventory.stock import Entry, Key
from inventory.tables import location, reservation, stock_ledger, stock_level, unsellable_stock

ACTOR = "audit"
UNEXPLAINED = "unexplained"
REPAIR = "`mostrador audit --repair` makes them agree again."


class Drift(Struct, frozen=True):
    """A level's counters, and what the ledger and the reservations make of them."""

    location_id: UUID
    sku: str
    on_hand: int
    ledger_on_hand: int
    reserved: int
    ledger_reserved: int
    live: int


class UnsellableDrift(Struct, frozen=True):
    """Unsellable units under one reason, and what the ledger makes of them."""

    location_id: UUID
    sku: str
    reason: str
    quantity: int
    ledger_quantity: int


class Booked(Struct, frozen=True):
    """A reservation, and what the ledger says about it. `state` is None where there is no such."""

    demand_id: UUID | None
    location_id: UUID
    sku: str
    state: str | None
    reserves: int
    ledger_reserves: int
    left: int
    ledger_left: int


class Oversold(Struct, frozen=True):
    """A level that has promised more than it has."""

    location_id: UUID
    sku: str
    on_hand: int
    reserved: int


_LIVE = reservation.c.state.in_(("held", "committed"))
_ZERO = literal(0)
_HERE = bindparam("at", type_=Uuid())
_THIS = bindparam("of", type_=Text())


def _at(table: Table, at_one: bool) -> list[ColumnElement[bool]]:
    return [table.c.location_id == _HERE, table.c.sku == _THIS] if at_one else []


def _drifts(*, at_one: bool = False) -> Query[Drift]:
    """One pass over levels, ledger and reservations: all sums per key, where they differ."""
    sides = union_all(
        select(
            stock_level.c.location_id, stock_level.c.sku, stock_level.c.on_hand.label("on_hand"),
            _ZERO.label("ledger_on_hand"), stock_level.c.reserved.label("reserved"),
            _ZERO.label("ledger_reserved"), _ZERO.label("live"),
        ).where(*_at(stock_level, at_one)),
        select(
            stock_ledger.c.location_id, stock_ledger.c.sku, _ZERO, stock_ledger.c.on_hand_delta,
            _ZERO, stock_ledger.c.reserved_delta, _ZERO,
        ).where(*_at(stock_ledger, at_one)),
        select(
            reservation.c.location_id, reservation.c.sku, _ZERO, _ZERO, _ZERO, _ZERO,
            reservation.c.quantity,
        ).where(_LIVE, *_at(reservation, at_one)),
    ).subquery("sides")  # fmt: skip
    sums = {name: total(sides.c[name]) for name in Drift.__struct_fields__[2:]}
    return Query(
        select(sides.c.location_id, sides.c.sku, *(s.label(n) for n, s in sums.items()))
        .group_by(sides.c.location_id, sides.c.sku)
        .having(
            or_(
                sums["on_hand"] != sums["ledger_on_hand"],
                sums["reserved"] != sums["ledger_reserved"],
                sums["reserved"] != sums["live"],
            )
        ),
        Drift,
    )


def _unsellable_drifts(*, at_one: bool = False) -> Query[UnsellableDrift]:
    sides = union_all(
        select(
            unsellable_stock.c.location_id, unsellable_stock.c.sku, unsellable_stock.c.reason,
            unsellable_stock.c.quantity, _ZERO.label("ledger_quantity"),
        ).where(*_at(unsellable_stock, at_one)),
        select(
            stock_ledger.c.location_id, stock_ledger.c.sku, stock_ledger.c.reason, _ZERO,
            stock_ledger.c.unsellable_delta,
        ).where(stock_ledger.c.unsellable_delta != 0, *_at(stock_ledger, at_one)),
    ).subquery("sides")  # fmt: skip
    quantity, ledger_quantity = total(sides.c.quantity), total(sides.c.ledger_quantity)
    key = (sides.c.location_id, sides.c.sku, sides.c.reason)
    return Query(
        select(*key, quantity.label("quantity"), ledger_quantity.label("ledger_quantity"))
        .group_by(*key)
        .having(quantity != ledger_quantity),
        UnsellableDrift,
    )


def _bookings(*, at_one: bool = False) -> Query[Booked]:
    """Per reservation: what it reserves, and the ledger's entries that refer to it."""
    gone = case((reservation.c.state == "fulfilled", reservation.c.quantity), else_=0)
    sides = union_all(
        select(
            reservation.c.demand_id, reservation.c.location_id, reservation.c.sku,
            reservation.c.state, case((_LIVE, reservation.c.quantity), else_=0).label("reserves"),
            _ZERO.label("ledger_reserves"), gone.label("left"), _ZERO.label("ledger_left"),
        ).where(*_at(reservation, at_one)),
        select(
            stock_ledger.c.reference, stock_ledger.c.location_id, stock_ledger.c.sku,
            cast(null(), Text), _ZERO, stock_ledger.c.reserved_delta, _ZERO,
            -stock_ledger.c.on_hand_delta,
        ).where(stock_ledger.c.reserved_delta != 0, *_at(stock_ledger, at_one)),
    ).subquery("sides")  # fmt: skip
    key = (sides.c.demand_id, sides.c.location_id, sides.c.sku)
    sums = {name: total(sides.c[name]) for name in Booked.__struct_fields__[4:]}
    return Query(
        select(*key, func.max(sides.c.state).label("state"), *(s.label(n) for n, s in sums.items()))
        .group_by(*key)
        .having(
            or_(sums["reserves"] != sums["ledger_reserves"], sums["left"] != sums["ledger_left"])
        ),
        Booked,
    )


DRIFTS = _drifts()
DRIFT_AT = _drifts(at_one=True)
UNSELLABLE_DRIFTS = _unsellable_drifts()
UNSELLABLE_DRIFTS_AT = _unsellable_drifts(at_one=True)
BOOKINGS = _bookings()
BOOKINGS_AT = _bookings(at_one=True)
OVERSOLD = Query(
    select(*(stock_level.c[name] for name in Oversold.__struct_fields__)).where(
        stock_level.c.reserved > stock_level.c.on_hand,
        ~select(event.c.id)
        .where(
            event.c.aggregate_id == stock_level.c.location_id,
            event.c.type == "stock.shortfall",
            event.c.payload["sku"].astext == stock_level.c.sku,
        )
        .exists(),
    ),
    Oversold,
)


async def drifted(conn: Connection) -> AsyncIterator[Key]:
    """Keys whose counters, ledger and reservations do not agree; one may come more than once."""
    queries: tuple[Query[Any], ...] = (DRIFTS, UNSELLABLE_DRIFTS, BOOKINGS)
    for query in queries:
        async for row in conn.stream(query):
            yield row.location_id, row.sku


async def repair(conn: Connection, key: Key, *, now: datetime) -> bool:
    """Make one level agree with its ledger and its reservations; False: it does already.

    `reserved` becomes what the living reservations hold, and each of them gets the entry that it
    lacks. Goods stay as counted, and what the ledger does not know of them is booked as
    unexplained; a level that is gone comes back as the ledger knew it. Safe to repeat.
    """
    gone = not await stock.levels(conn, [key])
    await stock.lock(conn, [key])
    at, of = key
    drift = await conn.first(DRIFT_AT, at=at, of=of)
    entries = [
        _adjustment(key, reserved_delta=row.reserves - row.ledger_reserves, reference=row.demand_id)
        for row in await conn.run(BOOKINGS_AT, at=at, of=of)
        if row.reserves != row.ledger_reserves
    ]
    entries += [
        _adjustment(key, unsellable_delta=row.quantity - row.ledger_quantity, reason=row.reason)
        for row in await conn.run(UNSELLABLE_DRIFTS_AT, at=at, of=of)
    ]
    if drift is not None:
        unexplained = drift.on_hand - drift.ledger_on_hand
        if unexplained and not gone:
            entries.append(_adjustment(key, on_hand_delta=unexplained))
        # A counter that had moved without an entry moves back without one.
        await conn.later(
            stock.CHANGE_LEVELS,
            location_id=[at],
            sku=[of],
            on_hand=[-unexplained if gone else 0],
            reserved=[drift.live - drift.reserved],
        )
    if entries:
        await conn.later(stock.WRITE_LEDGER, entries=records(entries), now=now)
    return bool(entries) or drift is not None


def _adjustment(key: Key, **changes: Any) -> Entry:
    return Entry(key[0], key[1], "adjust", ACTOR, **{"reason": UNEXPLAINED, **changes})


def judge_counters(row: Drift) -> Iterator[Finding]:
    """Pure."""
    subject = f"stock level {row.location_id} {row.sku}"
    if row.on_hand != row.ledger_on_hand:
        yield Finding(
            subject,
            f"on_hand {row.ledger_on_hand}, the sum of its ledger",
            f"on_hand {row.on_hand}",
            f"{REPAIR} Then count the shelf: nobody can derive which number is right.",
        )
    if not row.reserved == row.ledger_reserved == row.live:
        yield Finding(
            subject,
            f"reserved {row.live}, what its living reservations hold",
            f"reserved {row.reserved}, in the ledger {row.ledger_reserved}",
            REPAIR,
        )


def judge_unsellable(row: UnsellableDrift) -> Iterator[Finding]:
    """Pure."""
    yield Finding(
        f"unsellable stock {row.location_id} {row.sku} {row.reason}",
        f"{row.ledger_quantity} units, the sum of its ledger",
        f"{row.quantity} units",
        f"{REPAIR} Then count them: nobody can derive which number is right.",
    )


def judge_bookings(row: Booked) -> Iterator[Finding]:
    """Pure."""
    subject = f"reservation {row.demand_id} at {row.location_id} of {row.sku}"
    because = f"because it is {row.state or 'not there'}"
    if row.reserves != row.ledger_reserves:
        yield Finding(
            subject,
            f"{row.reserves} units reserved in the ledger, {because}",
            f"{row.ledger_reserves} units",
            REPAIR,
        )
    if row.left != row.ledger_left:
        yield Finding(
            subject,
            f"{row.left} units that left by the ledger, {because}",
            f"{row.ledger_left} units",
            "Count the SKU on this shelf.",
        )


def judge_oversold(row: Oversold) -> Iterator[Finding]:
    """Pure."""
    yield Finding(
        f"stock level {row.location_id} {row.sku}",
        "a stock.shortfall event, because more is promised than is there",
        f"reserved {row.reserved} of {row.on_hand} on hand, and no such event",
        "Count the shelf, and cancel the pickups that it cannot serve.",
    )


CHECKS: tuple[Check[Any], ...] = (
    Check("counters are what the ledger and the reservations say", DRIFTS, judge_counters),
    Check("unsellable units are what the ledger says", UNSELLABLE_DRIFTS, judge_unsellable),
    Check("each reservation was booked in and out once", BOOKINGS, judge_bookings),
    Check("nothing is oversold in silence", OVERSOLD, judge_oversold),
    reference("stock levels have a location", stock_level.c.location_id, location.c.id),
    reference("reservations have a location", reservation.c.location_id, location.c.id),
    reference("ledger entries have a location", stock_ledger.c.location_id, location.c.id),
    reference("unsellable units have a location", unsellable_stock.c.location_id, location.c.id),
)

COUNTED = (
    count_of("stock levels", stock_level),
    count_of("ledger entries", stock_ledger),
    count_of("reservations", reservation),
)
