"""A till's baskets through HTTP."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services
from commerce.kernel.sql import Database
from tests.counter import counters
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told

IN_CASH = {"kind": "cash", "tendered": {"amount_minor": 50_000, "currency": "MXN"}}
BY_CARD = {"kind": "external_terminal", "reference": "T1-0042"}


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture(scope="module")
async def at_work(http: httpx.AsyncClient, services: Services) -> tuple[Shop, Tablet]:
    made = await make_shop(services.database, on_hand=100)
    return made, await sign_in(http, services, made)


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db)


@pytest.fixture
async def till(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop)


def pesos(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "MXN"}


async def opened(till: Tablet) -> str:
    answer = await till.post("/baskets")
    assert answer.status_code == 201, answer.text
    return f"/baskets/{answer.json()['id']}"


async def scan(till: Tablet, basket: str, barcode: str, **body: Any) -> Any:
    answer = await till.post(f"{basket}/lines", barcode=barcode, **body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_goods_are_scanned_taken_out_and_sold(db: Database, shop: Shop, till: Tablet) -> None:
    basket = await opened(till)
    await scan(till, basket, shop.skus[0].gtin, quantity=2)
    await scan(till, basket, shop.skus[2].sku)
    shown = await scan(till, basket, shop.skus[1].gtin)
    assert [(each["sku"], each["quantity"]) for each in shown["lines"]] == [
        (shop.skus[0].sku, 2),
        (shop.skus[2].sku, 1),
        (shop.skus[1].sku, 1),
    ]
    assert all(each["held_until"] for each in shown["lines"])
    assert (shown["state"], shown["total"]) == ("open", pesos(43_000))
    assert (await till.delete(f"{basket}/lines/2")).status_code == 204
    assert (await till.get(basket)).json()["total"] == pesos(31_000)
    key = uuid4().hex
    sale: Any = {"total": pesos(31_000), "tender": IN_CASH}
    sold = await till.post(f"{basket}/sell", key=key, **sale)
    assert sold.status_code == 201, sold.text
    answer = sold.json()
    assert answer["change"] == pesos(19_000)
    assert (answer["order"]["state"], answer["order"]["channel"]) == ("completed", "store")
    assert [each["tender"] for each in answer["order"]["payments"]] == ["cash"]
    again = await till.post(f"{basket}/sell", key=key, **sale)
    assert again.content == sold.content
    assert (await till.get(basket)).json()["order_id"] == answer["order"]["id"]
    assert await counters(db, shop) == (8, 0)
    assert await counters(db, shop, 2) == (10, 0)


async def test_a_terminal_of_its_own_pays(shop: Shop, till: Tablet) -> None:
    basket = await opened(till)
    await scan(till, basket, shop.skus[0].gtin)
    sold = await till.post(f"{basket}/sell", total=pesos(10_000), tender=BY_CARD)
    assert sold.status_code == 201, sold.text
    assert sold.json()["change"] == pesos(0)
    assert told(await till.post(f"{basket}/sell", total=pesos(10_000), tender=BY_CARD)) == (
        409,
        "wrong_state",
    )


async def test_refusals_change_nothing(db: Database, shop: Shop, till: Tablet) -> None:
    basket = await opened(till)
    before = await scan(till, basket, shop.skus[0].gtin, quantity=9)
    short = await till.post(f"{basket}/lines", barcode=shop.skus[0].gtin, quantity=2)
    assert told(short) == (409, "stock_short")
    assert short.json()["short"] == [{"sku": shop.skus[0].sku, "requested": 2, "available": 1}]
    total = pesos(90_000)
    little = {"kind": "cash", "tendered": pesos(89_999)}
    sales: list[tuple[Any, tuple[int, str]]] = [
        ({"total": pesos(89_999), "tender": BY_CARD}, (409, "price_changed")),
        ({"total": total, "tender": little}, (422, "tendered_too_little")),
        ({"total": total}, (409, "tender_required")),
        ({"total": total, "tender": BY_CARD, "coupon_code": "NOPE"}, (409, "coupon_refused")),
    ]
    for body, refusal in sales:
        assert told(await till.post(f"{basket}/sell", **body)) == refusal
    assert told(await till.get(basket, coupon_code="NOPE")) == (409, "coupon_refused")
    unknown = await till.post(f"{basket}/lines", barcode="nothing")
    assert told(unknown) == (404, "not_found")
    assert told(await till.delete(f"{basket}/lines/2")) == (404, "not_found")
    assert (await till.get(basket)).json() == before
    assert await counters(db, shop) == (10, 9)


async def test_dead_holds_are_named_and_held_again(db: Database, shop: Shop, till: Tablet) -> None:
    basket = await opened(till)
    shown = await scan(till, basket, shop.skus[0].gtin)
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE reservation SET expires_at = expires_at - interval '11 minutes'"
            " WHERE location_id = $1",
            shop.stores[0].location_id,
        )
    assert (await till.get(basket)).json()["lines"][0]["held_until"] is None
    sale: Any = {"total": pesos(10_000), "tender": BY_CARD}
    lost = await till.post(f"{basket}/sell", **sale)
    assert (told(lost), lost.json()["line_numbers"]) == ((409, "basket_holds_lost"), [1])
    again = await till.post(f"{basket}/hold-again")
    assert again.status_code == 200, again.text
    assert again.json()["lines"][0]["held_until"] >= shown["lines"][0]["held_until"]
    assert (await till.post(f"{basket}/sell", **sale)).status_code == 201


async def test_a_basket_is_released_once(db: Database, shop: Shop, till: Tablet) -> None:
    basket = await opened(till)
    await scan(till, basket, shop.skus[0].gtin, quantity=3)
    assert [(await till.delete(basket)).status_code for _ in range(2)] == [204, 204]
    assert await counters(db, shop) == (10, 0)
    assert told(await till.post(f"{basket}/lines", barcode=shop.skus[0].gtin)) == (
        409,
        "wrong_state",
    )


async def test_a_basket_belongs_to_its_store(
    http: httpx.AsyncClient, services: Services, shop: Shop, till: Tablet
) -> None:
    basket = await opened(till)
    before = await scan(till, basket, shop.skus[0].gtin)
    stranger = await sign_in(http, services, shop, store=1)
    refused = (403, "store_not_allowed")
    assert told(await stranger.get(basket)) == refused
    assert told(await stranger.post(f"{basket}/lines", barcode=shop.skus[0].gtin)) == refused
    assert told(await stranger.post(f"{basket}/hold-again")) == refused
    assert told(await stranger.delete(f"{basket}/lines/1")) == refused
    assert told(await stranger.delete(basket)) == refused
    sale: Any = {"total": pesos(10_000), "tender": BY_CARD}
    assert told(await stranger.post(f"{basket}/sell", **sale)) == refused
    elsewhere = {"location_id": str(shop.stores[0].location_id)}
    assert told(await stranger.post("/baskets", **elsewhere)) == refused
    assert (await till.get(basket)).json() == before


@pytest.mark.parametrize("quantity", [0, -1, 10_001, "2", 1.5])
async def test_impossible_quantities_are_refused(
    at_work: tuple[Shop, Tablet], quantity: object
) -> None:
    shop, till = at_work
    basket = await opened(till)
    answer = await till.post(f"{basket}/lines", barcode=shop.skus[0].gtin, quantity=quantity)
    assert (told(answer), answer.json()["path"]) == ((400, "invalid_request"), "/quantity")
