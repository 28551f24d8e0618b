"""Events and sign-ins of one device at the same time, on committed data over two pools."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from commerce import browsing
from commerce.browsing import Batch, BrowsingCounts, CatalogSearch
from commerce.kernel.sql import Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROUNDS = 10


@pytest.fixture(scope="module")
async def rival(dsn: str) -> AsyncIterator[Database]:
    """The pool of another process."""
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


async def record(db: Database, *batches: Batch) -> list[BrowsingCounts]:
    async with db.reading() as conn:
        return await browsing.record(conn, [browsing.dated(each) for each in batches])


async def link(db: Database, visitor_id: UUID, shopper_id: UUID, now: datetime) -> None:
    async with db.transaction() as conn:
        await browsing.link(conn, visitor_id, [shopper_id], now=now)


async def searched(db: Database, shopper_id: UUID) -> set[str]:
    async with db.reading() as conn:
        found = await browsing.recent(conn, [shopper_id], now=NOW + timedelta(days=1))
    return {each.query for each in found.searches}


async def test_batches_that_two_processes_store_at_once_are_stored_once(
    db: Database, rival: Database
) -> None:
    for _ in range(ROUNDS):
        visitors = [uuid4(), uuid4()]
        batches = [
            Batch(
                visitor, uuid4(), "app",
                tuple(CatalogSearch(uuid4(), NOW, f"{n}") for n in range(100)), (), NOW,
            )
            for visitor in visitors
        ]  # fmt: skip
        # In opposite order, so that each would wait for what the other has stored.
        answers = await asyncio.gather(
            *(record(each, *batches) for each in (db, rival)),
            *(record(each, *reversed(batches)) for each in (db, rival)),
        )
        counts = [count for answer in answers for count in answer]
        assert sum(count.stored for count in counts) == 200
        assert sum(count.duplicates for count in counts) == 3 * 200


async def test_two_who_sign_in_at_once_on_one_device_do_not_both_get_its_trail(
    db: Database, rival: Database
) -> None:
    for number in range(ROUNDS):
        visitor, ana, eva = uuid4(), uuid4(), uuid4()
        await record(
            db, Batch(visitor, uuid4(), "web", (CatalogSearch(uuid4(), NOW, "lino"),), (), NOW)
        )
        later = NOW + timedelta(minutes=1)
        earlier = later - timedelta(seconds=number)  # clocks of two processes may differ
        await asyncio.gather(link(db, visitor, ana, later), link(rival, visitor, eva, earlier))
        trails = [await searched(db, shopper) for shopper in (ana, eva)]
        assert sorted(trails, key=len) == [set(), {"lino"}]
