"""Orders: their money to the last minor unit, and how far they, their pickups and lines have come.

Invariant 4 per line and order: units sum to their line, lines to their order; a completed order is
paid for exactly what was handed over; a cancelled one keeps nothing, and neither does one of which
everything came back.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import select

from commerce import pricing
from commerce.kernel.auditing import Check, Finding, count_of, parts, total
from commerce.kernel.sql import Query
from commerce.payments.rows import OPEN_STATES
from commerce.pricing import Unit
from commerce.states import CARRY_OUT, PICKUP
from commerce.tables import fulfillment, order_line, orders, payment, payment_operation

RESTORE = "Compare the order with its events and a backup, and restore what was changed by hand."
REFUND = "Refund the difference at the provider, or find out who took it."
MONEY_IN_DOUBT = "Compare the payments of this order with the provider's books."


class LineBooks(Struct, frozen=True):
    """A line's frozen money and its counts."""

    line_number: int
    fulfillment_id: UUID
    quantity: int
    unit_price_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int
    units: tuple[Unit, ...]
    cancelled_quantity: int
    fulfilled_quantity: int
    returned_quantity: int


class Share(Struct, frozen=True):
    """A fulfillment and how far it has come."""

    id: UUID
    kind: str
    state: str
    requested_at: datetime | None
    closed_at: datetime | None


class OrderBooks(Struct, frozen=True):
    """An order with its lines and fulfillments, and the money of its payments."""

    id: UUID
    number: str
    state: str
    tender: str
    tax_included: bool
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int
    placed_at: datetime | None
    closed_at: datetime | None
    lines: tuple[LineBooks, ...]
    shares: tuple[Share, ...]
    authorized_minor: int
    captured_minor: int
    given_back_minor: int
    """Refunded, or on its way."""

    @property
    def subject(self) -> str:
        """What people and the database call it."""
        return f"order {self.number} ({self.id})"


_OF_ORDER = payment.c.order_id == orders.c.id
_UNDER_WAY = (
    select(total(payment_operation.c.amount_minor))
    .join(payment, payment.c.id == payment_operation.c.payment_id)
    .where(
        _OF_ORDER,
        payment_operation.c.kind == "refund",
        payment_operation.c.state.in_(OPEN_STATES),
    )
    .correlate(orders)
    .scalar_subquery()
)


def _paid(column: Any) -> Any:
    return select(total(column)).where(_OF_ORDER).correlate(orders).scalar_subquery()


BOOKS = Query(
    select(
        *(orders.c[name] for name in OrderBooks.__struct_fields__[:11]),
        parts(LineBooks, order_line, order_line.c.order_id == orders.c.id).label("lines"),
        parts(Share, fulfillment, fulfillment.c.order_id == orders.c.id).label("shares"),
        _paid(payment.c.authorized_minor).label("authorized_minor"),
        _paid(payment.c.captured_minor).label("captured_minor"),
        (_paid(payment.c.refunded_minor) + _UNDER_WAY).label("given_back_minor"),
    ),
    OrderBooks,
)

_STATES_OF_PICKUPS = {
    "pending_payment": {PICKUP.initial},
    "placed": set(PICKUP) - {"cancelled", "expired"},
    "completed": {"collected"},
    "cancelled": {"cancelled", "expired"},
}
_STATES_BY_KIND = {"pickup": set(PICKUP), "carry_out": set(CARRY_OUT)}


def judge_amounts(order: OrderBooks) -> Iterator[Finding]:
    """Units sum to their line and lines to their order. Pure."""
    for line in order.lines:
        for what, expected, found in _sums_of_line(order, line):
            if expected != found:
                subject = f"{order.subject} line {line.line_number}"
                yield Finding(subject, f"{what} {expected}", f"{what} {found}", RESTORE)
    for what, expected, found in _sums_of_order(order):
        if expected != found:
            yield Finding(order.subject, f"{what} {expected}", f"{what} {found}", RESTORE)


def _sums_of_line(order: OrderBooks, line: LineBooks) -> Iterator[tuple[str, int, int]]:
    yield "units", line.quantity, sum(count for count, _, _ in line.units)
    yield "discount of units", line.discount_minor, sum(n * d for n, d, _ in line.units)
    yield "tax of units", line.tax_minor, sum(n * t for n, _, t in line.units)
    net = line.unit_price_minor * line.quantity - line.discount_minor
    yield "total_minor", net + (0 if order.tax_included else line.tax_minor), line.total_minor


def _sums_of_order(order: OrderBooks) -> Iterator[tuple[str, int, int]]:
    lines = order.lines
    gross = sum(line.unit_price_minor * line.quantity for line in lines)
    yield "subtotal_minor", gross, order.subtotal_minor
    yield "discount_minor", sum(line.discount_minor for line in lines), order.discount_minor
    yield "tax_minor", sum(line.tax_minor for line in lines), order.tax_minor
    yield "total_minor", sum(line.total_minor for line in lines), order.total_minor


