"""How many units may be promised, where, and why: counters in, numbers with reasons out.

Holds that are past their time count as free at once, whether or not the sweep has been there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, Literal, TypeAlias, TypeVar
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import Grouping

from commerce.kernel.sql import Connection, Query, rows_of
from inventory import stock
from inventory.stock import LAST_ID, Key, LedgerRow
from inventory.tables import reservation, stock_level

Reason: TypeAlias = Literal[
    "available", "not_stocked", "none_on_hand", "all_reserved", "safety_stock"
]
"""`safety_stock`: what is left is kept from sale. `not_stocked`: this place never had it."""

Why = TypeVar("Why", bound=str, covariant=True)  # noqa: PLC0105  a word, like Row and Item


class Availability(Struct, Generic[Why], frozen=True, gc=False):
    """What may be promised, max(0, on_hand - reserved - safety_stock), and why it is that much.

    `reserved` counts live promises only.
    """

    on_hand: int
    reserved: int
    safety_stock: int
    available_to_promise: int
    reason: Why


StockAvailability: TypeAlias = Availability[Reason]
"""With the reasons that stock itself can have."""


class Explanation(Struct, frozen=True):
    """One number and how it came about: the ledger that made its counters, newest first.

    `expired` units are still in the ledger's `reserved`, but nobody holds them any more.
    """

    location_id: UUID
    sku: str
    availability: StockAvailability
    expired: int
    entries: list[LedgerRow]


class _Counters(Struct, frozen=True):
    """One SKU at the places of one list that ever had it; all fields but the first by place."""

    position: int
    places: list[int]
    on_hand: list[int]
    reserved: list[int]
    safety_stock: list[int]
    expired: list[int]


NOT_STOCKED: StockAvailability = Availability(0, 0, 0, 0, "not_stocked")

_ASKED = rows_of("a", sku=Text(), begins=Integer(), ends=Integer())
_LISTS = Grouping(bindparam("locations", type_=ARRAY(Uuid)))
_PLACES = (
    func.unnest(_LISTS[_ASKED.c.begins : _ASKED.c.ends])
    .table_valued(column("location_id", Uuid()), with_ordinality="place", name="p")
    .render_derived()
    .lateral()
)
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
        cast(_ASKED.c.position, Integer),
        func.array_agg(cast(_PLACES.c.place, Integer)).label("places"),
        func.array_agg(stock_level.c.on_hand).label("on_hand"),
        func.array_agg(stock_level.c.reserved).label("reserved"),
        func.array_agg(stock_level.c.safety_stock).label("safety_stock"),
        func.array_agg(
            case(
                (stock_level.c.reserved > literal_column("0"), cast(_EXPIRED, Integer)),
                else_=literal_column("0"),
            )
        ).label("expired"),
    )
    .select_from(
        _ASKED.join(_PLACES, true()).join(
            stock_level,
            (stock_level.c.location_id == _PLACES.c.location_id)
            & (stock_level.c.sku == _ASKED.c.sku),
        )
    )
    .group_by(_ASKED.c.position),
    _Counters,
)


async def of_skus(
    conn: Connection, asked: Sequence[tuple[str, Sequence[UUID]]], *, now: datetime
) -> list[list[StockAvailability]]:
    """Per SKU one answer for each of its locations, in order; one statement of index look-ups.

    A list of locations that several SKUs share is sent once.
    """
    found = [[NOT_STOCKED] * len(locations) for _, locations in asked]
    for row in await _counters(conn, asked, now):
        answers = found[row.position - 1]
        for place, on_hand, reserved, safety_stock, expired in zip(
            row.places, row.on_hand, row.reserved, row.safety_stock, row.expired, strict=True
        ):
            answers[place - 1] = decide(on_hand, reserved - expired, safety_stock)
    return found


def decide(on_hand: int, reserved: int, safety_stock: int) -> StockAvailability:
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
    availability, expired = NOT_STOCKED, 0
    for row in await _counters(conn, [(key[1], [key[0]])], now):
        expired = row.expired[0]
        availability = decide(row.on_hand[0], row.reserved[0] - expired, row.safety_stock[0])
    return Explanation(key[0], key[1], availability, expired, entries)


async def _counters(
    conn: Connection, asked: Sequence[tuple[str, Sequence[UUID]]], now: datetime
) -> list[_Counters]:
    every: list[UUID] = []
    bounds: dict[int, tuple[int, int]] = {}
    for _, locations in asked:
        if id(locations) not in bounds:
            bounds[id(locations)] = len(every) + 1, len(every) + len(locations)
            every.extend(locations)
    of_asked = [bounds[id(locations)] for _, locations in asked]
    return await conn.run(
        COUNTERS,
        locations=every,
        sku=[sku for sku, _ in asked],
        begins=[begins for begins, _ in of_asked],
        ends=[ends for _, ends in of_asked],
        now=now,
    )
