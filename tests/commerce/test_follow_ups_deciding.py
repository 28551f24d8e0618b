"""Decisions about follow-ups: for whatever is known, nobody hears more than they allow and want."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.follow_ups.deciding import Case, Decision, Send, Skip, Stop, Wait, decide
from commerce.follow_ups.settings import DEFAULTS, TRIGGERS, Settings
from commerce.kernel import ids

NOW = datetime(2026, 11, 21, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
OPEN = Case(
    id=UUID(int=1), trigger="abandoned_cart", person=UUID(int=2), about="open", since=NOW - HOUR,
    not_before=NOW, may_send_at=NOW, allowed=True,
)  # fmt: skip

MOMENTS = st.integers(-40 * 24, 40 * 24).map(lambda hours: NOW + hours * HOUR)
CASES = st.builds(
    Case,
    id=st.builds(ids.uuid7),
    trigger=st.sampled_from(TRIGGERS),
    person=st.integers(1, 3).map(lambda number: UUID(int=number)),
    about=st.sampled_from(["open", "open", "open", "over", "erased"]),
    since=MOMENTS,
    not_before=MOMENTS,
    may_send_at=st.sampled_from([NOW, NOW, NOW + HOUR]),
    allowed=st.booleans(),
    bought_at=st.none() | MOMENTS,
    sent_before=st.lists(MOMENTS.filter(lambda at: at <= NOW), max_size=3).map(tuple),
)
SETTINGS = st.fixed_dictionaries(
    {
        trigger: st.builds(
            Settings, st.just(trigger), st.booleans(), st.just(60), st.integers(1, 3),
            st.integers(1, 30),
        )
        for trigger in TRIGGERS
    }
)  # fmt: skip


def one(**known: object) -> Decision:
    """The decision about an open case that could be sent, but for what is given."""
    (decision,) = decide([msgspec.structs.replace(OPEN, **known)], DEFAULTS, now=NOW)
    return decision


def test_what_is_due_open_and_allowed_is_sent() -> None:
    assert one() == Send()


@pytest.mark.parametrize(
    ("known", "decision"),
    [
        ({"about": "erased", "bought_at": NOW}, Stop("erased")),
        ({"bought_at": NOW - HOUR, "about": "over"}, Stop("purchase")),
        ({"about": "over", "not_before": NOW + HOUR}, Stop("over")),
        ({"not_before": NOW + HOUR, "allowed": False}, Wait(NOW + HOUR)),
        ({"allowed": False, "sent_before": (NOW,)}, Skip("no_consent")),
        ({"sent_before": (NOW,), "may_send_at": NOW + HOUR}, Skip("cap_reached")),
        ({"may_send_at": NOW + HOUR}, Wait(NOW + HOUR)),
        ({"bought_at": NOW - 2 * HOUR}, Send()),
        ({"sent_before": (NOW - timedelta(days=7),)}, Send()),
    ],
)
def test_the_first_reason_decides(known: dict[str, object], decision: Decision) -> None:
    assert one(**known) == decision


def test_a_trigger_that_is_off_sends_nothing_but_what_is_over_says_so() -> None:
    off = {**DEFAULTS, "abandoned_cart": Settings("abandoned_cart", False, 60, 1, 7)}
    over = msgspec.structs.replace(OPEN, about="over")
    assert decide([OPEN, over], off, now=NOW) == [Skip("disabled"), Stop("over")]


def test_two_carts_of_one_person_are_one_message() -> None:
    other = msgspec.structs.replace(OPEN, id=UUID(int=3))
    stranger = msgspec.structs.replace(OPEN, id=UUID(int=4), person=UUID(int=5))
    assert decide([OPEN, other, stranger], DEFAULTS, now=NOW) == [
        Send(),
        Skip("cap_reached"),
        Send(),
    ]


@given(cases=st.lists(CASES, max_size=12), settings=SETTINGS)
def test_nothing_is_sent_that_must_not_be(cases: list[Case], settings: dict[str, Settings]) -> None:
    decisions = decide(cases, settings, now=NOW)  # type: ignore[arg-type]
    sent = [case for case, each in zip(cases, decisions, strict=True) if each == Send()]
    for case in sent:
        assert case.about == "open"
        assert case.allowed
        assert settings[case.trigger].enabled
        assert case.bought_at is None or case.bought_at < case.since
        assert case.not_before <= NOW
        assert case.may_send_at <= NOW
    for (trigger, person), count in Counter((each.trigger, each.person) for each in sent).items():
        of = settings[trigger]
        recent = max(
            sum(at > NOW - timedelta(days=of.cap_days) for at in each.sent_before)
            for each in sent
            if (each.trigger, each.person) == (trigger, person)
        )
        assert recent + 1 <= of.cap
        assert count <= of.cap


@given(cases=st.lists(CASES, max_size=12), settings=SETTINGS)
def test_whatever_waits_has_a_time_to_come(
    cases: list[Case], settings: dict[str, Settings]
) -> None:
    for decision in decide(cases, settings, now=NOW):  # type: ignore[arg-type]
        assert not isinstance(decision, Wait) or decision.until > NOW


@given(case=CASES, settings=SETTINGS)
def test_whoever_has_bought_is_never_reminded_whatever_else_is_so(
    case: Case, settings: dict[str, Settings]
) -> None:
    bought = msgspec.structs.replace(case, about="open", bought_at=case.since)
    assert decide([bought], settings, now=NOW) == [Stop("purchase")]  # type: ignore[arg-type]
