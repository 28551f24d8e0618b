"""Months of the growing logs: made ahead, made once, and what falls outside is counted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from commerce.kernel import clock, events, partitions
from commerce.kernel.events import Event
from commerce.kernel.ids import uuid7
from commerce.kernel.sql import Database

FAR = datetime(2031, 12, 15, tzinfo=UTC)
OF = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass"


@pytest.fixture
async def own_db(own_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


async def ensure(db: Database, now: datetime) -> None:
    async with db.transaction() as conn:
        await partitions.ensure(conn, now=now)


async def months(db: Database) -> set[str]:
    async with db.reading() as conn:
        return {row[0] for row in await conn.driver.fetch(OF)}


async def test_months_are_made_once_however_many_make_them(own_db: Database) -> None:
    before = await months(own_db)
    await asyncio.gather(*(ensure(own_db, FAR) for _ in range(4)))
    await ensure(own_db, FAR)
    assert await months(own_db) - before == {
        "event_203112", "event_203201", "event_203202", "event_203203",
    }  # fmt: skip


async def test_what_is_written_now_falls_into_its_month(own_db: Database) -> None:
    await ensure(own_db, clock.now())
    fact = Event("test.happened", "test", uuid7(), "test")
    async with own_db.transaction() as conn:
        (made,) = await events.record(conn, [fact], now=clock.now())
    async with own_db.reading() as conn:
        where = await conn.driver.fetchval("SELECT tableoid::regclass::text FROM event")
        assert [each.id for each in await events.by_ids(conn, [made])] == [made]
        assert await partitions.stray(conn) == 0
    assert where == f"event_{clock.now():%Y%m}"


async def test_what_no_month_took_is_counted_and_finds_its_month_later(own_db: Database) -> None:
    # A clock that ran ahead for a moment, or a service that was asleep for half a year.
    async with own_db.transaction() as conn:
        await conn.driver.execute(
            "INSERT INTO event (id, type, version, aggregate, aggregate_id, actor, payload, at)"
            " SELECT $1, 'test.happened', 1, 'test', $1, 'test', '{}', $2",
            partitions.bound(FAR), FAR,
        )  # fmt: skip
        assert await partitions.stray(conn) == 1
    await ensure(own_db, FAR)
    async with own_db.reading() as conn:
        assert await partitions.stray(conn) == 0
        (kept,) = await events.by_ids(conn, [partitions.bound(FAR)])
    assert (kept.at, kept.type) == (FAR, "test.happened")


JANUARY = datetime(2026, 1, 3, tzinfo=UTC)


def test_what_is_a_week_late_finds_its_month() -> None:
    assert [start for start, _ in partitions.months(JANUARY)] == [
        datetime(2025, 12, 1, tzinfo=UTC),
        *(datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4)),
    ]
    assert partitions.months(JANUARY.replace(day=8))[0][0] == JANUARY.replace(day=1)


async def drop(db: Database, now: datetime, *, months_kept: int) -> list[str]:
    async with db.transaction() as conn:
        return await partitions.drop(conn, "browsing_event", months_kept=months_kept, now=now)


async def test_months_that_are_kept_no_longer_go_whole(own_db: Database) -> None:
    for year in (2029, 2030):
        await ensure(own_db, FAR.replace(year=year))
    last = FAR.replace(year=2030)
    assert "browsing_event_202912" not in await drop(own_db, last, months_kept=12)
    assert await drop(own_db, last, months_kept=11) == ["browsing_event_202912"]
    assert await drop(own_db, last, months_kept=11) == []
    assert await drop(own_db, last, months_kept=7) == [
        f"browsing_event_2030{month}" for month in ("01", "02", "03")
    ]
    # No other log, and neither the months to come nor the default partition.
    assert "event_202912" in await months(own_db)
    await ensure(own_db, last)
    async with own_db.reading() as conn:
        assert await partitions.stray(conn) == 0


async def test_a_reader_holds_up_a_drop_and_nobody_else(own_db: Database) -> None:
    await ensure(own_db, FAR.replace(year=2029))
    async with own_db.snapshot() as reader:
        await reader.driver.fetch("SELECT id FROM browsing_event")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await drop(own_db, FAR, months_kept=1)
    assert "browsing_event_202912" in await drop(own_db, FAR, months_kept=1)
