"""Carrying messages: some are taken for a while, sent, and then it is noted.

Whoever dies between sending and noting leaves them for the next one, so a message is never lost
and may come twice. What no carrier takes stays in the outbox, as sent.
"""

import asyncio
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    Uuid,
    all_,
    any_,
    bindparam,
    case,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database, Query, rows_of
from commerce.tables import message

SEND_AT_ONCE = 8
KEEP_AT_ONCE = 500
ATTEMPTS = 8
_LEASE = timedelta(minutes=2)
_FIRST_WAIT = timedelta(seconds=15)


class NotSent(Exception):
    """The carrier did not take the message. Says why without naming anybody."""


class Message(msgspec.Struct, frozen=True):
    """What a carrier gets."""

    id: UUID
    channel: str
    recipient: str
    subject: str
    body: str
    attempts: int


class Post(Protocol):
    """Carries messages to people: SMTP, or whatever a test hands in."""

    channels: frozenset[str]
    """What it can carry; other messages stay in the outbox."""

    async def send(self, message: Message) -> None:
        """Hand one message over. Raises NotSent."""


_NOW = bindparam("now", type_=DateTime(timezone=True))
_CHANNELS = bindparam("channels", type_=ARRAY(Text))
_MESSAGE = [message.c[name] for name in Message.__struct_fields__]
_NEXT = (
    select(message.c.id)
    .where(message.c.state == "queued", message.c.due_at <= _NOW)
    .order_by(message.c.due_at)
    .limit(bindparam("page", type_=Integer()))
    .with_for_update(skip_locked=True)
)


def _among(found: Select[tuple[UUID]]) -> ColumnElement[bool]:
    """As an array, so that the locking part runs once whatever the plan."""
    return message.c.id == any_(func.array(found.scalar_subquery(), type_=ARRAY(Uuid)))


TAKE = Query(
    update(message)
    .where(_among(_NEXT.where(message.c.channel == any_(_CHANNELS))))
    .values(
        attempts=message.c.attempts + 1,
        due_at=bindparam("until", type_=DateTime(timezone=True)),
    )
    .returning(*_MESSAGE),
    Message,
)
KEEP = Query(
    update(message)
    .where(_among(_NEXT.where(message.c.channel != all_(_CHANNELS))))
    .values(state="sent", sent_at=_NOW)
    .returning(message.c.id),
    UUID,
)
_OUTCOMES = rows_of("o", id=Uuid(), state=Text(), again_at=_NOW.type)
NOTE = Query(
    update(message)
    .values(
        state=_OUTCOMES.c.state,
        due_at=_OUTCOMES.c.again_at,
        sent_at=case((_OUTCOMES.c.state == "sent", _NOW)),
    )
    .where(message.c.id == _OUTCOMES.c.id, message.c.state == "queued")
)


async def send(db: Database, post: Post | None, *, now: Clock) -> int:
    """Send what is due; returns how many messages were tried. Any number may run it at once."""
    channels = list(post.channels) if post is not None else []
    tried = 0
    while True:
        kept = await _keep(db, channels, now)
        sent = await _send_some(db, post, now) if post is not None else 0
        tried += kept + sent
        if not kept and not sent:
            return tried


async def _keep(db: Database, channels: list[str], now: Clock) -> int:
    """What nobody carries stays where it is; that is all that is done with it."""

    async def work(conn: Connection) -> list[UUID]:
        return await conn.run(KEEP, channels=channels, page=KEEP_AT_ONCE, now=now())

    return len(await db.commit(work))


async def _send_some(db: Database, post: Post, now: Clock) -> int:
    """Take some, send them, note it: three steps, with the network in none of the transactions."""

    async def take(conn: Connection) -> list[Message]:
        moment = now()
        return await conn.run(
            TAKE,
            channels=list(post.channels),
            page=SEND_AT_ONCE,
            now=moment,
            until=moment + _LEASE,
        )

    taken = await db.commit(take)
    if not taken:
        return 0
    states = await asyncio.gather(*(_carry(post, each) for each in taken))

    async def note(conn: Connection) -> None:
        moment = now()
        waits = [_FIRST_WAIT * 2 ** (each.attempts - 1) for each in taken]
        await conn.run(
            NOTE,
            id=[each.id for each in taken],
            state=list(states),
            again_at=[moment + wait for wait in waits],
            now=moment,
        )

    await db.commit(note)
    return len(taken)


async def _carry(post: Post, message: Message) -> str:
    try:
        await post.send(message)
    except NotSent:
        return "queued" if message.attempts < ATTEMPTS else "failed"
    return "sent"
