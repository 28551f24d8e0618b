"""Money loses nothing: rounding, taxes and splitting against exact fractions."""

from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.kernel.money import (
    BASIS_POINTS,
    MAX_MINOR,
    Money,
    allocate,
    display,
    exponent,
    percentage,
    round_half_up,
    tax_added,
    tax_included,
)

AMOUNTS = st.integers(-MAX_MINOR, MAX_MINOR)
RATES = st.integers(0, BASIS_POINTS)
WEIGHTS = st.lists(st.integers(0, MAX_MINOR), min_size=1, max_size=8)


@given(AMOUNTS, st.integers(1, MAX_MINOR) | st.integers(-MAX_MINOR, -1))
def test_rounding_goes_to_the_nearest_and_halves_away_from_zero(
    numerator: int, denominator: int
) -> None:
    exact = Fraction(numerator, denominator)
    rounded = round_half_up(numerator, denominator)
    assert abs(rounded - exact) <= Fraction(1, 2)
    if abs(rounded - exact) == Fraction(1, 2):
        assert abs(rounded) > abs(exact)
    assert round_half_up(-numerator, denominator) == -rounded


@given(AMOUNTS, WEIGHTS)
def test_parts_sum_to_the_amount_and_the_largest_remainders_get_the_odd_units(
    amount: int, weights: list[int]
) -> None:
    parts = allocate(amount, weights)
    assert sum(parts) == amount
    assert allocate(-amount, weights) == [-part for part in parts]
    weights = weights if sum(weights) else [1] * len(weights)
    shares = [Fraction(abs(amount) * weight, sum(weights)) for weight in weights]
    odd = [abs(part) - floor(share) for part, share in zip(parts, shares, strict=True)]
    assert set(odd) <= {0, 1}
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(shares[i] % 1), i))
    assert [odd[index] for index in by_remainder] == sorted(odd, reverse=True)
    assert not any(part for part, weight in zip(parts, weights, strict=True) if not weight)


def test_an_amount_needs_somebody_to_go_to() -> None:
    assert allocate(0, []) == []
    with pytest.raises(ValueError, match="nothing to allocate to"):
        allocate(1, [])


@given(st.integers(0, MAX_MINOR), RATES)
def test_a_discount_never_exceeds_what_it_is_taken_from(amount: int, rate_bp: int) -> None:
    part = percentage(amount, rate_bp)
    assert 0 <= part <= amount
    assert abs(part - Fraction(amount * rate_bp, BASIS_POINTS)) <= Fraction(1, 2)


@given(st.integers(0, MAX_MINOR), RATES)
def test_tax_on_top_is_the_tax_that_the_sum_contains(net: int, rate_bp: int) -> None:
    tax = tax_added(net, rate_bp)
    assert tax_included(net + tax, rate_bp) == tax


@given(st.integers(0, MAX_MINOR), RATES)
def test_tax_within_a_price_leaves_a_net_that_it_belongs_to(gross: int, rate_bp: int) -> None:
    tax = tax_included(gross, rate_bp)
    assert 0 <= tax <= gross
    assert abs(tax_added(gross - tax, rate_bp) - tax) <= 1


@pytest.mark.parametrize(
    ("currency", "digits", "shown"),
    [("MXN", 2, "MX$129.00"), ("USD", 2, "$129.00"), ("JPY", 0, "¥12,900"), ("KWD", 3, "KWD12.900"),
     ("MGA", 2, "MGA129.00")],
)  # fmt: skip
def test_digits_are_those_of_iso_4217(currency: str, digits: int, shown: str) -> None:
    assert exponent(currency) == digits
    assert display(Money(12_900, currency)).replace("\xa0", "") == shown


def test_what_is_no_currency_has_no_digits() -> None:
    for code in ("XAU", "ZZZ"):
        with pytest.raises(ValueError, match=code):
            exponent(code)


@given(AMOUNTS, st.sampled_from(["MXN", "USD"]))
def test_money_goes_through_json_unchanged(amount: int, currency: str) -> None:
    money = Money(amount, currency)
    assert msgspec.json.decode(msgspec.json.encode(money), type=Money) == money


@pytest.mark.parametrize("amount", [MAX_MINOR + 1, -MAX_MINOR - 1, 1.0, "1", True, None])
def test_money_from_outside_has_bounds_and_is_an_integer(amount: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"amount_minor": amount, "currency": "MXN"}, Money)
