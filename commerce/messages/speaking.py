"""Money, moments and opening hours as people write them, in Spanish and English (by Babel)."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime, format_time, get_day_names

from commerce.kernel.money import Money, display
from commerce.opening_hours import Week
from commerce.stores import Store

LOCALES = {"en": "en_US", "es": "es_MX"}
_DAY_MINUTES = 24 * 60


def spoken(parameters: Mapping[str, Any], locale: str, zone: str) -> dict[str, Any]:
    """Parameters as texts show them: amounts, moments on the zone's clock, stores, the rest."""
    return {name: _spoken(value, locale, zone) for name, value in parameters.items()}


def _spoken(value: Any, locale: str, zone: str) -> Any:
    spoken_value = value
    if isinstance(value, Money):
        spoken_value = amount(value.amount_minor, value.currency, locale)
    elif isinstance(value, datetime):
        spoken_value = moment(value, zone, locale)
    elif isinstance(value, Store):
        spoken_value = _place(value.name, value.address, value.opening_hours, locale)
    elif isinstance(value, list | tuple):
        spoken_value = [_spoken(each, locale, zone) for each in value]
    elif isinstance(value, dict):
        spoken_value = spoken(value, locale, zone)
    return spoken_value


def _place(name: str, address: Any, week: Week, locale: str) -> dict[str, str]:
    return {
        "name": name,
        "street": address.street,
        "city": address.city,
        "hours": hours(week, locale),
    }


@lru_cache(maxsize=4096)
def amount(amount_minor: int, currency: str, locale: str) -> str:
    """Money as people write it."""
    return display(Money(amount_minor, currency), LOCALES[locale])


@lru_cache(maxsize=4096)
def moment(at: datetime, zone: str, locale: str) -> str:
    """Day and time on the clock there: `Friday, November 27, 6:00 PM`."""
    pattern = "EEEE, MMMM d, h:mm a" if locale == "en" else "EEEE d 'de' MMMM, HH:mm"
    return str(format_datetime(at, pattern, tzinfo=ZoneInfo(zone), locale=LOCALES[locale]))


@lru_cache(maxsize=1024)
def hours(week: Week, locale: str) -> str:
    """The week's opening hours, days that are alike in one line."""
    spans: list[tuple[int, int]] = []
    for day, ranges in enumerate(week):
        if spans and week[spans[-1][0]] == ranges:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    names = get_day_names("abbreviated", locale=LOCALES[locale])
    closed = {"en": "closed", "es": "cerrado"}[locale]
    lines = []
    for first, last in spans:
        days = names[first] if first == last else f"{names[first]} - {names[last]}"
        times = ", ".join(
            f"{_clock(begins, locale)} - {_clock(ends, locale)}" for begins, ends in week[first]
        )
        lines.append(f"{days}: {times or closed}")
    return "\n".join(lines)


def _clock(minute: int, locale: str) -> str:
    if minute == _DAY_MINUTES:
        return {"en": "midnight", "es": "24:00"}[locale]
    hour, left = divmod(minute, 60)
    pattern = "h:mm a" if locale == "en" else "HH:mm"
    at = datetime(2000, 1, 1, hour, left)  # noqa: DTZ001  a time of day, on no day
    return str(format_time(at.time(), pattern, locale=Locale.parse(LOCALES[locale])))
