"""One log of committed facts: outbox, order timeline, live feed and source of reports.

Verbs `record` past-tense, versioned facts in their own transaction, last of all. Payloads carry
ids, never personal data. Sequence numbers are drawn while the aggregate is locked, so each
aggregate's events are numbered in commit order; across aggregates a number says nothing about who
committed first. How the log is read stands in `readers`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import astuple
from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy import Sequence as SequenceOf
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query, metadata, records, records_of


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id; asyncpg reads and sends it as int."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"


event_sequence = SequenceOf("event_sequence", metadata=metadata)

event = Table(
    "event",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sequence", BigInteger, nullable=False, server_default=event_sequence.next_value()),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("type", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("aggregate", Text, nullable=False),
    Column("aggregate_id", Uuid, nullable=False),
    Column("location_id", Uuid),
    Column("actor", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    postgresql_partition_by="RANGE (id)",
)
Index("event_xid_idx", event.c.xid)
Index("event_aggregate_idx", event.c.aggregate_id, event.c.sequence)

# One row per history of transaction ids. They do not survive a restore into another cluster, so
# everything up to `last_sequence` of earlier histories is behind every reader of this one.
generation = Table(
    "generation",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("identity", Text, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
)

log_reader = Table(
    "log_reader",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Text, nullable=False),
    Column("read_at", DateTime(timezone=True), nullable=False),
)


class Event(msgspec.Struct, frozen=True):
    """A fact to record: `order.placed` about one aggregate, at one location if it has one."""

    type: str
    aggregate: str
    aggregate_id: UUID
    actor: str
    payload: dict[str, Any] = {}
    location_id: UUID | None = None
    version: int = 1


class Recorded(msgspec.Struct, frozen=True):
    """An event as it stands in the log."""

    id: UUID
    sequence: int
    type: str
    version: int
    aggregate: str
    aggregate_id: UUID
    location_id: UUID | None
    actor: str
    payload: dict[str, Any]
    at: datetime


class _Written(msgspec.Struct, frozen=True):
    """An event on its way into the log, at its position within the batch."""

    id: UUID
    position: int
    type: str
    aggregate: str
    aggregate_id: UUID
    actor: str
    payload: dict[str, Any]
    location_id: UUID | None
    version: int


COLUMNS = [c for c in event.c if c.name != "xid"]
_NEW = records_of(
    "facts",
    id=Uuid(),
    type=Text(),
    version=Integer(),
    aggregate=Text(),
    aggregate_id=Uuid(),
    location_id=Uuid(),
    actor=Text(),
    payload=JSONB(),
    position=Integer(),
)
_NEW_COLUMNS = [c for c in _NEW.c if c.name != "position"]
RECORD = Query(
    insert(event).from_select(
        [*(c.name for c in _NEW_COLUMNS), "at"],
        select(*_NEW_COLUMNS, bindparam("now", type_=DateTime(timezone=True))).order_by(
            _NEW.c.position
        ),
    )
)
EVENTS_OF = Query(
    select(*COLUMNS)
    .where(event.c.aggregate_id == bindparam("of"))
    .order_by(event.c.sequence)
    .limit(1000),
    Recorded,
)
EVENTS_BY_ID = Query(
    select(*COLUMNS).where(event.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))), Recorded
)


async def record(conn: Connection, events: Sequence[Event], *, now: datetime) -> list[UUID]:
    """Write facts to the log, in order; last in the transaction, while their aggregates are locked.

    Returns their ids. The doorbell is rung after the commit.
    """
    if not events:
        return []
    made = [_Written(ids.uuid7(), index, *astuple(each)) for index, each in enumerate(events)]
    await conn.later(RECORD, facts=records(made), now=now)
    return [each.id for each in made]


def told_with(changed: CTE, kind: str, aggregate: str, payload: ColumnElement[Any]) -> CTE:
    """The fact that a row has changed, recorded by the statement that changes it.

    For a hot verb that edits one row: `select(changed).add_cte(told_with(changed, ...))` is one
    round trip. The statement takes `event_id`, `actor` and `now` besides its own parameters.
    """
    fact: dict[str, ColumnElement[Any]] = {
        "id": bindparam("event_id", type_=Uuid()),
        "type": literal(kind),
        "version": literal(1),
        "aggregate": literal(aggregate),
        "aggregate_id": changed.c.id,
        "actor": bindparam("actor", type_=Text()),
        "payload": payload,
        "at": bindparam("now", type_=DateTime(timezone=True)),
    }
    return insert(event).from_select([*fact], select(*fact.values())).cte("told")


async def timeline(conn: Connection, aggregate_id: UUID) -> list[Recorded]:
    """The history of one aggregate, oldest first; at most 1,000 events."""
    return await conn.run(EVENTS_OF, of=aggregate_id)


async def by_ids(conn: Connection, event_ids: Sequence[UUID]) -> list[Recorded]:
    """The events of these ids, in no order."""
    return await conn.run(EVENTS_BY_ID, ids=list(event_ids))
