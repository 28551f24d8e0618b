"""Consents: the newest decision counts, per purpose and channel, and quiet hours by the clock."""

import asyncio
import itertools
from datetime import UTC, datetime, time, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce import consents, customers
from commerce.access import OPERATOR
from commerce.consents import Consents, Decision, QuietHours, may_send_at
from commerce.kernel import events
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection, Database

NOW = datetime(2026, 11, 21, 18, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SERVE = Decision("personal_service", granted=True)
NOT_SERVE = Decision("personal_service", granted=False)
MAIL = Decision("marketing", granted=True, channel="email")
NO_MAIL = Decision("marketing", granted=False, channel="email")


async def new_shopper(conn: Connection) -> UUID:
    email = f"{uuid4().hex}@example.com"
    shopper = await customers.put_shopper(conn, email=email, phone=None, locale="en", now=NOW)
    return shopper.id


async def decide(conn: Connection, of: UUID, *decisions: Decision, now: datetime = NOW) -> Consents:
    return await consents.decide(conn, of, decisions, "profile", f"shopper:{of}", now)


async def test_nothing_is_granted_before_it_is_decided(db: Database) -> None:
    async with db.transaction() as conn:
        found = await consents.of(conn, [await new_shopper(conn)])
        assert found == Consents()
        assert not found.allows("personal_service")
        assert await consents.of(conn, []) == Consents()


async def test_a_purpose_of_writing_is_granted_channel_by_channel(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        held = await decide(conn, shopper_id, MAIL)
        assert held == await consents.of(conn, [shopper_id])
        assert held.allows("marketing", "email")
        assert held.allows("marketing")
        assert not held.allows("marketing", "sms")
        assert not held.allows("follow_up", "email")
        assert not held.allows("personal_service")


async def test_the_newest_decision_counts_and_the_history_keeps_each(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        await decide(conn, shopper_id, SERVE)
        held = await decide(conn, shopper_id, NOT_SERVE, now=LATER)
        assert not held.allows("personal_service")
        told = await consents.history(conn, [shopper_id], before=None, page=10)
        assert [(each.granted, each.at, each.source, each.actor) for each in told] == [
            (False, LATER, "profile", f"shopper:{shopper_id}"),
            (True, NOW, "profile", f"shopper:{shopper_id}"),
        ]
        assert await consents.history(conn, [shopper_id], before=told[0].id, page=10) == told[1:]


async def test_a_decision_is_recorded_as_an_event_and_repeating_it_is_harmless(
    db: Database,
) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        await decide(conn, shopper_id, MAIL, NOT_SERVE)
        again = await decide(conn, shopper_id, NOT_SERVE, MAIL, now=LATER)
        assert {each.at for each in again.decided} == {NOW, NOW + timedelta(microseconds=1)}
        _, *told = await events.timeline(conn, shopper_id)
        assert [(each.type, each.aggregate, each.payload) for each in told] == [
            (
                "consent.changed",
                "shopper",
                {"purpose": "marketing", "channel": "email", "granted": True},
            ),
            (
                "consent.changed",
                "shopper",
                {"purpose": "personal_service", "channel": None, "granted": False},
            ),
        ]


async def test_time_does_not_run_backwards_between_two_decisions(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        await decide(conn, shopper_id, MAIL, now=LATER)
        held = await decide(conn, shopper_id, NO_MAIL, now=NOW)
        assert not held.allows("marketing", "email")
        assert held == await consents.of(conn, [shopper_id])


async def test_the_last_of_opposite_decisions_in_one_call_counts(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        await decide(conn, shopper_id, MAIL, NO_MAIL)
        assert not (await consents.of(conn, [shopper_id])).allows("marketing", "email")


@pytest.mark.parametrize(
    "decision",
    [Decision("marketing", granted=True), Decision("browsing_insight", True, channel="email")],
)
async def test_a_channel_belongs_to_writing_only(db: Database, decision: Decision) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        with pytest.raises(InvalidField) as refused:
            await decide(conn, shopper_id, SERVE, decision)
        assert refused.value.path == "/decisions/1/channel"
        assert await consents.of(conn, [shopper_id]) == Consents()


async def test_nobody_decides_for_an_unknown_shopper(db: Database) -> None:
    async with db.transaction() as conn:
        with pytest.raises(NotFound):
            await decide(conn, uuid4(), SERVE)


async def test_many_persons_are_asked_for_at_once(db: Database) -> None:
    async with db.transaction() as conn:
        first, second, third = [await new_shopper(conn) for _ in range(3)]
        await decide(conn, first, SERVE)
        await decide(conn, second, MAIL)
        await conn.flush()
        before = conn.statements
        found = await consents.of_many(conn, {first: [first], second: [second, third], third: []})
        assert conn.statements == before + 1
        assert [found[each].allows("personal_service") for each in (first, second, third)] == [
            True,
            False,
            False,
        ]
        assert found[second].allows("marketing", "email")
        assert found[third] == Consents()


async def test_decisions_made_at_once_leave_one_answer_for_all(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)

    async def toggle(number: int) -> None:
        async with db.transaction() as conn:
            await decide(conn, shopper_id, MAIL if number % 2 else NO_MAIL)

    await asyncio.gather(*(toggle(number) for number in range(12)))
    async with db.transaction() as conn:
        told = await consents.history(conn, [shopper_id], before=None, page=50)
        _, *log = await events.timeline(conn, shopper_id)
        held = await consents.of(conn, [shopper_id])
    in_order = sorted(told, key=lambda each: each.at)
    assert len({each.at for each in in_order}) == len(in_order)
    assert [each.granted for each in in_order] == [each.payload["granted"] for each in log]
    assert held.allows("marketing", "email") == in_order[-1].granted
    changes = itertools.pairwise(in_order)
    assert all(one.granted != other.granted for one, other in changes)


async def test_the_retailer_sets_the_quiet_hours(own_dsn: str) -> None:
    database = await Database.open(own_dsn)
    async with database.transaction() as conn:
        assert await consents.quiet_window(conn) == QuietHours(time(21), time(9))
        for window in (QuietHours(time(22), time(8)), QuietHours(time(13), time(15, 30))):
            await consents.set_quiet_window(conn, OPERATOR, window, now=NOW)
            assert await consents.quiet_window(conn) == window
    await database.close()


@pytest.mark.parametrize(
    ("local", "sent"),
    [
        ("2026-11-21 20:59", "2026-11-21 20:59"),
        ("2026-11-21 21:00", "2026-11-22 09:00"),
        ("2026-11-21 03:00", "2026-11-21 09:00"),
        ("2026-11-21 09:00", "2026-11-21 09:00"),
        # Clocks go forward at 02:00 and back at 03:00 in the night: nine is nine all the same.
        ("2026-03-28 23:00", "2026-03-29 09:00"),
        ("2026-10-24 23:00", "2026-10-25 09:00"),
    ],
)
def test_a_message_waits_for_the_morning(local: str, sent: str) -> None:
    zone = ZoneInfo("Europe/Madrid")
    at = datetime.fromisoformat(local).replace(tzinfo=zone).astimezone(UTC)
    assert may_send_at("Europe/Madrid", at).astimezone(zone).strftime("%Y-%m-%d %H:%M") == sent


def test_the_same_time_twice_means_no_quiet_hours() -> None:
    at_night = datetime(2026, 11, 21, 3, tzinfo=UTC)
    assert may_send_at("UTC", at_night, QuietHours(time(9), time(9))) == at_night


ZONES = st.sampled_from(
    ["America/Mexico_City", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe",
     "Pacific/Apia", "Asia/Kathmandu", "America/Sao_Paulo", "UTC"]
)  # fmt: skip
MOMENTS = st.integers(
    int(datetime(2011, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2028, 1, 1, tzinfo=UTC).timestamp()),
).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TIMES = st.integers(0, 24 * 12 - 1).map(lambda each: time(each // 12, each % 12 * 5))


@given(ZONES, MOMENTS, TIMES, TIMES)
def test_the_moment_is_never_quiet_never_past_and_never_too_late(
    zone: str, now: datetime, starts: time, ends: time
) -> None:
    window = QuietHours(starts, ends)
    at = may_send_at(zone, now, window)
    assert at >= now
    assert not window.hold(at.astimezone(ZoneInfo(zone)).time())
    if at > now:
        # The quiet hours end then and no sooner, but for clocks that skip their very end.
        local = at.astimezone(ZoneInfo(zone))
        skipped = (
            local.utcoffset() != (at - timedelta(hours=2)).astimezone(local.tzinfo).utcoffset()
        )
        assert local.time() == ends or skipped
        waited = (
            now + timedelta(minutes=5 * n) for n in range(int((at - now) / timedelta(minutes=5)))
        )
        assert skipped or all(window.hold(each.astimezone(local.tzinfo).time()) for each in waited)
