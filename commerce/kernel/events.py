"""One log of committed facts: outbox, order timeline, live feed and source of reports.

Verbs `record` past-tense, versioned facts in their own transaction, last of all. Payloads carry
ids, never personal data. A reader's `Position` is a pair of database snapshots: it gets what the
second sees and the first does not, in the order of sequence numbers. Neither "sequence > cursor"
(loses what commits late) nor "(xid, sequence) below the horizon" (reorders, and stalls behind any
open write) is right. Sequence numbers are drawn while the aggregate is locked, so each aggregate's
events come in commit order.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy import Sequence as SequenceOf
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import UserDefinedType

from commerce.kernel import ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Query, metadata, rows_of

PAGE = 1_000
OLDEST_XID = "3"
"""The first transaction id that a database ever uses; every snapshot sees it."""


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id; asyncpg reads and sends it as int."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"


class Snapshot(UserDefinedType[str]):
    """PostgreSQL's pg_snapshot."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "pg_snapshot"


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

# One row per history of transaction ids. They do not survive a restore into another cluster.
generation = Table(
    "generation",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("identity", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
)

log_reader = Table(
    "log_reader",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Text, nullable=False),
    Column("read_at", DateTime(timezone=True), nullable=False),
)


class StartOver(CommerceError):
    """The cursor is from before a restore. Fetch the present state and start from there."""

    code = "start_over"


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


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a reader stands. Opaque to clients.

    All that `seen` sees is done, and of what `upto` sees beyond it, everything up to `sequence`.
    """

    generation: int
    seen: str
    upto: str | None = None
    sequence: int = 0

    def cursor(self) -> str:
        """As an opaque string."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Back from the string. A cursor that we did not make is `StartOver` too."""
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise StartOver from error


_COLUMNS = [c for c in event.c if c.name != "xid"]
_NEW = rows_of(
    "n",
    id=Uuid(),
    type=Text(),
    version=Integer(),
    aggregate=Text(),
    aggregate_id=Uuid(),
    location_id=Uuid(),
    actor=Text(),
    payload=JSONB(),
)
_NEW_COLUMNS = [c for c in _NEW.c if c.name != "position"]
_SEEN = cast(bindparam("seen", type_=Text()), Snapshot())
_UPTO = cast(bindparam("upto", type_=Text()), Snapshot())

RECORD = Query(
    insert(event).from_select(
        [*(c.name for c in _NEW_COLUMNS), "at"],
        select(*_NEW_COLUMNS, bindparam("now", type_=DateTime(timezone=True))).order_by(
            _NEW.c.position
        ),
    )
)
PAGE_OF_EVENTS = Query(
    select(*_COLUMNS)
    .where(
        event.c.xid >= func.pg_snapshot_xmin(_SEEN),
        event.c.xid < func.pg_snapshot_xmax(_UPTO),
        ~func.pg_visible_in_snapshot(event.c.xid, _SEEN),
        func.pg_visible_in_snapshot(event.c.xid, _UPTO),
        event.c.sequence > bindparam("after", type_=BigInteger()),
    )
    .order_by(event.c.sequence)
    .limit(bindparam("page", type_=BigInteger())),
    Recorded,
)
CURRENT_SNAPSHOT = Query(select(cast(func.pg_current_snapshot(), Text())), str)
EVENTS_OF = Query(
    select(*_COLUMNS)
    .where(event.c.aggregate_id == bindparam("of"))
    .order_by(event.c.sequence)
    .limit(1000),
    Recorded,
)
EVENTS_BY_ID = Query(
    select(*_COLUMNS).where(event.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))), Recorded
)
IDENTITY = Query(
    select(
        literal_column(
            "(SELECT system_identifier::text FROM pg_control_system()) || '/' ||"
            " (SELECT timeline_id::text FROM pg_control_checkpoint()) || '/' ||"
            " (SELECT oid::text FROM pg_database WHERE datname = current_database())",
            Text(),
        )
    ),
    str,
)


class Generation(msgspec.Struct, frozen=True):
    """One history of transaction ids: of this cluster, timeline and database."""

    id: int
    identity: str


