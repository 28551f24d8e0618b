"""The relay: which messages it makes of the log, what a crash repeats, and who takes over."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from api import relay
from api.doorbell import Doorbell, listening
from api.log import Log
from api.relay import MESSAGE_EVENTS, BrokerAway, pass_on
from commerce.kernel import clock, events, readers
from commerce.kernel.events import Event
from commerce.kernel.generations import open_generation
from commerce.kernel.sql import Database
from tests.background import until

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
SUBSCRIPTIONS = {"order.placed": ("confirm",), "order.cancelled": ("confirm", "settle")}
NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
TERMINATE_READERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name = 'mostrador-reader' AND datname = current_database()"
)


class Told:
    """A broker that remembers, and that may be away."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, list[UUID]]] = []
        self.away = False

    async def tell(self, actor: str, event_ids: Sequence[UUID]) -> None:
        """Remember a message."""
        if self.away:
            raise BrokerAway
        self.messages.append((actor, list(event_ids)))

    def of(self, actor: str) -> list[UUID]:
        """All events that an actor was told of, in order."""
        return [each for name, ids in self.messages if name == actor for each in ids]


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(own_dsn)
    async with database.transaction() as conn:
        await open_generation(conn, now=NOW)
    yield database
    await database.close()


async def record(db: Database, *kinds: str) -> list[UUID]:
    async with db.transaction() as conn:
        facts = [Event(kind, "order", uuid4(), "test") for kind in kinds]
        return await events.record(conn, facts, now=NOW)


async def passed(db: Database, told: Told) -> int:
    async with listening(db.dsn) as listener:
        return await pass_on(
            listener.conn, subscriptions=SUBSCRIPTIONS, tell=told.tell, now=lambda: NOW
        )


async def test_one_message_per_actor_in_the_order_of_the_log_and_none_for_what_nobody_asked_for(
    db: Database,
) -> None:
    made = await record(db, "order.placed", "catalog.changed", "order.cancelled", "order.placed")
    told = Told()
    assert await passed(db, told) == 3
    assert told.messages == [("confirm", [made[0], made[2], made[3]]), ("settle", [made[2]])]
    assert await passed(db, told) == 0
    assert len(told.messages) == 2


async def test_a_long_backlog_becomes_messages_of_five_hundred(db: Database) -> None:
    made = [*await record(db, *["order.placed"] * 700), *await record(db, *["order.placed"] * 700)]
    told = Told()
    assert await passed(db, told) == 1_400
    assert [len(ids) for _, ids in told.messages] == [MESSAGE_EVENTS, MESSAGE_EVENTS, 400]
    assert told.of("confirm") == made


async def test_events_of_no_interest_leave_no_lag_behind(db: Database) -> None:
    await record(db, "catalog.changed")
    async with db.reading() as conn:
        assert await readers.oldest_unread(conn, readers.RELAY) == NOW
    await passed(db, Told())
    async with db.reading() as conn:
        assert await readers.oldest_unread(conn, readers.RELAY) is None


async def test_an_idle_relay_writes_nothing(db: Database) -> None:
    await record(db, "order.placed")
    await passed(db, Told())
    for _ in range(1_000):  # other databases of this cluster draw transaction ids as well
        before = await db.pool.fetchval(NEXT_TRANSACTION)
        for _ in range(3):
            await passed(db, Told())
        if await db.pool.fetchval(NEXT_TRANSACTION) == before:
            return
    pytest.fail("each pass of an idle relay drew a transaction id")


async def test_a_crash_between_telling_and_noting_tells_again_and_loses_nothing(
    db: Database,
) -> None:
    made = await record(db, *["order.placed"] * 1_200)
    told = Told()

    async def tell_and_die(actor: str, event_ids: Sequence[UUID]) -> None:
        await told.tell(actor, event_ids)
        if len(told.messages) == 2:
            raise KeyboardInterrupt  # nothing after the second message happens any more

    with suppress(KeyboardInterrupt):
        async with listening(db.dsn) as listener:
            await pass_on(
                listener.conn, subscriptions=SUBSCRIPTIONS, tell=tell_and_die, now=lambda: NOW
            )
    assert told.of("confirm") == made[:1_000]
    again = Told()
    assert await passed(db, again) == 700
    assert again.of("confirm") == made[500:]


