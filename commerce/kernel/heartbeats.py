"""When each piece of recurring work last succeeded, so that `/health` can tell what has stopped."""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Column, DateTime, Table, Text, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel.sql import Connection, Query, metadata

GRACE = timedelta(seconds=30)
"""So late may the next success be, beside one that was left out."""

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("overdue_at", DateTime(timezone=True), nullable=False),
    postgresql_with={"fillfactor": "50"},
)


class Heartbeat(msgspec.Struct, frozen=True):
    """Some work, its last success, and from when on the next one is overdue."""

    name: str
    at: datetime
    overdue_at: datetime


_MOMENT = DateTime(timezone=True)
_BEAT = upsert(heartbeat).values(
    name=bindparam("of", type_=Text()),
    at=bindparam("now", type_=_MOMENT),
    overdue_at=bindparam("by", type_=_MOMENT),
)
BEAT = Query(
    _BEAT.on_conflict_do_update(
        index_elements=["name"],
        set_={"at": _BEAT.excluded.at, "overdue_at": _BEAT.excluded.overdue_at},
    )
)
HEARTBEATS = Query(select(heartbeat).order_by(heartbeat.c.name), Heartbeat)


async def beat(conn: Connection, name: str, *, every: timedelta, now: datetime) -> None:
    """This work has just succeeded, and does so again and again."""
    await conn.run(BEAT, of=name, now=now, by=now + 2 * every + GRACE)


async def last(conn: Connection) -> list[Heartbeat]:
    """The last success of everything that ever succeeded."""
    return await conn.run(HEARTBEATS)
