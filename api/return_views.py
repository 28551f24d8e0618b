"""Returns and what may come back, as clients see them. No personal data, so it may be stored."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec

from commerce.kernel.money import Money
from commerce.orders import Order
from commerce.pricing import MAX_LINE_UNITS, MAX_LINES
from commerce.returns import Disposition, Eligibility, Return, ReturnLine, ReturnState, WhyNot

LineNumber = Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES, examples=[1])]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=MAX_LINE_UNITS, examples=[1])]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["too small"])]


class WantedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of an order's line."""

    line_number: LineNumber
    quantity: Quantity


WantedLines = Annotated[tuple[WantedLine, ...], msgspec.Meta(min_length=1, max_length=MAX_LINES)]


class UnitsView(msgspec.Struct, frozen=True):
    """What became of so many units that came back."""

    disposition: Disposition
    quantity: int


class ReturnLineView(msgspec.Struct, frozen=True):
    """Units of an order's line: so many asked for, so many came, for so much money."""

    line_number: int
    sku: str
    quantity: int
    received_quantity: int
    refund: Money
    units: list[UnitsView]


class ReturnView(msgspec.Struct, frozen=True):
    """A return. `refund` is what all its units would bring, and once received exactly what is paid.

    While `refund_pending`, the goods are back and the money is still on its way to a card.
    """

    id: UUID
    order_id: UUID
    state: ReturnState
    location_id: UUID | None
    reason: str | None
    rejection: str | None
    refund: Money
    refund_pending: bool
    requested_at: datetime
    received_at: datetime | None
    closed_at: datetime | None
    lines: list[ReturnLineView]

    @classmethod
    def of(cls, shown: Return) -> "ReturnView":
        """From what is stored."""
        head = shown.head
        return cls(
            id=head.id,
            order_id=head.order_id,
            state=head.state,
            location_id=head.location_id,
            reason=head.reason,
            rejection=head.rejection,
            refund=Money(head.refund_minor, head.currency),
            refund_pending=head.state == "received",
            requested_at=head.requested_at,
            received_at=head.received_at,
            closed_at=head.closed_at,
            lines=[_line(shown, line) for line in shown.lines],
        )


class RefundView(msgspec.Struct, frozen=True):
    """So many units, each worth the same, in the order in which units come back."""

    quantity: int
    unit_refund: Money


class ReturnableLine(msgspec.Struct, frozen=True):
    """What may come back of a line until the end of `closes_on`; `reason` says why nothing may."""

    line_number: int
    sku: str
    name: str
    returnable: int
    reason: WhyNot | None
    closes_on: date | None
    refunds: list[RefundView]

    @classmethod
    def of(cls, line: Eligibility, currency: str) -> "ReturnableLine":
        """From what the policy says."""
        refunds = [
            RefundView(run.quantity, Money(run.unit_refund_minor, currency)) for run in line.refunds
        ]
        return cls(
            line.line_number,
            line.sku,
            line.name,
            line.returnable,
            line.reason,
            line.closes_on,
            refunds,
        )


class ReturnableOrder(msgspec.Struct, frozen=True):
    """An order at the returns desk: what may come back, and its returns so far, oldest first."""

    order_id: UUID
    order_number: str
    lines: list[ReturnableLine]
    returns: list[ReturnView]

    @classmethod
    def of(
        cls, order: Order, lines: Sequence[Eligibility], known: Sequence[Return]
    ) -> "ReturnableOrder":
        """From the order, the policy and what is stored."""
        currency = order.head.currency
        return cls(
            order.id,
            order.head.number,
            [ReturnableLine.of(line, currency) for line in lines],
            [ReturnView.of(each) for each in known],
        )


def wanted_units(lines: Sequence[WantedLine]) -> dict[int, int]:
    """Units by line number; a line that is named twice is summed."""
    wanted: dict[int, int] = {}
    for line in lines:
        wanted[line.line_number] = wanted.get(line.line_number, 0) + line.quantity
    return wanted


def _line(shown: Return, line: ReturnLine) -> ReturnLineView:
    return ReturnLineView(
        line_number=line.line_number,
        sku=line.sku,
        quantity=line.quantity,
        received_quantity=line.received_quantity,
        refund=Money(line.refund_minor, shown.head.currency),
        units=[
            UnitsView(unit.disposition, unit.quantity)
            for unit in shown.units
            if unit.line_number == line.line_number
        ],
    )
