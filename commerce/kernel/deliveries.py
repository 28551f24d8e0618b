"""What each background actor has made of each event: done, or given up until a person looks.

A message may come twice and in any order, so an actor claims its events here, in the transaction of
what it does with them: whoever comes second finds them claimed. Events that an actor keeps failing
on are parked as `dead`, with the fault's type and never its text; a person sends them `again`, and
the worker passes them on once more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel.events import event
from commerce.kernel.partitions import bound
from commerce.kernel.sql import Connection, Query, metadata, rows_of

KEPT = timedelta(days=14)
"""Longer than any broker keeps a message."""

delivery = Table(
    "delivery",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("fault", Text),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("state IN ('done', 'dead', 'again')", name="state"),
    CheckConstraint("(state = 'done') = (fault IS NULL)", name="fault"),
)
Index(
    "delivery_open_idx",
    delivery.c.state,
    delivery.c.event_id,
    delivery.c.actor,
    postgresql_where=text("state <> 'done'"),
)


class Dead(msgspec.Struct, frozen=True):
    """An event that an actor gave up on."""

    event_id: UUID
    actor: str
    state: str
    fault: str
    at: datetime
    type: str
    aggregate: str
    aggregate_id: UUID


class Again(msgspec.Struct, frozen=True):
    """An event that a person sent to its actor once more."""

    event_id: UUID
    actor: str


_IDS = bindparam("ids", type_=ARRAY(Uuid))
_ACTOR = bindparam("of_actor", type_=Text())
_NOW = bindparam("now", type_=DateTime(timezone=True))
_EVENTS = rows_of("e", event_id=Uuid())
_FAILED = rows_of("e", event_id=Uuid(), fault=Text())

_CLAIM = upsert(delivery).from_select(
    ["event_id", "actor", "state", "at"],
    select(_EVENTS.c.event_id, _ACTOR, text("'done'"), _NOW).order_by(_EVENTS.c.event_id),
)
CLAIM = Query(
    _CLAIM.on_conflict_do_update(
        index_elements=["event_id", "actor"],
        set_={"state": "done", "fault": None, "at": _CLAIM.excluded.at},
        where=delivery.c.state != "done",
    ).returning(delivery.c.event_id),
    UUID,
)
DONE = Query(
    select(delivery.c.event_id).where(
        delivery.c.event_id == any_(_IDS), delivery.c.actor == _ACTOR, delivery.c.state == "done"
    ),
    UUID,
)
_PARK = upsert(delivery).from_select(
    ["event_id", "actor", "state", "fault", "at"],
    select(_FAILED.c.event_id, _ACTOR, text("'dead'"), _FAILED.c.fault, _NOW).order_by(
        _FAILED.c.event_id
    ),
)
PARK = Query(
    _PARK.on_conflict_do_update(
        index_elements=["event_id", "actor"],
        set_={"state": "dead", "fault": _PARK.excluded.fault, "at": _PARK.excluded.at},
        where=delivery.c.state != "done",
    )
)
PAGE_OF_DEAD = Query(
    select(
        delivery.c.event_id,
        delivery.c.actor,
        delivery.c.state,
        delivery.c.fault,
        delivery.c.at,
        event.c.type,
        event.c.aggregate,
        event.c.aggregate_id,
    )
    .join(event, event.c.id == delivery.c.event_id)
    .where(
        delivery.c.state != "done",
        tuple_(delivery.c.event_id, delivery.c.actor)
        > tuple_(bindparam("after_event", type_=Uuid()), bindparam("after_actor", type_=Text())),
    )
    .order_by(delivery.c.event_id, delivery.c.actor)
    .limit(bindparam("page", type_=Integer())),
    Dead,
)
SEND_AGAIN = Query(
    update(delivery)
    .values(state="again", at=_NOW)
    .where(
        delivery.c.event_id == any_(_IDS),
        delivery.c.actor == _ACTOR,
        delivery.c.state == "dead",
    )
    .returning(delivery.c.event_id),
    UUID,
)
TO_SEND_AGAIN = Query(
    select(delivery.c.event_id, delivery.c.actor)
    .where(delivery.c.state == "again")
    .order_by(delivery.c.event_id, delivery.c.actor)
    .limit(bindparam("page", type_=Integer())),
    Again,
)
SENT_AGAIN = Query(
    delete(delivery).where(
        delivery.c.event_id == any_(_IDS),
        delivery.c.actor == _ACTOR,
        delivery.c.state == "again",
    )
)
_OLD = (
    select(delivery.c.event_id, delivery.c.actor)
    .where(
        delivery.c.event_id < bindparam("before", type_=Uuid()),
        delivery.c.state == "done",
    )
    .limit(bindparam("page", type_=Integer()))
)
FORGET = Query(
    delete(delivery)
    .where(tuple_(delivery.c.event_id, delivery.c.actor).in_(_OLD))
    .returning(delivery.c.event_id),
    UUID,
)


async def claim(
    conn: Connection, actor: str, event_ids: Sequence[UUID], *, now: datetime
) -> set[UUID]:
    """Take these events for `actor`; those of them that nobody has finished yet.

    Another transaction that claims the same ones waits for this one. Rolled back: not claimed.
    """
    return set(await conn.run(CLAIM, event_id=sorted(event_ids), of_actor=actor, now=now))


async def done(conn: Connection, actor: str, event_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the events that the actor has finished."""
    return set(await conn.run(DONE, ids=list(event_ids), of_actor=actor))


async def park(conn: Connection, actor: str, faults: Mapping[UUID, str], *, now: datetime) -> None:
    """Give these events up; `faults` names for each what went wrong, by type."""
    await conn.run(
        PARK, event_id=list(faults), fault=list(faults.values()), of_actor=actor, now=now
    )


async def dead(
    conn: Connection, *, after: tuple[UUID, str] = (UUID(int=0), ""), page: int
) -> list[Dead]:
    """What was given up, in the order of the events."""
    return await conn.run(PAGE_OF_DEAD, after_event=after[0], after_actor=after[1], page=page)


async def send_again(
    conn: Connection, actor: str, event_ids: Sequence[UUID], *, now: datetime
) -> list[UUID]:
    """Ask that the actor gets these dead events once more; those that were dead."""
    return await conn.run(SEND_AGAIN, ids=list(event_ids), of_actor=actor, now=now)


async def to_send_again(conn: Connection, *, page: int) -> dict[str, list[UUID]]:
    """What a person asked for and the worker has not passed on yet, by actor."""
    asked: dict[str, list[UUID]] = {}
    for each in await conn.run(TO_SEND_AGAIN, page=page):
        asked.setdefault(each.actor, []).append(each.event_id)
    return asked


async def sent_again(conn: Connection, actor: str, event_ids: Sequence[UUID]) -> None:
    """The worker has passed them on. Whether they succeed now is told by a new row."""
    await conn.run(SENT_AGAIN, ids=list(event_ids), of_actor=actor)


async def forget(conn: Connection, *, now: datetime, page: int) -> int:
    """Remove what was finished long ago, at most `page` rows; how many that were."""
    return len(await conn.run(FORGET, before=bound(now - KEPT), page=page))
