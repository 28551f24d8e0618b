"""The one-call order through HTTP: taken, repeated, read by its owner, listed, called off."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import access, customers, stores
from commerce.kernel import events, ids
from commerce.kernel.sql import Database
from tests.carts import make_coupon
from tests.ordering import body, counters, footprint, place, send
from tests.shop import Shop, make_shop
from tests.tablet import sign_in, told

Client = Callable[..., httpx.AsyncClient]


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, stores=1)


@pytest.fixture
async def sign_up(
    services: Services, make_key: Callable[..., Awaitable[str]], client_of: Client
) -> AsyncIterator[Callable[[], Awaitable[httpx.AsyncClient]]]:
    """Makes clients of shoppers who have signed in."""
    made: list[httpx.AsyncClient] = []

    async def sign_up() -> httpx.AsyncClient:
        key = await make_key("storefront")
        now = datetime.now(UTC)
        async with services.database.transaction() as conn:
            who = await access.authenticate(conn, key_secret=key, session_secret=None, now=now)
            email = f"{uuid4().hex}@example.com"
            known = await customers.put_shopper(conn, email=email, phone=None, locale="es", now=now)
            started = await access.start_shopper_session(conn, who, known.id, now=now)
        made.append(client_of(key, started.secret))
        return made[-1]

    yield sign_up
    for each in made:
        await each.aclose()


def money(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "MXN"}


async def test_an_order_is_placed_with_its_prices_frozen(
    storefront: httpx.AsyncClient, services: Services, db: Database, shop: Shop
) -> None:
    coupon = await make_coupon(db)
    answer = await send(
        storefront, body(shop, (0, 3), (1, 1), coupon_code=coupon, total=money(36_900))
    )
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/json")
    assert "idempotent-replayed" not in answer.headers
    placed = answer.json()
    order = placed["order"]
    assert (order["state"], order["channel"], order["tender"], order["tax_included"]) == (
        "placed", "web", "pay_at_pickup", True,
    )  # fmt: skip
    assert [order[name] for name in ("subtotal", "discount", "tax", "total")] == [
        money(41_000), money(4_100), money(5_090), money(36_900),
    ]  # fmt: skip
    assert [
        (line["line_number"], line["sku"], line["quantity"], line["unit_price"], line["discount"],
         line["tax"], line["total"])
        for line in order["lines"]
    ] == [
        (1, shop.skus[0].sku, 3, money(10_000), money(3_000), money(3_724), money(27_000)),
        (2, shop.skus[1].sku, 1, money(11_000), money(1_100), money(1_366), money(9_900)),
    ]  # fmt: skip
    assert order["payments"] == []
    (share,) = order["fulfillments"]
    async with db.reading() as conn:
        at = await stores.by_id(conn, shop.stores[0].location_id)
    created_at = datetime.fromisoformat(order["created_at"])
    assert datetime.fromisoformat(share["promised_at"]) == stores.promise_at(at, created_at)
    assert (share["kind"], share["state"]) == ("pickup", "requested")
    assert placed["pickup_code"] == ids.derived(services.secret, "pickup", UUID(share["id"]), 6)
    assert await counters(db, shop, 0) == (10, 3)
    assert await counters(db, shop, 1) == (10, 1)
    assert await footprint(db, shop) == (1, 1, 2, 5, 4, 30, 3, 1)


async def test_prices_without_tax_get_it_on_top(
    storefront: httpx.AsyncClient, db: Database
) -> None:
    shop = await make_shop(db, currency="USD", tax_included=False, tax_rate_bp=825, stores=1)
    total = {"amount_minor": 32_475, "currency": "USD"}
    placed = await place(storefront, shop, (0, 3), total=total)
    assert (placed["order"]["subtotal"]["amount_minor"], placed["order"]["total"]) == (
        30_000, total,
    )  # fmt: skip
    assert placed["order"]["tax"]["amount_minor"] == 2_475


async def test_the_same_key_gets_the_same_answer_to_the_byte(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    order, key = body(shop, (0, 2)), uuid4().hex
    first = await send(storefront, order, key=key)
    left = await footprint(db, shop)
    again = await send(storefront, order, key=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert (again.headers["idempotent-replayed"], again.headers["content-type"]) == (
        "true", first.headers["content-type"],
    )  # fmt: skip
    assert await footprint(db, shop) == left == (1, 1, 1, 4, 2, 30, 3, 1)


async def test_the_answer_is_repeated_even_when_the_order_is_called_off(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    order, key = body(shop), uuid4().hex
    first = await send(storefront, order, key=key)
    placed = first.json()
    cancelled = await storefront.post(
        f"/v1/orders/{placed['order']['id']}/cancel",
        json={},
        headers={"Idempotency-Key": key, "Order-Token": placed["order_token"]},
    )
    assert cancelled.json()["state"] == "cancelled"
    again = await send(storefront, order, key=key)
    assert again.content == first.content
    assert await counters(db, shop) == (10, 0)


async def test_the_same_key_with_another_order_is_refused(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    key = uuid4().hex
    await send(storefront, body(shop), key=key)
    left = await footprint(db, shop)
    refused = await send(storefront, body(shop, (0, 2)), key=key)
    assert told(refused) == (422, "idempotency_key_reused")
    assert await footprint(db, shop) == left


async def test_a_guests_order_is_opened_by_its_token_only(
    storefront: httpx.AsyncClient, shop: Shop
) -> None:
    placed, other = await place(storefront, shop), await place(storefront, shop)
    path = f"/v1/orders/{placed['order']['id']}"
    token = placed["order_token"]
    seen = await storefront.get(path, headers={"Order-Token": token})
    assert (seen.status_code, seen.json()) == (200, placed)
    for given in ({}, {"Order-Token": ""}, {"Order-Token": other["order_token"]},
                  {"Order-Token": token[:-1]}):  # fmt: skip
        refused = await storefront.get(path, headers=given)
        assert told(refused) == (404, "not_found")
        assert shop.tag not in refused.text
    nowhere = await storefront.get(f"/v1/orders/{uuid4()}", headers={"Order-Token": token})
    assert told(nowhere) == (404, "not_found")


async def test_a_shoppers_order_is_theirs_without_a_token(
    sign_up: Callable[[], Awaitable[httpx.AsyncClient]], shop: Shop, db: Database
) -> None:
    owner, stranger = await sign_up(), await sign_up()
    placed = await place(owner, shop)
    path = f"/v1/orders/{placed['order']['id']}"
    assert (await owner.get(path)).json() == placed
    assert told(await stranger.get(path)) == (404, "not_found")
    left = await footprint(db, shop)
    refused = await stranger.post(
        f"{path}/cancel", json={}, headers={"Idempotency-Key": uuid4().hex}
    )
    assert told(refused) == (404, "not_found")
    assert await footprint(db, shop) == left
    assert (await owner.get("/v1/orders")).json()["items"] == [placed["order"]]
    assert (await stranger.get("/v1/orders")).json()["items"] == []


async def test_staff_see_an_order_without_its_secrets(
    storefront: httpx.AsyncClient, http: httpx.AsyncClient, services: Services, db: Database
) -> None:
    shop = await make_shop(db)
    placed = await place(storefront, shop)
    path = f"/v1/orders/{placed['order']['id']}"
    here, there = [await sign_in(http, services, shop, store=store) for store in (0, 1)]
    seen = await http.get(path, headers=here.headers)
    assert seen.json() == {"order": placed["order"], "order_token": None, "pickup_code": None}
    assert placed["order_token"] not in seen.text
    assert told(await http.get(path, headers=there.headers)) == (404, "not_found")


async def test_an_integration_is_the_shops_own_and_sees_every_order(
    storefront: httpx.AsyncClient, edge: object, client_of: Client,
    make_key: Callable[..., Awaitable[str]], shop: Shop,
) -> None:  # fmt: skip
    del edge
    placed = await place(storefront, shop)
    async with client_of(await make_key("integration")) as integration:
        assert (await integration.get(f"/v1/orders/{placed['order']['id']}")).json() == placed


async def test_a_cancelled_order_gives_everything_back_once(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    coupon = await make_coupon(db, max_redemptions=1)
    placed = await place(storefront, shop, (0, 2), coupon_code=coupon, total=money(18_000))
    path = f"/v1/orders/{placed['order']['id']}/cancel"
    answers = [
        await storefront.post(
            path,
            json={"reason": "changed my mind"},
            headers={"Idempotency-Key": uuid4().hex, "Order-Token": placed["order_token"]},
        )
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json() == answers[0].json()
    order = answers[0].json()
    assert (order["state"], order["cancel_reason"]) == ("cancelled", "changed my mind")
    async with db.reading() as conn:
        told_of = await events.timeline(conn, UUID(order["id"]))
    assert "changed my mind" not in str(told_of), "what a person typed is not in the log"
    assert [line["cancelled_quantity"] for line in order["lines"]] == [2]
    assert order["fulfillments"][0]["state"] == "cancelled"
    assert await counters(db, shop) == (10, 0)
    assert await footprint(db, shop) == (1, 1, 1, 5, 0, 30, 5, 1)
    again = await place(storefront, shop, (0, 2), coupon_code=coupon, total=money(18_000))
    assert again["order"]["discount"] == money(2_000)


async def test_calling_off_needs_the_token_and_a_key(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    placed = await place(storefront, shop)
    path = f"/v1/orders/{placed['order']['id']}/cancel"
    left = await footprint(db, shop)
    key, token = {"Idempotency-Key": uuid4().hex}, {"Order-Token": placed["order_token"]}
    assert told(await storefront.post(path, json={}, headers=key)) == (404, "not_found")
    assert told(await storefront.post(path, json={}, headers=token)) == (
        400, "idempotency_key_missing",
    )  # fmt: skip
    wrong = await storefront.post(path, json={"why": "x"}, headers=key | token)
    assert (told(wrong), wrong.json()["path"]) == ((400, "invalid_request"), "/why")
    assert await footprint(db, shop) == left


async def test_a_shoppers_orders_come_in_pages_newest_first(
    sign_up: Callable[[], Awaitable[httpx.AsyncClient]], shop: Shop
) -> None:
    owner = await sign_up()
    placed = [(await place(owner, shop))["order"] for _ in range(5)]
    seen: list[Any] = []
    pages: list[int] = []
    cursor: str | None = None
    while cursor is not None or not pages:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await owner.get("/v1/orders", params=params)).json()
        pages.append(len(answer["items"]))
        seen += answer["items"]
        cursor = answer["next_cursor"]
    assert pages == [2, 2, 1]
    assert seen == placed[::-1]
    for wrong in ("nonsense", "é", "A" * 501):
        refused = await owner.get("/v1/orders", params={"cursor": wrong})
        assert (told(refused), refused.json()["path"]) == ((400, "invalid_request"), "?cursor")


async def test_only_who_has_signed_in_has_a_list(storefront: httpx.AsyncClient) -> None:
    assert told(await storefront.get("/v1/orders")) == (401, "session_required")
