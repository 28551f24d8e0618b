"""Readers of the event log: where they stand, and what comes next.

A `Position` is a pair of database snapshots: a reader gets what the second sees and the first does
not, in the order of sequence numbers. Neither "sequence > cursor" (loses what commits late) nor
"(xid, sequence) below the horizon" (reorders, and stalls behind any open write) is right. What a
snapshot does not see is what began after it (from its xmax on) and what was under way then (its
list), so a read costs what is new, however long some writer stays open.
"""

import base64
import re
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Subquery,
    Text,
    any_,
    bindparam,
    cast,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import UserDefinedType

from commerce.kernel.errors import CommerceError
from commerce.kernel.events import COLUMNS, Recorded, Xid8, event, generation, log_reader
from commerce.kernel.sql import Connection, Query

PAGE = 1_000
BEGINNING = "3:3:"
"""The snapshot that sees nothing: 3 is the first transaction id that a database ever uses."""

RELAY = "relay"
"""The durable reader that tells the background actors."""

_BIGGEST = 2**63 - 1


class Snapshot(UserDefinedType[str]):
    """PostgreSQL's pg_snapshot."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "pg_snapshot"


class StartOver(CommerceError):
    """The cursor is from before a restore. Fetch the present state and start from there."""

    code = "start_over"


class Notice(msgspec.Struct, frozen=True):
    """That something has happened, for who only passes it on."""

    id: UUID
    sequence: int
    type: str


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a reader stands. Opaque to clients.

    All that `seen` sees is done, and of what `upto` sees beyond it, everything up to `sequence`.
    """

    generation: int
    seen: str
    upto: str | None = None
    sequence: Annotated[int, msgspec.Meta(ge=0, le=_BIGGEST)] = 0

    def cursor(self) -> str:
        """As an opaque string."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Back from the string. A cursor that we did not make is `StartOver` too."""
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            position = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise StartOver from error
        if not all(map(_is_snapshot, [position.seen, position.upto or BEGINNING])):
            raise StartOver
        return position

    @property
    def transactions(self) -> int:
        """A count of the transactions begun so far; the difference of two tells how far apart."""
        return int(self.seen.split(":")[1])


class Present(msgspec.Struct, frozen=True):
    """The newest generation, and what is visible now."""

    generation: int
    last_sequence: int
    snapshot: str


_SNAPSHOT = re.compile(r"(\d{1,19}):(\d{1,19}):((?:\d{1,19},)*\d{1,19})?")


def _is_snapshot(text: str) -> bool:
    """Whether PostgreSQL reads it: `xmin:xmax:list`, the list sorted, from xmin on, below xmax."""
    match = _SNAPSHOT.fullmatch(text)
    if match is None:
        return False
    xmin, xmax = int(match[1]), int(match[2])
    listed = [int(xid) for xid in match[3].split(",")] if match[3] else []
    if listed and not (xmin <= listed[0] and listed[-1] < xmax):
        return False
    return 0 < xmin <= xmax <= _BIGGEST and listed == sorted(listed)


SEEN = cast(bindparam("seen", type_=Text()), Snapshot())
UPTO = cast(bindparam("upto", type_=Text()), Snapshot())
AFTER = bindparam("after", type_=BigInteger())
_UNDER_WAY = event.c.xid == any_(
    func.array(select(func.pg_snapshot_xip(SEEN)).scalar_subquery(), type_=ARRAY(Xid8))
)
_BEGUN_SINCE = event.c.xid >= func.pg_snapshot_xmax(SEEN)
UNSEEN = or_(_BEGUN_SINCE, _UNDER_WAY)
_PAGE = bindparam("page", type_=BigInteger())


def _interval_of(columns: Sequence[ColumnElement[Any]], *more: ColumnElement[bool]) -> Subquery:
    """What lies between SEEN and UPTO after AFTER, of all kinds or of some.

    Two ranges of the index on transactions, each closed at both ends: one condition for both would
    read the log from its beginning.
    """
    return union_all(
        *(
            select(*columns).where(
                unseen,
                event.c.xid < func.pg_snapshot_xmax(UPTO),
                func.pg_visible_in_snapshot(event.c.xid, UPTO),
                event.c.sequence > AFTER,
                *more,
            )
            for unseen in (_BEGUN_SINCE, _UNDER_WAY)
        )
    ).subquery("unread")


