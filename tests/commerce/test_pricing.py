"""What a basket costs, as properties: sums are exact, refunds give back what was paid."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.kernel.money import MAX_MINOR
from commerce.pricing import (
    MAX_LINE_UNITS,
    Basket,
    Coupon,
    CouponRefused,
    Line,
    Offer,
    PricedLine,
    Quote,
    Terms,
    UnknownSku,
    UnknownStore,
    quote,
    refund_of,
    split_units,
)
from commerce.stores import Address, Store

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HERE = UUID(int=1)
HALF = Fraction(1, 2)


def store(*, tax_included: bool = True, tax_rate_bp: int = 1600) -> Store:
    return Store(
        location_id=HERE, code="S1", name="Centro",
        address=Address("Av. Madero 1", "Ciudad de México", "", "", "MX"),
        phone=None, time_zone="America/Mexico_City", price_zone="MX", pickup_enabled=True,
        pickup_lead_minutes=60, opening_hours=(), latitude=19.4, longitude=-99.1, currency="MXN",
        tax_included=tax_included, tax_zone="IVA", tax_rate_bp=tax_rate_bp,
    )  # fmt: skip


def coupon(**fields: object) -> Coupon:
    plain = Coupon(
        code="C", kind="percent", percent_bp=1_000, amount_minor=None, currency=None,
        minimum_subtotal_minor=0, starts_at=None, ends_at=None, max_redemptions=None, redeemed=0,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


def terms(at: Store, prices: list[int], *coupons: Coupon) -> Terms:
    offers = [
        Offer("MX", f"SKU{i}", f"Item {i}", price, False, 30) for i, price in enumerate(prices)
    ]
    return Terms(
        {HERE: at},
        {(offer.price_zone, offer.sku): offer for offer in offers},
        {each.code: each for each in coupons},
    )


def priced(
    lines: list[tuple[int, int]], at: Store, *coupons: Coupon, used: int = 0, now: datetime = NOW
) -> Quote:
    """The quote of (price, units) with the coupon, if there is one."""
    basket = Basket(
        HERE,
        tuple(Line(f"SKU{i}", units) for i, (_, units) in enumerate(lines)),
        coupons[0].code if coupons else None,
    )
    given = terms(at, [price for price, _ in lines], *coupons)
    return quote(basket, given, now=now, used=used)


PRICES = st.integers(0, 500_000) | st.integers(0, MAX_MINOR)
LINES = st.lists(
    st.tuples(PRICES, st.integers(1, 7) | st.integers(1, MAX_LINE_UNITS)), min_size=1, max_size=5
)
STORES = st.builds(
    store, tax_included=st.booleans(), tax_rate_bp=st.integers(0, 3_000) | st.just(10_000)
)
COUPONS = st.one_of(
    st.none(),
    st.integers(1, 10_000).map(lambda bp: coupon(percent_bp=bp)),
    st.integers(1, MAX_MINOR).map(
        lambda amount: coupon(kind="amount", percent_bp=None, amount_minor=amount, currency="MXN")
    ),
)


@given(LINES, STORES, COUPONS)
def test_every_sum_is_exact_and_a_coupon_is_worth_what_it_says(
    lines: list[tuple[int, int]], at: Store, given_coupon: Coupon | None
) -> None:
    made = priced(lines, at, *([given_coupon] if given_coupon else []))
    gross = [price * units for price, units in lines]
    worth = Fraction(0)
    if given_coupon and given_coupon.percent_bp:
        worth = Fraction(sum(gross) * given_coupon.percent_bp, 10_000)
    elif given_coupon and given_coupon.amount_minor:
        worth = Fraction(min(sum(gross), given_coupon.amount_minor))
    assert abs(made.discount_minor - worth) <= HALF
    assert made.subtotal_minor == sum(gross)
    assert made.discount_minor == sum(line.discount_minor for line in made.lines)
    assert made.tax_minor == sum(line.tax_minor for line in made.lines)
    assert made.total_minor == sum(line.total_minor for line in made.lines)
    on_top = 0 if at.tax_included else made.tax_minor
    assert made.total_minor == made.subtotal_minor - made.discount_minor + on_top
    for line, before in zip(made.lines, gross, strict=True):
        assert 0 <= line.discount_minor <= before
        if made.subtotal_minor:
            share = Fraction(made.discount_minor * before, made.subtotal_minor)
            assert abs(line.discount_minor - share) < 1
        net = before - line.discount_minor
        parts = 10_000 + at.tax_rate_bp if at.tax_included else 10_000
        assert abs(line.tax_minor - Fraction(net * at.tax_rate_bp, parts)) <= HALF
        assert line.total_minor == (net if at.tax_included else net + line.tax_minor)


def unit_by_unit(line: PricedLine, *, tax_included: bool) -> list[int]:
    """What was paid for each single unit of a line."""
    return [
        line.unit_price_minor - discount + (0 if tax_included else tax)
        for run, discount, tax in line.units
        for _ in range(run)
    ]


SMALL_LINES = st.lists(st.tuples(PRICES, st.integers(1, 40)), min_size=1, max_size=3)


@given(SMALL_LINES, STORES, COUPONS, st.sets(st.integers(0, 40), max_size=6))
def test_refunds_in_any_parts_sum_to_what_was_paid(
    lines: list[tuple[int, int]], at: Store, given_coupon: Coupon | None, cuts: set[int]
) -> None:
    made = priced(lines, at, *([given_coupon] if given_coupon else []))
    for line in made.lines:
        paid = unit_by_unit(line, tax_included=at.tax_included)
        assert (len(paid), sum(paid)) == (line.quantity, line.total_minor)
        assert min(paid) >= 0
        bounds = sorted({0, line.quantity} | {cut for cut in cuts if cut < line.quantity})
        parts = [
            refund_of(line.units, line.unit_price_minor, tax_included=at.tax_included,
                      first=start, count=end - start)
            for start, end in pairwise(bounds)
        ]  # fmt: skip
        assert parts == [sum(paid[start:end]) for start, end in pairwise(bounds)]
        assert sum(parts) == line.total_minor


@given(st.integers(1, MAX_LINE_UNITS), st.integers(0, MAX_MINOR), st.integers(0, MAX_MINOR))
def test_a_line_is_split_over_its_units_without_loss_in_at_most_three_runs(
    quantity: int, discount: int, tax: int
) -> None:
    units = split_units(quantity, discount, tax)
    assert sum(run for run, _, _ in units) == quantity
    assert sum(run * each for run, each, _ in units) == discount
    assert sum(run * each for run, _, each in units) == tax
    assert 1 <= len(units) <= 3
    assert all(run > 0 for run, _, _ in units)
    for index in (1, 2):
        amounts = [unit[index] for unit in units]
        assert amounts == sorted(amounts, reverse=True)
        assert amounts[0] - amounts[-1] <= 1


def test_odd_cents_of_a_thirds_discount_go_to_the_first_units() -> None:
    made = priced([(1_000, 3)], store(), coupon(kind="amount", percent_bp=None,
                                                amount_minor=100, currency="MXN"))  # fmt: skip
    (line,) = made.lines
    assert line.units == ((1, 34, 134), (2, 33, 133))
    assert (line.discount_minor, line.tax_minor, line.total_minor) == (100, 400, 2_900)


WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("given_coupon", "reason"),
    [
        (coupon(starts_at=NOW + timedelta(microseconds=1)), "not_started"),
        (coupon(ends_at=NOW), "ended"),
        (coupon(starts_at=NOW - 2 * WEEK, ends_at=NOW - WEEK), "ended"),
        (coupon(max_redemptions=3, redeemed=3), "used_up"),
        (coupon(max_redemptions=3, redeemed=2), "used_up"),
        (coupon(currency="USD"), "other_currency"),
        (coupon(minimum_subtotal_minor=20_001), "below_minimum"),
    ],
)
def test_a_coupon_that_does_not_fit_says_why(given_coupon: Coupon, reason: str) -> None:
    with pytest.raises(CouponRefused) as refused:
        priced([(10_000, 2)], store(), given_coupon, used=1)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "given_coupon",
    [
        coupon(starts_at=NOW, ends_at=NOW + timedelta(microseconds=1)),
        coupon(max_redemptions=3, redeemed=1),
        coupon(currency="MXN", minimum_subtotal_minor=20_000),
    ],
)
def test_a_coupon_that_just_fits_is_used(given_coupon: Coupon) -> None:
    assert priced([(10_000, 2)], store(), given_coupon, used=1).discount_minor == 2_000


def test_what_is_not_for_sale_is_named_by_its_place() -> None:
    given_terms = terms(store(), [100])
    with pytest.raises(UnknownSku) as refused:
        quote(Basket(HERE, (Line("SKU0", 1), Line("SKU1", 1))), given_terms, now=NOW)
    assert refused.value.fields() == {"sku": "SKU1", "path": "/lines/1/sku"}
    with pytest.raises(UnknownStore):
        quote(Basket(UUID(int=2), (Line("SKU0", 1),)), given_terms, now=NOW)
    with pytest.raises(CouponRefused) as unknown:
        quote(Basket(HERE, (Line("SKU0", 1),), "C"), given_terms, now=NOW)
    assert unknown.value.reason == "unknown"
