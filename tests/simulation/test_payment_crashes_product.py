"""The product dies as a whole, part by part: web, worker, supervisor, database, over HTTP.

A shopper, an associate and a returns desk repeat what was not answered, each request under its own
key, until it is. The boundaries are those that the gates see in a story in which nobody dies:
every commit that writes payments, every call to the provider. `make soak` kills each part at each
of them; `make test` kills each part once, with the card's answer on its way.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from commerce import access
from commerce.access import OPERATOR
from commerce.kernel.sql import Database
from tests import counter
from tests.shop import Shop, make_shop
from tests.simulation import crashing
from tests.simulation.crashing import Scene
from tests.simulation.product import Backdoor, Product, Victim, installed
from tests.tablet import Tablet, sign_in

VICTIMS: tuple[Victim, ...] = ("web", "database", "worker", "supervisor")
IN_SHORT = "payment_intents confirm: after the call"
PATIENCE_SECONDS = 150.0
TRIES = 400
"""Half a second apart: longer than the lease of a process that died."""
END = {
    "order": ("completed", None),
    "payments": [("captured", 10_000, 10_000, 10_000)],
    "returns": [("settled", 10_000)],
    "stock": (10, 0),
    "books": {"authorized": 10_000, "captured": 10_000, "refunded": 10_000},
    "open": [],
}


class Story(msgspec.Struct):
    """A unit bought by card, collected, brought back; told again until every step is answered.

    Its people wait while `goes_on` is not set.
    """

    product: Product
    shop: Shop
    tablet: Tablet
    key: str
    goes_on: asyncio.Event
    placed: Any = None

    async def tell(self) -> UUID:
        """All steps, each repeated under its key; returns the order's id."""
        self.placed = await self._repeat("/v1/orders", self._order(), {"X-API-Key": self.key})
        order = self.placed["order"]
        await self._until(order["id"], "placed")
        pickup = f"/v1/store/pickups/{order['fulfillments'][0]['id']}"
        await self._repeat(f"{pickup}/start", {}, self.tablet.headers)
        await self._repeat(f"{pickup}/ready", {"staging_location": "A1"}, self.tablet.headers)
        code = {"code": self.placed["pickup_code"]}
        await self._repeat(f"{pickup}/hand-over", code, self.tablet.headers)
        await self._until(order["id"], "completed")
        unit = {"line_number": 1, "disposition": "restock", "quantity": 1}
        body = {"order_number": order["number"], "units": [unit]}
        await self._repeat("/v1/store/returns/take-back", body, self.tablet.headers)
        return UUID(order["id"])

    def _order(self) -> dict[str, Any]:
        return {
            "location_id": str(self.shop.stores[0].location_id),
            "lines": [{"sku": self.shop.skus[0].sku, "quantity": 1}],
            "contact": {"name": "Ana Torres", "email": "ana@example.com"},
            "tender": "card",
            "payment_method": "pm_card_visa",
            "total": {"amount_minor": 10_000, "currency": "MXN"},
        }

    async def _repeat(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
        """One command under one key, until there is an answer to it."""
        named = headers | {"Idempotency-Key": f"{self.shop.tag} {path}"}
        for _ in range(TRIES):
            answer = await self._send("POST", path, headers=named, json=body)
            if answer is not None and answer.is_success:
                return answer.json()
            if answer is not None and not answer.is_server_error:
                assert "retry-after" in answer.headers, answer.text
            await asyncio.sleep(0.5)
        raise AssertionError(f"no answer to {path}")

    async def _until(self, order_id: str, state: str) -> None:
        """Look at the order until it has come so far."""
        headers = {"X-API-Key": self.key, "Order-Token": self.placed["order_token"]}
        path = f"/v1/orders/{order_id}"
        for _ in range(TRIES):
            answer = await self._send("GET", path, headers=headers)
            if (
                answer is not None
                and answer.is_success
                and answer.json()["order"]["state"] == state
            ):
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"the order never was {state}")

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """One try; None when the connection broke."""
        await self.goes_on.wait()
        try:
            return await self.product.http.request(method, path, **request)
        except httpx.TransportError:
            return None


@pytest.fixture
async def product() -> AsyncIterator[Product]:
    async with installed() as running:
        yield running


async def web_key(product: Product) -> str:
    """The key of a web shop."""
    db = await Database.open(product.dsn)
    async with db.transaction() as conn:
        _, secret = await access.create_key(
            conn,
            OPERATOR,
            kind="storefront",
            name="web shop",
            channel="web",
            requests_per_minute=1_000_000,
            now=datetime.now(UTC),
        )
    await db.close()
    return secret


async def a_story(product: Product, key: str) -> Story:
    """A new shop, and an associate who has signed in."""
    db = await Database.open(product.dsn)
    shop = await make_shop(db, skus=1, stores=1)
    tablet = await sign_in(product.http, Backdoor(db), shop)  # type: ignore[arg-type]
    await db.close()
    goes_on = asyncio.Event()
    goes_on.set()
    return Story(product, shop, tablet, key, goes_on)


async def end_of(story: Story, order_id: UUID) -> dict[str, Any]:
    """Everything that must not depend on where somebody died, once nothing is under way."""
    scene = Scene(
        dsn=story.product.dsn,
        stripe_url=story.product.stripe.url,
        shop=story.shop,
        who=counter.associate(story.shop),
        order_id=order_id,
        at=datetime.now(UTC),
        boundaries=Path(),
    )
    db = await Database.open(story.product.dsn)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            end = await crashing.end_of(scene, db)
            if not end["open"]:
                break
            await asyncio.sleep(1)
    await db.close()
    return end


class Interrupted(msgspec.Struct):
    """A story in which a part of the product has died."""

    story: Story
    telling: "asyncio.Task[UUID]"
    how: str


async def interrupt(
    product: Product, key: str, victim: Victim, boundary: str, times: int
) -> Interrupted:
    """Kill the victim at that boundary of a new story, and start it again; the people wait."""
    story = await a_story(product, key)
    killed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def kill(holder: int) -> None:
        story.goes_on.clear()
        try:
            await product.kill(victim, holder)
        except BaseException as error:
            killed.set_exception(error)
            raise
        killed.set_result(None)

    product.gate.watch(boundary, times, kill)
    telling = asyncio.create_task(story.tell())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not killed.done():
            assert not telling.done(), f"nobody came to {boundary}: {telling.exception()}"
            await asyncio.sleep(0.05)
    await killed
    await product.recover(victim)
    return Interrupted(story, telling, f"{victim}, {boundary}")


@pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="the gates ask Linux which process is connected"
)
@pytest.mark.timeout(3_600)
async def test_the_story_ends_the_same_whichever_part_dies_at_whichever_boundary(
    product: Product, request: pytest.FixtureRequest
) -> None:
    always = request.config.getoption("--hypothesis-profile") == "soak"
    key = await web_key(product)
    clean = await a_story(product, key)
    product.gate.watch()
    order_id = await clean.tell()
    boundaries = list(product.gate.seen)
    expected = await end_of(clean, order_id)
    assert {name: expected[name] for name in END} == END
    assert IN_SHORT in boundaries
    interrupted = [
        await interrupt(product, key, victim, boundary, boundaries[:at].count(boundary))
        for victim in VICTIMS
        for at, boundary in enumerate(boundaries, start=1)
        if always or boundary == IN_SHORT
    ]
    for each in interrupted:
        each.story.goes_on.set()
    for each in interrupted:
        assert await end_of(each.story, await each.telling) == expected, each.how
