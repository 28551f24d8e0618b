"""Follow-ups for the retailer: what each trigger does, how it does, and what shoppers answered."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, put
from litestar.params import QueryParameter

from api.auth import may
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from commerce import follow_ups
from commerce.access import Principal
from commerce.consents import MessageChannel
from commerce.follow_ups import Answer, Numbers, Settings, Trigger
from commerce.kernel.sql import Connection

MAX_DELAY_MINUTES = 60 * 24 * 60


class PutTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a trigger is to do. A shopper gets at most `cap` messages of it within `cap_days`.

    `delay_minutes` run from the last edit of the cart, from when goods came in, from the purchase;
    for the reminder of a pickup they are how long before the pickup expires. `channel`: only by
    this one; without it by the one that the shopper prefers.
    """

    enabled: bool
    delay_minutes: Annotated[int, msgspec.Meta(ge=0, le=MAX_DELAY_MINUTES, examples=[240])]
    cap: Annotated[int, msgspec.Meta(ge=1, le=100, examples=[1])]
    cap_days: Annotated[int, msgspec.Meta(ge=1, le=365, examples=[7])]
    channel: MessageChannel | None = None


class TriggerSettings(msgspec.Struct, frozen=True):
    """What a trigger does."""

    trigger: Trigger
    enabled: bool
    delay_minutes: int
    cap: int
    cap_days: int
    channel: MessageChannel | None

    @classmethod
    def of(cls, stored: Settings) -> "TriggerSettings":
        """As the back office sees it."""
        return msgspec.convert(stored, cls, from_attributes=True)


class TriggerView(msgspec.Struct, frozen=True):
    """A trigger, and how those of its follow-ups did that were scheduled in the asked-for days.

    `stopped` and `skipped` count by reason. `converted`: the shopper ordered within a week.
    """

    settings: TriggerSettings
    scheduled: int
    waiting: int
    sent: int
    stopped: dict[str, int]
    skipped: dict[str, int]
    converted: int
    answered: int
    average_rating: float | None

    @classmethod
    def of(cls, stored: Settings, counted: Numbers) -> "TriggerView":
        """From the settings and the numbers."""
        return cls(
            settings=TriggerSettings.of(stored),
            scheduled=counted.scheduled,
            waiting=counted.waiting,
            sent=counted.sent,
            stopped=dict(counted.stopped),
            skipped=dict(counted.skipped),
            converted=counted.converted,
            answered=counted.answered,
            average_rating=counted.average_rating,
        )


class PurchaseAnswer(msgspec.Struct, frozen=True):
    """What a shopper said about an order."""

    question_id: UUID
    order_id: UUID
    rating: int
    comment: str | None
    answered_at: datetime

    @classmethod
    def of(cls, given: Answer) -> "PurchaseAnswer":
        """Without who gave it: the order says."""
        return cls(
            given.follow_up_id, given.order_id, given.rating, given.comment, given.answered_at
        )


@get("/v1/backoffice/follow-ups", guards=[may("follow_up.read")])
async def list_triggers(
    reading: Connection,
    now: datetime,
    days: Annotated[int, QueryParameter(ge=1, le=365, description="How far back.")] = 30,
) -> list[TriggerView]:
    """Every trigger with its settings and numbers."""
    stored = await follow_ups.settings(reading)
    counted = await follow_ups.numbers(reading, since=now - timedelta(days=days))
    return [TriggerView.of(stored[each.trigger], each) for each in counted]


@put("/v1/backoffice/follow-ups/{trigger:str}", guards=[may("follow_up.write")])
async def put_trigger(
    trigger: Trigger, data: PutTrigger, conn: Connection, who: Principal, now: datetime
) -> TriggerSettings:
    """Set what a trigger does, from its next look at what is due on."""
    given = Settings(
        trigger, data.enabled, data.delay_minutes, data.cap, data.cap_days, data.channel
    )
    return TriggerSettings.of(await follow_ups.change_settings(conn, who, given, now=now))


@get("/v1/backoffice/answers", guards=[may("follow_up.read")])
async def list_answers(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[PurchaseAnswer]:
    """What shoppers answered after a purchase, those asked last first."""
    rows = await follow_ups.answers(reading, before=decode_id(cursor), page=limit + 1)
    return page_of(rows, limit, view=PurchaseAnswer.of, key=lambda row: str(row.follow_up_id))


ROUTES = [list_triggers, put_trigger, list_answers]
