"""Which units of an order may come back, until when, and for how much. Pure.

Everything is read from the frozen line. The window is counted in whole days from the hand-over, in
the time zone of the store that handed over: it closes at the end of its last day there.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from commerce import pricing
from commerce.kernel.errors import CommerceError
from commerce.orders import Order, OrderLine
from commerce.stores import Store

WhyNot = Literal["order_not_completed", "final_sale", "all_returned", "window_closed"]
"""Why nothing of a line may come back now."""


class OrderNotCompleted(CommerceError):
    """Goods come back only after they were handed over and paid. Before that, cancel the order."""

    code = "order_not_completed"
    order_id: UUID
    state: str


class ReturnWindowClosed(CommerceError):
    """The last day on which this line could come back has passed. A manager may allow it still."""

    code = "return_window_closed"
    order_id: UUID
    line_number: int
    closed_on: date


class FinalSale(CommerceError):
    """This line was sold without the right to return it."""

    code = "final_sale"
    order_id: UUID
    line_number: int


class ReturnExceedsBought(CommerceError):
    """More units than were handed over, less those that came back or are about to."""

    code = "return_exceeds_bought"
    order_id: UUID
    line_number: int
    requested: int
    returnable: int


class RefundRun(msgspec.Struct, frozen=True):
    """So many units, each worth the same, in the order in which units come back."""

    quantity: int
    unit_refund_minor: int


class Eligibility(msgspec.Struct, frozen=True):
    """What may come back of one line. `reason` says why it may not; then `returnable` is 0.

    `closes_on` is the last day; a line that never could come back has none.
    """

    line_number: int
    sku: str
    name: str
    returnable: int
    reason: WhyNot | None
    closes_on: date | None
    refunds: tuple[RefundRun, ...]


def decide(
    order: Order, claimed: Mapping[int, int], places: Mapping[UUID, Store], *, now: datetime
) -> list[Eligibility]:
    """What may come back of each line. `claimed`: units in open returns, by line number."""
    return [_of_line(order, line, claimed, places, now) for line in order.lines]


def check(order: Order, wanted: Mapping[int, int], claimed: Mapping[int, int]) -> None:
    """Raise why these units (by line number) may never come back, whatever the day."""
    if order.head.state != "completed":
        raise OrderNotCompleted(order_id=order.id, state=order.head.state)
    lines = {line.line_number: line for line in order.lines}
    for line_number, quantity in wanted.items():
        line = lines.get(line_number)
        if line is not None and line.final_sale:
            raise FinalSale(order_id=order.id, line_number=line_number)
        left = _left(line, claimed) if line is not None else 0
        if quantity > left:
            raise ReturnExceedsBought(
                order_id=order.id, line_number=line_number, requested=quantity, returnable=left
            )


def closed_window(
    order: Order, wanted: Mapping[int, int], places: Mapping[UUID, Store], *, now: datetime
) -> ReturnWindowClosed | None:
    """The refusal of the first of these lines whose window has closed, if one has."""
    for line in order.lines:
        if line.line_number in wanted:
            last_day, today = _window(order, line, places, now)
            if today > last_day:
                return ReturnWindowClosed(
                    order_id=order.id, line_number=line.line_number, closed_on=last_day
                )
    return None


def refund_minor(order: Order, line: OrderLine, *, first: int, count: int) -> int:
    """What the shopper paid for `count` units of a line, beginning with unit `first` (from 0)."""
    return pricing.refund_of(
        line.units,
        line.unit_price_minor,
        tax_included=order.head.tax_included,
        first=first,
        count=count,
    )


def _of_line(
    order: Order,
    line: OrderLine,
    claimed: Mapping[int, int],
    places: Mapping[UUID, Store],
    now: datetime,
) -> Eligibility:
    left, closes_on = _left(line, claimed), None
    reason: WhyNot | None
    if order.head.state != "completed":
        reason = "order_not_completed"
    elif line.final_sale:
        reason = "final_sale"
    else:
        closes_on, today = _window(order, line, places, now)
        reason = "all_returned" if not left else "window_closed" if today > closes_on else None
    return Eligibility(
        line_number=line.line_number,
        sku=line.sku,
        name=line.name,
        returnable=0 if reason else left,
        reason=reason,
        closes_on=closes_on,
        refunds=() if reason else _runs(order, line, line.fulfilled_quantity - left),
    )


def _left(line: OrderLine, claimed: Mapping[int, int]) -> int:
    return line.fulfilled_quantity - line.returned_quantity - claimed.get(line.line_number, 0)


def _window(
    order: Order, line: OrderLine, places: Mapping[UUID, Store], now: datetime
) -> tuple[date, date]:
    """The last day of a line's window and the present day, where it was handed over."""
    (share,) = (each for each in order.fulfillments if each.id == line.fulfillment_id)
    assert share.closed_at is not None, "the goods of a completed order have left"
    zone = ZoneInfo(places[share.location_id].time_zone)
    last_day = share.closed_at.astimezone(zone).date() + timedelta(days=line.return_window_days)
    return last_day, now.astimezone(zone).date()


def _runs(order: Order, line: OrderLine, first: int) -> tuple[RefundRun, ...]:
    """What the units of a line from `first` on are worth; an included tax may differ unseen."""
    runs: list[RefundRun] = []
    start = 0
    for quantity, _, _ in line.units:
        begin, end = max(start, first), min(start + quantity, line.fulfilled_quantity)
        start += quantity
        if begin >= end:
            continue
        worth, count = refund_minor(order, line, first=begin, count=1), end - begin
        if runs and runs[-1].unit_refund_minor == worth:
            count += runs.pop().quantity
        runs.append(RefundRun(count, worth))
    return tuple(runs)
