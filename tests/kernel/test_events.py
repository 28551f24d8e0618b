"""The event log and its readers: pages, positions, long backlogs, restores into another history."""

import base64
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from api import backup
from api.postgres import Server
from commerce.kernel import events, readers
from commerce.kernel.events import Event
from commerce.kernel.generations import open_generation
from commerce.kernel.readers import Position, StartOver
from commerce.kernel.sql import Connection, Database, prepare_connection

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


@pytest.fixture
async def log(own_dsn: str) -> AsyncIterator[Database]:
    """A database whose log nobody else writes."""
    database = await Database.open(own_dsn)
    async with database.transaction() as conn:
        await open_generation(conn, now=NOW)
    yield database
    await database.close()


@asynccontextmanager
async def direct(dsn: str) -> AsyncIterator[Connection]:
    """A connection outside of any pool and transaction, as the relay has one."""
    driver = await asyncpg.connect(dsn)
    await prepare_connection(driver)
    try:
        yield Connection(driver)
    finally:
        await driver.close()


def facts(count: int, *, of: UUID | None = None, kind: str = "order.placed") -> list[Event]:
    return [Event(kind, "order", of or uuid4(), "test", {"number": i}) for i in range(count)]


async def record(log: Database, *new: Event, now: datetime = NOW) -> list[UUID]:
    async with log.transaction() as conn:
        return await events.record(conn, new, now=now)


async def read_all(log: Database, position: Position, *, page: int = 10) -> list[UUID]:
    found: list[UUID] = []
    async with log.reading() as conn:
        while True:
            got, position = await readers.read(conn, position, page=page)
            found += [each.id for each in got]
            if len(got) < page:
                return found


async def test_an_event_is_read_as_it_was_recorded(log: Database) -> None:
    async with log.reading() as conn:
        position = await readers.latest(conn)
    aggregate, location = uuid4(), uuid4()
    said = Event("stock.shortfall", "location", aggregate, "key:1", {"sku": "A", "short": 2},
                 location, version=3)  # fmt: skip
    (event_id,) = await record(log, said)
    async with log.reading() as conn:
        got, after = await readers.read(conn, position)
        again, _ = await readers.read(conn, position)
        nothing, _ = await readers.read(conn, after)
        assert [each.id for each in await events.timeline(conn, aggregate)] == [event_id]
        assert await events.by_ids(conn, [event_id, uuid4()]) == got
    (read,) = got
    assert (read.id, read.type, read.version) == (event_id, "stock.shortfall", 3)
    assert (read.aggregate, read.aggregate_id, read.location_id) == (
        "location", aggregate, location)  # fmt: skip
    assert (read.actor, read.payload, read.at) == ("key:1", {"sku": "A", "short": 2}, NOW)
    assert again == got
    assert nothing == []


async def test_a_new_reader_starts_before_the_first_event_and_latest_after_the_last(
    log: Database,
) -> None:
    made = await record(log, *facts(3))
    async with log.reading() as conn:
        from_start = await readers.reader_position(conn, "relay")
        from_now = await readers.latest(conn)
    assert await read_all(log, from_start) == made
    assert await read_all(log, from_now) == []


@pytest.mark.parametrize("page", [1, 2, 3, 7, 8])
async def test_pages_hold_each_event_once_and_in_order(log: Database, page: int) -> None:
    async with log.reading() as conn:
        start = await readers.latest(conn)
    made = [*await record(log, *facts(3)), *await record(log, *facts(4))]
    assert await read_all(log, start, page=page) == made


async def test_what_commits_between_two_pages_comes_after_them(log: Database) -> None:
    async with log.reading() as conn:
        start = await readers.latest(conn)
    first = await record(log, *facts(4))
    async with log.reading() as conn:
        got, position = await readers.read(conn, start, page=3)
        assert [each.id for each in got] == first[:3]
    later = await record(log, *facts(2))
    assert await read_all(log, position, page=3) == [first[3]]
    async with log.reading() as conn:
        got, position = await readers.read(conn, position, page=3)
    assert await read_all(log, position, page=3) == later


async def test_a_durable_reader_keeps_its_position(log: Database) -> None:
    made = await record(log, *facts(3))
    async with log.transaction() as conn:
        got, position = await readers.read(
            conn, await readers.reader_position(conn, "relay"), page=2
        )
        await readers.move_reader(conn, "relay", position, now=NOW)
    async with log.reading() as conn:
        stood = await readers.reader_position(conn, "relay")
    assert stood == position
    assert [each.id for each in got] + await read_all(log, stood) == made


