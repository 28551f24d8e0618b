"""When a store is open, and when something that takes opening time will be done. Pure functions.

Hours are wall time of the store, per weekday. A range opens at the first moment at which the wall
clock of that day shows its beginning or later, and closes likewise: an hour that the clock skips
is not there, an hour that the clock repeats is open twice as long. Answers are in UTC, because
Python subtracts times of one zone by their wall clock.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

from commerce.importing.records import WEEKDAYS

Week: TypeAlias = tuple[tuple[tuple[int, int], ...], ...]
"""Seven days, Monday first: ranges of minutes since midnight, in order, without overlap."""

HORIZON_DAYS = 92
"""How far ahead an opening is looked for. A store that needs longer promises nothing."""

_MINUTE = timedelta(minutes=1)
_DAY_MINUTES = 24 * 60


def texts(week: Week) -> dict[str, list[str]]:
    """By weekday, as import records name them: ranges such as 09:00-14:00; 24:00 ends the day."""
    return {
        day: [f"{_clock(begins)}-{_clock(ends)}" for begins, ends in ranges]
        for day, ranges in zip(WEEKDAYS, week, strict=True)
    }


def is_open(week: Week, zone: str, at: datetime) -> bool:
    """Whether the doors are open at this moment; not any more in the moment of closing."""
    at = at.astimezone(UTC)
    opening = next(_openings(week, zone, at), None)
    return opening is not None and opening[0] <= at


def next_opening(week: Week, zone: str, at: datetime) -> datetime | None:
    """When the doors open next: this moment if they are open. None: not within three months."""
    at = at.astimezone(UTC)
    opening = next(_openings(week, zone, at), None)
    return max(at, opening[0]) if opening is not None else None


def after_open_time(week: Week, zone: str, since: datetime, needed: timedelta) -> datetime | None:
    """The first moment at which the doors are open and have been open for `needed` since `since`.

    None when that is more than three months away, or when the store never opens.
    """
    since, left = since.astimezone(UTC), needed
    for opens, closes in _openings(week, zone, since):
        starts = max(since, opens)
        if left < closes - starts:
            return starts + left
        left -= closes - starts
    return None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _openings(week: Week, zone: str, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The stretches of opening, in UTC, that end after `since` (in UTC), for three months."""
    tz = ZoneInfo(zone)
    today = since.astimezone(tz).date()
    for ahead in range(-1, HORIZON_DAYS):
        day = today + timedelta(days=ahead)
        for begins, ends in week[day.weekday()]:
            opens, closes = _moment(tz, day, begins), _moment(tz, day, ends)
            if closes > max(opens, since):
                yield opens, closes


@lru_cache(maxsize=4096)
def _moment(tz: ZoneInfo, day: date, minute: int) -> datetime:
    """The first moment at which the wall clock shows this minute of the day, or a later one."""
    wall = datetime.combine(day, time()) + minute * _MINUTE
    earliest, latest = sorted(wall.replace(tzinfo=tz, fold=f).astimezone(UTC) for f in (0, 1))
    if earliest.astimezone(tz).replace(tzinfo=None) == wall:
        return earliest
    span = range((latest - earliest) // _MINUTE)
    skipped = bisect_left(
        span,
        wall,
        key=lambda m: (earliest + m * _MINUTE).astimezone(tz).replace(tzinfo=None),
    )
    return earliest + skipped * _MINUTE
