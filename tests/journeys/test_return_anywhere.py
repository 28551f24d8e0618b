"""Bought online, collected in one store, brought back to another: stock and money follow."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from api import database
from commerce.kernel import events
from inventory import stock
from tests.desk import Desk, post, units
from tests.paying import WebShop, web_shop
from tests.shop import make_shop
from tests.stripe_server import FakeStripeServer, free_port

PRICE = 10_000


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
async def web(dsn: str, stripe: FakeStripeServer) -> AsyncIterator[WebShop]:
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(dsn)))
    async with web_shop(dsn, stripe) as serving:
        yield serving


async def done(answer: httpx.Response) -> Any:
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


async def on_hand(desk: Desk) -> list[int]:
    """What each store has of the first SKU."""
    keys = [(place.location_id, desk.shop.skus[0].sku) for place in desk.shop.stores]
    async with desk.web.services.database.reading() as conn:
        levels = await stock.levels(conn, keys)
    assert all(levels[key].reserved == 0 for key in keys)
    return [levels[key].on_hand for key in keys]


async def test_from_the_phone_to_a_counter_and_back_over_another(web: WebShop) -> None:
    desk = Desk(web, await make_shop(web.services.database))
    placed = await web.place(desk.shop, "pm_card_visa")
    order, (share,) = placed["order"], placed["order"]["fulfillments"]
    pickup = f"/v1/store/pickups/{share['id']}"
    async with await desk.staff(0) as here, await desk.staff(1) as there:
        await done(await post(here, f"{pickup}/start"))
        await done(await post(here, f"{pickup}/ready", {"staging_location": "A-12"}))
        await done(await post(here, f"{pickup}/hand-over", {"code": placed["pickup_code"]}))
        assert await on_hand(desk) == [9, 10]
        assert web.books(order["id"]) == [{"authorized": PRICE, "captured": PRICE, "kept": PRICE}]
        offered = await done(await there.get(f"/v1/store/orders/{order['number']}/returnable"))
        assert [line["returnable"] for line in offered["lines"]] == [1]
        body = {"order_number": order["number"], "units": units((1, "restock", 1))}
        back = await done(await post(there, "/v1/store/returns/take-back", body))
    assert (back["state"], back["refund"]["amount_minor"]) == ("settled", PRICE)
    assert await on_hand(desk) == [9, 11]
    assert web.books(order["id"]) == [{"authorized": PRICE, "captured": PRICE, "refunded": PRICE}]
    after = await web.read(placed)
    assert [line["returned_quantity"] for line in after["lines"]] == [1]
    (paid,) = after["payments"]
    assert paid["captured"] == paid["refunded"] == {"amount_minor": PRICE, "currency": "MXN"}
    async with web.services.database.reading() as conn:
        told = [each.type for each in await events.timeline(conn, UUID(order["id"]))]
    assert told == [
        "order.payment_requested", "payment.authorized", "order.placed", "pickup.requested",
        "pickup.picking", "pickup.ready", "pickup.collected", "payment.captured",
        "order.completed", "return.requested", "return.approved", "return.received",
        "payment.refunded", "return.settled",
    ]  # fmt: skip