async def test_the_oldest_unread_event_tells_the_lag(log: Database) -> None:
    async with log.reading() as conn:
        assert await readers.oldest_unread(conn, "relay") is None
    await record(log, *facts(1), now=NOW)
    await record(log, *facts(1), now=NOW + timedelta(minutes=1))
    async with log.transaction() as conn:
        assert await readers.oldest_unread(conn, "relay") == NOW
        _, position = await readers.read(conn, await readers.reader_position(conn, "relay"), page=1)
        await readers.move_reader(conn, "relay", position, now=NOW)
        assert await readers.oldest_unread(conn, "relay") == NOW + timedelta(minutes=1)


def cursor_of(*parts: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "ñ",
        cursor_of(1),
        cursor_of(1, "3:3:", None, -1),
        cursor_of(1, "3:3:", None, 2**63),
        cursor_of(1, "3:2:"),
        cursor_of(1, "0:3:"),
        cursor_of(1, "3:9:12"),
        cursor_of(1, "3:9:5,4"),
        cursor_of(1, "3:9:4,"),
        cursor_of(1, "3:99999999999999999999:"),
        cursor_of(1, "3:3:", "'; DROP TABLE event"),
        cursor_of("1", "3:3:"),
    ],
)
def test_a_cursor_that_we_did_not_make_says_start_over(cursor: str) -> None:
    with pytest.raises(StartOver):
        Position.parse(cursor)


@pytest.mark.parametrize(
    "position",
    [
        Position(1, "3:3:"),
        Position(2, "745:745:"),
        Position(2, "745:750:745,747"),
        Position(2, "745:750:745", "745:760:745,751,752", 99),
    ],
)
async def test_a_cursor_means_the_same_position_and_the_database_reads_it(
    log: Database, position: Position
) -> None:
    assert Position.parse(position.cursor()) == position
    async with log.reading() as conn:
        for snapshot in filter(None, (position.seen, position.upto)):
            assert await conn.driver.fetchval("SELECT $1::text::pg_snapshot::text", snapshot)


async def notices(
    dsn: str, position: Position, *, page: int, types: tuple[str, ...] = ("order.placed",)
) -> list[tuple[list[UUID], Position]]:
    async with direct(dsn) as conn, aclosing(
        readers.notices(conn, position, types=types, page=page)
    ) as pages:  # fmt: skip
        return [([each.id for each in got], after) async for got, after in pages]


@pytest.mark.parametrize("page", [1, 2, 3, 5, 6])
async def test_notices_of_a_backlog_are_all_there_once_and_each_page_can_be_gone_on_from(
    log: Database, page: int
) -> None:
    async with log.reading() as conn:
        start = await readers.latest(conn)
    made: list[UUID] = []
    for _ in range(3):
        made += await record(log, *facts(2))
        await record(log, *facts(2, kind="catalog.changed"))
    pages = await notices(log.dsn, start, page=page)
    assert [each for got, _ in pages for each in got] == made
    told = 0
    for got, after in pages:
        told += len(got)
        rest = await notices(log.dsn, after, page=page)
        assert [each for got, _ in rest for each in got] == made[told:]


async def test_a_long_backlog_is_read_in_linear_time_and_bounded_memory(log: Database) -> None:
    """Pages by LIMIT would look at everything unread for each page: 60 times as much here."""
    async with log.reading() as conn:
        start = await readers.latest(conn)
    await log.pool.execute(
        "INSERT INTO event (id, type, version, aggregate, aggregate_id, actor, payload, at)"
        " SELECT gen_random_uuid(), 'order.placed', 1, 'order', gen_random_uuid(), 'x', '{}', now()"
        " FROM generate_series(1, 60000)"
    )
    async with direct(log.dsn) as conn:
        before = await _rows_fetched(conn)
        tracemalloc.start()
        count = 0
        async with aclosing(readers.notices(conn, start, types=["order.placed"])) as pages:
            async for got, _ in pages:
                count += len(got)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 60_000
        assert await _rows_fetched(conn) - before < 3 * 60_000
        assert peak < 5_000_000
        held = "SELECT count(*) FROM pg_cursors WHERE name = 'notices'"
        assert await conn.driver.fetchval(held) == 0


async def _rows_fetched(conn: Connection) -> int:
    """Rows of the event log that this database has read so far."""
    await conn.driver.fetchval("SELECT pg_stat_force_next_flush()")
    await conn.driver.fetchval("SELECT pg_stat_clear_snapshot()")
    return int(
        await conn.driver.fetchval(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables"
            " WHERE relname LIKE 'event%'"
        )
    )


