"""Readers of the event log against writers that finish out of order, on committed data."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from commerce.kernel import events, readers
from commerce.kernel.events import Event, Recorded
from commerce.kernel.generations import open_generation
from commerce.kernel.readers import Position
from commerce.kernel.sql import Connection, Database

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
WRITERS = 12
ROUNDS = 15
READERS = 4
AGGREGATES = 5

LOCK_AGGREGATE = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))"
PAST_NUMBER = "SELECT sequence, id FROM event WHERE sequence > $1 ORDER BY sequence"


@pytest.fixture
async def log(own_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(own_dsn, min_size=8, max_size=WRITERS + READERS + 4)
    async with database.transaction() as conn:
        await open_generation(conn, now=NOW)
    yield database
    await database.close()


async def test_a_late_commit_is_not_lost_though_a_higher_number_was_read_before(
    log: Database,
) -> None:
    async with log.reading() as conn:
        position = await readers.latest(conn)
    number = await log.pool.fetchval("SELECT coalesce(max(sequence), 0) FROM event")
    async with log.pool.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        (slow,) = await _record(late, [_fact(uuid4(), 0)])
        async with log.transaction() as conn:
            (fast,) = await events.record(conn, [_fact(uuid4(), 0)], now=NOW)
        async with log.reading() as conn:
            first, position = await readers.read(conn, position)
            by_number = await conn.driver.fetch(PAST_NUMBER, number)
        await transaction.commit()
    async with log.reading() as conn:
        second, _ = await readers.read(conn, position)
        by_number += await conn.driver.fetch(PAST_NUMBER, by_number[-1]["sequence"])
    assert [each.id for each in first] == [fast]
    assert [each.id for each in second] == [slow]
    assert [row["id"] for row in by_number] == [fast], "sequence > cursor has lost the slow one"


async def test_an_open_writer_holds_nobody_up(log: Database) -> None:
    """Below-the-horizon readers would see nothing until the open transaction ends."""
    async with log.reading() as conn:
        position = await readers.latest(conn)
    async with log.pool.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        (slow,) = await _record(late, [_fact(uuid4(), 0)])
        seen = []
        for _ in range(5):
            async with log.transaction() as conn:
                (made,) = await events.record(conn, [_fact(uuid4(), 0)], now=NOW)
            async with log.reading() as conn:
                got, position = await readers.read(conn, position)
            assert [each.id for each in got] == [made]
            seen += got
        await transaction.commit()
    async with log.reading() as conn:
        got, position = await readers.read(conn, position)
    assert [each.id for each in got] == [slow]


async def test_an_aggregate_that_waited_for_its_lock_is_read_in_commit_order(
    log: Database,
) -> None:
    """The waiting transaction has the lower transaction id, so ordering by that would be wrong."""
    async with log.reading() as conn:
        position = await readers.latest(conn)
    aggregate = uuid4()
    async with log.pool.acquire() as first, log.pool.acquire() as second:
        waiting, holding = first.transaction(), second.transaction()
        await waiting.start()
        await first.fetchval("SELECT pg_current_xact_id()")
        await holding.start()
        await second.execute(LOCK_AGGREGATE, str(aggregate))
        blocked = asyncio.create_task(first.execute(LOCK_AGGREGATE, str(aggregate)))
        made = await _record(second, [_fact(aggregate, 1)])
        await holding.commit()
        await blocked
        made += await _record(first, [_fact(aggregate, 2)])
        await waiting.commit()
    async with log.reading() as conn:
        got, _ = await readers.read(conn, position)
        by_xid = await conn.driver.fetch(
            "SELECT id FROM event WHERE aggregate_id = $1 ORDER BY xid", aggregate
        )
    assert [each.id for each in got] == made
    assert [row["id"] for row in by_xid] == made[::-1]


async def test_many_readers_get_every_event_once_and_each_aggregate_in_commit_order(
    log: Database,
) -> None:
    """Writers hold locks, pause, roll back and finish out of order while readers page along."""
    async with log.reading() as conn:
        start = await readers.latest(conn)
    aggregates = [uuid4() for _ in range(AGGREGATES)]
    committed: dict[UUID, list[UUID]] = {each: [] for each in aggregates}
    done = asyncio.Event()
    following = [asyncio.create_task(_follow(log, start, page, done)) for page in (1, 3, 10, 1000)]
    await asyncio.gather(*(_write(log, committed, random.Random(seed)) for seed in range(WRITERS)))
    done.set()
    expected = sum(len(made) for made in committed.values())
    assert expected > WRITERS * ROUNDS
    out_of_order = 0
    for got in await asyncio.gather(*following):
        assert len(got) == expected
        assert len({each.id for each in got}) == expected
        for aggregate, made in committed.items():
            assert [each.id for each in got if each.aggregate_id == aggregate] == made
        numbers = [each.sequence for each in got]
        out_of_order += sum(later < sooner for sooner, later in pairwise(numbers))
    assert out_of_order > 0, "no writer finished out of order, so this run has proved nothing"


async def _write(log: Database, committed: dict[UUID, list[UUID]], chance: random.Random) -> None:
    """Transactions of one to three events on an aggregate that is locked meanwhile."""
    for _ in range(ROUNDS):
        aggregate = chance.choice(list(committed))
        async with log.pool.acquire() as driver:
            transaction = driver.transaction()
            await transaction.start()
            if chance.random() < 0.5:
                await driver.fetchval("SELECT pg_current_xact_id()")
            await asyncio.sleep(chance.random() * 0.01)
            await driver.execute(LOCK_AGGREGATE, str(aggregate))
            new = [_fact(aggregate, number) for number in range(chance.randint(1, 3))]
            made = await _record(driver, new)
            await asyncio.sleep(chance.random() * 0.01)
            if chance.random() < 0.1:
                await transaction.rollback()
                continue
            committed[aggregate] += made  # still under the lock, so in commit order
            await transaction.commit()


async def _follow(
    log: Database, position: Position, page: int, done: asyncio.Event
) -> list[Recorded]:
    """Read along; what is read after the last commit completes it."""
    found: list[Recorded] = []
    while True:
        last = done.is_set()
        async with log.reading() as conn:
            got, position = await readers.read(conn, position, page=page)
        found += got
        if last and len(got) < page and position.upto is None:
            async with log.reading() as conn:
                rest, position = await readers.read(conn, position)
            return found + rest
        if len(got) < page:
            await asyncio.sleep(0.001)


async def _record(driver: Any, new: list[Event]) -> list[UUID]:
    conn = Connection(driver)
    made = await events.record(conn, new, now=NOW)
    await conn.flush()
    return made


def _fact(aggregate: UUID, number: int) -> Event:
    return Event("order.placed", "order", aggregate, "test", {"number": number})
