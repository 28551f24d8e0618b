"""Worker processes: what they do, what a SIGKILL leaves undone, and who goes on with it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest

from api import database
from commerce.kernel import clock, heartbeats, readers
from commerce.kernel.sql import Database
from tests import counter
from tests.background import WorkerProcess, until
from tests.shop import Shop, make_shop


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    """A database of its own, as a start of the product leaves it."""
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, stores=1, skus=1, on_hand=1_000)


async def order(db: Database, shop: Shop) -> UUID:
    return (await counter.order(db, shop, (0, 1), total_minor=10_000, now=clock.now())).id


async def told(db: Database) -> Counter[UUID]:
    """How many confirmations each order's shopper has in the outbox."""
    rows = await db.pool.fetch(
        "SELECT event.aggregate_id FROM notification JOIN event ON event.id = event_id"
        " WHERE template = 'order_placed' AND notification.state = 'sent'"
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