async def test_a_read_costs_what_is_new_however_long_a_writer_stays_open(log: Database) -> None:
    async with direct(log.dsn) as writer:
        await writer.driver.execute("BEGIN; SELECT pg_current_xact_id()")
        for _ in range(20):
            await record(log, *facts(200))
        async with log.reading() as conn:
            position = await readers.latest(conn)
        (new,) = await record(log, *facts(1))
        async with direct(log.dsn) as conn:
            bounds = {"seen": position.seen, "upto": (await readers.latest(conn)).seen}
            given = readers.PAGE_OF_EVENTS.arguments({**bounds, "after": 0, "page": 1000})
            await conn.driver.execute("ANALYZE event")
            # As our connections plan: without the values, and so that a plan suits any of them.
            await conn.driver.execute("SET plan_cache_mode = force_generic_plan")
            await conn.driver.execute("SET enable_seqscan = off")
            await conn.driver.execute(f"PREPARE page AS {readers.PAGE_OF_EVENTS.sql}")
            plan = await conn.driver.fetchval(
                "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page"
                f"({', '.join(repr(each) for each in given)})"
            )
        assert _rows_looked_at(msgspec.json.decode(plan)) == 1
        assert await read_all(log, position) == [new]


def _rows_looked_at(plan: object) -> int:
    """Rows that scans of the table fetched, kept or not."""
    if isinstance(plan, list):
        return sum(_rows_looked_at(each) for each in plan)
    assert isinstance(plan, dict)
    scans = ("Bitmap Heap Scan", "Index Scan", "Seq Scan")
    own = int(plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) if (
        plan.get("Node Type") in scans) else 0  # fmt: skip
    return own + sum(_rows_looked_at(plan[key]) for key in ("Plan", "Plans") if key in plan)


@pytest.fixture
def other_cluster(tmp_path: Path) -> Iterator[Server]:
    """A database cluster with transaction ids of its own."""
    server = Server(tmp_path / "other", durable=False)
    server.start()
    yield server
    server.stop()


async def _go_ahead(database: Database, transactions: int) -> None:
    """Use up transaction ids, so that those of two clusters differ by far."""
    async with database.reading() as conn:
        for _ in range(transactions):
            await conn.driver.fetchval("SELECT pg_current_xact_id()")


@pytest.mark.parametrize("ahead", ["the old", "the new"])
async def test_a_restore_into_another_cluster_loses_nothing_and_repeats_nothing_for_the_relay(
    log: Database, other_cluster: Server, tmp_path: Path, ahead: str
) -> None:
    if ahead == "the old":
        await _go_ahead(log, 300)
    known = await record(log, *facts(5))
    async with log.transaction() as conn:  # the relay has had three, in the middle of a page
        _, position = await readers.read(conn, await readers.reader_position(conn, "relay"), page=3)
        await readers.move_reader(conn, "relay", position, now=NOW)
        old_cursor = (await readers.latest(conn)).cursor()
    unread = [*known[3:], *await record(log, *facts(4))]
    backup.backup(log.dsn, tmp_path / "copy")
    backup.restore(other_cluster.dsn(), tmp_path / "copy", replace=True)

    restored = await Database.open(other_cluster.dsn())
    try:
        if ahead == "the new":
            await _go_ahead(restored, 300)
        for _ in range(2):
            async with restored.transaction() as conn:
                await open_generation(conn, now=NOW)
        async with restored.reading() as conn:
            stood = await readers.reader_position(conn, "relay")
            with pytest.raises(StartOver):
                await readers.read(conn, Position.parse(old_cursor))
            from_now = await readers.latest(conn)
        assert await read_all(restored, stood, page=2) == unread
        new = await record(restored, *facts(2))
        # The ids of the new cluster pass those of the old one; nothing old may come up again.
        await _go_ahead(restored, 600)
        new += await record(restored, *facts(2))
        assert await read_all(restored, from_now) == new
        assert await read_all(restored, stood) == unread + new
    finally:
        await restored.close()


async def test_a_generation_is_opened_once_and_the_same_history_is_recognized(
    log: Database,
) -> None:
    async with log.reading() as conn:
        before = await readers.latest(conn)
    made = await record(log, *facts(1))
    async with log.transaction() as conn:
        await open_generation(conn, now=NOW)
    assert await read_all(log, before) == made