_EVENTS = _interval_of(COLUMNS)
PAGE_OF_EVENTS = Query(select(_EVENTS).order_by(_EVENTS.c.sequence).limit(_PAGE), Recorded)
_TOLD = _interval_of(
    (event.c.id, event.c.sequence, event.c.type),
    event.c.type == any_(bindparam("types", type_=ARRAY(Text))),
)
_NOTICES = select(_TOLD).order_by(_TOLD.c.sequence)
NOTICES = Query(_NOTICES, Notice)
PAGE_OF_NOTICES = Query(_NOTICES.limit(_PAGE), Notice)
_TIMES = select(_interval_of((event.c.at,))).limit(PAGE).subquery()
OLDEST_OF_INTERVAL = Query(select(func.min(_TIMES.c.at)), datetime)
PRESENT = Query(
    select(
        generation.c.id.label("generation"),
        generation.c.last_sequence,
        cast(func.pg_current_snapshot(), Text()).label("snapshot"),
    )
    .order_by(generation.c.id.desc())
    .limit(1),
    Present,
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


async def present(conn: Connection) -> Present:
    """The generation of transaction ids, and the snapshot of this moment."""
    found = await conn.first(PRESENT)
    assert found is not None, "open_generation runs at start"
    return found


async def latest(conn: Connection) -> Position:
    """The position of a reader that wants only what commits from now on."""
    now = await present(conn)
    return Position(now.generation, now.snapshot)


async def read(
    conn: Connection, position: Position, *, page: int = PAGE
) -> tuple[list[Recorded], Position]:
    """The next events after `position`, at most `page`, and the position behind them.

    Fewer than `page` events: the reader has caught up. Raises `StartOver` when the position is of
    another generation. Reading twice from one position gives the same events again, then more.
    Each page looks at all that is unread, so a long backlog is for `notices`.
    """
    bounds, end = await _interval(conn, position)
    if end == position:
        return [], end
    events = await conn.run(PAGE_OF_EVENTS, **bounds, page=page)
    if len(events) < page:
        return events, end
    return events, Position(end.generation, position.seen, end.seen, events[-1].sequence)


async def notices(
    conn: Connection, position: Position, *, types: Sequence[str], page: int = PAGE
) -> AsyncGenerator[tuple[list[Notice], Position]]:
    """Everything of these types between `position` and now, page by page, each with its position.

    However much that is, the time is linear and the memory bounded: more than a page comes from a
    held cursor, so `conn` is one that is not in a transaction, and past a pooler.
    """
    bounds, end = await _interval(conn, position)
    if end == position:
        return
    bounds["types"] = list(types)
    found = await conn.run(PAGE_OF_NOTICES, **bounds, page=page)
    if len(found) < page:
        yield found, end
        return
    held = f"DECLARE notices NO SCROLL CURSOR WITH HOLD FOR {NOTICES.sql}"
    await conn.driver.execute(held, *NOTICES.arguments(bounds))
    try:
        while len(found) == page:
            found = NOTICES.rows(await conn.driver.fetch(f"FETCH {page} FROM notices"))
            if len(found) == page:
                last = found[-1].sequence
                yield found, Position(end.generation, position.seen, end.seen, last)
    finally:
        await conn.driver.execute("CLOSE notices")
    yield found, end


async def oldest_unread(conn: Connection, reader: str) -> datetime | None:
    """When the oldest event happened that a durable reader has not read; None: it has all."""
    try:
        bounds, _ = await _interval(conn, await reader_position(conn, reader))
    except StartOver:
        return None  # restored a moment ago
    return await conn.one(OLDEST_OF_INTERVAL, **bounds)


async def reader_position(conn: Connection, reader: str) -> Position:
    """Where a durable reader stands; a new one starts before the first event of the generation."""
    stored = await conn.first(READER, reader=reader)
    if stored is not None:
        return Position.parse(stored)
    return Position((await present(conn)).generation, BEGINNING)


async def move_reader(conn: Connection, reader: str, position: Position, *, now: datetime) -> None:
    """Keep the position of a durable reader."""
    await conn.run(MOVE_READER, reader=reader, at=position.cursor(), now=now)


async def _interval(conn: Connection, position: Position) -> tuple[dict[str, Any], Position]:
    """What lies between a position and now, as parameters; and the position behind it."""
    now = await present(conn)
    if now.generation != position.generation:
        raise StartOver
    end = Position(now.generation, position.upto or now.snapshot)
    after = max(position.sequence, now.last_sequence)
    return {"seen": position.seen, "upto": end.seen, "after": after}, end
