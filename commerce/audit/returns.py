"""Returns: what came back is counted once, worth what was paid for it, and refunded.

Per line: units returned, and claimed by open returns, never exceed those handed over; refunds are
read from the frozen units, from the first one on.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import and_, case, func, select

from commerce import pricing
from commerce.audit.orders import RESTORE
from commerce.kernel.auditing import Check, Finding, count_of, parts, total
from commerce.kernel.sql import Query
from commerce.payments.rows import OPEN_STATES
from commerce.pricing import Unit
from commerce.returns import reading
from commerce.tables import (
    order_line,
    orders,
    payment_operation,
    return_,
    return_line,
    return_unit,
)

TAKEN = frozenset({"received", "settled"})


class LineBooks(Struct, frozen=True):
    """A line of a return."""

    line_number: int
    quantity: int
    received_quantity: int
    refund_minor: int


class UnitBooks(Struct, frozen=True):
    """What became of units of a line."""

    line_number: int
    quantity: int


class ReturnBooks(Struct, frozen=True):
    """A return with its lines and units, and what was refunded for it."""

    id: UUID
    state: str
    refund_minor: int
    location_id: UUID | None
    received_at: datetime | None
    lines: tuple[LineBooks, ...]
    units: tuple[UnitBooks, ...]
    refunds_minor: int
    """Certain, or under way."""


class CameBack(Struct, frozen=True):
    """A line of an order, and what its returns say about it."""

    number: str
    line_number: int
    tax_included: bool
    unit_price_minor: int
    units: tuple[Unit, ...]
    fulfilled_quantity: int
    returned_quantity: int
    received_quantity: int
    claimed_quantity: int
    refund_minor: int


_REFUNDS = (
    select(total(payment_operation.c.amount_minor))
    .where(
        payment_operation.c.return_id == return_.c.id,
        payment_operation.c.return_id.is_not(None),
        payment_operation.c.kind == "refund",
        payment_operation.c.state.in_((*OPEN_STATES, "succeeded")),
    )
    .correlate(return_)
    .scalar_subquery()
)

BOOKS = Query(
    select(
        *(return_.c[name] for name in ReturnBooks.__struct_fields__[:5]),
        parts(LineBooks, return_line, return_line.c.return_id == return_.c.id).label("lines"),
        parts(UnitBooks, return_unit, return_unit.c.return_id == return_.c.id).label("units"),
        _REFUNDS.label("refunds_minor"),
    ),
    ReturnBooks,
)

_TAKEN = return_.c.state.in_(TAKEN)
_CAME_BACK = (
    select(
        return_line.c.order_id,
        return_line.c.line_number,
        total(case((_TAKEN, return_line.c.received_quantity), else_=0)).label("received"),
        total(
            case((return_.c.state.in_(reading.OPEN_STATES), return_line.c.quantity), else_=0)
        ).label("claimed"),
        total(case((_TAKEN, return_line.c.refund_minor), else_=0)).label("refund"),
    )
    .join(return_, return_.c.id == return_line.c.return_id)
    .group_by(return_line.c.order_id, return_line.c.line_number)
    .subquery("came_back")
)
_OF_LINE = and_(
    _CAME_BACK.c.order_id == order_line.c.order_id,
    _CAME_BACK.c.line_number == order_line.c.line_number,
)
CAME_BACK = Query(
    select(
        orders.c.number,
        order_line.c.line_number,
        orders.c.tax_included,
        order_line.c.unit_price_minor,
        order_line.c.units,
        order_line.c.fulfilled_quantity,
        order_line.c.returned_quantity,
        func.coalesce(_CAME_BACK.c.received, 0).label("received_quantity"),
        func.coalesce(_CAME_BACK.c.claimed, 0).label("claimed_quantity"),
        func.coalesce(_CAME_BACK.c.refund, 0).label("refund_minor"),
    )
    .join(orders, orders.c.id == order_line.c.order_id)
    .outerjoin(_CAME_BACK, _OF_LINE)
    .where((order_line.c.returned_quantity > 0) | _CAME_BACK.c.order_id.is_not(None)),
    CameBack,
)


def judge(books: ReturnBooks) -> Iterator[Finding]:
    """Everything about one return. Pure."""
    subject = f"return {books.id}"
    worth = sum(line.refund_minor for line in books.lines)
    if books.refund_minor != worth:
        yield Finding(
            subject,
            f"refund_minor {worth}, the sum of its lines",
            f"refund_minor {books.refund_minor}",
            RESTORE,
        )
    taken = books.state in TAKEN
    if taken and (books.location_id is None or books.received_at is None):
        yield Finding(subject, "the store and time that took it", "one of them missing", RESTORE)
    for line in books.lines:
        kept = sum(u.quantity for u in books.units if u.line_number == line.line_number)
        if kept != line.received_quantity or (line.received_quantity and not taken):
            yield Finding(
                f"{subject} line {line.line_number}",
                f"{line.received_quantity if taken else 0} units with a disposition",
                f"{kept}, and {line.received_quantity} received, in state {books.state}",
                RESTORE,
            )
    owed = books.refund_minor if taken else 0
    if books.refunds_minor != owed:
        yield Finding(
            subject,
            f"refunds of {owed}, made or on their way, because it is {books.state}",
            f"{books.refunds_minor}",
            "Repeat its refund at a store's tablet."
            if books.refunds_minor < owed
            else "Compare it with the provider's books: too much went back.",
        )


def judge_line(line: CameBack) -> Iterator[Finding]:
    """What a line says has come back, and what its returns say. Pure."""
    subject = f"order {line.number} line {line.line_number}"
    if line.returned_quantity != line.received_quantity:
        yield Finding(
            subject,
            f"returned_quantity {line.received_quantity}, what its returns received",
            f"returned_quantity {line.returned_quantity}",
            RESTORE,
        )
        return
    if line.returned_quantity + line.claimed_quantity > line.fulfilled_quantity:
        yield Finding(
            subject,
            f"at most {line.fulfilled_quantity} units to come back, which were handed over",
            f"{line.returned_quantity} came and {line.claimed_quantity} are asked for",
            "Cancel one of its open returns.",
        )
    worth = pricing.refund_of(
        line.units,
        line.unit_price_minor,
        tax_included=line.tax_included,
        first=0,
        count=line.returned_quantity,
    )
    if line.refund_minor != worth:
        yield Finding(
            subject,
            f"refunds worth {worth}, what was paid for the units that came back",
            f"{line.refund_minor}",
            RESTORE,
        )


CHECKS: tuple[Check[Any], ...] = (
    Check("returns: counted, kept and refunded", BOOKS, judge),
    Check("lines: what came back and what it is worth", CAME_BACK, judge_line),
)

COUNTED = (count_of("returns", return_),)
