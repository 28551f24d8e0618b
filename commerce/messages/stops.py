"""Addresses that turned out to be nobody's: nothing goes there until somebody says otherwise.

A shopper who changes the address has another one; who says that the old one works after all is the
back office.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from sqlalchemy import DateTime, Text, and_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal, record_staff
from commerce.consents import MessageChannel
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.tables import stopped_address


class _Address(msgspec.Struct, frozen=True):
    channel: MessageChannel
    address: str


_NOW = bindparam("now", type_=DateTime(timezone=True))
_NEW = rows_of("s", channel=Text(), address=Text())
STOP = Query(
    upsert(stopped_address)
    .from_select(
        ["channel", "address", "why", "at"],
        select(_NEW.c.channel, _NEW.c.address, bindparam("because", type_=Text()), _NOW)
        .distinct()
        .order_by(_NEW.c.channel, _NEW.c.address),
    )
    .on_conflict_do_nothing()
)
STOPPED = Query(
    select(stopped_address.c.channel, stopped_address.c.address).join(
        _NEW,
        and_(
            stopped_address.c.channel == _NEW.c.channel,
            stopped_address.c.address == _NEW.c.address,
        ),
    ),
    _Address,
)
LIFT = Query(
    delete(stopped_address)
    .where(
        stopped_address.c.channel == bindparam("by", type_=Text()),
        stopped_address.c.address == bindparam("of", type_=Text()),
    )
    .returning(stopped_address.c.channel),
    str,
)


async def stop(
    conn: Connection,
    addresses: Iterable[tuple[MessageChannel, str]],
    *,
    why: str,
    now: datetime,
) -> None:
    """Send nothing more to these. Repeating is harmless."""
    if named := sorted(set(addresses)):
        columns = {"channel": [each[0] for each in named], "address": [each[1] for each in named]}
        await conn.run(STOP, **columns, because=why, now=now)


async def stopped(
    conn: Connection, addresses: Iterable[tuple[MessageChannel, str]]
) -> set[tuple[MessageChannel, str]]:
    """Which of these nothing is sent to."""
    named = sorted(set(addresses))
    rows = await conn.run(
        STOPPED, channel=[each[0] for each in named], address=[each[1] for each in named]
    )
    return {(row.channel, row.address) for row in rows}


async def lift(
    conn: Connection, who: Principal, channel: MessageChannel, address: str, *, now: datetime
) -> None:
    """Send there again. Raises `NotFound` where it was not stopped."""
    if await conn.first(LIFT, by=channel, of=address) is None:
        raise NotFound(kind="stopped address", id=channel)
    await record_staff(
        conn, who, action="stopped_address.lifted", subject=channel, changes={}, now=now
    )
