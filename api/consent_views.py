"""Consents as clients send and see them, the shopper at home and the associate at the counter."""

from datetime import datetime
from typing import Annotated

import msgspec

from commerce.consents import (
    CHANNELS,
    SERVING,
    WRITING,
    Consents,
    Decision,
    MessageChannel,
    Purpose,
    Source,
)

MAX_DECISIONS = 20


class ConsentView(msgspec.Struct, frozen=True):
    """What holds for a purpose, and for the purposes of writing for a channel.

    `source` and `decided_at` are null where nothing was ever decided: then it is not granted.
    """

    purpose: Purpose
    channel: MessageChannel | None
    granted: bool
    source: Source | None = None
    decided_at: datetime | None = None


class ConsentsView(msgspec.Struct, frozen=True):
    """Every purpose and channel that there is."""

    consents: list[ConsentView]

    @classmethod
    def of(cls, held: Consents) -> "ConsentsView":
        """As the shopper sees them."""
        asked: list[tuple[Purpose, MessageChannel | None]] = [
            *((purpose, None) for purpose in sorted(SERVING)),
            *((purpose, channel) for purpose in sorted(WRITING) for channel in CHANNELS),
        ]
        return cls([_view(purpose, channel, held) for purpose, channel in asked])


class ConsentDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing allowed or not. Follow-ups and marketing name a channel, the others none."""

    purpose: Purpose
    granted: bool
    channel: MessageChannel | None = None


class Decisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the shopper allows or does not. What is not named stays as it is."""

    decisions: Annotated[
        tuple[ConsentDecision, ...],
        msgspec.Meta(
            min_length=1,
            max_length=MAX_DECISIONS,
            examples=[[{"purpose": "marketing", "channel": "email", "granted": True}]],
        ),
    ]

    def parsed(self) -> list[Decision]:
        """As the noun takes them."""
        return [Decision(each.purpose, each.granted, each.channel) for each in self.decisions]


def _view(purpose: Purpose, channel: MessageChannel | None, held: Consents) -> ConsentView:
    decided = held.decision(purpose, channel)
    if decided is None:
        return ConsentView(purpose, channel, granted=False)
    return ConsentView(purpose, channel, decided.granted, decided.source, decided.at)
