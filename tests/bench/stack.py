"""The real thing, for measuring: PostgreSQL with fsync, web process, worker, fake Stripe."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import psycopg

from api.database import prepare
from api.postgres import Server
from api.supervisor import web_command
from commerce import access, catalog
from commerce.access import OPERATOR
from commerce.importing import CouponRecord
from commerce.kernel import clock, settings
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Database
from tests.shop import Shop, make_shop

HOST = "127.0.0.1"
SKUS = 2_000
STORES = 20
UNITS = 1_000_000
COUPON = "BENCH10"


class Running(msgspec.Struct):
    """Addresses and process ids of what is measured."""

    dsn: str
    database: Database
    shop: Shop
    peer_dsn: str
    """A database of its own for `pgbench`, which writes orders that nobody decided."""
    peer_shop: Shop
    key: str
    port: int
    ceiling_port: int
    stripe_url: str
    web_pid: int
    worker_pid: int
    ceiling_pid: int
    postgres_pid: int


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(home: Path) -> AsyncGenerator[Running]:
    """Everything up and stocked; stopped again at the end, whatever happens."""
    server = Server(home)
    server.start()
    children: list[subprocess.Popen[bytes]] = []
    databases: list[Database] = []
    try:
        dsn = server.dsn()
        await prepare(dsn)
        configured = Settings(
            state_dir=home,
            port=free_port(),
            fake_stripe_port=free_port(),
            database_url=dsn,
            stripe_api_key="sk_test_bench",
            stripe_webhook_secret="whsec_bench",
            log_level="warning",
        )
        stripe_url = f"http://{HOST}:{configured.fake_stripe_port}"
        configured = msgspec.structs.replace(configured, stripe_api_base=stripe_url)
        ceiling = msgspec.structs.replace(configured, port=free_port())
        for command, given in (
            ([sys.executable, "-m", "api.fake_stripe"], configured),
            ([*web_command(configured), "api.app:application"], configured),
            ([sys.executable, "-m", "api.worker"], configured),
            ([*web_command(ceiling), "tests.bench.ceiling:application"], ceiling),
        ):
            children.append(_start(command, given, home))
        database = await Database.open(dsn, max_size=4, statement_timeout_seconds=300)
        databases.append(database)
        shop = await make_shop(database, skus=SKUS, stores=STORES, on_hand=UNITS)
        key = await _key_and_coupon(database)
        peer_dsn, peer_shop = await _peer(server)
        _wait(f"http://{HOST}:{configured.port}/health", children[1])
        _wait(f"http://{HOST}:{ceiling.port}/v1/availability?sku=x", children[3])
        yield Running(
            dsn,
            database,
            shop,
            peer_dsn,
            peer_shop,
            key,
            configured.port,
            ceiling.port,
            stripe_url,
            children[1].pid,
            children[2].pid,
            children[3].pid,
            int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0]),
        )
    finally:
        for opened in databases:
            await opened.close()
        for child in reversed(children):
            child.terminate()
        for child in children:
            child.wait(timeout=30)
        server.stop()


async def _peer(server: Server) -> tuple[str, Shop]:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE peer")
    dsn = server.dsn("peer")
    await prepare(dsn)
    database = await Database.open(dsn, max_size=1, statement_timeout_seconds=300)
    shop = await make_shop(database, skus=SKUS, stores=1, on_hand=UNITS)
    await database.close()
    return dsn, shop


def _start(command: list[str], given: Settings, home: Path) -> "subprocess.Popen[bytes]":
    with (home / "bench.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=settings.inherited(os.environ) | given.environ(),
            stdout=log,
            stderr=log,
        )


async def _key_and_coupon(database: Database) -> str:
    now = clock.now()
    async with database.transaction() as conn:
        _, secret = await access.create_key(
            conn,
            OPERATOR,
            kind="integration",
            name="bench",
            channel="web",
            now=now,
            requests_per_minute=100_000_000,
        )
        coupon = CouponRecord(code=COUPON, kind="percent", percent_bp=1000)
        assert await catalog.upsert_coupons(conn, [coupon]) == [None]
    return secret


def _wait(url: str, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args!r} ended with {child.returncode}; see bench.log")
        try:
            httpx.get(url, timeout=1)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{url} does not answer")
