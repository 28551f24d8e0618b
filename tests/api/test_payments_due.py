"""Goods that left although the card did not pay: seen by their store, and paid after all."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.paying import WebShop, states, web_shop
from tests.shop import Shop, make_shop
from tests.stripe_server import FakeStripeServer, free_port
from tests.tablet import Tablet, sign_in, told

PRICE = 10_000
OWED = {"amount_minor": PRICE, "currency": "MXN"}
IN_CASH = {"kind": "cash", "tendered": {"amount_minor": 15_000, "currency": "MXN"}}


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
    return await make_shop(web.services.database, skus=1, stores=2)


@pytest.fixture
async def tablet(web: WebShop, shop: Shop) -> Tablet:
    return await sign_in(web.http, web.services, shop)


async def owed(web: WebShop, shop: Shop, tablet: Tablet) -> Any:
    """An order whose goods are gone, and whose hold had lapsed unseen."""
    placed = await web.place(shop, "pm_card_visa")
    async with web.services.database.reading() as conn:
        provider_id = await conn.driver.fetchval(
            "SELECT provider_id FROM payment WHERE order_id = $1", placed["order"]["id"]
        )
    web.stripe.control(f"payment_intents/{provider_id}/lapse")
    pickup = f"/pickups/{placed['order']['fulfillments'][0]['id']}"
    await tablet.post(f"{pickup}/start")
    await tablet.post(f"{pickup}/ready", staging_location="A-12")
    given = await tablet.post(f"{pickup}/hand-over", code=placed["pickup_code"])
    assert (given.status_code, given.json()["pickup"]["order_state"]) == (200, "placed"), given.text
    return placed


async def test_a_store_sees_what_it_is_owed_until_somebody_pays(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await owed(web, shop, tablet)
    order_id = placed["order"]["id"]
    (due,) = (await tablet.get("/payments-due")).json()
    assert (due["order_id"], due["number"], due["amount"], due["location_id"]) == (
        order_id,
        placed["order"]["number"],
        OWED,
        str(shop.stores[0].location_id),
    )
    paid = await tablet.post(f"/orders/{order_id}/pay-due", tender=IN_CASH)
    assert paid.status_code == 200, paid.text
    assert paid.json()["order"]["state"] == "completed"
    assert paid.json()["change"] == {"amount_minor": 5_000, "currency": "MXN"}
    assert (await tablet.get("/payments-due")).json() == []
    again = await tablet.post(f"/orders/{order_id}/pay-due", tender=IN_CASH)
    assert told(again) == (422, "invalid_field")
    assert [p["captured"]["amount_minor"] for p in (await web.read(placed))["payments"]] == [
        0,
        PRICE,
    ]


async def test_too_little_cash_changes_nothing(web: WebShop, shop: Shop, tablet: Tablet) -> None:
    placed = await owed(web, shop, tablet)
    little = {"kind": "cash", "tendered": {"amount_minor": PRICE - 1, "currency": "MXN"}}
    refused = await tablet.post(f"/orders/{placed['order']['id']}/pay-due", tender=little)
    assert told(refused) == (422, "tendered_too_little")
    assert states(await web.read(placed)) == ("placed", "lapsed")
    assert len((await tablet.get("/payments-due")).json()) == 1


async def test_another_store_neither_sees_nor_takes_it(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await owed(web, shop, tablet)
    other = await sign_in(web.http, web.services, shop, store=1)
    assert (await other.get("/payments-due")).json() == []
    refused = await other.post(f"/orders/{placed['order']['id']}/pay-due", tender=IN_CASH)
    assert told(refused) == (403, "store_not_allowed")
    assert states(await web.read(placed)) == ("placed", "lapsed")


async def test_nothing_is_due_for_an_order_that_waits_for_its_shopper(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await web.place(shop, "pm_card_visa")
    assert (await tablet.get("/payments-due")).json() == []
    refused = await tablet.post(f"/orders/{placed['order']['id']}/pay-due", tender=IN_CASH)
    assert told(refused) == (422, "invalid_field")
    assert states(await web.read(placed)) == ("placed", "authorized")
