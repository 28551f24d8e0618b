"""The same actors over a real RabbitMQ: confirmed messages, killed workers, a killed broker."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from api import database
from api.actors import NAMES
from commerce.kernel import clock
from commerce.kernel.sql import Database
from tests import counter, rabbit
from tests.background import WorkerProcess, until
from tests.rabbit import RabbitNode
from tests.shop import Shop, make_shop

pytestmark = rabbit.needed


@pytest.fixture
def node() -> Iterator[RabbitNode]:
    with RabbitNode() as running:
        yield running


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


async def place(db: Database, shop: Shop, count: int) -> list[UUID]:
    return [
        (await counter.order(db, shop, (0, 1), total_minor=10_000, now=clock.now())).id
        for _ in range(count)
    ]


async def told(db: Database) -> Counter[UUID]:
    """How many confirmations of each order stand in the outbox."""
    rows = await db.pool.fetch(
        "SELECT event.aggregate_id FROM message JOIN event ON event.id = reason"
    )
    return Counter(row["aggregate_id"] for row in rows)


async def test_actors_over_rabbitmq_survive_killed_workers_and_a_killed_broker(
    db: Database, node: RabbitNode
) -> None:
    shop = await make_shop(db, stores=1, skus=1, on_hand=10_000)

    async def all_told() -> bool:
        return (await told(db)).keys() == set(placed)

    with WorkerProcess(db.dsn, broker_url=node.url) as worker:
        placed = await place(db, shop, 5)
        await until(all_told, what="the first confirmations")
        assert await db.pool.fetchval("SELECT to_regnamespace('dramatiq') IS NULL"), "not used"

        placed += await place(db, shop, 60)
        await asyncio.to_thread(worker.kill)
        placed += await place(db, shop, 5)
        await asyncio.to_thread(worker.start)
        await until(all_told, what="confirmations after a killed worker")

        await asyncio.to_thread(node.kill)
        placed += await place(db, shop, 5)
        await asyncio.sleep(1.5)
        assert not await all_told()
        await asyncio.to_thread(node.start)
        await until(all_told, seconds=30, what="confirmations after a killed broker")
        status, seconds = await asyncio.to_thread(worker.stop)
    assert status == 0
    assert seconds < 5
    assert await told(db) == Counter(placed)
    assert await asyncio.to_thread(node.waiting, "default") == 0
    states = await db.pool.fetch("SELECT state, count(*) FROM delivery GROUP BY state")
    assert [tuple(row) for row in states] == [("done", len(placed) * len(NAMES["order.placed"]))]
