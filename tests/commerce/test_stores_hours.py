"""Opening hours in the store's own time zone, through clock changes, and promised times."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce import opening_hours
from commerce.opening_hours import HORIZON_DAYS, Week, after_open_time, is_open, next_opening

MEXICO = "America/Mexico_City"
NEW_YORK = "America/New_York"
CLOSED: tuple[tuple[int, int], ...] = ()
NINE_TO_SIX = ((9 * 60, 18 * 60),)
WEEKDAYS: Week = (*[NINE_TO_SIX] * 5, CLOSED, CLOSED)
NEVER: Week = (CLOSED,) * 7
ALWAYS: Week = (((0, 24 * 60),),) * 7

ZONES = st.sampled_from(
    [MEXICO, NEW_YORK, "America/Santiago", "Europe/Lisbon", "Australia/Lord_Howe", "Asia/Kolkata"]
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
CUTS = st.lists(st.integers(0, 24 * 60), max_size=6, unique=True).map(sorted)
DAY = CUTS.map(lambda cuts: tuple(zip(cuts[::2], cuts[1::2], strict=False)))
WEEKS = st.tuples(*[DAY] * 7)


def local(zone: str, text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T08:59:59", False),
        ("2026-11-20T09:00", True),
        ("2026-11-20T17:59:59", True),
        ("2026-11-20T18:00", False),
        ("2026-11-21T12:00", False),
    ],
)
def test_doors_open_at_the_first_and_close_at_the_last_minute(text: str, expected: bool) -> None:
    assert is_open(WEEKDAYS, MEXICO, local(MEXICO, text)) is expected


def test_next_opening_is_now_when_open_and_skips_the_closed_weekend() -> None:
    friday_noon = local(MEXICO, "2026-11-20T12:00")
    assert next_opening(WEEKDAYS, MEXICO, friday_noon) == friday_noon
    friday_night = local(MEXICO, "2026-11-20T18:00")
    assert next_opening(WEEKDAYS, MEXICO, friday_night) == local(MEXICO, "2026-11-23T09:00")


def test_lead_time_runs_on_after_the_night() -> None:
    promised = after_open_time(
        WEEKDAYS, MEXICO, local(MEXICO, "2026-11-20T17:30"), timedelta(minutes=45)
    )
    assert promised == local(MEXICO, "2026-11-23T09:15")


def test_lead_time_that_ends_with_closing_is_promised_for_the_next_opening() -> None:
    promised = after_open_time(
        WEEKDAYS, MEXICO, local(MEXICO, "2026-11-19T17:00"), timedelta(minutes=60)
    )
    assert promised == local(MEXICO, "2026-11-20T09:00")


def test_midday_break_does_not_count() -> None:
    siesta: Week = (((9 * 60, 14 * 60), (16 * 60, 20 * 60)),) * 7
    promised = after_open_time(
        siesta, MEXICO, local(MEXICO, "2026-11-20T13:30"), timedelta(minutes=60)
    )
    assert promised == local(MEXICO, "2026-11-20T16:30")


def test_store_that_never_opens_promises_nothing() -> None:
    now = local(MEXICO, "2026-11-20T12:00")
    assert after_open_time(NEVER, MEXICO, now, timedelta(0)) is None
    assert next_opening(NEVER, MEXICO, now) is None
    assert not is_open(NEVER, MEXICO, now)


def test_store_that_opens_a_minute_a_week_cannot_promise_a_day_of_work() -> None:
    rarely: Week = (((600, 601),), *[CLOSED] * 6)
    now = local(MEXICO, "2026-11-20T12:00")
    assert after_open_time(rarely, MEXICO, now, timedelta(days=1)) is None


def test_hours_past_midnight_are_one_stretch() -> None:
    friday_night: Week = (*[CLOSED] * 4, ((22 * 60, 24 * 60),), ((0, 2 * 60),), CLOSED)
    promised = after_open_time(
        friday_night, MEXICO, local(MEXICO, "2026-11-20T23:30"), timedelta(minutes=60)
    )
    assert promised == local(MEXICO, "2026-11-21T00:30")


def test_skipped_hour_is_not_opening_time() -> None:
    """New York, 8 March 2026: 02:00 is followed by 03:00."""
    night: Week = (((1 * 60, 4 * 60),),) * 7
    promised = after_open_time(
        night, NEW_YORK, local(NEW_YORK, "2026-03-08T01:00"), timedelta(minutes=90)
    )
    assert promised == local(NEW_YORK, "2026-03-08T03:30")


def test_moment_given_in_the_time_of_the_store_is_the_same_moment() -> None:
    now = local(NEW_YORK, "2026-03-08T01:00")
    there = now.astimezone(ZoneInfo(NEW_YORK))
    expected = after_open_time(ALWAYS, NEW_YORK, now, timedelta(minutes=90))
    assert after_open_time(ALWAYS, NEW_YORK, there, timedelta(minutes=90)) == expected
    assert next_opening(ALWAYS, NEW_YORK, there) == now


def test_range_inside_the_skipped_hour_never_opens() -> None:
    night: Week = (((2 * 60 + 10, 2 * 60 + 50),),) * 7
    before = local(NEW_YORK, "2026-03-08T00:00")
    assert next_opening(night, NEW_YORK, before) == local(NEW_YORK, "2026-03-09T02:10")


def test_range_that_begins_in_the_skipped_hour_opens_at_the_change() -> None:
    night: Week = (((2 * 60 + 10, 5 * 60),),) * 7
    before = local(NEW_YORK, "2026-03-08T00:00")
    assert next_opening(night, NEW_YORK, before) == local(NEW_YORK, "2026-03-08T03:00")


def test_repeated_hour_is_opening_time_twice() -> None:
    """New York, 1 November 2026: 02:00 is followed by 01:00."""
    night: Week = (((0, 4 * 60),),) * 7
    promised = after_open_time(
        night, NEW_YORK, local(NEW_YORK, "2026-11-01T00:30"), timedelta(minutes=120)
    )
    assert promised == local(NEW_YORK, "2026-11-01T01:30", fold=1)


def test_midnight_that_the_clock_skips_closes_at_the_change() -> None:
    """Santiago, 6 September 2026: Saturday's 24:00 is 01:00 of Sunday at once."""
    saturday: Week = (*[CLOSED] * 5, ((20 * 60, 24 * 60),), CLOSED)
    zone = "America/Santiago"
    assert is_open(saturday, zone, local(zone, "2026-09-05T23:59"))
    assert not is_open(saturday, zone, local(zone, "2026-09-06T01:00"))


