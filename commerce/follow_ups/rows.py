"""Rows of follow-ups: how they are scheduled and woken."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.follow_ups.settings import Trigger
from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.states import FOLLOW_UP
from commerce.tables import follow_up


class New(msgspec.Struct, frozen=True):
    """Something that a shopper, or the contact of an order, may have to be told of."""

    subject_id: UUID
    due_at: datetime
    caused_at: datetime
    """When it became so: a decision about it that is younger stands."""
    shopper_id: UUID | None = None
    contact_id: UUID | None = None


_TIME = DateTime(timezone=True)
_NEW = rows_of(
    "n",
    id=Uuid(),
    subject_id=Uuid(),
    shopper_id=Uuid(),
    contact_id=Uuid(),
    due_at=_TIME,
    caused_at=_TIME,
)
_schedule = upsert(follow_up).from_select(
    ["id", "subject_id", "shopper_id", "contact_id", "due_at", "scheduled_at", "trigger", "state"],
    select(
        *(c for c in _NEW.c if c.name != "position"),
        bindparam("of_trigger", type_=Text()),
        bindparam("initial", type_=Text()),
    ).order_by(_NEW.c.subject_id),
)
SCHEDULE = Query(
    _schedule.on_conflict_do_update(
        index_elements=[follow_up.c.subject_id, follow_up.c.trigger],
        set_={
            "state": _schedule.excluded.state,
            "due_at": _schedule.excluded.due_at,
            "shopper_id": _schedule.excluded.shopper_id,
            "reason": null(),
            "decided_at": null(),
        },
        where=or_(
            and_(
                follow_up.c.state == "scheduled",
                follow_up.c.due_at.is_distinct_from(_schedule.excluded.due_at),
            ),
            and_(
                follow_up.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
                follow_up.c.reason != "erased",
                follow_up.c.decided_at < _schedule.excluded.scheduled_at,
            ),
        ),
    )
)
_NOW = bindparam("now", type_=_TIME)
_ASLEEP = select(follow_up.c.id).where(follow_up.c.state == "scheduled", follow_up.c.due_at > _NOW)
_IDS = bindparam("of_ids", type_=ARRAY(Uuid))


def _in_order(found: Select[tuple[UUID]]) -> ColumnElement[bool]:
    """Those rows, locked in the order of their ids, so that two of these never wait in a ring."""
    locked = found.order_by(follow_up.c.id).with_for_update(key_share=True)
    return follow_up.c.id == any_(func.array(locked.scalar_subquery(), type_=ARRAY(Uuid)))


WAKE_SUBJECTS = Query(
    update(follow_up)
    .where(
        _in_order(
            _ASLEEP.where(
                follow_up.c.subject_id == any_(_IDS),
                follow_up.c.trigger == bindparam("of_trigger"),
            )
        )
    )
    .values(due_at=_NOW)
)
WAKE_SHOPPERS = Query(
    update(follow_up)
    .where(_in_order(_ASLEEP.where(follow_up.c.shopper_id == any_(_IDS))))
    .values(due_at=_NOW)
)


async def schedule(conn: Connection, trigger: Trigger, new: Sequence[New]) -> None:
    """Have follow-ups looked at when they are due. One that was sent is never sent again.

    Repeating it changes nothing; one that waits already gets the new time, and one that was stopped
    or skipped before its new cause waits again.
    """
    if new:
        await conn.run(
            SCHEDULE,
            id=[ids.uuid7() for _ in new],
            **columns_of(new, "subject_id", "shopper_id", "contact_id", "due_at", "caused_at"),
            of_trigger=trigger,
            initial=FOLLOW_UP.initial,
            sources=FOLLOW_UP.sources(FOLLOW_UP.initial),
        )


async def wake(
    conn: Connection, trigger: Trigger, subject_ids: Sequence[UUID], *, now: datetime
) -> None:
    """Have these looked at at once: they may be over."""
    if subject_ids:
        await conn.run(WAKE_SUBJECTS, of_trigger=trigger, of_ids=list(subject_ids), now=now)


async def wake_shoppers(conn: Connection, shopper_ids: Sequence[UUID], *, now: datetime) -> None:
    """Have all that these shoppers wait for looked at at once: they have bought something."""
    if shopper_ids:
        await conn.run(WAKE_SHOPPERS, of_ids=list(shopper_ids), now=now)
