"""Two devices and an associate edit one cart at random, from a seed, over HTTP, each watching it.

Every answer names the revision that the edit made. In their order, the edits that were answered
make up what every later answer shows: no line is lost, none comes back, and at the end all three
see the same, with the right total.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx
import msgspec
import pytest

from api.middleware import Edge
from api.services import Services
from tests.api.conftest import edge, http, make_key, prepared_dsn, services
from tests.feeds import FeedClient
from tests.live import Device, at_store, claim, good, new_shopper, session_of
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in

__all__ = ["edge", "http", "make_key", "prepared_dsn", "services"]

SKUS = 6
STEPS = 25
SEEDS, SOAK_SEEDS = 3, 200
GONE = 404
"""What the associate is answered while the shopper has taken the cart back."""


class Edit(msgspec.Struct, frozen=True):
    """A line that was set, by the revision that it made, and what the answer showed."""

    revision: int
    sku: str
    quantity: int
    shown: dict[str, int]


class Actor:
    """Somebody who edits the cart and follows it."""

    def __init__(
        self, seed: str, edge: Edge, shop: Shop, send: Callable[..., Awaitable[httpx.Response]],
        feed: tuple[str, dict[str, str]],
    ) -> None:  # fmt: skip
        self.chosen = random.Random(seed)
        self.send = send
        self.edits: list[Edit] = []
        self._shop = shop
        self._feed = FeedClient(edge, *feed)
        self._heard: set[int] = set()

    async def edit(self) -> None:
        """One step: a line, or into and out of checkout."""
        step = self.chosen.random()
        if step < 0.15:
            await self._may_fail(await self.send("PUT", "/checkout"))
        elif step < 0.25:
            await self._may_fail(await self.send("DELETE", "/checkout"))
        else:
            await self._set_line()

    async def _set_line(self) -> None:
        sku = self.chosen.choice(self._shop.skus).sku
        quantity = self.chosen.choice([0, 1, 2, 3, 5, 8])
        answer = await self.send("PUT", f"/lines/{sku}", quantity=quantity)
        if answer.status_code != GONE:
            cart = good(answer)
            self.edits.append(Edit(cart["revision"], sku, quantity, lines_of(cart)))

    async def _may_fail(self, answer: httpx.Response) -> None:
        refused = answer.json().get("code")
        assert refused in {None, "not_found", "cart_empty", "method_not_allowed"}, answer.text

    async def last_heard(self, revision: int) -> None:
        """Until the feed has told this revision."""
        async with asyncio.timeout(10):
            while revision not in self._heard:
                block = await self._feed.next()
                self._heard |= {block.data.get("payload", {}).get("revision", 0)}

    async def __aenter__(self) -> Self:
        """Begin to follow."""
        await self._feed.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave."""
        await self._feed.__aexit__()


def lines_of(cart: Any) -> dict[str, int]:
    """SKUs and quantities of a cart as clients see it."""
    return {line["sku"]: line["quantity"] for line in cart["lines"]}


def seeds(config: pytest.Config) -> range:
    """More of them in a soak."""
    long = config.getoption("--hypothesis-profile") == "soak"
    return range(SOAK_SEEDS if long else SEEDS)


async def test_two_devices_and_an_associate_converge(
    request: pytest.FixtureRequest, edge: Edge, http: httpx.AsyncClient, services: Services,
    make_key: Callable[..., Awaitable[str]],
) -> None:  # fmt: skip
    key = await make_key("storefront")
    shop = await make_shop(services.database, skus=SKUS, on_hand=1_000)
    tablet = await sign_in(http, services, shop)
    for seed in seeds(request.config):
        ana = await new_shopper(services)
        phone = await Device(http, await session_of(services, key, ana)).start(shop)
        laptop = Device(http, await session_of(services, key, ana), phone.cart)
        await edit_together(edge, shop, phone, laptop, tablet, seed)


async def edit_together(
    edge: Edge, shop: Shop, phone: Device, laptop: Device, tablet: Tablet, seed: int
) -> None:
    async def serve(method: str, path: str = "", **body: Any) -> httpx.Response:
        return await at_store(tablet, method, f"{phone.cart}{path}", **body)

    await claimed(tablet, phone)
    own = f"{phone.url}/feed"
    async with (
        Actor(f"{seed} phone", edge, shop, phone.send, (own, phone.headers)) as one,
        Actor(f"{seed} laptop", edge, shop, laptop.send, (own, laptop.headers)) as two,
    ):
        counter = (f"/v1/store/carts/{phone.cart}/feed", tablet.headers)
        helper = Actor(f"{seed} counter", edge, shop, serve, counter)

        async def work(actor: Actor) -> None:
            for step in range(STEPS):
                await actor.edit()
                if actor is two and step % 10 == 9:
                    good(await laptop.send("DELETE", "/claim"))
                    await claimed(tablet, laptop)

        await asyncio.gather(*(work(each) for each in (one, two, helper)))
        async with helper:
            edits = [edit for each in (one, two, helper) for edit in each.edits]
            last = await phone.set(shop.skus[0].sku, 4)
            edits.append(Edit(last["revision"], shop.skus[0].sku, 4, lines_of(last)))
            check(edits)
            for each in (one, two, helper):
                await each.last_heard(last["revision"])
            seen = [good(await each.send("GET")) for each in (one, two, helper)]
    assert seen[0] == seen[1] == seen[2], seed
    assert lines_of(seen[0]["cart"]) == edits[-1].shown
    prices = {each.sku: each.price_minor for each in shop.skus}
    total = sum(prices[sku] * quantity for sku, quantity in edits[-1].shown.items())
    assert seen[0]["quote"]["total"]["amount_minor"] == total


async def claimed(tablet: Tablet, device: Device) -> None:
    good(await claim(tablet, await device.code()), 201)


def check(edits: list[Edit]) -> None:
    """Each answer shows all edits up to its revision, and nothing else."""
    edits.sort(key=lambda edit: edit.revision)
    assert len({edit.revision for edit in edits}) == len(edits)
    lines: dict[str, int] = {}
    for edit in edits:
        lines[edit.sku] = edit.quantity
        assert edit.shown == {sku: quantity for sku, quantity in lines.items() if quantity}
