"""Dramatiq: the same actors over queues in the database, or over RabbitMQ if `BROKER_URL` says so.

Actors are coroutines. They run in an event loop of dramatiq's own, with connections of their own
that are opened there by the first message. What an actor fails on is kept in the database and told
again from there (`commerce.kernel.deliveries`), so the broker's own retries are for the rest: a
message that took too long.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any
from uuid import UUID

import dramatiq
import dramatiq_postgres
import psycopg
from dramatiq.asyncio import async_to_sync
from dramatiq.broker import Broker, MessageProxy
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import BrokerConnectionError
from dramatiq.middleware import AsyncIO, Middleware, Retries, TimeLimit
from pika.exceptions import AMQPError
from psycopg_pool import ConnectionPool
from tenacity import stop_after_attempt

from api.actors import ACTORS, Actor, DatabaseAway, deliver
from api.log import Log
from api.relay import BrokerAway
from api.work import Work, open_work
from commerce.kernel import deliveries
from commerce.kernel.clock import Clock
from commerce.kernel.settings import Settings

THREADS = 4
TIME_LIMIT_MS = 120_000
WAIT_MS = 500
"""So long a thread waits at most before it looks whether to stop."""

_AWAY_PAUSE_SECONDS = 1.0
_AWAY = (BrokerConnectionError, psycopg.Error, AMQPError, OSError)


class _DatabaseQueues(dramatiq_postgres.PostgresBroker):  # type: ignore[misc]  # has no types
    """Without retries of its own, which would hold the relay for minutes; it tries again itself."""

    enqueue = dramatiq_postgres.PostgresBroker.enqueue.retry_with(stop=stop_after_attempt(1))


class Background:
    """Broker, actors and consuming threads of one process."""

    def __init__(self, settings: Settings, *, log: Log, now: Clock) -> None:
        self._settings = settings
        self._log = log
        self._now = now
        self._broker = _make_broker(settings)
        self._broker.add_middleware(_Edges(self))
        self._actors = {each.name: self._declare(each) for each in ACTORS.values()}
        self._worker = dramatiq.Worker(self._broker, worker_threads=THREADS, worker_timeout=WAIT_MS)
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="enqueue")
        self._opened = AsyncExitStack()
        self._work: Work | None = None
        self._opening = asyncio.Lock()

    def start(self) -> None:
        """Begin to consume."""
        self._worker.start()

    def stop(self, seconds: float) -> None:
        """Let what is under way end, for so long; the rest comes again elsewhere."""
        self._worker.stop(timeout=int(seconds * 1000))
        self._sender.shutdown(wait=False, cancel_futures=True)
        self._broker.close()

    async def tell(self, actor: str, event_ids: Sequence[UUID]) -> None:
        """Put a message into the broker. Raises BrokerAway."""
        message = self._actors[actor].message([str(each) for each in event_ids])
        enqueue = partial(self._broker.enqueue, message, delay=ACTORS[actor].after_ms or None)
        try:
            # Always the same thread, because RabbitMQ's connections belong to threads.
            await asyncio.get_running_loop().run_in_executor(self._sender, enqueue)
        except _AWAY as error:
            raise BrokerAway(actor) from error

    async def act(self, actor: Actor, event_ids: Sequence[UUID]) -> None:
        """What a message makes happen. Waits as long as the database is away."""
        while True:
            try:
                await deliver(await self._means(), actor, event_ids)
            except DatabaseAway as away:
                self._log.fault("an actor waits for the database", away, actor=actor.name)
                await asyncio.sleep(_AWAY_PAUSE_SECONDS)
            else:
                return

    async def refuse(self, actor: str, event_ids: Sequence[UUID]) -> None:
        """A message that no actor took: its events wait with those that failed."""
        work = await self._means()
        faults = dict.fromkeys(event_ids, "refused")
        async with work.database.transaction() as conn:
            await deliveries.fail(conn, actor, faults, now=work.now())

    async def close(self) -> None:
        """Let go of the connections; what an actor left under way is rolled back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._opened.aclose()

    async def _means(self) -> Work:
        """Opened by whoever needs it first, in the actors' loop."""
        async with self._opening:
            if self._work is None:
                self._work = await self._opened.enter_async_context(
                    open_work(self._settings, log=self._log, now=self._now)
                )
        return self._work

    def _declare(self, actor: Actor) -> "dramatiq.Actor[[list[str]], Any]":
        async def act(event_ids: list[str]) -> None:
            await self.act(actor, [UUID(each) for each in event_ids])

        return dramatiq.actor(actor_name=actor.name, broker=self._broker)(act)


class _Edges(Middleware):
    """What is between broker and actors. It is added last, so it is told first of an end."""

    def __init__(self, background: Background) -> None:
        self._background = background

    def before_nack(self, _: Broker, message: MessageProxy) -> None:
        """A message for an actor that only another version knows, while both are running."""
        ids = [UUID(each) for each in message.args[0]]
        async_to_sync(self._background.refuse)(message.actor_name, ids)

    def after_worker_shutdown(self, *_: object) -> None:
        """All threads have ended; the actors' loop ends next."""
        async_to_sync(self._background.close)()


def _make_broker(settings: Settings) -> Broker:
    middleware = [
        AsyncIO(),
        TimeLimit(time_limit=TIME_LIMIT_MS),
        Retries(retry_when=lambda *_: True, min_backoff=5_000, max_backoff=300_000),
    ]
    if settings.broker_url:
        return RabbitmqBroker(url=settings.broker_url, confirm_delivery=True, middleware=middleware)
    with psycopg.connect(settings.direct_url) as connection, connection.cursor() as cursor:
        dramatiq_postgres.init(cursor)
    # A worker that has died is known to be dead after ten seconds, and others take its messages.
    return _DatabaseQueues(
        pool=_pool(settings.direct_url),
        results=False,
        middleware=middleware,
        heartbeat_interval=2.0,
        heartbeat_ttl=10.0,
        maintenance_interval=4.0,
    )


def _pool(dsn: str) -> "ConnectionPool[psycopg.Connection[Any]]":
    return ConnectionPool(
        dsn,
        min_size=0,
        max_size=2 * THREADS,
        timeout=3.0,
        kwargs={"application_name": "mostrador-queues"},
        check=ConnectionPool.check_connection,
        open=True,
    )
