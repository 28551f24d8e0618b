"""What becomes of follow-ups that are due: a pure decision about many at once.

In this order: the person is gone; the person has bought; what it was about is over; it is too early
after all (the cart was edited again); the trigger is off; no consent; the cap; quiet hours. Only
what passes all of it is sent.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from commerce.follow_ups.settings import Settings, Trigger

StopReason = Literal["purchase", "over", "erased"]
"""Why nobody need be told any more. `over`: emptied, collected, called off, sold out again."""

SkipReason = Literal["disabled", "no_consent", "cap_reached", "unreachable"]
"""Why somebody is not told although it would be time."""


class Case(msgspec.Struct, frozen=True):
    """A follow-up that is due, and what is known about it now."""

    id: UUID
    trigger: Trigger
    person: UUID
    """The root of a shopper's ids; the contact of a guest."""
    about: Literal["open", "over", "erased"]
    since: datetime
    """From when on a purchase ends it."""
    not_before: datetime
    """When it is due by what is known now."""
    may_send_at: datetime
    """The end of the quiet hours; a moment that has passed when there are none."""
    allowed: bool
    """By consent, or because it needs none."""
    bought_at: datetime | None = None
    """The newest purchase that ends it, in any channel."""
    sent_before: tuple[datetime, ...] = ()
    """When this person was sent follow-ups of this trigger."""


class Send(msgspec.Struct, frozen=True):
    """It goes out now."""


class Wait(msgspec.Struct, frozen=True):
    """It is looked at again then."""

    until: datetime


class Stop(msgspec.Struct, frozen=True):
    """There is no reason for it any more."""

    reason: StopReason


class Skip(msgspec.Struct, frozen=True):
    """There is a reason, but it may not be sent."""

    reason: SkipReason


Decision = Send | Wait | Stop | Skip


def decide(
    cases: Sequence[Case], settings: Mapping[Trigger, Settings], *, now: datetime
) -> list[Decision]:
    """One decision for each, in order: those that are sent count towards the caps of later ones."""
    sent: dict[tuple[Trigger, UUID], int] = {}
    decisions: list[Decision] = []
    for case in cases:
        of = settings[case.trigger]
        key = case.trigger, case.person
        recent = sum(each > now - of.cap_window for each in case.sent_before)
        full = recent + sent.get(key, 0) >= of.cap
        decision = _decide(case, of, full=full, now=now)
        if isinstance(decision, Send):
            sent[key] = sent.get(key, 0) + 1
        decisions.append(decision)
    return decisions


def _decide(case: Case, of: Settings, *, full: bool, now: datetime) -> Decision:
    rules: tuple[tuple[bool, Decision], ...] = (
        (case.about == "erased", Stop("erased")),
        (case.bought_at is not None and case.bought_at >= case.since, Stop("purchase")),
        (case.about == "over", Stop("over")),
        (case.not_before > now, Wait(case.not_before)),
        (not of.enabled, Skip("disabled")),
        (not case.allowed, Skip("no_consent")),
        (full, Skip("cap_reached")),
        (case.may_send_at > now, Wait(case.may_send_at)),
    )
    return next((decision for applies, decision in rules if applies), Send())
