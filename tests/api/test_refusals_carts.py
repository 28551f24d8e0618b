"""What carts and orders refuse when the shop changes between two steps of a shopper."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from commerce.carts import MAX_LINES
from tests.changing import change_sku, put_coupon, switch_pickup_off
from tests.desk import Desk, post, refusal
from tests.ordering import body
from tests.paying import WebShop, states, web_shop
from tests.shop import Shop, make_shop
from tests.stripe_server import FakeStripeServer, free_port

PRICE = {"amount_minor": 10_000, "currency": "MXN"}
CONTACT = {"name": "Ana Torres", "email": "ana@example.com"}
CARD = {"tender": "card", "payment_method": "pm_card_visa"}
ASKS = "pm_card_authenticationRequired"


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
    web.stripe.http.delete("/_control/faults")
    return await make_shop(web.services.database, skus=1, stores=1)


class Cart(msgspec.Struct, frozen=True):
    """A guest's cart with one unit of the shop's first SKU."""

    http: httpx.AsyncClient
    url: str
    headers: dict[str, str]

    async def send(self, method: str, path: str = "", body: Any = None) -> httpx.Response:
        """A request about the cart."""
        return await self.http.request(method, self.url + path, headers=self.headers, json=body)

    async def order(self, **fields: Any) -> httpx.Response:
        """Complete it, paid at pickup if not said otherwise."""
        body = {"contact": CONTACT, "tender": "pay_at_pickup", "total": PRICE} | fields
        return await self.send("PUT", "/order", body)


@pytest.fixture
async def cart(web: WebShop, shop: Shop) -> Cart:
    location_id = str(shop.stores[0].location_id)
    started = (await web.http.post("/v1/carts", json={"location_id": location_id})).json()
    headers = {"Cart-Token": started["cart_token"]}
    made = Cart(web.http, f"/v1/carts/{started['cart']['id']}", headers)
    filled = await made.send("PUT", f"/lines/{shop.skus[0].sku}", {"quantity": 1})
    assert filled.status_code == 200, filled.text
    return made


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("PUT", "/lines/{sku}", {"quantity": 2}),
        ("PUT", "/coupon", {"code": "{coupon}"}),
        ("DELETE", "/coupon", None),
        ("PUT", "/store", {"location_id": "{store}"}),
        ("PUT", "/checkout", None),
        ("DELETE", "/checkout", None),
    ],
)
async def test_an_ordered_cart_stays_as_it_is(
    web: WebShop, shop: Shop, cart: Cart, method: str, path: str, given: Any
) -> None:
    await put_coupon(web.services.database, coupon := f"C{shop.tag}")
    known = {"sku": shop.skus[0].sku, "coupon": coupon, "store": str(shop.stores[0].location_id)}
    await cart.send("PUT", "/checkout")
    assert (await cart.order()).status_code == 200
    before = (await cart.send("GET")).json()
    filled = given and {
        name: value.format(**known) if isinstance(value, str) else value
        for name, value in given.items()
    }
    refused = await cart.send(method, path.format(**known), filled)
    assert refusal(refused) == (409, "cart_ordered")
    assert refused.json()["order_id"] == before["cart"]["order_id"]
    assert (await cart.send("GET")).json() == before


async def test_an_ordered_cart_of_a_guest_is_nobody_elses(
    web: WebShop, shop: Shop, cart: Cart
) -> None:
    await cart.send("PUT", "/checkout")
    await cart.order()
    async with await Desk(web, shop).shopper(uuid4()) as shopper:
        refused = await shopper.put(f"{cart.url}/shopper", headers=cart.headers)
    assert refusal(refused) == (409, "cart_ordered")


async def test_a_cart_has_room_for_a_hundred_skus(web: WebShop, cart: Cart) -> None:
    many = await make_shop(web.services.database, skus=MAX_LINES, stores=1)
    for sku in many.skus[1:]:
        assert (await cart.send("PUT", f"/lines/{sku.sku}", {"quantity": 1})).status_code == 200
    refused = await cart.send("PUT", f"/lines/{many.skus[0].sku}", {"quantity": 1})
    assert refusal(refused) == (422, "too_many")
    assert refused.json()["limit"] == MAX_LINES
    assert len((await cart.send("GET")).json()["cart"]["lines"]) == MAX_LINES


async def test_a_cart_needs_a_store_that_there_is(web: WebShop) -> None:
    refused = await web.http.post("/v1/carts", json={"location_id": str(uuid4())})
    assert refusal(refused) == (422, "unknown_store")


async def test_a_basket_to_look_for_has_its_limit(web: WebShop) -> None:
    lines = [{"sku": f"S{number}", "quantity": 1} for number in range(101)]
    refused = await web.http.post("/v1/availability", json={"lines": lines})
    assert (refusal(refused), refused.json()["limit"]) == ((422, "too_many"), 100)


async def no_longer_sold(web: WebShop, shop: Shop) -> None:
    await change_sku(web.services.database, shop, active=False)


async def no_pickup(web: WebShop, shop: Shop) -> None:
    await switch_pickup_off(web.services.database, shop)


async def coupon_for_more(web: WebShop, shop: Shop) -> None:
    await put_coupon(
        web.services.database, f"C{shop.tag}", currency="MXN", minimum_subtotal_minor=10_001
    )


async def coupon_over(web: WebShop, shop: Shop) -> None:
    ended = web.clock() - timedelta(days=1)
    await put_coupon(web.services.database, f"C{shop.tag}", ends_at=ended)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (no_longer_sold, (422, "unknown_sku")),
        (no_pickup, (409, "pickup_unavailable")),
        (coupon_for_more, (409, "coupon_refused")),
    ],
)
async def test_a_checkout_is_refused_when_the_shop_has_changed(
    web: WebShop, shop: Shop, cart: Cart, change: Any, expected: tuple[int, str]
) -> None:
    await put_coupon(web.services.database, coupon := f"C{shop.tag}")
    await cart.send("PUT", "/coupon", {"code": coupon})
    await change(web, shop)
    assert refusal(await cart.send("PUT", "/checkout")) == expected
    assert (await cart.send("GET")).json()["cart"]["state"] == "open"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (no_longer_sold, (422, "unknown_sku")),
        (no_pickup, (409, "pickup_unavailable")),
        (coupon_over, (409, "coupon_refused")),
    ],
)
async def test_an_order_is_refused_when_the_shop_has_changed(
    web: WebShop, shop: Shop, cart: Cart, change: Any, expected: tuple[int, str]
) -> None:
    await put_coupon(web.services.database, coupon := f"C{shop.tag}")
    await cart.send("PUT", "/coupon", {"code": coupon})
    assert (await cart.send("PUT", "/checkout")).status_code == 200
    await change(web, shop)
    assert refusal(await cart.order(total={**PRICE, "amount_minor": 9_000})) == expected
    assert (await cart.send("GET")).json()["cart"]["state"] == "checkout"


async def test_a_card_that_is_still_being_asked(web: WebShop, cart: Cart) -> None:
    await cart.send("PUT", "/checkout")
    web.stripe.fault("payment_intents.confirm", "close_before")
    running = await cart.order(**CARD)
    assert (refusal(running), running.headers["retry-after"]) == ((409, "payment_running"), "2")
    web.clock.pass_by(seconds=6)
    done = await cart.order(**CARD)
    assert (done.status_code, states(done.json()["order"])) == (200, ("placed", "authorized"))


async def test_a_card_of_an_order_that_is_still_being_asked(web: WebShop, shop: Shop) -> None:
    web.stripe.fault("payment_intents.confirm", "close_before")
    order, key = body(shop, **CARD), uuid4().hex
    running = await post(web.http, "/v1/orders", order, key=key)
    assert (refusal(running), running.headers["retry-after"]) == ((409, "payment_running"), "2")
    web.clock.pass_by(seconds=6)
    done = await post(web.http, "/v1/orders", order, key=key)
    assert (done.status_code, states(done.json()["order"])) == (201, ("placed", "authorized"))


@pytest.mark.parametrize("what", ["silent", "ignorant"])
async def test_a_provider_that_cannot_say_how_a_payment_stands(
    web: WebShop, shop: Shop, what: str
) -> None:
    placed = await web.place(shop, ASKS)
    if what == "silent":
        web.stripe.fault("payment_intents.retrieve", "error_before", times=9)
    else:
        async with web.services.database.transaction() as conn:
            await conn.driver.execute(
                "UPDATE payment SET provider_id = 'pi_unknown' WHERE order_id = $1",
                placed["order"]["id"],
            )
    looked = await web.http.post(
        f"/v1/orders/{placed['order']['id']}/payments/refresh",
        headers={"Order-Token": placed["order_token"]},
    )
    expected = (503, "provider_unavailable") if what == "silent" else (502, "provider_refused")
    assert refusal(looked) == expected
    assert states(await web.read(placed)) == ("pending_payment", "requires_action")
