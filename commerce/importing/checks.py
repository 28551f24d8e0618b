"""Rules that a pattern cannot say: GS1, ISO 3166, ISO 4217, IANA time zones, E.164, opening hours.

Each check takes the field's name and value, and raises `Refused` with what to do about it.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from zoneinfo import available_timezones

from commerce.kernel import money


class Refused(ValueError):
    """A value is well formed but wrong. msgspec carries it as the cause of its own error."""

    def __init__(self, field: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.code = code


def gtin_check_digit(body: str) -> int:
    """The digit that ends a GTIN with these other digits (GS1: weights 3, 1, 3 from the right)."""
    total = sum(int(digit) * (1 if i % 2 else 3) for i, digit in enumerate(reversed(body)))
    return -total % 10


def gtin(field: str, value: str) -> None:
    """A GTIN-8, -12, -13 or -14 ends in its check digit."""
    expected = gtin_check_digit(value[:-1])
    if int(value[-1]) != expected:
        raise Refused(
            field,
            f"{field} {value} has a wrong check digit, expected {expected}",
            code="wrong_check_digit",
        )


def currency(field: str, value: str) -> None:
    """An ISO 4217 code that has a minor unit (gold, XAU, has none)."""
    try:
        money.exponent(value)
    except ValueError:
        raise Refused(field, f"{field} {value} is not a currency of ISO 4217") from None


def country(field: str, value: str) -> None:
    """An ISO 3166-1 alpha-2 code."""
    if value not in _countries():
        raise Refused(field, f"{field} {value} is not a country of ISO 3166, such as MX or US")


@lru_cache(maxsize=1)
def _countries() -> frozenset[str]:
    table = resources.files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text("utf-8")
    return frozenset(line[:2] for line in table.splitlines() if not line.startswith("#"))


def time_zone(field: str, value: str) -> None:
    """A name of the IANA time zone database, exactly as it is written there."""
    if value not in _time_zones():
        raise Refused(
            field, f"{field} {value} is not an IANA time zone, such as America/Mexico_City"
        )


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def phone(field: str, value: str) -> None:
    """A number that exists in its country's numbering plan, written as in E.164."""
    import phonenumbers  # 0.1 s: only who loads phones pays for it

    try:
        valid = phonenumbers.is_valid_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        valid = False
    if not valid:
        raise Refused(field, f"{field} {value} is not a phone number of any country")


def opening_minutes(field: str, ranges: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Opening hours such as 09:00-14:00 as minutes since midnight; in order and without overlap."""
    parsed = tuple((_minutes(text[:5]), _minutes(text[6:])) for text in ranges)
    end = -1
    for text, (opens, closes) in zip(ranges, parsed, strict=True):
        if closes <= opens:
            raise Refused(
                field,
                f"{field} {text} closes before it opens; "
                "write hours past midnight as 22:00-24:00 and 00:00-02:00 of the next day",
            )
        if opens <= end:
            raise Refused(field, f"{field} {text} begins before the range ahead of it has ended")
        end = closes
    return parsed


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
