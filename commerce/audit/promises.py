"""Promises of stock and those they were made to: each placed order has its goods, and no more.

A committed reservation belongs to an open fulfillment of a placed order, and covers exactly the
units of its lines that are still to be handed over; what was handed over had been reserved.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import case, literal, or_, select, union_all

from commerce.fulfillment.reading import OPEN_STATES
from commerce.kernel.auditing import Check, Finding, total
from commerce.kernel.sql import Query
from commerce.tables import fulfillment, order_line, orders
from inventory.tables import reservation


class Promise(Struct, frozen=True):
    """Units of one SKU under one demand: what lines say, and what reservations say."""

    demand_id: UUID
    location_id: UUID
    sku: str
    owed: int
    promised: int
    handed_over: int
    left: int


_ZERO = literal(0)
_TO_COME = case(
    (
        (orders.c.state == "placed") & fulfillment.c.state.in_(OPEN_STATES),
        order_line.c.quantity - order_line.c.cancelled_quantity - order_line.c.fulfilled_quantity,
    ),
    else_=0,
)
_SIDES = union_all(
    select(
        fulfillment.c.demand_id,
        fulfillment.c.location_id,
        order_line.c.sku,
        _TO_COME.label("owed"),
        _ZERO.label("promised"),
        order_line.c.fulfilled_quantity.label("handed_over"),
        _ZERO.label("left"),
    )
    .select_from(order_line)
    .join(fulfillment, fulfillment.c.id == order_line.c.fulfillment_id)
    .join(orders, orders.c.id == order_line.c.order_id),
    select(
        reservation.c.demand_id,
        reservation.c.location_id,
        reservation.c.sku,
        _ZERO,
        case((reservation.c.state == "committed", reservation.c.quantity), else_=0),
        _ZERO,
        case((reservation.c.state == "fulfilled", reservation.c.quantity), else_=0),
    ).where(reservation.c.state.in_(("committed", "fulfilled"))),
).subquery("sides")
_KEY = (_SIDES.c.demand_id, _SIDES.c.location_id, _SIDES.c.sku)
_SUMS = {name: total(_SIDES.c[name]) for name in Promise.__struct_fields__[3:]}

PROMISES = Query(
    select(*_KEY, *(each.label(name) for name, each in _SUMS.items()))
    .group_by(*_KEY)
    .having(or_(_SUMS["owed"] != _SUMS["promised"], _SUMS["handed_over"] != _SUMS["left"])),
    Promise,
)


def judge(row: Promise) -> Iterator[Finding]:
    """Pure; the query returns only what does not fit."""
    subject = f"demand {row.demand_id} at {row.location_id} of {row.sku}"
    if row.owed != row.promised:
        yield Finding(
            subject,
            f"{row.owed} units promised, which open pickups of placed orders still owe",
            f"{row.promised}",
            "Cancel the order and place it again, so that its stock is promised anew."
            if row.owed > row.promised
            else "Nobody will collect these: set the reservation to released, then "
            "`mostrador audit --repair`.",
        )
    if row.handed_over != row.left:
        yield Finding(
            subject,
            f"{row.handed_over} units of its reservations left, which were handed over",
            f"{row.left}",
            "Count the SKU on this shelf.",
        )


CHECKS: tuple[Check[Any], ...] = (
    Check("promises: placed orders have their stock, and nobody else", PROMISES, judge),
)
