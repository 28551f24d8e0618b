"""Amounts of money: integers in minor units with their ISO 4217 currency, and the only rounding.

The exponent of a currency is ISO's (by `iso4217`), not CLDR's, which differs for some (MGA).
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Annotated

import msgspec
from iso4217 import Currency

MAX_MINOR = 10**15
"""The largest amount that is accepted anywhere; sums of many still fit into a bigint."""

BASIS_POINTS = 10_000

CurrencyCode = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", examples=["MXN"])]


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount in minor units (centavos, cents) of one currency."""

    amount_minor: Annotated[int, msgspec.Meta(ge=-MAX_MINOR, le=MAX_MINOR, examples=[12900])]
    currency: CurrencyCode


def round_half_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator` rounded to the nearest integer, halves away from zero."""
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    numerator, denominator = abs(numerator), abs(denominator)
    return sign * ((2 * numerator + denominator) // (2 * denominator))


def percentage(amount_minor: int, basis_points: int) -> int:
    """So many basis points (1/100 of a percent) of an amount."""
    return round_half_up(amount_minor * basis_points, BASIS_POINTS)


def tax_added(net_minor: int, rate_bp: int) -> int:
    """The tax that comes on top of a net amount (United States)."""
    return percentage(net_minor, rate_bp)


def tax_included(gross_minor: int, rate_bp: int) -> int:
    """The tax that a gross amount already contains (Mexico, European Union)."""
    return round_half_up(gross_minor * rate_bp, BASIS_POINTS + rate_bp)


def allocate(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights, losing nothing: the parts sum exactly to it (largest remainder).

    Ties go to the earlier part. All weights zero: split evenly. Weights are not negative.
    """
    if not weights:
        if amount_minor:
            raise ValueError("nothing to allocate to")
        return []
    total = sum(weights)
    if total == 0:
        weights, total = [1] * len(weights), len(weights)
    sign, magnitude = (-1, -amount_minor) if amount_minor < 0 else (1, amount_minor)
    parts = [magnitude * weight // total for weight in weights]
    left = magnitude - sum(parts)
    if left:
        by_remainder = sorted(
            range(len(weights)), key=lambda i: (-(magnitude * weights[i] % total), i)
        )
        for index in by_remainder[:left]:
            parts[index] += 1
    return [sign * part for part in parts]


@lru_cache(maxsize=512)
def exponent(currency: str) -> int:
    """Digits after the decimal point by ISO 4217: 2 for MXN, 0 for JPY, 3 for KWD.

    Raises ValueError for a code that ISO does not list or that has no minor unit (XAU).
    """
    digits = Currency(currency).exponent
    if digits is None:
        raise ValueError(f"{currency} has no minor unit")
    return int(digits)


def display(money: Money, locale: str = "en_US") -> str:
    """For people: `MX$129.00`, `129,00 €`. Never parse it back."""
    from babel import Locale  # 0.2 s: only who prints for people pays for it
    from babel.numbers import parse_pattern

    digits = exponent(money.currency)
    pattern = parse_pattern(Locale.parse(locale).currency_formats["standard"].pattern)
    pattern.frac_prec = (digits, digits)  # ISO's, which are not always CLDR's
    amount = Decimal(money.amount_minor).scaleb(-digits)
    return str(pattern.apply(amount, locale, currency=money.currency, currency_digits=False))
