"""Worker processes: what they do, what a SIGKILL leaves undone, and who goes on with it."""

import asyncio
import io
import statistics
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

import dramatiq
import msgspec
import pytest

from api import database
from api.actors import NAMES
from api.doorbell import Doorbell
from api.log import Log
from commerce.kernel import clock, deliveries, heartbeats, readers
from commerce.kernel.sql import Database
from tests import counter
from tests.background import WorkerProcess, until
from tests.shop import Shop, make_shop

FIRST = (UUID(int=0), "")


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    """A database of its own, as a start of the product leaves it."""
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, stores=1, skus=1, on_hand=10_000)


async def order(db: Database, shop: Shop) -> UUID:
    return (await counter.order(db, shop, (0, 1), total_minor=10_000, now=clock.now())).id


async def told(db: Database) -> Counter[UUID]:
    """How many confirmations each order's shopper has in the outbox."""
    rows = await db.pool.fetch(
        "SELECT event.aggregate_id FROM message JOIN event ON event.id = reason"
        " WHERE template = 'order_placed' AND message.state = 'sent'"
    )
    return Counter(row["aggregate_id"] for row in rows)


async def test_a_placed_order_is_confirmed_within_a_second_and_sigterm_ends_the_worker_at_once(
    db: Database, shop: Shop
) -> None:
    with WorkerProcess(db.dsn) as worker:
        first = await order(db, shop)

        async def confirmed() -> bool:
            return first in await told(db)

        await until(confirmed, what="the first confirmation")
        second = await order(db, shop)

        async def both() -> bool:
            return await told(db) == {first: 1, second: 1}

        # Nobody rings the bell here, so the relay finds it by looking, once a second.
        assert await until(both, what="the second confirmation") < 3
        status, seconds = await asyncio.to_thread(worker.stop)
    assert status == 0
    assert seconds < 5
    lines = [msgspec.json.decode(line) for line in worker.lines.splitlines()]
    assert [line["message"] for line in lines] == [
        "worker runs", "leads: relay and sweeps run here", "worker stops",
    ] or {line["level"] for line in lines} == {"info"}  # fmt: skip
    assert b"ana@example.com" not in worker.lines
    async with db.reading() as conn:
        beats = {each.name for each in await heartbeats.last(conn)}
        assert await readers.oldest_unread(conn, readers.RELAY) is None
    assert {"holds", "payments", "pickups", "messages", "partitions"} <= beats


async def test_the_bell_makes_the_way_from_commit_to_actor_short(db: Database, shop: Shop) -> None:
    """Without it the relay would find an order after half a second on average."""
    bell = Doorbell(db.dsn, Log("error", clock.now, io.BytesIO()))
    db.on_commit = bell.ring
    lags = []
    with WorkerProcess(db.dsn):
        async with bell.running():
            for count in range(1, 17):
                await order(db, shop)
                lags.append(await until(partial(_told, db, count), what="a confirmation"))
    assert statistics.median(lags[1:]) < 0.25


async def test_a_message_for_an_actor_of_another_version_waits_visibly(
    db: Database, shop: Shop
) -> None:
    with WorkerProcess(db.dsn):
        first = await order(db, shop)
        await until(lambda: _told(db, 1), what="the first confirmation")
        event_id = await db.pool.fetchval(
            "SELECT reason FROM message JOIN event ON event.id = reason WHERE aggregate_id = $1",
            first,
        )
        message: dramatiq.Message[None] = dramatiq.Message(
            "default", "of_next_year", ([str(event_id)],), {}, {}
        )
        await db.pool.execute(
            "INSERT INTO dramatiq.queue (queue_name, message_id, state, message)"
            " VALUES ('default', $1, 'queued', $2)",
            UUID(message.message_id),
            msgspec.json.decode(message.encode()),
        )

        async def waits() -> bool:
            async with db.reading() as conn:
                rows = await deliveries.open_page(conn, state="failed", after=FIRST, page=10)
            return [(row.event_id, row.actor) for row in rows] == [(event_id, "of_next_year")]

        await until(waits, what="a visible failure")


async def test_workers_killed_in_the_middle_lose_nothing_and_act_on_nothing_twice(
    db: Database, shop: Shop
) -> None:
    """Both die once while orders come in, the leader among them; the other goes on."""
    placed: list[UUID] = []
    enough = asyncio.Event()

    async def place_on() -> None:
        while not enough.is_set():
            placed.append(await order(db, shop))
            await asyncio.sleep(0.02)

    with WorkerProcess(db.dsn) as first, WorkerProcess(db.dsn) as second:
        placing = asyncio.create_task(place_on())
        for victim in (first, second):
            seen = (await told(db)).total()
            await until(partial(_told, db, seen + 20), what="some more confirmations")
            victim.kill()
            victim.start()
        enough.set()
        await placing
        # A dead worker's messages are taken over after ten seconds without its heartbeat.
        await until(lambda: _told(db, len(placed)), seconds=35, what="the last confirmation")
    assert await told(db) == Counter(placed)
    states = await db.pool.fetch("SELECT state, count(*) FROM delivery GROUP BY state")
    assert [tuple(row) for row in states] == [("done", len(placed) * len(NAMES["order.placed"]))]
    async with db.reading() as conn:
        assert await readers.oldest_unread(conn, readers.RELAY) is None


async def _told(db: Database, count: int) -> bool:
    return (await told(db)).total() >= count
