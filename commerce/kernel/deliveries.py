"""What each background actor has made of each event: done, failed so far, or given up.

    failed -> done | dead ; dead -> failed (a person sends it again)

A message may come twice and in any order, so an actor claims its events here, in the transaction of
what it does with them: whoever comes second finds them claimed. An event that an actor fails on
waits here and not in the broker, where it could get lost between two steps; it is told again later
and later, in the end only when a person asks. Faults are kept by type, never with their text.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
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
    case,
    delete,
    func,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel.events import event
from commerce.kernel.partitions import bound
from commerce.kernel.sql import Connection, Query, either, metadata, rows_of

KEPT = timedelta(days=14)
"""Longer than any broker keeps a message."""

TRIES = 8
"""After so many an event is dead: after about eleven minutes."""

_FIRST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(minutes=5)
_LEASE = timedelta(minutes=5)

delivery = Table(
    "delivery",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("fault", Text),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("again_at", DateTime(timezone=True)),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("state IN ('done', 'failed', 'dead')", name="state"),
    CheckConstraint("(state = 'done') = (fault IS NULL)", name="fault"),
    CheckConstraint("(state = 'failed') = (again_at IS NOT NULL)", name="again_at"),
)
Index("delivery_failed_idx", delivery.c.again_at, postgresql_where=text("state = 'failed'"))
Index(
    "delivery_open_idx",
    delivery.c.event_id,
    delivery.c.actor,
    postgresql_where=text("state <> 'done'"),
)


State = Literal["failed", "dead"]


class Open(msgspec.Struct, frozen=True):
    """An event that an actor has failed on."""

    event_id: UUID
    actor: str
    state: str
    fault: str
    tries: int
    again_at: datetime | None
    at: datetime
    type: str
    aggregate: str
    aggregate_id: UUID


class _Due(msgspec.Struct, frozen=True):
    event_id: UUID
    actor: str


_IDS = bindparam("ids", type_=ARRAY(Uuid))
_ACTOR = bindparam("of_actor", type_=Text())
_NOW = bindparam("now", type_=DateTime(timezone=True))
_EVENTS = rows_of("e", event_id=Uuid())
_FAILED = rows_of("e", event_id=Uuid(), fault=Text())

_CLAIM = upsert(delivery).from_select(
    ["event_id", "actor", "state", "at"],
    select(_EVENTS.c.event_id, _ACTOR, literal("done"), _NOW).order_by(_EVENTS.c.event_id),
)
CLAIM = Query(
    _CLAIM.on_conflict_do_update(
        index_elements=["event_id", "actor"],
        set_={"state": "done", "fault": None, "again_at": None, "at": _CLAIM.excluded.at},
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
_FAIL = upsert(delivery).from_select(
    ["event_id", "actor", "state", "fault", "tries", "again_at", "at"],
    select(
        *(_FAILED.c.event_id, _ACTOR, literal("failed"), _FAILED.c.fault),
        *(literal(1), _NOW + _FIRST_WAIT, _NOW),
    ).order_by(_FAILED.c.event_id),
)
_TRIED = delivery.c.tries + 1
_WAIT = _FIRST_WAIT * func.power(2, delivery.c.tries)
FAIL = Query(
    _FAIL.on_conflict_do_update(
        index_elements=["event_id", "actor"],
        set_={
            "state": case((_TRIED < TRIES, "failed"), else_="dead"),
            "fault": _FAIL.excluded.fault,
            "tries": _TRIED,
            "again_at": case((_TRIED < TRIES, _NOW + func.least(_WAIT, _LONGEST_WAIT))),
            "at": _FAIL.excluded.at,
        },
        where=delivery.c.state != "done",
    )
)
PAGE_OF_OPEN = Query(
    select(
        *(delivery.c[name] for name in Open.__struct_fields__ if name in delivery.c),
        *(event.c.type, event.c.aggregate, event.c.aggregate_id),
    )
    .join(event, event.c.id == delivery.c.event_id)
    .where(
        delivery.c.state != "done",
        either(delivery.c.state == bindparam("in_state", type_=Text()), "in_state", Text()),
        tuple_(delivery.c.event_id, delivery.c.actor)
        > tuple_(bindparam("after_event", type_=Uuid()), bindparam("after_actor", type_=Text())),
    )
    .order_by(delivery.c.event_id, delivery.c.actor)
    .limit(bindparam("page", type_=Integer())),
    Open,
)
SEND_AGAIN = Query(
    update(delivery)
    .values(state="failed", tries=0, again_at=_NOW, at=_NOW)
    .where(
        delivery.c.event_id == any_(_IDS),
        delivery.c.actor == _ACTOR,
        delivery.c.state == "dead",
    )
    .returning(delivery.c.event_id),
    UUID,
)
_NEXT = (
    select(delivery.c.event_id, delivery.c.actor)
    .where(delivery.c.state == "failed", delivery.c.again_at <= _NOW)
    .order_by(delivery.c.again_at)
    .limit(bindparam("page", type_=Integer()))
    .with_for_update(skip_locked=True)
)
TAKE_DUE = Query(
    update(delivery)
    .values(again_at=_NOW + _LEASE)
    .where(tuple_(delivery.c.event_id, delivery.c.actor).in_(_NEXT))
    .returning(delivery.c.event_id, delivery.c.actor),
    _Due,
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


async def fail(conn: Connection, actor: str, faults: Mapping[UUID, str], *, now: datetime) -> None:
    """The actor has failed on these events; `faults` names for each what went wrong, by type."""
    await conn.run(
        FAIL, event_id=list(faults), fault=list(faults.values()), of_actor=actor, now=now
    )


async def take_due(conn: Connection, *, now: datetime, page: int) -> dict[str, list[UUID]]:
    """Failed events to be told again now, by actor. They come up again should nothing follow."""
    due: dict[str, list[UUID]] = {}
    for each in await conn.run(TAKE_DUE, now=now, page=page):
        due.setdefault(each.actor, []).append(each.event_id)
    return due


async def open_page(
    conn: Connection, *, state: State | None, after: tuple[UUID, str], page: int
) -> list[Open]:
    """What actors have failed on, in the order of the events; dead or not, unless `state` says."""
    return await conn.run(
        PAGE_OF_OPEN, in_state=state, after_event=after[0], after_actor=after[1], page=page
    )


async def send_again(
    conn: Connection, actor: str, event_ids: Sequence[UUID], *, now: datetime
) -> list[UUID]:
    """Let the actor try these dead events anew; those that were dead."""
    return await conn.run(SEND_AGAIN, ids=list(event_ids), of_actor=actor, now=now)


async def forget(conn: Connection, *, now: datetime, page: int) -> int:
    """Remove what was finished long ago, at most `page` rows; how many that were."""
    return len(await conn.run(FORGET, before=bound(now - KEPT), page=page))
