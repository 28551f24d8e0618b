"""How follow-ups do: per trigger what was scheduled, sent, and why not; what was bought then."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import DateTime, bindparam, func, select

from commerce.follow_ups.settings import TRIGGERS, Trigger
from commerce.kernel.sql import Connection, Query
from commerce.tables import answer, follow_up


class Numbers(msgspec.Struct, frozen=True):
    """Of the follow-ups that were scheduled since a moment.

    `scheduled` counts all of them, `waiting` those still to come. `converted`: an order followed.
    """

    trigger: Trigger
    scheduled: int
    waiting: int
    sent: int
    stopped: Mapping[str, int]
    skipped: Mapping[str, int]
    converted: int
    answered: int
    average_rating: float | None


class _Count(msgspec.Struct, frozen=True):
    trigger: Trigger
    state: str
    reason: str | None
    count: int
    converted: int
    answered: int
    rating_sum: int


_since = (
    select(
        follow_up.c.trigger,
        follow_up.c.state,
        follow_up.c.reason,
        follow_up.c.order_id,
        select(answer.c.rating)
        .where(answer.c.follow_up_id == follow_up.c.id)
        .scalar_subquery()
        .label("rating"),
    )
    .where(follow_up.c.scheduled_at >= bindparam("since", type_=DateTime(timezone=True)))
    .subquery("since")
)
COUNTS = Query(
    select(
        _since.c.trigger,
        _since.c.state,
        _since.c.reason,
        func.count().label("count"),
        func.count(_since.c.order_id).label("converted"),
        func.count(_since.c.rating).label("answered"),
        func.coalesce(func.sum(_since.c.rating), 0).label("rating_sum"),
    ).group_by(_since.c.trigger, _since.c.state, _since.c.reason),
    _Count,
)


async def numbers(conn: Connection, *, since: datetime) -> list[Numbers]:
    """One for each trigger."""
    rows = await conn.run(COUNTS, since=since)
    return [
        _of(trigger, [each for each in rows if each.trigger == trigger]) for trigger in TRIGGERS
    ]


def _of(trigger: Trigger, rows: list[_Count]) -> Numbers:
    def by_reason(state: str) -> dict[str, int]:
        return {str(each.reason): each.count for each in rows if each.state == state}

    def count(*states: str) -> int:
        return sum(each.count for each in rows if each.state in states)

    answered = sum(each.answered for each in rows)
    rating_sum = sum(each.rating_sum for each in rows)
    return Numbers(
        trigger=trigger,
        scheduled=sum(each.count for each in rows),
        waiting=count("scheduled"),
        sent=count("sent"),
        stopped=by_reason("stopped"),
        skipped=by_reason("skipped"),
        converted=sum(each.converted for each in rows),
        answered=answered,
        average_rating=round(rating_sum / answered, 2) if answered else None,
    )
