"""Run everything, print a table, write `.state/bench.json`."""

import asyncio
import pickle
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg

from tests.bench import database, machine
from tests.bench.load import Plan, Report
from tests.bench.stack import COUPON, HOST, SKUS, STORES, Running, running

RESULT = Path(".state/bench.json")
ORDERS = 8_000
LONE = 400
CLIENTS = 64


class Row(msgspec.Struct):
    """One line of the table."""

    name: str
    rate: float
    p50_ms: float
    p99_ms: float
    ratios: dict[str, float] = {}
    server_cpu_ms: float | None = None
    database_cpu_ms: float | None = None
    note: str = ""


class Bench:
    """One run: what was measured so far."""

    def __init__(self, stack: Running) -> None:
        self.stack = stack
        self.rows: list[Row] = []
        self.random = random.Random(7)

    def say(self, row: Row) -> Row:
        """Keep a row and show it."""
        self.rows.append(row)
        ratios = "  ".join(f"{name} {value:.2f}" for name, value in row.ratios.items())
        cpu = ""
        if row.server_cpu_ms is not None:
            cpu = f"cpu/op server {row.server_cpu_ms:.2f} ms, database {row.database_cpu_ms:.2f} ms"
        print(
            f"{row.name:<44}{row.rate:>9.0f}/s  p50 {row.p50_ms:>7.2f}  p99 {row.p99_ms:>7.2f} ms  "
            f"{ratios:<40}{cpu} {row.note}",
            flush=True,
        )
        return row

    async def load(
        self, name: str, requests: list[bytes], *, port: int, clients: int, status: int = 201
    ) -> Row:
        """Send requests from a generator in its own process."""
        await asyncio.to_thread(database.settle, self.stack.dsn)
        plan = Plan(HOST, port, clients, requests, len(requests) // 8, status)
        ours = port == self.stack.port
        server = self.stack.web_pid if ours else self.stack.ceiling_pid
        pids = (server, self.stack.postgres_pid)
        before = [machine.usage(pid) for pid in pids]
        report = await asyncio.to_thread(_generate, plan)
        after = [machine.usage(pid) for pid in pids]
        refused = {code: n for code, n in report.statuses.items() if code != status}
        assert not refused, f"{name}: {refused} {report.first_refusal}"
        spent = [
            1000 * (b.cpu_seconds - a.cpu_seconds) / len(requests)
            for a, b in zip(before, after, strict=True)
        ]
        return Row(
            name,
            report.rate,
            report.percentile_ms(0.5),
            report.percentile_ms(0.99),
            {},
            spent[0],
            spent[1] if ours else 0.0,
        )

    def order(self, skus: tuple[int, int], *, tender: str = "pay_at_pickup") -> bytes:
        """The measured order: two lines, a coupon, contact, pickup, a key."""
        shop = self.stack.shop
        prices = [shop.skus[index].price_minor for index in skus]
        subtotal = sum(prices)
        body: dict[str, Any] = {
            "location_id": str(shop.stores[0].location_id),
            "lines": [{"sku": shop.skus[index].sku, "quantity": 1} for index in skus],
            "contact": {"name": "Ana Torres", "email": "ana@example.com"},
            "tender": tender,
            "total": {
                "amount_minor": subtotal - (subtotal * 1000 + 5000) // 10_000,
                "currency": shop.currency,
            },
            "coupon_code": COUPON,
        }
        if tender == "card":
            body["payment_method"] = "pm_card_visa"
        return request("POST", "/v1/orders", self.stack.key, body)

    def random_order(self, **options: str) -> bytes:
        """Two SKUs of two thousand."""
        first, second = self.random.sample(range(SKUS), 2)
        return self.order((first, second), **options)


def request(method: str, path: str, key: str, body: Any = None) -> bytes:
    """An HTTP request as bytes."""
    content = msgspec.json.encode(body) if body is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {key}\r\n"
        f"Idempotency-Key: {uuid4()}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _generate(plan: Plan) -> Report:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=pickle.dumps(plan),
        capture_output=True,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Report)


async def measure_orders(bench: Bench) -> None:
    """One-call orders beside the HTTP ceiling, `pgbench` and two commits."""
    stack = bench.stack
    tops = {}
    for clients in (1, 16, CLIENTS):
        count = LONE if clients == 1 else ORDERS
        bodies = [
            bench.random_order().replace(stack.key.encode(), b"pk_bench") for _ in range(count)
        ]
        tops[clients] = bench.say(
            await bench.load(
                f"HTTP ceiling, {clients} clients", bodies, port=stack.ceiling_port, clients=clients
            )
        )
    commits = await asyncio.to_thread(database.two_commits_ms, stack.dsn)
    print(f"{'two durable one-row commits':<44}{'':>11}  p50 {commits:>7.2f} ms", flush=True)
    peers = {}
    for hot in (False, True):
        await asyncio.to_thread(database.settle, stack.dsn)
        rate = await asyncio.to_thread(
            database.orders_per_second,
            stack.dsn,
            stack.shop.stores[1].location_id,
            SKUS,
            stack.shop.tag,
            hot=hot,
            clients=CLIENTS if not hot else 16,
        )
        peers[hot] = rate
        bench.say(Row(f"pgbench, {'hot' if hot else 'random'} row", rate, 0, 0))
    rates = {}
    for hot in (False, True):
        for clients in (1, 16, CLIENTS):
            count = LONE if clients == 1 else ORDERS
            orders = [bench.order((0, 1)) if hot else bench.random_order() for _ in range(count)]
            name = f"orders, {'hot' if hot else 'random'} SKU, {clients} clients"
            row = await bench.load(name, orders, port=stack.port, clients=clients)
            row.ratios["/http"] = row.rate / tops[clients].rate
            row.ratios["/pgbench"] = row.rate / peers[hot]
            if clients == 1:
                row.ratios["p50/(10 http + 2 commits)"] = row.p50_ms / (
                    10 * tops[1].p50_ms + commits
                )
            rates[hot, clients] = row.rate
            if hot and clients == CLIENTS:
                row.ratios["/random"] = row.rate / rates[False, clients]
            bench.say(row)


async def measure_availability(bench: Bench) -> None:
    """One SKU at twenty stores, with reasons."""
    stack = bench.stack
    paths = [
        f"/v1/availability?sku={bench.random.choice(stack.shop.skus).sku}"
        f"&latitude=19.43&longitude=-99.13&limit={STORES}"
        for _ in range(ORDERS)
    ]
    top = bench.say(
        await bench.load(
            "HTTP ceiling, GET",
            [request("GET", path, "pk_bench") for path in paths],
            port=stack.ceiling_port,
            clients=CLIENTS,
            status=200,
        )
    )
    row = await bench.load(
        f"availability, 1 SKU at {STORES} stores",
        [request("GET", path, stack.key) for path in paths],
        port=stack.port,
        clients=CLIENTS,
        status=200,
    )
    row.ratios["/http"] = row.rate / top.rate
    bench.say(row)


async def main() -> None:
    """Everything, in one run."""
    print(f"load of the machine before: {machine.load_average()}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mostrador-bench-") as home:
        async with running(Path(home)) as stack:
            bench = Bench(stack)
            await measure_orders(bench)
            await measure_availability(bench)
            await settle_down(bench)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(bench.rows)))
    print(f"{time.monotonic() - started:.0f} s; details in {RESULT}")


async def settle_down(bench: Bench) -> None:
    """The run ends when the log is drained."""
    with psycopg.connect(bench.stack.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
        print(f"{row[0] if row else 0} orders written")


if __name__ == "__main__":
    asyncio.run(main())
