"""One measurement: load from a process of its own, and what the machine spent meanwhile."""

import asyncio
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec

from tests.bench import database, machine
from tests.bench.load import Plan, Report
from tests.bench.stack import COUPON, HOST, SKUS, Running

Flow = list[bytes]


class Row(msgspec.Struct):
    """One line of the table; ratios are to the ceilings and peers of the same run."""

    name: str
    rate: float
    p50_ms: float
    p99_ms: float
    ratios: dict[str, float] = {}
    server_cpu_ms: float = 0.0
    database_cpu_ms: float = 0.0
    memory_mib: float = 0.0
    target: str = ""


class Bench:
    """One run: what was measured so far."""

    def __init__(self, stack: Running) -> None:
        self.stack = stack
        self.rows: list[Row] = []
        self.random = random.Random(7)

    def say(self, row: Row) -> Row:
        """Keep a row and show it."""
        self.rows.append(row)
        print(line_of(row), flush=True)
        return row

    async def load(
        self,
        name: str,
        flows: Sequence[Flow],
        *,
        clients: int,
        ceiling: bool = False,
        expected: frozenset[int] = frozenset({201}),
        captures: dict[str, list[str]] | None = None,
    ) -> Row:
        """Send flows of requests from a generator in its own process."""
        stack = self.stack
        await asyncio.to_thread(database.settle, stack.dsn)
        port = stack.ceiling_port if ceiling else stack.port
        plan = Plan(HOST, port, clients, list(flows), len(flows) // 8, expected, captures or {})
        pids = (stack.ceiling_pid if ceiling else stack.web_pid, stack.postgres_pid)
        before = [machine.usage(pid) for pid in pids]
        report = await asyncio.to_thread(_generate, plan)
        after = [machine.usage(pid) for pid in pids]
        refused = {code: n for code, n in report.statuses.items() if code not in expected}
        assert not refused, f"{name}: {refused} {report.first_refusal}"
        server, data = (
            1000 * (b.cpu_seconds - a.cpu_seconds) / len(flows)
            for a, b in zip(before, after, strict=True)
        )
        return Row(
            name,
            report.rate,
            report.percentile_ms(0.5),
            report.percentile_ms(0.99),
            server_cpu_ms=server,
            database_cpu_ms=0.0 if ceiling else data,
            memory_mib=after[0].resident_mib,
        )

    def order(self, skus: tuple[int, int], *, tender: str = "pay_at_pickup") -> Flow:
        """The measured order: two lines, a coupon, contact, pickup, a key."""
        shop = self.stack.shop
        body: dict[str, Any] = {
            "location_id": str(shop.stores[0].location_id),
            "lines": [{"sku": shop.skus[index].sku, "quantity": 1} for index in skus],
            "contact": CONTACT,
            "tender": tender,
            "total": self.total(skus),
            "coupon_code": COUPON,
        }
        if tender == "card":
            body["payment_method"] = "pm_card_visa"
        return [request("POST", "/v1/orders", self.stack.key, body)]

    def random_order(self, **options: str) -> Flow:
        """Two SKUs of two thousand."""
        first, second = self.random.sample(range(SKUS), 2)
        return self.order((first, second), **options)

    def total(self, skus: tuple[int, int]) -> dict[str, Any]:
        """What two SKUs cost with the coupon, ten percent off and half up."""
        subtotal = sum(self.stack.shop.skus[index].price_minor for index in skus)
        amount = subtotal - (subtotal * 1000 + 5000) // 10_000
        return {"amount_minor": amount, "currency": self.stack.shop.currency}


CONTACT = {"name": "Ana Torres", "email": "ana@example.com"}


def request(method: str, path: str, key: str, body: Any = None, *, head: str = "") -> bytes:
    """An HTTP request as bytes."""
    content = msgspec.json.encode(body) if body is not None else b""
    lines = (
        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {key}\r\n"
        f"Idempotency-Key: {uuid4()}\r\nContent-Type: application/json\r\n{head}"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return lines.encode() + content


def line_of(row: Row) -> str:
    """A row for people."""
    ratios = "  ".join(f"{name} {value:.2f}" for name, value in row.ratios.items())
    spent = (
        f"cpu {row.server_cpu_ms:.2f} + db {row.database_cpu_ms:.2f} ms, {row.memory_mib:.0f} MiB"
    ) * bool(row.memory_mib)
    return (
        f"{row.name:<40}{row.rate:>8.0f}/s  p50 {row.p50_ms:>7.2f}  p99 {row.p99_ms:>7.2f} ms  "
        f"{spent:<36}  {ratios}  {row.target}"
    ).rstrip()


def _generate(plan: Plan) -> Report:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=pickle.dumps(plan),
        capture_output=True,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Report)
