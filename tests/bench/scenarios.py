"""What is measured, and beside what."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any
from uuid import uuid4

import psycopg

from commerce.kernel.money import Money
from commerce.stripe_gateway import StripeGateway
from tests.bench import database
from tests.bench.browsing import measure_browsing, measure_summaries
from tests.bench.live import measure_live
from tests.bench.measuring import CONTACT, Bench, Flow, Row, request
from tests.bench.stack import COUPON, SKUS, STORES
from tests.bench.views import measure_views

ORDERS = 8_000
LONE = 400
CLIENTS = 64
FLOWS = 2_000
CARDS = 600
CARD_CLIENTS = 16
LAGGED = 300
DRAIN_SECONDS = 300
OK = frozenset({200})


async def measure_orders(bench: Bench) -> None:
    """One-call orders beside the HTTP ceiling, `pgbench` and two commits."""
    stack = bench.stack
    tops = {}
    for clients in (1, 16, CLIENTS):
        count = LONE if clients == 1 else ORDERS
        flows = [_bare(bench, bench.random_order()) for _ in range(count)]
        name = f"HTTP ceiling, {clients} clients"
        tops[clients] = bench.say(await bench.load(name, flows, clients=clients, ceiling=True))
    commits = await asyncio.to_thread(database.two_commits_ms, stack.peer_dsn)
    bench.say(Row("two durable one-row commits", 1000 / commits, commits, commits))
    peers = {}
    for hot in (False, True):
        await asyncio.to_thread(database.settle, stack.peer_dsn)
        peers[hot], mean_ms = await asyncio.to_thread(
            database.orders_per_second, stack.peer_dsn, stack.peer_shop, SKUS, hot=hot,
            clients=CLIENTS,
        )  # fmt: skip
        name = f"pgbench, {'hot' if hot else 'random'} row (mean latency)"
        bench.say(Row(name, peers[hot], mean_ms, mean_ms))
    rates = {}
    for hot in (False, True):
        for clients in (1, 16, CLIENTS):
            count = LONE if clients == 1 else ORDERS
            orders = [bench.order((0, 1)) if hot else bench.random_order() for _ in range(count)]
            name = f"orders, {'hot' if hot else 'random'} SKU, {clients} clients"
            row = await bench.load(name, orders, clients=clients)
            rates[hot, clients] = row.rate
            row.ratios["/http"] = row.rate / tops[clients].rate
            row.ratios["/pgbench"] = row.rate / peers[hot]
            if hot:
                row.ratios["/random"] = row.rate / rates[False, clients]
            if clients == 1:
                row.ratios["p50/(10 http + 2 commits)"] = row.p50_ms / (
                    10 * tops[1].p50_ms + commits
                )
                row.target = "" if hot else "(wanted: at most 1)"
            elif clients == CLIENTS:
                row.target = (
                    "(wanted: /random 0.8, /pgbench 1)"
                    if hot
                    else "(wanted: /http 0.25, /pgbench 0.3)"
                )
            bench.say(row)


async def measure_flows(bench: Bench) -> None:
    """A shopper's whole way: cart, two lines, coupon, checkout, order; six requests."""
    flows = [_flow(bench) for _ in range(FLOWS)]
    captures = {"cart_id": ["cart", "id"], "cart_token": ["cart_token"]}
    for clients in (1, CLIENTS):
        count = LONE // 4 if clients == 1 else FLOWS
        row = await bench.load(
            f"full-flow orders, {clients} clients",
            [_flow(bench) for _ in range(count)] if clients == 1 else flows,
            clients=clients,
            expected=frozenset({200, 201}),
            captures=captures,
        )
        bench.say(row)


