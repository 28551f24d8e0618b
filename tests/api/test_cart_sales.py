"""A claimed cart is paid: at the till, by a link, or in the app; and whose sale it was."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.services import Services
from tests.counter import counters
from tests.live import Device, at_store, claim, good, new_shopper, refused, session_of
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in

CONTACT = {"name": "Ana Torres", "email": "ana@example.com"}
IN_CASH = {"kind": "cash", "tendered": {"amount_minor": 50_000, "currency": "MXN"}}
BY_CARD = {"kind": "external_terminal", "reference": "T1-0042"}


@pytest.fixture(scope="module")
async def key(make_key: Callable[..., Awaitable[str]]) -> str:
    return await make_key("storefront")


@pytest.fixture
async def shop(services: Services) -> Shop:
    return await make_shop(services.database)


@pytest.fixture
async def phone(http: httpx.AsyncClient, services: Services, key: str) -> Device:
    return Device(http, await session_of(services, key, await new_shopper(services)))


@pytest.fixture
async def tablet(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop)


def pesos(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "MXN"}


async def handed_over(device: Device, tablet: Tablet, shop: Shop, *, store: int = 0) -> Device:
    """A cart with two units of the first SKU, claimed."""
    mine = await device.start(shop, store=store)
    await mine.set(shop.skus[0].sku, 2)
    good(await claim(tablet, await mine.code()), 201)
    return mine


async def attribution(services: Services, order_id: str) -> tuple[str | None, str | None]:
    async with services.database.reading() as conn:
        row = await conn.driver.fetchrow(
            "SELECT attributed_to, attributed_location_id::text FROM orders WHERE id = $1",
            UUID(order_id),
        )
    assert row is not None
    return row[0], row[1]


def its_sale(tablet: Tablet, shop: Shop) -> tuple[str, str]:
    return f"associate:{tablet.associate_id}", str(shop.stores[0].location_id)


async def test_cart_is_sold_at_the_till_and_carried_out(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop)
    sale = {"total": pesos(20_000), "tender": IN_CASH}
    sold = good(await at_store(tablet, "POST", f"{mine.cart}/sell", **sale), 201)
    assert (sold["order"]["state"], sold["change"]) == ("completed", pesos(30_000))
    assert [each["kind"] for each in sold["order"]["fulfillments"]] == ["carry_out"]
    assert await attribution(services, sold["order"]["id"]) == its_sale(tablet, shop)
    assert await counters(services.database, shop) == (8, 0)
    found = good(await tablet.get(f"/orders/{sold['order']['number']}"))
    assert found["attributed_to"] == tablet.associate_id
    assert found["attributed_location_id"] == str(shop.stores[0].location_id)
    cart = good(await mine.send("GET"))["cart"]
    order_id = sold["order"]["id"]
    assert (cart["state"], cart["order_id"], cart["claim"]) == ("ordered", order_id, None)
    listed = good(await phone.ask("GET", "/v1/orders"))["items"]
    assert [each["id"] for each in listed] == [sold["order"]["id"]]
    refused(await at_store(tablet, "POST", f"{mine.cart}/sell", **sale), 404, "not_found")


async def test_held_cart_is_sold_with_its_hold(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop)
    held = good(await at_store(tablet, "PUT", f"{mine.cart}/checkout"))
    assert held["cart"]["state"] == "checkout"
    assert await counters(services.database, shop) == (10, 2)
    sale = {"total": pesos(20_000), "tender": BY_CARD}
    sold = good(await at_store(tablet, "POST", f"{mine.cart}/sell", **sale), 201)
    assert sold["order"]["payments"] == [] or sold["order"]["payments"][0]["reference"] == "T1-0042"
    assert await counters(services.database, shop) == (8, 0)


async def test_cart_is_sold_for_a_pickup_elsewhere(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop, store=1)
    sale = {"total": pesos(20_000), "kind": "pickup"}
    url = f"{mine.cart}/sell"
    refused(await at_store(tablet, "POST", url, **sale), 422, "invalid_field")
    paid = sale | {"contact": CONTACT, "tender": IN_CASH}
    refused(await at_store(tablet, "POST", url, **paid), 422, "invalid_field")
    nobody = sale | {"contact": {"name": "Ana"}}
    refused(await at_store(tablet, "POST", url, **nobody), 422, "invalid_field")
    sold = good(await at_store(tablet, "POST", url, **sale, contact=CONTACT), 201)
    (share,) = sold["order"]["fulfillments"]
    assert (share["kind"], share["state"]) == ("pickup", "requested")
    assert share["location_id"] == str(shop.stores[1].location_id)
    assert sold["order"]["tender"] == "pay_at_pickup"
    assert await attribution(services, sold["order"]["id"]) == its_sale(tablet, shop)


async def test_what_cannot_be_sold_changes_nothing(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop)
    url, good_total = f"{mine.cart}/sell", pesos(20_000)
    before = good(await mine.send("GET"))["cart"]
    little = {"kind": "cash", "tendered": pesos(100)}
    for status, code, sale in (
        (409, "price_changed", {"total": pesos(1), "tender": IN_CASH}),
        (409, "tender_required", {"total": good_total}),
        (422, "tendered_too_little", {"total": good_total, "tender": little}),
    ):
        refused(await at_store(tablet, "POST", url, **sale), status, code)
    assert good(await mine.send("GET"))["cart"] == before
    assert await counters(services.database, shop) == (10, 0)
    await mine.set(shop.skus[0].sku, 11)
    many = {"total": pesos(110_000), "tender": BY_CARD}
    refused(await at_store(tablet, "POST", url, **many), 409, "stock_short")
    refused(await at_store(tablet, "PUT", f"{mine.cart}/checkout"), 409, "stock_short")
    await mine.set(shop.skus[0].sku, 0)
    refused(await at_store(tablet, "POST", url, **many), 422, "cart_empty")
    refused(await at_store(tablet, "PUT", f"{mine.cart}/checkout"), 422, "cart_empty")
    homeless = await phone.start()
    await homeless.set(shop.skus[0].sku, 1)
    good(await claim(tablet, await homeless.code()), 201)
    url = f"{homeless.cart}/sell"
    refused(await at_store(tablet, "POST", url, **many), 422, "store_not_chosen")
    refused(await at_store(tablet, "PUT", f"{homeless.cart}/checkout"), 422, "store_not_chosen")


async def test_held_goods_move_to_the_associates_store_or_stay(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop, store=1)
    held = good(await mine.send("PUT", "/checkout"))["cart"]
    sale = {"total": pesos(20_000), "tender": BY_CARD}
    refused(await at_store(tablet, "POST", f"{mine.cart}/sell", **sale), 409, "cart_elsewhere")
    assert await counters(services.database, shop) == (10, 0)
    moved = good(await at_store(tablet, "PUT", f"{mine.cart}/store"))
    assert (moved["state"], moved["hold_expires_at"]) == ("checkout", held["hold_expires_at"])
    assert moved["location_id"] == str(shop.stores[0].location_id)
    assert await counters(services.database, shop) == (10, 2)
    assert await reserved(services, shop, 1) == 0
    again = good(await at_store(tablet, "PUT", f"{mine.cart}/store"))
    assert again["revision"] == moved["revision"]

    other = await handed_over(phone, tablet, shop, store=1)
    await other.set(shop.skus[0].sku, 9)
    before = good(await other.send("PUT", "/checkout"))["cart"]
    problem = refused(await at_store(tablet, "PUT", f"{other.cart}/store"), 409, "stock_short")
    assert problem["location_id"] == str(shop.stores[0].location_id)
    assert good(await other.send("GET"))["cart"] == before
    assert (await counters(services.database, shop), await reserved(services, shop, 1)) == (
        (10, 2), 9,
    )  # fmt: skip
    good(await other.send("DELETE", "/checkout"))
    chosen = good(await at_store(tablet, "PUT", f"{other.cart}/store"))
    assert (chosen["state"], chosen["location_id"]) == ("open", str(shop.stores[0].location_id))


async def reserved(services: Services, shop: Shop, store: int) -> int:
    async with services.database.reading() as conn:
        count: int = await conn.driver.fetchval(
            "SELECT reserved FROM stock_level WHERE location_id = $1 AND sku = $2",
            shop.stores[store].location_id, shop.skus[0].sku,
        )  # fmt: skip
    return count


async def test_payment_link_opens_the_cart_for_checkout_and_payment_only(
    http: httpx.AsyncClient, services: Services, key: str, phone: Device, shop: Shop,
    tablet: Tablet,
) -> None:  # fmt: skip
    mine = await handed_over(phone, tablet, shop)
    link = good(await at_store(tablet, "POST", f"{mine.cart}/payment-link"), 201)
    assert link["url"].endswith(f"/carts/{mine.cart}#{link['token']}")
    assert good(await at_store(tablet, "POST", f"{mine.cart}/payment-link"), 201) == link
    payer = Device(http, {"X-API-Key": key, "Cart-Token": link["token"]}, mine.cart)
    stranger = Device(http, {"X-API-Key": key, "Cart-Token": f"2{link['token'][1:]}"}, mine.cart)
    refused(await stranger.send("GET"), 404, "not_found")
    sku = shop.skus[0].sku
    assert await payer.lines() == {sku: 2}
    for method, path, body in (
        ("PUT", f"/lines/{sku}", {"quantity": 1}),
        ("DELETE", "/coupon", {}),
        ("POST", "/code", {}),
        ("DELETE", "/claim", {}),
    ):
        refused(await payer.send(method, path, **body), 404, "not_found")
    good(await at_store(tablet, "DELETE", f"{mine.cart}/claim"))
    good(await payer.send("PUT", "/checkout"))
    good(await payer.send("DELETE", "/checkout"))
    good(await payer.send("PUT", "/checkout"))
    order = {"contact": CONTACT, "tender": "pay_at_pickup", "total": pesos(20_000)}
    placed = good(await payer.send("PUT", "/order", **order))["order"]
    assert await attribution(services, placed["id"]) == its_sale(tablet, shop)
    assert good(await payer.send("PUT", "/order", **order))["order"]["id"] == placed["id"]
    listed = good(await phone.ask("GET", "/v1/orders"))["items"]
    assert [each["id"] for each in listed] == [placed["id"]]


async def test_revoked_link_opens_nothing_and_the_next_one_is_another(
    http: httpx.AsyncClient, key: str, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop)
    url = f"{mine.cart}/payment-link"
    token = good(await at_store(tablet, "POST", url), 201)["token"]
    for _ in range(2):
        assert (await at_store(tablet, "DELETE", url)).status_code == 204
    payer = Device(http, {"X-API-Key": key, "Cart-Token": token}, mine.cart)
    refused(await payer.send("GET"), 404, "not_found")
    assert good(await at_store(tablet, "POST", url), 201)["token"] != token
    refused(await payer.send("PUT", "/checkout"), 404, "not_found")


@pytest.mark.parametrize("sold_at", ["app", "till"])
async def test_link_opens_nothing_of_what_was_bought_without_it(
    http: httpx.AsyncClient, key: str, phone: Device, shop: Shop, tablet: Tablet, sold_at: str
) -> None:
    mine = await handed_over(phone, tablet, shop)
    link = good(await at_store(tablet, "POST", f"{mine.cart}/payment-link"), 201)
    holder = Device(http, {"X-API-Key": key, "Cart-Token": link["token"]}, mine.cart)
    order = {"contact": CONTACT, "tender": "pay_at_pickup", "total": pesos(20_000)}
    good(await mine.send("PUT", "/checkout"))
    if sold_at == "app":
        good(await mine.send("PUT", "/order", **order))
    else:
        sale = {"total": pesos(20_000), "tender": IN_CASH}
        good(await at_store(tablet, "POST", f"{mine.cart}/sell", **sale), 201)
    refused(await holder.send("PUT", "/order", **order), 404, "not_found")
    refused(await holder.send("GET"), 404, "not_found")


async def test_shopper_pays_in_the_app_and_the_sale_is_the_associates(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await handed_over(phone, tablet, shop)
    good(await mine.send("PUT", "/checkout"))
    order = {"contact": CONTACT, "tender": "pay_at_pickup", "total": pesos(20_000)}
    placed = good(await mine.send("PUT", "/order", **order))["order"]
    assert await attribution(services, placed["id"]) == its_sale(tablet, shop)
    assert "attributed_to" not in placed
    refused(await at_store(tablet, "GET", mine.cart), 404, "not_found")
    alone = await phone.start(shop)
    await alone.set(shop.skus[0].sku, 1)
    good(await alone.send("PUT", "/checkout"))
    order["total"] = pesos(10_000)
    own = good(await alone.send("PUT", "/order", **order))["order"]
    assert await attribution(services, own["id"]) == (None, None)
