"""The one-call order by card through HTTP: one key, one order, one payment."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from api.order_desk import OrderDesk
from tests.background import until
from tests.ordering import body, counters, footprint, send
from tests.paying import WebShop, states, web_shop
from tests.shop import Shop, make_shop
from tests.stripe_server import FakeStripeServer, free_port
from tests.tablet import told

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
    return await make_shop(web.services.database, stores=1)


def by_card(shop: Shop, card: str = "pm_card_visa", **fields: Any) -> dict[str, Any]:
    return body(shop, tender="card", payment_method=card, **fields)


async def test_one_key_is_one_order_and_one_payment_however_often_it_comes(
    web: WebShop, shop: Shop
) -> None:
    key, order = uuid4().hex, by_card(shop)
    answers = await asyncio.gather(*(send(web.http, order, key=key) for _ in range(6)))
    later = await send(web.http, order, key=key)
    assert {answer.status_code for answer in (*answers, later)} == {201}
    assert {answer.content for answer in answers} == {later.content}
    replayed = ["idempotent-replayed" in answer.headers for answer in answers]
    assert sorted(replayed) == [False, True, True, True, True, True]
    assert states(later.json()["order"]) == ("placed", "authorized")
    assert web.books(later.json()["order"]["id"]) == HELD
    assert await counters(web.services.database, shop) == (10, 1)
    assert (await footprint(web.services.database, shop))[:4] == (1, 1, 1, 4)


async def test_another_order_under_a_key_that_is_being_paid_is_refused(
    web: WebShop, shop: Shop
) -> None:
    key = uuid4().hex
    first, other = await asyncio.gather(
        send(web.http, by_card(shop), key=key),
        send(web.http, by_card(shop, "pm_card_mastercard"), key=key),
    )
    assert first.status_code == 201
    assert told(other) == (422, "idempotency_key_reused")
    assert web.books(first.json()["order"]["id"]) == HELD


async def test_a_declined_card_keeps_its_stock_until_the_deadline_and_its_answer_for_ever(
    web: WebShop, shop: Shop
) -> None:
    key, order = uuid4().hex, by_card(shop, "pm_card_chargeDeclined")
    first = await send(web.http, order, key=key)
    assert (first.status_code, states(first.json()["order"])) == (
        201, ("pending_payment", "pending"),
    )  # fmt: skip
    assert await counters(web.services.database, shop) == (10, 1)
    again = await send(web.http, order, key=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert web.books(first.json()["order"]["id"]) == []


async def test_an_order_that_is_short_of_stock_asks_no_card(web: WebShop, shop: Shop) -> None:
    db = web.services.database
    left = await footprint(db, shop)
    before = web.stripe.http.get("/_control/books").json()
    total = {"amount_minor": 110_000, "currency": "MXN"}
    lines = [{"sku": shop.skus[0].sku, "quantity": 11}]
    refused = await send(web.http, by_card(shop, lines=lines, total=total))
    assert told(refused) == (409, "stock_short")
    assert await footprint(db, shop) == left
    assert web.stripe.http.get("/_control/books").json() == before


async def test_a_caller_who_goes_away_has_ordered_all_the_same(web: WebShop, shop: Shop) -> None:
    key, order = uuid4().hex, by_card(shop)
    web.stripe.fault("*", "delay", seconds=0.3)
    leaving = asyncio.create_task(send(web.http, order, key=key))
    desk = web.services.part(OrderDesk)

    async def under_way() -> bool:
        return bool(desk._running)

    await until(under_way)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    again = await send(web.http, order, key=key)
    assert (again.status_code, states(again.json()["order"])) == (201, ("placed", "authorized"))
    assert web.books(again.json()["order"]["id"]) == HELD
    assert await counters(web.services.database, shop) == (10, 1)
