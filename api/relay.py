"""The relay: new events become messages to the actors that asked for them. One at a time, anywhere.

Whoever holds the session lock on its own connection leads: passes events on, and runs what goes
with it (the sweeps). When that connection is lost, all of it stops, and the next process that gets
the lock goes on from the stored position. The position is stored after the messages are, so an
event is told at least once; actors make that once (`commerce.kernel.deliveries`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from api.doorbell import BROKEN, PATIENCE_SECONDS, Listener, listening
from api.log import Log
from commerce.kernel import readers
from commerce.kernel.clock import Clock
from commerce.kernel.generations import open_generation
from commerce.kernel.readers import RELAY, Notice
from commerce.kernel.sql import Connection

MESSAGE_EVENTS = 500
"""So many events one message names at most."""

CALM_SECONDS = 0.1
"""How long commits are gathered before the actors are told of them."""

_LOCK = 7_236_014_908
_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"

Tell = Callable[[str, Sequence[UUID]], Awaitable[None]]
"""Put a message for an actor, by name, into the broker; returns when the broker has it."""

Subscriptions = Mapping[str, Sequence[str]]
"""Event type -> names of actors."""


class BrokerAway(Exception):
    """The broker did not take a message. Nothing is lost: the event log has it."""


async def lead(
    dsn: str,
    *,
    subscriptions: Subscriptions,
    tell: Tell,
    beside: Callable[[], Coroutine[Any, Any, None]],
    log: Log,
    now: Clock,
) -> None:
    """Wait for the lead, relay as long as it lasts, wait again; until cancelled.

    `beside` runs while this process leads, and is cancelled when it no longer does.
    """
    while True:
        try:
            async with listening(dsn) as listener:
                while not await listener.conn.driver.fetchval(_TRY_LOCK, _LOCK):  # noqa: ASYNC110
                    await asyncio.sleep(PATIENCE_SECONDS)  # nobody tells when the lock is free
                log.write("info", "leads: relay and sweeps run here")
                async with listener.conn.driver.transaction():
                    await open_generation(listener.conn, now=now())
                async with asyncio.TaskGroup() as group:
                    group.create_task(_relay(listener, subscriptions, tell, log, now))
                    group.create_task(beside())
        except* BROKEN as errors:
            log.fault("leads no longer: the database is away", errors.exceptions[0])
        await asyncio.sleep(PATIENCE_SECONDS)


async def pass_on(conn: Connection, *, subscriptions: Subscriptions, tell: Tell, now: Clock) -> int:
    """Tell the actors what is new since the stored position; how many events that were.

    In pages, so that a long backlog needs little memory and an interrupted one goes on where it
    was. Safe to repeat: what was told and not noted is told again.
    """
    told = 0
    position = await readers.reader_position(conn, RELAY)
    pages = readers.notices(conn, position, types=list(subscriptions), page=MESSAGE_EVENTS)
    async with aclosing(pages):
        async for notices, after in pages:
            for actor, event_ids in by_actor(notices, subscriptions).items():
                await tell(actor, event_ids)
            # Noting where we stand is a transaction too; alone it is nothing to note.
            if notices or after.transactions - position.transactions > 1:
                await readers.move_reader(conn, RELAY, after, now=now())
            told += len(notices)
    return told


def by_actor(notices: Sequence[Notice], subscriptions: Subscriptions) -> dict[str, list[UUID]]:
    """One message per actor: which events it is told of, in the order of the log."""
    found: dict[str, list[UUID]] = {}
    for notice in notices:
        for actor in subscriptions[notice.type]:
            found.setdefault(actor, []).append(notice.id)
    return found


async def _relay(
    listener: Listener, subscriptions: Subscriptions, tell: Tell, log: Log, now: Clock
) -> None:
    while True:
        try:
            await pass_on(listener.conn, subscriptions=subscriptions, tell=tell, now=now)
        except readers.StartOver:
            async with listener.conn.driver.transaction():
                await open_generation(listener.conn, now=now())
        except BrokerAway as away:
            log.fault("the broker takes no messages", away)
            await asyncio.sleep(PATIENCE_SECONDS)
        await listener.wait(CALM_SECONDS)
