"""Web processes as they run in production, each on a port of its own, over one database."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from api.supervisor import web_command
from commerce import access
from commerce.access import OPERATOR
from commerce.kernel import clock, settings
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Database
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, free_port

PROJECT = Path(__file__).parent.parent
START_SECONDS = 40.0


@asynccontextmanager
async def web_processes(
    dsn: str, count: int, folder: Path, *, stripe: FakeStripeServer | None = None
) -> AsyncGenerator[list[httpx.AsyncClient]]:
    """A client for each of so many processes, with the key of one shop. Their log is in `folder`.

    The database is one that `api.database.prepare` has made ready.
    """
    key = {"X-API-Key": await _key(dsn)}
    ports = [free_port() for _ in range(count)]
    provider: dict[str, str] = {}
    if stripe is not None:
        provider = {
            "stripe_api_key": "sk_test_races",
            "stripe_api_base": stripe.url,
            "stripe_webhook_secret": WEBHOOK_SECRET,
        }
    children = [
        _start(Settings(database_url=dsn, port=port, **provider), folder)  # type: ignore[arg-type]
        for port in ports
    ]
    try:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    httpx.AsyncClient(
                        base_url=f"http://127.0.0.1:{port}",
                        headers=key,
                        timeout=30,
                        trust_env=False,
                        limits=httpx.Limits(max_connections=64),
                    )
                )
                for port in ports
            ]
            for client, child in zip(clients, children, strict=True):
                await _until_it_answers(client, child)
            yield clients
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(timeout=20)


async def answered(
    http: httpx.AsyncClient, order: dict[str, Any], key: str, *, seconds: float = 30
) -> tuple[httpx.Response, list[int]]:
    """Send an order until it has an answer, as a client does; and the statuses on the way."""
    statuses: list[int] = []
    async with asyncio.timeout(seconds):
        while True:
            answer = await http.post("/v1/orders", json=order, headers={"Idempotency-Key": key})
            statuses.append(answer.status_code)
            if "retry-after" not in answer.headers:
                return answer, statuses
            await asyncio.sleep(0.05)


def _start(configured: Settings, folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / f"web-{configured.port}.log").open("ab") as log:
        return subprocess.Popen(
            [*web_command(configured), "api.app:application"],
            cwd=PROJECT,
            env=settings.inherited(os.environ) | configured.environ(),
            stdout=log,
            stderr=log,
        )


async def _until_it_answers(client: httpx.AsyncClient, child: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert child.poll() is None, "a web process did not start"
        try:
            await client.get("/health")
        except httpx.TransportError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("a web process did not answer in time")


async def _key(dsn: str) -> str:
    database = await Database.open(dsn, max_size=1)
    async with database.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind="storefront", name="races", channel="web",
            requests_per_minute=1_000_000, now=clock.now(),
        )  # fmt: skip
    await database.close()
    return secret


class Books(msgspec.Struct, frozen=True):
    """What stands in the tables about a shop's first store."""

    orders: int
    units: int
    numbers: int
    on_hand: int
    reserved: int


async def books(db: Database, location_id: Any) -> Books:
    """Counted in one statement."""
    async with db.reading() as conn:
        row = await conn.driver.fetchrow(BOOKS, location_id)
    return Books(*row)


BOOKS = """
SELECT (SELECT count(*) FROM orders WHERE location_id = $1),
       (SELECT coalesce(sum(quantity), 0)::int FROM order_line AS l
          JOIN orders AS o ON o.id = l.order_id WHERE o.location_id = $1),
       (SELECT count(DISTINCT number) FROM orders WHERE location_id = $1),
       (SELECT sum(on_hand) FROM stock_level WHERE location_id = $1),
       (SELECT sum(reserved) FROM stock_level WHERE location_id = $1)
"""