@given(week=WEEKS, zone=ZONES, now=MOMENTS, minutes=st.integers(0, 20_160))
def test_promise_falls_into_opening_hours_and_leaves_the_lead_time_open(
    week: Week, zone: str, now: datetime, minutes: int
) -> None:
    promised = after_open_time(week, zone, now, timedelta(minutes=minutes))
    stretches = list(opening_hours._openings(week, zone, now))
    total = sum((end - max(now, start) for start, end in stretches), timedelta())
    if promised is None:
        assert total <= timedelta(minutes=minutes)
        return
    assert is_open(week, zone, promised)
    open_until_then = sum(
        (min(end, promised) - max(now, start) for start, end in stretches if start < promised),
        timedelta(),
    )
    assert open_until_then == timedelta(minutes=minutes)


@given(week=WEEKS, zone=ZONES, now=MOMENTS)
def test_stretches_are_in_order_apart_and_within_the_horizon(
    week: Week, zone: str, now: datetime
) -> None:
    stretches = list(opening_hours._openings(week, zone, now))
    assert all(start < end for start, end in stretches)
    assert all(end <= start for (_, end), (start, _) in pairwise(stretches))
    assert all(now < end <= now + timedelta(days=HORIZON_DAYS + 1) for _, end in stretches)


@given(week=WEEKS, zone=ZONES, now=MOMENTS)
def test_open_means_that_the_wall_clock_shows_opening_hours(
    week: Week, zone: str, now: datetime
) -> None:
    """Except on days with a clock change, where the wall clock shows some hours twice."""
    there = now.astimezone(ZoneInfo(zone))
    midnight = there.replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight.utcoffset() != (midnight + timedelta(days=1)).utcoffset():
        return
    minute = there.hour * 60 + there.minute
    expected = any(begins <= minute < ends for begins, ends in week[there.weekday()])
    assert is_open(week, zone, now) is expected


@given(zone=ZONES, now=MOMENTS, minutes=st.integers(0, 20_160))
def test_store_that_never_closes_promises_exactly_the_lead_time(
    zone: str, now: datetime, minutes: int
) -> None:
    lead = timedelta(minutes=minutes)
    assert after_open_time(ALWAYS, zone, now, lead) == now + lead
