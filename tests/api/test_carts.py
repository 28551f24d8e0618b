"""Carts through HTTP: tokens, sessions, checkout, the order, and what each refusal says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import access, customers
from tests.shop import Shop, make_shop

Client = Callable[..., httpx.AsyncClient]
CONTACT = {"name": "Ana Torres", "email": "ana@example.com", "locale": "es"}


class Cart:
    """A cart and the client that has it."""

    def __init__(self, http: httpx.AsyncClient, started: dict[str, Any]) -> None:
        self.http = http
        self.url = f"/v1/carts/{started['cart']['id']}"
        self.id = started["cart"]["id"]
        self.token = started["cart_token"]

    async def send(self, method: str, path: str = "", **body: Any) -> httpx.Response:
        """Send a request about the cart, with its token if it has one."""
        headers = {} if self.token is None else {"Cart-Token": self.token}
        json = body or None
        return await self.http.request(method, self.url + path, headers=headers, json=json)

    async def order(self, total_minor: int, **fields: Any) -> httpx.Response:
        """Complete the cart, paid at pickup unless the fields say otherwise."""
        total = {"amount_minor": total_minor, "currency": "MXN"}
        given = {"contact": CONTACT, "tender": "pay_at_pickup", "total": total} | fields
        return await self.send("PUT", "/order", **given)


async def start(http: httpx.AsyncClient, shop: Shop | None = None) -> Cart:
    body = {} if shop is None else {"location_id": str(shop.stores[0].location_id)}
    answer = await http.post("/v1/carts", json=body)
    assert answer.status_code == 201, answer.text
    return Cart(http, answer.json())


async def fill(cart: Cart, shop: Shop, *quantities: int) -> None:
    for sku, quantity in zip(shop.skus, quantities, strict=False):
        answer = await cart.send("PUT", f"/lines/{sku.sku}", quantity=quantity)
        assert answer.status_code == 200, answer.text


async def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture
async def signed_in(
    services: Services, make_key: Callable[..., Awaitable[str]], client_of: Client
) -> AsyncIterator[httpx.AsyncClient]:
    """A shopper's client."""
    key = await make_key("storefront")
    now = datetime.now(UTC)
    async with services.database.transaction() as conn:
        who = await access.authenticate(conn, key_secret=key, session_secret=None, now=now)
        email = f"{uuid4().hex}@example.com"
        known = await customers.put_shopper(conn, email=email, phone=None, locale="es", now=now)
        started = await access.start_shopper_session(conn, who, known.id, now=now)
    async with client_of(key, started.secret) as made:
        yield made


