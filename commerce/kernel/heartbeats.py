"""When each piece of recurring work last succeeded, so that `/health` can tell what has stopped."""

from datetime import datetime

import msgspec
from sqlalchemy import Column, DateTime, Table, Text, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel.sql import Connection, Query, metadata

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    postgresql_with={"fillfactor": "50"},
)


class Heartbeat(msgspec.Struct, frozen=True):
    """A name and its last success."""

    name: str
    at: datetime


_BEAT = upsert(heartbeat).values(
    name=bindparam("of", type_=Text()), at=bindparam("now", type_=DateTime(timezone=True))
)
BEAT = Query(_BEAT.on_conflict_do_update(index_elements=["name"], set_={"at": _BEAT.excluded.at}))
HEARTBEATS = Query(select(heartbeat), Heartbeat)


async def beat(conn: Connection, name: str, *, now: datetime) -> None:
    """This work has just succeeded."""
    await conn.run(BEAT, of=name, now=now)


async def last(conn: Connection) -> dict[str, datetime]:
    """The last success of everything that ever succeeded."""
    return {each.name: each.at for each in await conn.run(HEARTBEATS)}
