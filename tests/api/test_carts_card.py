"""Carts that are paid by card, against the fake Stripe server."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.paying import WebShop, states, web_shop
from tests.shop import Shop, make_shop
from tests.stripe_server import FakeStripeServer, free_port

PRICE = 10_000
HELD = [{"authorized": PRICE, "held": PRICE}]


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
async def web(prepared_dsn: str, stripe: FakeStripeServer) -> AsyncIterator[WebShop]:
    async with web_shop(prepared_dsn, stripe) as serving:
        yield serving


@pytest.fixture
async def shop(web: WebShop) -> Shop:
    return await make_shop(web.services.database, skus=1, stores=1)


async def checked_out(web: WebShop, shop: Shop) -> tuple[str, dict[str, str]]:
    """A cart in checkout: its address, and the header that opens it."""
    body = {"location_id": str(shop.stores[0].location_id)}
    started = (await web.http.post("/v1/carts", json=body)).json()
    url, headers = f"/v1/carts/{started['cart']['id']}", {"Cart-Token": started["cart_token"]}
    line = f"{url}/lines/{shop.skus[0].sku}"
    assert (await web.http.put(line, headers=headers, json={"quantity": 1})).status_code == 200
    assert (await web.http.put(f"{url}/checkout", headers=headers)).status_code == 200
    return url, headers


async def pay(web: WebShop, cart: tuple[str, dict[str, str]], card: str) -> Any:
    url, headers = cart
    answer = await web.http.put(
        f"{url}/order",
        headers=headers,
        json={
            "contact": {"name": "Ana Torres", "email": "ana@example.com"},
            "tender": "card",
            "payment_method": card,
            "return_url": "http://shop.example/back",
            "total": {"amount_minor": PRICE, "currency": "MXN"},
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_card_pays_once_however_often_the_cart_is_completed(web: WebShop, shop: Shop) -> None:
    cart = await checked_out(web, shop)
    placed = await pay(web, cart, "pm_card_visa")
    assert states(placed["order"]) == ("placed", "authorized")
    assert await pay(web, cart, "pm_card_mastercard") == placed
    assert web.books(placed["order"]["id"]) == HELD


async def test_declined_order_waits_for_another_card(web: WebShop, shop: Shop) -> None:
    cart = await checked_out(web, shop)
    declined = await pay(web, cart, "pm_card_chargeDeclined")
    assert states(declined["order"]) == ("pending_payment", "pending")
    assert declined["order"]["payments"][0]["decline_code"] == "generic_decline"
    paid = await web.pay_again(declined, "pm_card_visa", key=uuid4().hex)
    assert states(paid.json()) == ("placed", "authorized")
    again = await pay(web, cart, "pm_card_visa")
    assert again["order"] == paid.json()
    assert web.books(again["order"]["id"]) == HELD


async def test_card_that_asks_the_shopper_names_where_to_go(web: WebShop, shop: Shop) -> None:
    cart = await checked_out(web, shop)
    asked = await pay(web, cart, "pm_card_authenticationRequired")
    assert states(asked["order"]) == ("pending_payment", "requires_action")
    assert asked["order"]["payments"][0]["redirect_url"].startswith("http")
    assert await pay(web, cart, "pm_card_visa") == asked
    assert web.books(asked["order"]["id"]) == []