@asynccontextmanager
async def leading(db: Database, told: Told) -> AsyncIterator[asyncio.Event]:
    """A process that would lead; the event is set while it does."""
    leads = asyncio.Event()

    async def beside() -> None:
        leads.set()
        try:
            await asyncio.Event().wait()
        finally:
            leads.clear()

    log = Log("error", clock.now, io.BytesIO())
    task = asyncio.create_task(
        relay.lead(
            db.dsn, subscriptions=SUBSCRIPTIONS, tell=told.tell, beside=beside, log=log,
            now=clock.now,
        )
    )  # fmt: skip
    try:
        yield leads
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_one_process_leads_and_another_takes_over_where_it_stopped(db: Database) -> None:
    first, second = Told(), Told()
    async with leading(db, second) as second_leads:
        await asyncio.wait_for(second_leads.wait(), 5)
        async with leading(db, first) as first_leads:
            made = await record(db, "order.placed")
            await until(lambda: _has(second, made))
            await asyncio.sleep(1.2)
            assert not first_leads.is_set()
            assert first.messages == []
    async with leading(db, first) as first_leads:
        await asyncio.wait_for(first_leads.wait(), 5)
        more = await record(db, "order.placed")
        await until(lambda: _has(first, more))
    assert second.of("confirm") == made


async def test_a_leader_that_loses_its_connection_stops_what_runs_beside_and_comes_back(
    db: Database,
) -> None:
    told = Told()
    async with leading(db, told) as leads:
        await asyncio.wait_for(leads.wait(), 5)
        assert await db.pool.fetchval(TERMINATE_READERS) == 1
        made = await record(db, "order.placed")
        await until(lambda: _is(not leads.is_set()))
        await asyncio.wait_for(leads.wait(), 5)
        await until(lambda: _has(told, made))
    assert told.of("confirm") == made


async def test_a_broker_that_is_away_loses_nothing(db: Database) -> None:
    told = Told()
    told.away = True
    async with leading(db, told) as leads:
        await asyncio.wait_for(leads.wait(), 5)
        made = await record(db, *["order.placed"] * 600)
        await asyncio.sleep(0.5)
        assert told.messages == []
        told.away = False
        await until(lambda: _has(told, made))
    assert told.of("confirm") == made


async def test_the_doorbell_wakes_the_relay_at_once_and_rings_once_for_many_commits(
    db: Database,
) -> None:
    bell = Doorbell(db.dsn, Log("error", clock.now, io.BytesIO()))
    heard = 0

    def hear(*_: object) -> None:
        nonlocal heard
        heard += 1

    async with bell.running(), listening(db.dsn) as listener:
        await listener.conn.driver.add_listener("mostrador_events", hear)
        db.on_commit = bell.ring
        await record(db, "order.placed")
        async with asyncio.timeout(0.5):
            await listener.wait(0)
        for _ in range(50):
            bell.ring()
        await asyncio.sleep(0.1)
    assert 2 <= heard <= 4


async def test_the_doorbell_is_repaired(db: Database) -> None:
    bell = Doorbell(db.dsn, Log("error", clock.now, io.BytesIO()))
    async with bell.running(), listening(db.dsn) as listener:
        bell.ring()
        await listener.wait(0)
        await db.pool.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE query LIKE 'NOTIFY%' AND datname = current_database()"
        )
        heard = asyncio.Event()
        await listener.conn.driver.add_listener("mostrador_events", lambda *_: heard.set())
        bell.ring()
        await asyncio.sleep(1.2)
        bell.ring()
        await asyncio.wait_for(heard.wait(), 5)


async def _has(told: Told, made: list[UUID]) -> bool:
    return set(made) <= set(told.of("confirm"))


async def _is(condition: bool) -> bool:
    return condition
