"""Refunds come from the frozen lines alone, and windows close by the store's calendar."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce import pricing
from commerce.kernel import ids
from commerce.orders import Fulfillment, Order, OrderLine
from commerce.orders.reading import Head
from commerce.pricing import Basket, Coupon, Line, Offer, Quote, Terms
from commerce.returns import (
    Arrival,
    Eligibility,
    FinalSale,
    NothingReceived,
    OrderNotCompleted,
    RefundRun,
    Return,
    ReturnExceedsBought,
    ReturnExceedsRequested,
    ReturnLine,
    ReturnWindowClosed,
    policy,
    reading,
    receiving,
)
from commerce.stores import Address, Store

PLACE = ids.uuid7()
SOLD_AT = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)
"""Half past eleven in the evening of the 20th in Mexico City."""


def store(*, tax_included: bool, tax_rate_bp: int) -> Store:
    return Store(
        location_id=PLACE,
        code="S",
        name="S",
        address=Address("Av. Madero 1", "Ciudad de México", "", "", "MX"),
        phone=None,
        latitude=19.4,
        longitude=-99.1,
        time_zone="America/Mexico_City",
        opening_hours=(),
        pickup_enabled=True,
        pickup_lead_minutes=60,
        price_zone="Z",
        currency="MXN",
        tax_included=tax_included,
        tax_zone="T",
        tax_rate_bp=tax_rate_bp,
    )


PLACES = {PLACE: store(tax_included=True, tax_rate_bp=1_600)}


def quote(
    lines: list[tuple[int, int]], percent_bp: int = 0, *, tax_included: bool, tax_rate_bp: int
) -> Quote:
    """A basket of (price, units), with a percentage off."""
    skus = {f"K{index}": line for index, line in enumerate(lines)}
    terms = Terms(
        {PLACE: store(tax_included=tax_included, tax_rate_bp=tax_rate_bp)},
        {("Z", sku): Offer("Z", sku, sku, price, False, 30) for sku, (price, _) in skus.items()},
        {"C": Coupon("C", "percent", percent_bp, None, None, 0, None, None, None, 0)},
    )
    basket = tuple(Line(sku, quantity) for sku, (_, quantity) in skus.items())
    return pricing.quote(Basket(PLACE, basket, "C" if percent_bp else None), terms, now=SOLD_AT)


def order(of: Quote, *, state: str = "completed", **line: object) -> Order:
    """An order of this quote that was handed over at `SOLD_AT`."""
    order_id, share_id = ids.uuid7(), ids.uuid7()
    money = {name: getattr(of, name) for name in Head.__struct_fields__ if hasattr(of, name)}
    head = Head(
        id=order_id, number="N", state=state, channel="web", key_id=ids.uuid7(), shopper_id=None,
        contact_id=None, cart_id=None, location_id=PLACE, tender="cash", cancel_reason=None,
        attributed_to=None, attributed_location_id=None,
        created_at=SOLD_AT, placed_at=SOLD_AT, closed_at=SOLD_AT, **money,
    )  # fmt: skip
    lines = tuple(
        msgspec.structs.replace(
            OrderLine(
                order_id, number, share_id,
                **msgspec.structs.asdict(each), fulfilled_quantity=each.quantity,
            ),
            **line,
        )
        for number, each in enumerate(of.lines, start=1)
    )  # fmt: skip
    share = Fulfillment(
        share_id, order_id, PLACE, share_id, "pickup", "collected", None, None, closed_at=SOLD_AT
    )
    return Order(head, lines, (share,))


def three_units() -> Quote:
    """Three units at 101.00 with 1.00 off in all: paid 100.66, 100.67 and 100.67."""
    return quote([(10_100, 3)], 33, tax_included=True, tax_rate_bp=1_600)


def asked(of: Order, wanted: Mapping[int, int]) -> Return:
    """An approved return of these units."""
    return_id = ids.uuid7()
    lines = tuple(
        ReturnLine(return_id, line.line_number, of.id, line.sku, wanted[line.line_number], 0, 0)
        for line in of.lines
        if line.line_number in wanted
    )
    head = reading.Head(return_id, of.id, PLACE, "approved", None, 0, "MXN", "test", SOLD_AT)
    return Return(head, lines)


def give_back(of: Order, line_number: int, quantity: int) -> tuple[Order, int]:
    """The order after so many units came back, and the refund."""
    counted = receiving.count(
        of, asked(of, {line_number: quantity}), [Arrival(line_number, "restock", quantity)]
    )
    lines = tuple(
        msgspec.structs.replace(line, returned_quantity=line.returned_quantity + quantity)
        if line.line_number == line_number
        else line
        for line in of.lines
    )
    return msgspec.structs.replace(of, lines=lines), counted.lines[0].refund_minor


@given(
    lines=st.lists(st.tuples(st.integers(0, 99_999), st.integers(1, 9)), min_size=1, max_size=4),
    percent_bp=st.integers(0, 10_000),
    tax_included=st.booleans(),
    tax_rate_bp=st.integers(0, 3_000),
    data=st.data(),
)
def test_any_split_of_returns_sums_to_what_was_paid_for_each_line(
    lines: list[tuple[int, int]],
    percent_bp: int,
    tax_included: bool,
    tax_rate_bp: int,
    data: st.DataObject,
) -> None:
    sold = order(quote(lines, percent_bp, tax_included=tax_included, tax_rate_bp=tax_rate_bp))
    left = {line.line_number: line.quantity for line in sold.lines}
    refunds = dict.fromkeys(left, 0)
    while any(left.values()):
        number = data.draw(st.sampled_from([n for n, quantity in left.items() if quantity]))
        quantity = data.draw(st.integers(1, left[number]))
        sold, refund_minor = give_back(sold, number, quantity)
        assert refund_minor >= 0
        left[number] -= quantity
        refunds[number] += refund_minor
    assert refunds == {line.line_number: line.total_minor for line in sold.lines}
    assert sum(refunds.values()) == sold.head.total_minor


def test_units_go_back_from_the_first_that_is_not_back_yet() -> None:
    sold = order(three_units())
    sold, first = give_back(sold, 1, 1)
    sold, rest = give_back(sold, 1, 2)
    assert (first, rest) == (10_066, 20_134)


def test_eligibility_shows_the_refund_of_each_unit_and_the_last_day() -> None:
    sold = order(three_units())
    assert policy.decide(sold, {}, PLACES, now=SOLD_AT) == [
        Eligibility(
            1, "K0", "K0", 3, None, date(2026, 12, 20), (RefundRun(1, 10_066), RefundRun(2, 10_067))
        )
    ]


def test_units_of_open_returns_are_not_offered_again() -> None:
    (line,) = policy.decide(order(three_units()), {1: 2}, PLACES, now=SOLD_AT)
    assert (line.returnable, line.refunds) == (1, (RefundRun(1, 10_067),))
    (line,) = policy.decide(order(three_units()), {1: 3}, PLACES, now=SOLD_AT)
    assert (line.returnable, line.reason, line.refunds) == (0, "all_returned", ())


def test_units_that_were_never_handed_over_are_not_offered() -> None:
    short = order(three_units(), cancelled_quantity=1, fulfilled_quantity=2)
    (line,) = policy.decide(short, {}, PLACES, now=SOLD_AT)
    assert (line.returnable, line.refunds) == (2, (RefundRun(1, 10_066), RefundRun(1, 10_067)))


@pytest.mark.parametrize(
    ("days", "last_moment"),
    [
        (0, datetime(2026, 11, 21, 5, 59, 59, tzinfo=UTC)),
        (30, datetime(2026, 12, 21, 5, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_window_closes_with_the_last_day_where_the_store_is(
    days: int, last_moment: datetime
) -> None:
    sold = order(three_units(), return_window_days=days)
    assert policy.closed_window(sold, {1: 1}, PLACES, now=last_moment) is None
    late = last_moment + timedelta(seconds=1)
    refused = policy.closed_window(sold, {1: 1}, PLACES, now=late)
    assert isinstance(refused, ReturnWindowClosed)
    closed_on = date(2026, 11, 20) + timedelta(days=days)
    assert (refused.line_number, refused.closed_on) == (1, closed_on)
    (line,) = policy.decide(sold, {}, PLACES, now=late)
    assert (line.reason, line.returnable, line.closes_on) == ("window_closed", 0, closed_on)


def test_final_sale_is_named() -> None:
    sold = order(three_units(), final_sale=True)
    with pytest.raises(FinalSale):
        policy.check(sold, {1: 1}, {})
    (line,) = policy.decide(sold, {}, PLACES, now=SOLD_AT)
    assert (line.reason, line.closes_on) == ("final_sale", None)


def test_an_order_that_is_not_completed_is_cancelled_instead() -> None:
    sold = order(three_units(), state="placed")
    with pytest.raises(OrderNotCompleted) as refused:
        policy.check(sold, {1: 1}, {})
    assert refused.value.state == "placed"
    (line,) = policy.decide(sold, {}, PLACES, now=SOLD_AT)
    assert (line.reason, line.returnable) == ("order_not_completed", 0)


@pytest.mark.parametrize(("line_number", "quantity", "left"), [(1, 3, 2), (9, 1, 0)])
def test_more_than_was_bought_is_refused_with_what_is_left(
    line_number: int, quantity: int, left: int
) -> None:
    with pytest.raises(ReturnExceedsBought) as refused:
        policy.check(order(three_units()), {line_number: quantity}, {1: 1})
    assert (refused.value.requested, refused.value.returnable) == (quantity, left)


def test_arrivals_of_one_line_are_summed_before_they_are_compared() -> None:
    sold = order(three_units())
    wanted = asked(sold, {1: 2})
    with pytest.raises(ReturnExceedsRequested) as refused:
        receiving.count(sold, wanted, [Arrival(1, "restock", 2), Arrival(1, "damaged", 1)])
    assert (refused.value.received, refused.value.requested) == (3, 2)
    with pytest.raises(NothingReceived):
        receiving.count(sold, wanted, [])
    counted = receiving.count(sold, wanted, [Arrival(1, "restock", 1), Arrival(1, "restock", 1)])
    assert [(u.disposition, u.quantity) for u in counted.units] == [("restock", 2)]


def test_a_line_that_nobody_asked_for_does_not_come_back() -> None:
    sold = order(quote([(100, 1), (200, 1)], tax_included=True, tax_rate_bp=0))
    with pytest.raises(ReturnExceedsRequested) as refused:
        receiving.count(sold, asked(sold, {1: 1}), [Arrival(2, "restock", 1)])
    assert (refused.value.line_number, refused.value.requested) == (2, 0)
