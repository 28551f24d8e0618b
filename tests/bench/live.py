"""How soon an edit of a cart is seen on the other side, with many carts open."""

import asyncio
import random
from statistics import quantiles
from time import perf_counter
from typing import Any

import httpx

from tests.bench.measuring import Bench, Row
from tests.bench.stack import HOST

STREAMS = 200
EDITS = 400
PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 10.0
WANTED_MS = 100


class _Side:
    """One stream on a cart: when each of its revisions was told."""

    def __init__(self) -> None:
        self.told: dict[int, asyncio.Future[float]] = {}
        self.opened = asyncio.Event()

    def at(self, revision: int) -> "asyncio.Future[float]":
        """When this revision comes."""
        return self.told.setdefault(revision, asyncio.get_running_loop().create_future())

    async def follow(self, port: int, path: str, headers: dict[str, str]) -> None:
        """Read the stream until cancelled."""
        reader, writer = await asyncio.open_connection(HOST, port)
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            async for line in reader:
                self._read(line)
        finally:
            writer.close()

    def _read(self, line: bytes) -> None:
        if line.startswith(b"event: open"):
            self.opened.set()
        if line.startswith(b"data: ") and b'"revision":' in line:
            revision = int(line.partition(b'"revision":')[2].split(b"}")[0])
            if not self.at(revision).done():
                self.at(revision).set_result(perf_counter())


async def measure_live(bench: Bench) -> None:
    """Edits one by one, each timed until the cart's stream tells its revision."""
    stack = bench.stack
    chosen = random.Random(7)
    skus = [each.sku for each in stack.shop.skus[:50]]
    key = {"X-API-Key": stack.key}
    base = f"http://{HOST}:{stack.port}"
    async with httpx.AsyncClient(base_url=base, timeout=30) as http, asyncio.TaskGroup() as group:
        sides: list[tuple[str, dict[str, str], _Side]] = []
        following = []
        for _ in range(STREAMS):
            started: Any = (await http.post("/v1/carts", json={}, headers=key)).json()
            headers = key | {"Cart-Token": started["cart_token"]}
            url, side = f"/v1/carts/{started['cart']['id']}", _Side()
            following.append(group.create_task(side.follow(stack.port, f"{url}/feed", headers)))
            sides.append((url, headers, side))
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _, _, side in sides:
                await side.opened.wait()
        took = []
        for index in range(EDITS):
            url, headers, side = chosen.choice(sides)
            body = {"quantity": 1 + index % 9}
            path = f"{url}/lines/{chosen.choice(skus)}"
            before = perf_counter()
            answer: Any = (await http.put(path, json=body, headers=headers)).json()
            async with asyncio.timeout(PATIENCE_SECONDS):
                took.append(await side.at(answer["revision"]) - before)
            await asyncio.sleep(PAUSE_SECONDS * chosen.random())
        for task in following:
            task.cancel()
    hundredths = quantiles(took, n=100)
    row = Row(
        f"cart edit seen on the other side, {STREAMS} streams",
        len(took) / sum(took),
        1000 * hundredths[49],
        1000 * hundredths[98],
        target=f"(wanted: p50 at most {WANTED_MS} ms)",
    )
    bench.say(row)
