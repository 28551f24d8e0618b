"""Histories of transaction ids. A `Position` in the event log means something in one of them only.

A restore into another cluster or database, and a standby that takes over, begin another history.
It is noticed by the cluster's identity; then a new generation is opened: what the relay has not
read is stamped anew, and all else lies behind every reader, because it lies behind the generation's
first sequence number. So a log of any length is carried over without rewriting it.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    Text,
    bindparam,
    func,
    insert,
    literal_column,
    not_,
    select,
    update,
)

from commerce.kernel.events import event, event_sequence, generation
from commerce.kernel.readers import (
    AFTER,
    RELAY,
    UNSEEN,
    UPTO,
    Position,
    move_reader,
    present,
    reader_position,
)
from commerce.kernel.sql import Connection, Query

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
LATEST_IDENTITY = Query(
    select(generation.c.identity).order_by(generation.c.id.desc()).limit(1), str
)
OPEN = Query(
    insert(generation).values(
        identity=bindparam("is", type_=Text()),
        last_sequence=bindparam("last", type_=BigInteger()),
        started_at=bindparam("now", type_=DateTime(timezone=True)),
    )
)
NEXT_SEQUENCE = Query(select(event_sequence.next_value()), int)
_unread = (
    select(event.c.id)
    .where(
        UNSEEN, not_(func.pg_visible_in_snapshot(event.c.xid, UPTO) & (event.c.sequence <= AFTER))
    )
    .order_by(event.c.sequence)
    .subquery()
)
_numbered = select(_unread.c.id, event_sequence.next_value().label("fresh")).subquery()
STAMP_UNREAD = Query(
    update(event)
    .values(xid=func.pg_current_xact_id(), sequence=_numbered.c.fresh)
    .where(event.c.id == _numbered.c.id)
)


async def open_generation(conn: Connection, *, now: datetime) -> None:
    """Make sure that the newest generation is the history that this database writes.

    Whoever is about to read the log calls it: at start, and after a connection was lost. Cheap and
    without effect when nothing has changed. Otherwise older cursors answer `StartOver`, and the
    relay goes on where it stood.
    """
    identity = await conn.one(IDENTITY)
    if await conn.first(LATEST_IDENTITY) == identity:
        return
    # Nobody writes an event meanwhile, so what is numbered later belongs to the new generation.
    await conn.driver.execute("SET LOCAL statement_timeout = 0")
    await conn.driver.execute("LOCK TABLE generation, event IN SHARE ROW EXCLUSIVE MODE")
    before = await conn.first(LATEST_IDENTITY)
    if before == identity:
        return
    last = await conn.one(NEXT_SEQUENCE)
    if before is not None:
        stood = await reader_position(conn, RELAY)
        await conn.run(
            STAMP_UNREAD,
            seen=stood.seen,
            upto=stood.upto or stood.seen,
            after=stood.sequence,
        )
    await conn.run(OPEN, **{"is": identity}, last=last, now=now)
    opened = await present(conn)
    await move_reader(conn, RELAY, Position(opened.generation, opened.snapshot), now=now)
