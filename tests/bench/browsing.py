"""Browsing events beside the HTTP ceiling and a bare `COPY`; summaries of few and of many."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import psycopg

from commerce import browsing
from commerce.browsing import Batch, CatalogSearch
from commerce.kernel.sql import Database
from tests.bench import database
from tests.bench.measuring import Bench, Flow, Row, request

REQUESTS = 6_000
EVENTS = 20
CLIENTS = 64
VISITORS = 2_000
COPIED, CHUNK = 120_000, 2_000
FEW, MANY, PAGE = 1_000, 5_000_000, 500_000
SUMMARIES = 400
PATH = "/v1/browsing-events"
OK = frozenset({200})

COLUMNS = "id, visitor_id, session_id, device, type, sku, item, at, received_at"
"""What an event of the measured request fills."""

MORE_SQL = """
INSERT INTO browsing_event (id, visitor_id, shopper_id, session_id, device, type, sku, item, at,
  received_at)
SELECT overlay(replace(gen_random_uuid()::text, '-', '') PLACING
    lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' FROM 1 FOR 13)::uuid,
  md5('visitor' || n %% 250000)::uuid, CASE WHEN n %% 3 = 0
  THEN md5('shopper' || n %% 250000)::uuid END, md5('session' || n %% 250000)::uuid, 'web', 'view',
  'SKU1', 'ITEM1', at, at
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
  LATERAL (SELECT now() - (n %% 600000) * interval '1 second' AS at) AS moment
"""
"""A week of a quarter of a million visitors."""


async def measure_browsing(bench: Bench) -> None:
    """Requests of twenty events, then the same events with nothing around them."""
    visitors = [(uuid4(), uuid4()) for _ in range(VISITORS)]
    flows = [_flow(bench, visitors[index % VISITORS]) for index in range(REQUESTS)]
    bare = [[each.replace(bench.stack.key.encode(), b"pk_bench") for each in flow]
            for flow in flows]  # fmt: skip
    top = await bench.load(
        f"HTTP ceiling, {EVENTS} events", bare, clients=CLIENTS, ceiling=True, expected=OK
    )
    bench.say(top)
    await asyncio.to_thread(database.settle, bench.stack.peer_dsn)
    copied = await asyncio.to_thread(_copied_per_second, bench.stack.peer_dsn)
    bench.say(Row("COPY of events (events/s)", copied, 0, 0))
    row = await bench.load(
        f"browsing, {EVENTS} events, {CLIENTS} clients", flows, clients=CLIENTS, expected=OK
    )
    row.ratios["/http"] = row.rate / top.rate
    row.ratios["/copy"] = row.rate * EVENTS / copied
    row.target = "(wanted: /http 0.15, /copy 0.25)"
    bench.say(row)
    again = await bench.load(
        "the same events again", flows[: REQUESTS // 2], clients=CLIENTS, expected=OK
    )
    again.ratios["/first"] = again.rate / row.rate
    bench.say(again)


async def measure_summaries(bench: Bench) -> None:
    """What a shopper browsed lately, with a thousand events stored and with five million.

    In two databases, by turns, so that whatever else the machine does meanwhile slows both.
    """
    stack = bench.stack
    few = await Database.open(stack.peer_dsn, max_size=1)
    shopper_id = uuid4()
    taken: dict[int, list[float]] = {FEW: [], MANY: []}
    for db, dsn, stored in ((few, stack.peer_dsn, FEW), (stack.database, stack.dsn, MANY)):
        await browse(db, shopper_id)
        await asyncio.to_thread(fill, dsn, stored)
        await asyncio.to_thread(database.settle, dsn)
    async with few.reading() as of_few, stack.database.reading() as of_many:
        for _ in range(SUMMARIES):
            for conn, stored in ((of_few, FEW), (of_many, MANY)):
                before = perf_counter()
                found = await browsing.recent(conn, [shopper_id], now=datetime.now(UTC))
                taken[stored].append(perf_counter() - before)
                assert found.searches
    await few.close()
    rows = []
    for stored, times in taken.items():
        cuts = quantiles(times, n=100)
        name = f"what was browsed, {stored:,} events stored"
        rows.append(Row(name, len(times) / sum(times), 1000 * cuts[49], 1000 * cuts[98]))
    rows[1].ratios["p50/few"] = rows[1].p50_ms / rows[0].p50_ms
    rows[1].target = "(wanted: at most 1.3)"
    for row in rows:
        bench.say(row)


async def browse(db: Database, shopper_id: UUID) -> None:
    """Four hundred events of one shopper, half of them from before the sign-in."""
    visitor_id, now = uuid4(), datetime.now(UTC)
    async with db.transaction() as conn:
        for number in range(4):
            searches = [
                CatalogSearch(uuid4(), now - timedelta(minutes=n), f"camisa {number} {n}")
                for n in range(100)
            ]
            person = (shopper_id,) * (number % 2)
            batch = Batch(visitor_id, uuid4(), "app", tuple(searches), person, now)
            await browsing.record(conn, [browsing.dated(batch)])
        await browsing.link(conn, visitor_id, [shopper_id], now=now)


def _flow(bench: Bench, visitor: tuple[UUID, UUID]) -> Flow:
    sku = bench.random.choice(bench.stack.shop.skus)
    now = datetime.now(UTC)
    events: list[dict[str, Any]] = [
        {
            "type": "view",
            "id": str(uuid4()),
            "at": (now - timedelta(seconds=number)).isoformat(),
            "sku": sku.sku,
            "item": sku.item_code,
        }
        for number in range(EVENTS)
    ]
    body = {
        "visitor_id": str(visitor[0]),
        "session_id": str(visitor[1]),
        "device": "web",
        "events": events,
    }
    return [request("POST", PATH, bench.stack.key, body)]


def _copied_per_second(dsn: str) -> float:
    """Events a second that `COPY` puts into an equal table, in chunks, through one connection."""
    chunks = [_chunk() for _ in range(COPIED // CHUNK)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE bench_event (LIKE browsing_event INCLUDING ALL)")
        started = perf_counter()
        for chunk in chunks:
            with connection.cursor().copy(f"COPY bench_event ({COLUMNS}) FROM STDIN") as copy:
                copy.write(chunk)
        seconds = perf_counter() - started
        connection.execute("DROP TABLE bench_event")
    return COPIED / seconds


def _chunk() -> bytes:
    lines = io.StringIO()
    now = datetime.now(UTC)
    for _ in range(CHUNK // EVENTS):
        visitor_id, session_id = uuid4(), uuid4()
        for number in range(EVENTS):
            at = now - timedelta(seconds=number)
            milliseconds = int(at.timestamp() * 1000)
            id_ = UUID(int=milliseconds << 80 | uuid4().int & (2**80 - 1))
            lines.write(
                f"{id_}\t{visitor_id}\t{session_id}\tweb\tview\tSKU12-0123456789"
                f"\tITEM12-0123456789\t{at.isoformat()}\t{now.isoformat()}\n"
            )
    return lines.getvalue().encode()


def fill(dsn: str, wanted: int) -> None:
    """Events of other people, up to so many."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM browsing_event").fetchone()
        stored = row[0] if row is not None else 0
        for first in range(stored + 1, wanted + 1, PAGE):
            last = min(first + PAGE - 1, wanted)
            connection.execute(MORE_SQL, {"first": first, "last": last})
