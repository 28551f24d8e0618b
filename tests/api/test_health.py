"""/health tells what is out of bounds, quickly whatever the database does; /metrics counts."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg
import httpx
import pytest

from api import database, health
from api.middleware import Edge
from commerce.kernel import clock, events
from commerce.kernel.events import Event
from commerce.kernel.sql import Database
from inventory import reservations
from inventory.demands import Demand, Want
from tests.answered import listening
from tests.shop import make_shop

Start = Callable[..., AbstractAsyncContextManager[Edge]]


@pytest.fixture
async def alone(own_dsn: str) -> str:
    """A database of its own, because the test looks at everything in it."""
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    return own_dsn


@pytest.fixture
async def edge_alone(start: Start, alone: str) -> AsyncIterator[Edge]:
    async with start([health], dsn=alone) as edge:
        yield edge


async def get(edge: Edge, path: str = "/health") -> httpx.Response:
    async with httpx.AsyncClient(transport=listening(edge), base_url="http://mostrador") as http:
        return await http.get(path)


async def test_a_fresh_installation_is_well(edge_alone: Edge) -> None:
    answer = await get(edge_alone)
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "reasons": [],
        "relay_lag_seconds": 0.0,
        "sweep_lag_seconds": 0.0,
    }


def long_ago() -> datetime:
    return clock.now() - timedelta(minutes=10)


async def test_an_event_that_nobody_reads_is_a_reason(edge_alone: Edge) -> None:
    async with edge_alone.app.state.services.database.transaction() as conn:
        await events.record(conn, [Event("probe.made", "probe", uuid4(), "test")], now=long_ago())
    answer = await get(edge_alone)
    assert answer.status_code == 503
    assert answer.json()["relay_lag_seconds"] == pytest.approx(600, abs=30)
    (reason,) = answer.json()["reasons"]
    assert "waited" in reason


async def test_a_dead_hold_that_nobody_swept_is_a_reason(edge_alone: Edge) -> None:
    db: Database = edge_alone.app.state.services.database
    shop = await make_shop(db, skus=1, stores=1)
    want = Want(shop.stores[0].location_id, shop.skus[0].sku, 1)
    held = Demand(uuid4(), (want,), "guest", "test", expires_at=long_ago())
    async with db.transaction() as conn:
        await reservations.hold(conn, [held], now=long_ago() - timedelta(minutes=1))
    answer = await get(edge_alone)
    assert answer.status_code == 503
    assert answer.json()["sweep_lag_seconds"] == pytest.approx(600, abs=30)


async def test_rows_outside_of_every_month_are_a_reason(edge_alone: Edge) -> None:
    async with edge_alone.app.state.services.database.transaction() as conn:
        await events.record(conn, [Event("probe.made", "probe", uuid4(), "test")], now=long_ago())
    async with edge_alone.app.state.services.database.transaction() as conn:
        await conn.driver.execute("UPDATE event SET id = '00000000-0000-7000-8000-000000000000'")
    reasons = (await get(edge_alone)).json()["reasons"]
    assert any(reason.startswith("1 rows of the logs lie outside") for reason in reasons)


async def test_a_database_that_is_gone_is_a_reason_and_the_process_lives(
    edge_alone: Edge, alone: str
) -> None:
    admin = alone.replace(alone.partition("@/")[2].partition("?")[0], "postgres")
    name = alone.partition("@/")[2].partition("?")[0]
    driver = await asyncpg.connect(admin)
    await driver.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await driver.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    answer = await get(edge_alone)
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert answer.json()["reasons"] == ["The database does not answer."]
    await driver.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await driver.close()
    await asyncio.sleep(health.KEPT_SECONDS)
    assert (await get(edge_alone)).status_code == 200


async def test_a_database_that_hangs_does_not_hang_the_answer(edge_alone: Edge) -> None:
    services = edge_alone.app.state.services
    blocker = await asyncpg.connect(services.database.dsn)
    await blocker.execute("BEGIN; LOCK TABLE reservation IN ACCESS EXCLUSIVE MODE")
    started = asyncio.get_running_loop().time()
    answer = await get(edge_alone)
    took = asyncio.get_running_loop().time() - started
    await blocker.close()
    assert (answer.status_code, answer.json()["reasons"]) == (
        503,
        ["The database takes longer than 2 s."],
    )
    assert took < health.PATIENCE_SECONDS + 0.5


async def test_requests_are_counted_by_template_without_secrets(edge_alone: Edge) -> None:
    await get(edge_alone, "/health?secret=hunter2")
    await get(edge_alone, "/nowhere/ana@example.com")
    answer = await get(edge_alone, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    counted = re.search(
        r'mostrador_request_seconds_count{method="GET",route="/health",status="200"} (\S+)', text
    )
    assert counted is not None
    assert float(counted.group(1)) == 1.0
    assert 'route="unmatched",status="404"' in text
    assert 'mostrador_lag_seconds{work="relay"} 0.0' in text
    assert "hunter2" not in text
    assert "ana@" not in text
