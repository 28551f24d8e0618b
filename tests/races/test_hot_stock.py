"""The last units under a storm of holds, sales and sweeps on many connections."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from api.audit import audit
from commerce import orders
from commerce.kernel import auditing, ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers, Order, Placement, StockShort
from commerce.pricing import Basket, Line
from inventory import audit as stock_audit
from inventory import reservations, stock
from inventory.demands import Demand, Held, Want
from tests.carts import KEY, NOW
from tests.shop import Shop, make_shop

BUYERS, UNITS = 200, 20


@pytest.fixture
async def processes(own_dsn: str) -> AsyncIterator[list[Database]]:
    """Two pools, as of two processes."""
    opened = [await Database.open(own_dsn, max_size=12) for _ in range(2)]
    yield opened
    for each in opened:
        await each.close()


async def test_two_hundred_buyers_on_many_connections_get_exactly_the_twenty_units(
    processes: list[Database],
) -> None:
    db = processes[0]
    shop = await make_shop(db, skus=1, stores=1, on_hand=UNITS)
    numbers = [Numbers(KEY), Numbers(KEY)]

    async def buy(buyer: int) -> type:
        wanted = Placement(
            order_id=ids.uuid7(),
            fulfillment_id=ids.uuid7(),
            basket=Basket(shop.stores[0].location_id, (Line(shop.skus[0].sku, 1),)),
            seen=Money(10_000, "MXN"),
            tender="pay_at_pickup",
            channel="web",
            key_id=ids.uuid7(),
            actor="test",
        )

        async def work(conn: Connection) -> list[object]:
            return [*await orders.place(conn, [wanted], numbers=numbers[buyer % 2], now=NOW)]

        (outcome,) = await processes[buyer % 2].commit(work)
        return type(outcome)

    outcomes = Counter(await asyncio.gather(*(buy(buyer) for buyer in range(BUYERS))))
    assert outcomes == {Order: UNITS, StockShort: BUYERS - UNITS}
    assert (await audit(db)).findings == 0


class Storm:
    """People who hold, extend, buy, give back and sweep, each with a clock of their own."""

    def __init__(self, processes: list[Database], shop: Shop, seed: int) -> None:
        self.processes = processes
        self.at = shop.stores[0].location_id
        self.skus = [each.sku for each in shop.skus]
        self.random = random.Random(seed)
        self.held: list[UUID] = []
        self.steps = 0

    def now(self) -> datetime:
        """Time goes by as things happen; some clocks are behind."""
        self.steps += 1
        return NOW + timedelta(seconds=self.steps - self.random.randrange(20))

    async def person(self, steps: int) -> None:
        """So many steps, each in a transaction of its own."""
        acts = (self.hold, self.hold, self.commit, self.extend, self.release, self.fulfill,
                self.gather, self.sweep, self.restock)  # fmt: skip
        for _ in range(steps):
            act = self.random.choice(acts)
            made = await self.random.choice(self.processes).commit(partial(act, now=self.now()))
            self.held += [made] if made else []

    def some(self, count: int = 1) -> list[UUID]:
        """Demands that may be anybody's, alive or dead."""
        return self.random.sample(self.held, min(count, len(self.held)))

    async def hold(self, conn: Connection, now: datetime) -> UUID | None:
        """One to three SKUs, in any order."""
        wants = tuple(
            Want(self.at, sku, self.random.randint(1, 3))
            for sku in self.random.sample(self.skus, self.random.randint(1, 3))
        )
        until = now + timedelta(seconds=self.random.randrange(5, 60))
        demand = Demand(ids.uuid7(), wants, "guest", "test", until)
        (outcome,) = await reservations.hold(conn, [demand], now=now)
        return demand.id if isinstance(outcome, Held) else None

    async def commit(self, conn: Connection, now: datetime) -> None:
        """Promise without end."""
        await reservations.commit(conn, dict.fromkeys(sorted(self.some(2))), now=now)

    async def extend(self, conn: Connection, now: datetime) -> None:
        """Live longer."""
        await reservations.extend(conn, self.some(3), until=now + timedelta(seconds=30), now=now)

    async def release(self, conn: Connection, now: datetime) -> None:
        """Give back."""
        for demand_id in self.some():
            await reservations.release(conn, demand_id, actor="test", now=now)

    async def fulfill(self, conn: Connection, now: datetime) -> None:
        """The goods leave."""
        for demand_id in self.some():
            await reservations.fulfill(conn, demand_id, actor="test", now=now)

    async def gather(self, conn: Connection, now: datetime) -> UUID | None:
        """Two holds become one."""
        parts, into = self.some(2), ids.uuid7()
        dead = await reservations.gather(conn, parts, into=into, actor="test", now=now)
        return into if parts and not dead else None

    async def sweep(self, conn: Connection, now: datetime) -> None:
        """Tidy up what has run out."""
        await reservations.sweep(conn, now=now)

    async def restock(self, conn: Connection, now: datetime) -> None:
        """Goods come in."""
        came = stock.Movement(self.at, self.random.choice(self.skus), "receive", 2, "test")
        await stock.move(conn, [came], now=now)


DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
LEFT_TWICE = """
SELECT reference, sku FROM stock_ledger WHERE kind IN ('release', 'expire', 'fulfill')
GROUP BY reference, sku HAVING count(*) > 1
"""


async def test_a_storm_of_everything_leaves_books_that_agree(processes: list[Database]) -> None:
    db = processes[0]
    shop = await make_shop(db, skus=4, stores=1, on_hand=10)
    storm = Storm(processes, shop, seed=11)
    await asyncio.gather(*(storm.person(25) for _ in range(20)))
    async with db.snapshot() as conn:
        levels = await stock.levels(conn, [(storm.at, sku) for sku in storm.skus])
        states = await conn.driver.fetch("SELECT DISTINCT state FROM reservation")
        left_twice = await conn.driver.fetch(LEFT_TWICE)
        deadlocks = await conn.driver.fetchval(DEADLOCKS)
        await auditing.begin(conn)
        findings = [
            finding
            for check in stock_audit.CHECKS
            async for finding in auditing.findings(conn, check)
        ]
    assert {row[0] for row in states} >= {"expired", "released", "fulfilled", "committed"}
    assert all(0 <= level.reserved <= level.on_hand for level in levels.values()), levels
    assert (left_twice, findings, deadlocks) == ([], [], 0)
