"""How many units may be promised, where, and why: counters in, numbers with reasons out.

Holds that are past their time count as free at once, whether or not the sweep has been there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
)

from commerce.kernel.sql import Connection, Query, rows_of
from inventory import stock
from inventory.stock import LAST_ID, Key, LedgerRow
from inventory.tables import reservation, stock_level

Reason: TypeAlias = Literal[
    "available", "not_stocked", "none_on_hand", "all_reserved", "safety_stock"
]
"""`safety_stock`: what is left is kept from sale. `not_stocked`: this place never had it."""


class Availability(Struct, frozen=True, gc=False):
    """What may be promised, max(0, on_hand - reserved - safety_stock), and why it is that much.

    `reserved` counts live promises only.
    """

    on_hand: int
    reserved: int
    safety_stock: int
    available_to_promise: int
    reason: Reason


class Explanation(Struct, frozen=True):
    """One number and how it came about: the ledger that made its counters, newest first.

    `expired` units are still in the ledger's `reserved`, but nobody holds them any more.
    """

    location_id: UUID
    sku: str
    availability: Availability
    expired: int
    entries: list[LedgerRow]


class _Counters(Struct, frozen=True, gc=False):
    position: int
    on_hand: int
    reserved: int
    safety_stock: int
    expired: int


NOT_STOCKED = Availability(0, 0, 0, 0, "not_stocked")

_KEYS = rows_of("k", location_id=Uuid(), sku=Text())
# The state stands in the statement, not among its parameters: only then may the planner use the
# partial index of live reservations. A held one always has its time; coalesce hides the index of
# times, which would be walked from its beginning for every key.
_EXPIRED = (
    select(func.coalesce(func.sum(reservation.c.quantity), 0))
    .where(
        reservation.c.location_id == stock_level.c.location_id,
        reservation.c.sku == stock_level.c.sku,
        reservation.c.state == literal_column("'held'"),
        func.coalesce(reservation.c.expires_at, literal_column("'infinity'::timestamptz"))
        <= bindparam("now", type_=DateTime(timezone=True)),
    )
    .scalar_subquery()
)
COUNTERS = Query(
    select(
        cast(_KEYS.c.position, Integer),
        stock_level.c.on_hand,
        stock_level.c.reserved,
        stock_level.c.safety_stock,
        case((stock_level.c.reserved > literal_column("0"), cast(_EXPIRED, BigInteger)),
             else_=literal_column("0")).label("expired"),
    ).select_from(
        _KEYS.join(
            stock_level,
            (stock_level.c.location_id == _KEYS.c.location_id)
            & (stock_level.c.sku == _KEYS.c.sku),
        )
    ),
    _Counters,
)  # fmt: skip


async def of_keys(conn: Connection, keys: Sequence[Key], *, now: datetime) -> list[Availability]:
    """One answer per key, in order: one statement of index look-ups, however many keys."""
    found = [NOT_STOCKED] * len(keys)
    for row in await _counters(conn, keys, now):
        found[row.position - 1] = decide(row.on_hand, row.reserved - row.expired, row.safety_stock)
    return found


def decide(on_hand: int, reserved: int, safety_stock: int) -> Availability:
    """The number and its reason: the first of nothing there, all promised, rest kept back."""
    unpromised = on_hand - reserved
    available = unpromised - safety_stock
    reason: Reason
    if available > 0:
        reason = "available"
    elif on_hand <= 0:
        reason = "none_on_hand"
    elif unpromised <= 0:
        reason = "all_reserved"
    else:
        reason = "safety_stock"
    return Availability(on_hand, reserved, safety_stock, max(0, available), reason)


async def explain(
    conn: Connection, key: Key, *, now: datetime, before: UUID = LAST_ID, page: int = 100
) -> Explanation:
    """The number of one SKU at one location with a page of its ledger, newest first."""
    entries = await stock.history(conn, key, before=before, page=page)
    rows = await _counters(conn, [key], now)
    availability, expired = NOT_STOCKED, 0
    for row in rows:
        expired = row.expired
        availability = decide(row.on_hand, row.reserved - expired, row.safety_stock)
    return Explanation(key[0], key[1], availability, expired, entries)


async def _counters(conn: Connection, keys: Sequence[Key], now: datetime) -> list[_Counters]:
    return await conn.run(
        COUNTERS,
        location_id=[location_id for location_id, _ in keys],
        sku=[sku for _, sku in keys],
        now=now,
    )