LATEST_GENERATION = Query(
    select(generation.c.id, generation.c.identity).order_by(generation.c.id.desc()).limit(1),
    Generation,
)
OPEN_GENERATION = Query(
    insert(generation)
    .values(identity=bindparam("is"), started_at=bindparam("now"))
    .returning(generation.c.id),
    int,
)
_FROZEN = cast(cast(OLDEST_XID, Text()), Xid8())
RESTAMP = Query(
    update(event).values(
        xid=case(
            (func.pg_visible_in_snapshot(event.c.xid, _SEEN), _FROZEN),
            else_=func.pg_current_xact_id(),
        )
    )
)
READER = Query(select(log_reader.c.position).where(log_reader.c.name == bindparam("reader")), str)
_AT = upsert(log_reader).values(
    name=bindparam("reader"), position=bindparam("at"), read_at=bindparam("now")
)
MOVE_READER = Query(
    _AT.on_conflict_do_update(
        index_elements=["name"],
        set_={"position": _AT.excluded.position, "read_at": _AT.excluded.read_at},
    )
)


async def record(conn: Connection, events: Sequence[Event], *, now: datetime) -> list[UUID]:
    """Write facts to the log, in order; last in the transaction, while their aggregates are locked.

    Returns their ids. The doorbell is rung by the edge, after the commit.
    """
    if not events:
        return []
    made = [ids.uuid7() for _ in events]
    await conn.run(
        RECORD,
        id=made,
        type=[each.type for each in events],
        version=[each.version for each in events],
        aggregate=[each.aggregate for each in events],
        aggregate_id=[each.aggregate_id for each in events],
        location_id=[each.location_id for each in events],
        actor=[each.actor for each in events],
        payload=[each.payload for each in events],
        now=now,
    )
    return made


async def timeline(conn: Connection, aggregate_id: UUID) -> list[Recorded]:
    """The history of one aggregate, oldest first; at most 1,000 events."""
    return await conn.run(EVENTS_OF, of=aggregate_id)


async def by_ids(conn: Connection, event_ids: Sequence[UUID]) -> list[Recorded]:
    """The events of these ids, in no order."""
    return await conn.run(EVENTS_BY_ID, ids=list(event_ids))


async def latest(conn: Connection) -> Position:
    """The position of a reader that wants only what commits from now on."""
    current = await conn.first(LATEST_GENERATION)
    assert current is not None, "open_generation runs at start"
    return Position(current.id, await conn.one(CURRENT_SNAPSHOT))


async def read(
    conn: Connection, position: Position, *, page: int = PAGE
) -> tuple[list[Recorded], Position]:
    """The next events after `position`, at most `page`, and the position behind them.

    Fewer than `page` events: the reader has caught up. Raises `StartOver` when the position is of
    another generation. Reading twice from one position gives the same events again, then more.
    """
    current = await conn.first(LATEST_GENERATION)
    if current is None or current.id != position.generation:
        raise StartOver
    upto = position.upto
    if upto is None:
        upto = await conn.one(CURRENT_SNAPSHOT)
    events = await conn.run(
        PAGE_OF_EVENTS, seen=position.seen, upto=upto, after=position.sequence, page=page
    )
    if len(events) < page:
        return events, Position(current.id, upto)
    return events, Position(current.id, position.seen, upto, events[-1].sequence)


async def reader_position(conn: Connection, reader: str) -> Position:
    """Where a durable reader stands; a new one starts before the first event."""
    stored = await conn.first(READER, reader=reader)
    if stored is not None:
        return Position.parse(stored)
    current = await conn.first(LATEST_GENERATION)
    assert current is not None, "open_generation runs at start"
    return Position(current.id, f"{OLDEST_XID}:{OLDEST_XID}:")


async def move_reader(conn: Connection, reader: str, position: Position, *, now: datetime) -> None:
    """Keep the position of a durable reader."""
    await conn.run(MOVE_READER, reader=reader, at=position.cursor(), now=now)


async def open_generation(
    conn: Connection, *, now: datetime, readers: Sequence[str] = ("relay",)
) -> int:
    """At start: when this is another cluster, timeline or database, begin a new generation.

    Transaction ids of another history mean nothing here, so the stored ones are stamped anew: what
    the durable readers have seen becomes the oldest id, what they have not becomes this
    transaction's. Cursors of earlier generations answer `StartOver`. Run it under a lock.
    """
    identity = await conn.one(IDENTITY)
    current = await conn.first(LATEST_GENERATION)
    if current is not None and current.identity == identity:
        return current.id
    opened = await conn.one(OPEN_GENERATION, **{"is": identity}, now=now)
    snapshot = await conn.one(CURRENT_SNAPSHOT)
    for reader in readers:
        stored = await conn.first(READER, reader=reader)
        seen = Position.parse(stored).seen if stored else f"{OLDEST_XID}:{OLDEST_XID}:"
        await conn.run(RESTAMP, seen=seen)
        await move_reader(conn, reader, Position(opened, snapshot), now=now)
    return opened
