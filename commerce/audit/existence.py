"""What must exist because something else does: referenced rows, events, answers."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import func, literal, select, union_all

from commerce.kernel.auditing import Check, Finding, count_of, reference, total
from commerce.kernel.events import event
from commerce.kernel.idempotency import idempotency_key
from commerce.kernel.sql import Query
from commerce.tables import (
    cart,
    contact,
    fulfillment,
    order_line,
    orders,
    payment,
    payment_operation,
    return_,
    shopper,
    sku,
    store,
)
from inventory.tables import reservation, stock_ledger, stock_level

FIRST_STATUS, LAST_STATUS = 200, 499
"""Answers that are kept: faults of ours never are."""


class Told(Struct, frozen=True):
    """How often an event stands on an order's timeline, and how often it should."""

    order_id: UUID
    type: str
    expected: int
    recorded: int


class BadAnswer(Struct, frozen=True):
    """A kept answer that nobody can be given."""

    route: str
    resource_id: UUID | None
    status: int | None


_ONCE, _NEVER = literal(1), literal(0)
_TYPES = {"order.placed": orders.c.placed_at.is_not(None)} | {
    f"order.{state}": orders.c.state == state for state in ("completed", "cancelled")
}
_SIDES = union_all(
    *(
        select(
            orders.c.id.label("order_id"),
            literal(kind).label("type"),
            _ONCE.label("expected"),
            _NEVER.label("recorded"),
        ).where(happened)
        for kind, happened in _TYPES.items()
    ),
    select(event.c.aggregate_id, event.c.type, _NEVER, _ONCE).where(event.c.type.in_(list(_TYPES))),
).subquery("sides")
_SUMS = {name: total(_SIDES.c[name]) for name in ("expected", "recorded")}

TOLD = Query(
    select(_SIDES.c.order_id, _SIDES.c.type, *(s.label(n) for n, s in _SUMS.items()))
    .group_by(_SIDES.c.order_id, _SIDES.c.type)
    .having(_SUMS["expected"] != _SUMS["recorded"]),
    Told,
)
BAD_ANSWERS = Query(
    select(*(idempotency_key.c[name] for name in BadAnswer.__struct_fields__)).where(
        ~idempotency_key.c.status.between(FIRST_STATUS, LAST_STATUS)
        | (func.octet_length(idempotency_key.c.body_hash) == 0)
    ),
    BadAnswer,
)


def judge_told(row: Told) -> Iterator[Finding]:
    """Pure."""
    yield Finding(
        f"{row.type} of order {row.order_id}",
        f"recorded {row.expected} times",
        f"{row.recorded} times",
        "Compare the order with its events and a backup; who listens was told wrongly.",
    )


def judge_answer(row: BadAnswer) -> Iterator[Finding]:
    """Pure."""
    yield Finding(
        f"idempotency key of {row.route} for {row.resource_id}",
        f"a status from {FIRST_STATUS} to {LAST_STATUS} and the hash of a body",
        f"status {row.status}",
        "Delete the row; the client's next attempt is a new command.",
    )


CHECKS: tuple[Check[Any], ...] = (
    Check("events: each placed, completed or cancelled order was told once", TOLD, judge_told),
    Check("idempotency keys have answers that can be given", BAD_ANSWERS, judge_answer),
    reference("lines have an order", order_line.c.order_id, orders.c.id),
    reference("fulfillments have an order", fulfillment.c.order_id, orders.c.id),
    reference("fulfillments have a store", fulfillment.c.location_id, store.c.location_id),
    reference("orders have a store", orders.c.location_id, store.c.location_id),
    reference("orders have their contact", orders.c.contact_id, contact.c.id),
    reference("orders have their shopper", orders.c.shopper_id, shopper.c.id),
    reference("orders have their cart", orders.c.cart_id, cart.c.id),
    reference("ordered carts have an order", cart.c.order_id, orders.c.id),
    reference("payments have a fulfillment", payment.c.fulfillment_id, fulfillment.c.id),
    reference("refunds have their return", payment_operation.c.return_id, return_.c.id),
    reference("returns have a store", return_.c.location_id, store.c.location_id),
    reference("lines have a SKU", order_line.c.sku, sku.c.sku),
    reference("stock levels have a SKU", stock_level.c.sku, sku.c.sku),
    reference("reservations have a SKU", reservation.c.sku, sku.c.sku),
    reference("ledger entries have a SKU", stock_ledger.c.sku, sku.c.sku),
)

COUNTED = (
    count_of("events", event),
    count_of("idempotency keys", idempotency_key),
)