async def measure_cards(bench: Bench) -> None:
    """Card checkout beside the same two calls of the bare SDK to the fake provider."""
    gateway = StripeGateway(
        api_key="sk_test_bench", api_base=bench.stack.stripe_url, webhook_secret="whsec_bench"
    )
    taken: list[float] = []

    async def call(times: int) -> None:
        for _ in range(times):
            started = time.perf_counter()
            made = await gateway.create(
                payment_id=uuid4(), operation_id=uuid4(), order_id=uuid4(),
                amount=Money(10_000, "MXN"),
            )  # fmt: skip
            await gateway.confirm(
                made.provider_id, payment_method="pm_card_visa", operation_id=uuid4(),
                return_url=None,
            )  # fmt: skip
            taken.append(time.perf_counter() - started)

    await call(5)
    taken.clear()
    started = time.perf_counter()
    await asyncio.gather(*(call(CARDS // CARD_CLIENTS) for _ in range(CARD_CLIENTS)))
    rate = len(taken) / (time.perf_counter() - started)
    await gateway.close()
    cuts = quantiles(taken, n=100)
    bare = bench.say(Row("bare SDK, create + confirm", rate, 1000 * cuts[49], 1000 * cuts[98]))
    orders = [bench.random_order(tender="card") for _ in range(CARDS)]
    row = await bench.load("orders by card", orders, clients=CARD_CLIENTS)
    row.ratios["/bare SDK"] = row.rate / bare.rate
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
            [[request("GET", path, "pk_bench")] for path in paths],
            clients=CLIENTS,
            ceiling=True,
            expected=OK,
        )
    )
    row = await bench.load(
        f"availability, 1 SKU at {STORES} stores",
        [[request("GET", path, stack.key)] for path in paths],
        clients=CLIENTS,
        expected=OK,
    )
    row.ratios["/http"] = row.rate / top.rate
    row.target = "(wanted: 0.4)"
    bench.say(row)


async def measure_lag(bench: Bench) -> None:
    """From the commit of an order to the actor that tells its shopper, at a calm pace."""
    await asyncio.to_thread(_drain, bench.stack.dsn)
    row = await bench.load("(orders of the lag)", [bench.random_order() for _ in range(LAGGED)],
                           clients=1)  # fmt: skip
    await asyncio.to_thread(_drain, bench.stack.dsn)
    with psycopg.connect(bench.stack.dsn) as connection:
        lags = connection.execute(
            "SELECT extract(epoch FROM d.at - e.at)::float FROM event AS e"
            " JOIN delivery AS d ON d.event_id = e.id AND d.actor = 'tell_shopper'"
            " WHERE e.type = 'order.placed' ORDER BY e.sequence DESC LIMIT %s",
            (LAGGED,),
        ).fetchall()
    cuts = quantiles([lag for (lag,) in lags], n=100)
    bench.say(Row("lag, commit to actor done", row.rate, 1000 * cuts[49], 1000 * cuts[98]))


async def finish(bench: Bench) -> None:
    """The run ends when the log is drained and the audit is clean."""
    started = time.monotonic()
    await asyncio.to_thread(_drain, bench.stack.dsn)
    print(f"log drained after {time.monotonic() - started:.1f} s", flush=True)
    environ = {**os.environ, "DATABASE_URL": bench.stack.dsn}
    command = [sys.executable, "-m", "api.cli", "audit"]
    audit = await asyncio.to_thread(subprocess.run, command, env=environ, check=False)
    if audit.returncode:
        sys.exit("the audit found faults")


ALL: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "orders": measure_orders,
    "flows": measure_flows,
    "cards": measure_cards,
    "availability": measure_availability,
    "lag": measure_lag,
    "browsing": measure_browsing,
    "summaries": measure_summaries,
    "views": measure_views,
    "live": measure_live,
}


def _bare(bench: Bench, flow: Flow) -> Flow:
    return [each.replace(bench.stack.key.encode(), b"pk_bench") for each in flow]


def _flow(bench: Bench) -> Flow:
    stack, shop = bench.stack, bench.stack.shop
    first, second = bench.random.sample(range(SKUS), 2)
    at, head = "/v1/carts/{cart_id}", "Cart-Token: {cart_token}\r\n"
    store = {"location_id": str(shop.stores[0].location_id)}
    ending = {"contact": CONTACT, "tender": "pay_at_pickup", "total": bench.total((first, second))}
    steps: list[tuple[str, str, Any]] = [
        ("PUT", f"{at}/lines/{shop.skus[i].sku}", {"quantity": 1}) for i in (first, second)
    ]
    steps += [("PUT", f"{at}/coupon", {"code": COUPON})]
    rest = [request(method, path, stack.key, body, head=head) for method, path, body in steps]
    return [
        request("POST", "/v1/carts", stack.key, store),
        *rest,
        request("PUT", f"{at}/checkout", stack.key, head=head),
        request("PUT", f"{at}/order", stack.key, ending, head=head),
    ]


def _drain(dsn: str) -> None:
    """Wait until every order has been told of."""
    deadline = time.monotonic() + DRAIN_SECONDS
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT count(*) FROM event AS e WHERE e.type = 'order.placed' AND NOT EXISTS"
                " (SELECT 1 FROM delivery AS d WHERE d.event_id = e.id AND d.state = 'done')"
            ).fetchone()
            if row == (0,):
                return
            time.sleep(0.2)
    raise TimeoutError("the log was not drained")