def judge_progress(order: OrderBooks) -> Iterator[Finding]:
    """States, times and counts of an order, its pickups and its lines fit together. Pure."""
    for holds, expected, found in _progress(order):
        if not holds:
            yield Finding(order.subject, expected, found, RESTORE)
    shares = {share.id: share for share in order.shares}
    for line in order.lines:
        if line.fulfillment_id not in shares:
            yield Finding(
                f"{order.subject} line {line.line_number}",
                "a fulfillment of this order",
                f"fulfillment {line.fulfillment_id}",
                RESTORE,
            )
            continue
        counts = (line.cancelled_quantity, line.fulfilled_quantity)
        problem = _wrong_counts(order, shares[line.fulfillment_id], line)
        if problem:
            yield Finding(
                f"{order.subject} line {line.line_number}",
                problem,
                f"{counts[0]} cancelled and {counts[1]} handed over of {line.quantity}",
                RESTORE,
            )


def _progress(order: OrderBooks) -> Iterator[tuple[bool, str, str]]:
    because = f"because it is {order.state}"
    yield bool(order.lines and order.shares), "lines and a fulfillment", "none"
    placed = order.placed_at is not None
    if order.state != "cancelled":  # which may have been placed before, or not
        yield (
            placed == (order.state in {"placed", "completed"}),
            f"placed_at {'missing' if placed else 'set'}, {because}",
            f"{order.placed_at}",
        )
    closed = order.closed_at is not None
    yield (
        closed == (order.state in {"completed", "cancelled"}),
        f"closed_at {'missing' if closed else 'set'}, {because}",
        f"{order.closed_at}",
    )
    for share in order.shares:
        about = f"its fulfillment {share.id}"
        allowed = _STATES_OF_PICKUPS[order.state] & _STATES_BY_KIND[share.kind]
        yield (
            share.state in allowed,
            f"{about} {' or '.join(sorted(allowed))}, {because}",
            share.state,
        )
        yield (
            placed == (share.requested_at is not None),
            f"{about} {'requested' if placed else 'not requested'}, as it was placed or not",
            f"requested_at {share.requested_at}",
        )
        ended = share.state in PICKUP.terminal
        yield (
            ended == (share.closed_at is not None),
            f"{about} {'closed' if ended else 'not closed'}, because that is {share.state}",
            f"closed_at {share.closed_at}",
        )


def _wrong_counts(order: OrderBooks, share: Share, line: LineBooks) -> str | None:
    left = line.quantity - line.cancelled_quantity - line.fulfilled_quantity
    if share.state == "collected" and left:
        return "each unit handed over or cancelled, because it was collected"
    if share.state != "collected" and line.fulfilled_quantity:
        return f"no unit handed over, because its fulfillment is {share.state}"
    if order.state == "cancelled" and left:
        return "each unit cancelled, because its order is"
    return None


def judge_money(order: OrderBooks) -> Iterator[Finding]:
    """What an order has taken is what it may keep. Pure."""
    if order.state == "completed":
        price = sum(_price(order, line, line.fulfilled_quantity) for line in order.lines)
        # What a card paid beyond the price, captured by hand at the provider, goes back.
        returned = sum(_price(order, line, line.returned_quantity) for line in order.lines)
        beyond = order.captured_minor - price
        if beyond < 0 or (beyond and order.given_back_minor - returned < beyond):
            yield Finding(
                order.subject,
                f"captured_minor {price}, the price of what was handed over",
                f"captured_minor {order.captured_minor}",
                MONEY_IN_DOUBT,
            )
        elif (
            price
            and _everything_came_back(order)
            and order.given_back_minor != order.captured_minor
        ):
            yield Finding(
                order.subject,
                f"{order.captured_minor} given back or on its way, because everything came back",
                f"{order.given_back_minor}",
                "Repeat the refund of its return at a store's tablet.",
            )
    elif order.state == "cancelled" and order.captured_minor != order.given_back_minor:
        yield Finding(
            order.subject,
            f"{order.captured_minor} given back or on its way, because it was cancelled",
            f"{order.given_back_minor}",
            REFUND,
        )
    elif order.state == "placed" and order.tender == "card":
        due = sum(_price(order, line, line.quantity - line.cancelled_quantity)
                  for line in order.lines)  # fmt: skip
        if order.authorized_minor < due:
            yield Finding(
                order.subject,
                f"a card authorized for {due}, because it is placed",
                f"authorized_minor {order.authorized_minor}",
                MONEY_IN_DOUBT,
            )


def _everything_came_back(order: OrderBooks) -> bool:
    return all(line.returned_quantity == line.fulfilled_quantity for line in order.lines)


def _price(order: OrderBooks, line: LineBooks, count: int) -> int:
    return pricing.refund_of(
        line.units, line.unit_price_minor, tax_included=order.tax_included, first=0, count=count
    )


def judge(order: OrderBooks) -> Iterator[Finding]:
    """Everything about one order. Pure."""
    yield from judge_amounts(order)
    yield from judge_progress(order)
    yield from judge_money(order)


CHECKS: tuple[Check[Any], ...] = (
    Check("orders: amounts, progress and what they may keep", BOOKS, judge),
)

COUNTED = (count_of("orders", orders), count_of("order lines", order_line))