async def test_guest_fills_a_cart_checks_out_and_gets_the_order(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart = await start(storefront, shop)
    await fill(cart, shop, 2, 1)
    read = (await cart.send("GET")).json()
    assert [(line["sku"], line["quantity"]) for line in read["cart"]["lines"]] == [
        (shop.skus[0].sku, 2), (shop.skus[1].sku, 1),
    ]  # fmt: skip
    assert (read["cart"]["state"], read["quote"]["total"]["amount_minor"]) == ("open", 31_000)
    assert [
        (line["price"]["total"]["amount_minor"], line["available_to_promise"], line["problem"])
        for line in read["quote"]["lines"]
    ] == [(20_000, 10, None), (11_000, 10, None)]
    checkout = (await cart.send("PUT", "/checkout")).json()
    assert (checkout["cart"]["state"], checkout["quote"]["total"]["amount_minor"]) == (
        "checkout", 31_000,
    )  # fmt: skip
    assert checkout["cart"]["hold_expires_at"] is not None
    answer = await cart.order(31_000)
    assert answer.status_code == 200, answer.text
    placed = answer.json()
    assert (placed["order"]["state"], len(placed["order"]["lines"])) == ("placed", 2)
    assert len(placed["pickup_code"]) == 6
    ordered = (await cart.send("GET")).json()
    assert (ordered["cart"]["state"], ordered["cart"]["order_id"], ordered["quote"]) == (
        "ordered", placed["order"]["id"], None,
    )  # fmt: skip
    seen = await storefront.get(
        f"/v1/orders/{placed['order']['id']}", headers={"Order-Token": placed["order_token"]}
    )
    assert seen.json() == placed


async def test_cart_completed_twice_at_once_is_one_order(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart = await start(storefront, shop)
    await fill(cart, shop, 1)
    await cart.send("PUT", "/checkout")
    answers = await asyncio.gather(*(cart.order(10_000) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.json()["order"]["id"] for answer in answers}) == 1
    assert (await cart.order(1)).json() == answers[0].json()
    async with services.database.reading() as conn:
        count = await conn.driver.fetchval(
            "SELECT count(*) FROM orders WHERE cart_id = $1", UUID(cart.id)
        )
    assert count == 1


async def test_guests_cart_needs_its_token(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart, other = await start(storefront, shop), await start(storefront, shop)
    for token in (None, "", other.token):
        thief = Cart(storefront, {"cart": {"id": cart.id}, "cart_token": token})
        for answer in (
            await thief.send("GET"),
            await thief.send("PUT", f"/lines/{shop.skus[0].sku}", quantity=1),
            await thief.send("PUT", "/coupon", code="X"),
            await thief.send("DELETE", "/coupon"),
            await thief.send("PUT", "/store", location_id=str(shop.stores[1].location_id)),
            await thief.send("PUT", "/checkout"),
            await thief.send("DELETE", "/checkout"),
            await thief.order(1),
        ):
            code = answer.json()["code"]
            assert (answer.status_code, code) in ((404, "not_found"), (409, "coupon_refused"))
    assert (await cart.send("GET")).json()["cart"]["revision"] == 1


async def test_cart_goes_along_at_sign_in_and_then_needs_the_session(
    storefront: httpx.AsyncClient, signed_in: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart = await start(storefront, shop)
    await fill(cart, shop, 1)
    await is_problem(await cart.send("PUT", "/shopper"), 401, "session_required")
    taken = Cart(signed_in, {"cart": {"id": cart.id}, "cart_token": cart.token})
    assert (await taken.send("PUT", "/shopper")).status_code == 200
    await is_problem(await cart.send("GET"), 404, "not_found")
    own = Cart(signed_in, {"cart": {"id": cart.id}, "cart_token": None})
    await own.send("PUT", "/checkout")
    order = (await own.order(10_000)).json()["order"]
    listed = (await signed_in.get("/v1/orders")).json()["items"]
    assert [each["id"] for each in listed] == [order["id"]]
    assert (await start(signed_in)).token is None


async def test_coupon_and_store_are_chosen_and_problems_told_with_the_quote(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database, on_hand=1)
    cart = await start(storefront)
    await fill(cart, shop, 2)
    bare = (await cart.send("GET")).json()
    assert (bare["quote"], bare["cart"]["location_id"]) == (None, None)
    await is_problem(await cart.send("PUT", "/checkout"), 422, "store_not_chosen")
    problem = await cart.send("PUT", "/store", location_id=str(uuid4()))
    await is_problem(problem, 422, "unknown_store")
    at = str(shop.stores[1].location_id)
    assert (await cart.send("PUT", "/store", location_id=at)).json()["location_id"] == at
    (line,) = (await cart.send("GET")).json()["quote"]["lines"]
    assert (line["problem"], line["available_to_promise"]) == ("stock_short", 1)
    refused = await is_problem(await cart.send("PUT", "/checkout"), 409, "stock_short")
    assert refused["short"] == [{"sku": shop.skus[0].sku, "requested": 2, "available": 1}]
    refused = await is_problem(
        await cart.send("PUT", "/coupon", code="NOPE"), 409, "coupon_refused"
    )
    assert refused["reason"] == "unknown"
    assert (await cart.send("DELETE", "/coupon")).json()["coupon_code"] is None


async def test_bad_lines_are_refused_and_change_nothing(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart = await start(storefront, shop)
    line = f"/lines/{shop.skus[0].sku}"
    for quantity in (-1, 10_001, "2", 1.5, None):
        await is_problem(await cart.send("PUT", line, quantity=quantity), 400, "invalid_request")
    await is_problem(await cart.send("PUT", line, quantity=1, price=5), 400, "invalid_request")
    await is_problem(await cart.send("PUT", "/lines/NOTHING", quantity=1), 422, "unknown_sku")
    await is_problem(await cart.send("PUT", "/lines/%00", quantity=1), 400, "invalid_request")
    await is_problem(
        await cart.send("PUT", f"/lines/{'X' * 65}", quantity=1), 400, "invalid_request"
    )
    await is_problem(await cart.send("PUT", "/checkout"), 422, "cart_empty")
    await is_problem(await cart.order(1), 409, "wrong_state")
    assert (await cart.send("GET")).json()["cart"]["revision"] == 1


async def test_total_that_moved_is_told_and_the_checkout_goes_on(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart = await start(storefront, shop)
    await fill(cart, shop, 1)
    await cart.send("PUT", "/checkout")
    refused = await is_problem(await cart.order(9_999), 409, "price_changed")
    assert refused["total"] == {"amount_minor": 10_000, "currency": "MXN"}
    await is_problem(await cart.order(10_000, tender="card"), 400, "invalid_request")
    await is_problem(await cart.order(10_000, contact={"name": "Ana"}), 422, "invalid_field")
    assert (await cart.order(10_000)).status_code == 200
    await is_problem(await cart.send("PUT", "/checkout"), 409, "cart_ordered")


async def test_expired_checkout_names_its_lines(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database)
    cart = await start(storefront, shop)
    await fill(cart, shop, 3)
    await cart.send("PUT", "/checkout")
    async with services.database.transaction() as conn:
        await conn.driver.execute(
            "UPDATE cart SET hold_expires_at = now() WHERE id = $1", UUID(cart.id)
        )
        await conn.driver.execute(
            "UPDATE reservation SET expires_at = now() WHERE demand_id ="
            " (SELECT demand_id FROM cart WHERE id = $1)",
            UUID(cart.id),
        )
    assert (await cart.send("GET")).json()["cart"]["state"] == "open"
    refused = await is_problem(await cart.order(30_000), 409, "checkout_expired")
    assert refused["lines"] == [{"sku": shop.skus[0].sku, "quantity": 3}]
    assert (await cart.send("PUT", "/checkout")).json()["cart"]["state"] == "checkout"
    assert (await cart.order(30_000)).status_code == 200


async def test_leaving_the_checkout_frees_the_stock(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database, on_hand=1)
    first, second = await start(storefront, shop), await start(storefront, shop)
    for cart in (first, second):
        await fill(cart, shop, 1)
    await first.send("PUT", "/checkout")
    await is_problem(await second.send("PUT", "/checkout"), 409, "stock_short")
    assert (await first.send("DELETE", "/checkout")).json()["state"] == "open"
    assert (await second.send("PUT", "/checkout")).status_code == 200
