"""Card orders through HTTP: declined, authenticated, asked again, by their owners only."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.paying import WebShop, states, web_shop
from tests.shop import Shop, make_shop
from tests.simulation.story import answer_the_bank
from tests.stripe_server import FakeStripeServer, free_port

PRICE = 10_000
DECLINED = "pm_card_chargeDeclined"
ASKS = "pm_card_authenticationRequired"
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


async def test_order_by_card_is_answered_when_the_card_has_paid(web: WebShop, shop: Shop) -> None:
    placed = await web.place(shop, "pm_card_visa")
    assert states(placed["order"]) == ("placed", "authorized")
    assert web.books(placed["order"]["id"]) == HELD


async def test_another_card_pays_after_a_decline_and_the_answer_is_kept(
    web: WebShop, shop: Shop
) -> None:
    placed = await web.place(shop, DECLINED)
    assert states(placed["order"]) == ("pending_payment", "pending")
    assert placed["order"]["payments"][0]["decline_code"] == "generic_decline"
    key = uuid4().hex
    first = await web.pay_again(placed, "pm_card_visa", key=key)
    assert (first.status_code, states(first.json())) == (200, ("placed", "authorized"))
    again = await web.pay_again(placed, "pm_card_visa", key=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    other = await web.pay_again(placed, "pm_card_mastercard", key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert web.books(placed["order"]["id"]) == HELD


async def test_a_paid_order_takes_no_other_card_and_the_refusal_is_kept(
    web: WebShop, shop: Shop
) -> None:
    placed = await web.place(shop, "pm_card_visa")
    key = uuid4().hex
    for replayed in (None, "true"):
        refused = await web.pay_again(placed, "pm_card_visa", key=key)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
        assert refused.headers.get("idempotent-replayed") == replayed
    assert web.books(placed["order"]["id"]) == HELD


async def test_shopper_comes_back_from_the_bank(web: WebShop, shop: Shop) -> None:
    placed = await web.place(shop, ASKS)
    assert states(placed["order"]) == ("pending_payment", "requires_action")
    early = await web.refresh(placed)
    assert states(early["order"]) == ("pending_payment", "requires_action")
    assert early["client_secret"].startswith("pi_")
    answer_the_bank(placed["order"]["payments"][0]["redirect_url"], "approve")
    for _ in range(2):
        late = await web.refresh(placed)
        assert states(late["order"]) == ("placed", "authorized")
        assert late["client_secret"] is None
    assert web.books(placed["order"]["id"]) == HELD


async def test_order_of_another_shopper_is_not_there(web: WebShop, shop: Shop) -> None:
    placed = await web.place(shop, DECLINED)
    stranger = {**placed, "order_token": "0" * 26}
    refused = await web.pay_again(stranger, "pm_card_visa")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    looked = await web.http.post(f"/v1/orders/{placed['order']['id']}/payments/refresh")
    assert (looked.status_code, looked.json()["code"]) == (404, "not_found")
    assert states(await web.read(placed)) == ("pending_payment", "pending")


async def test_an_answer_that_was_lost_is_fetched_at_once(web: WebShop, shop: Shop) -> None:
    placed = await web.place(shop, DECLINED)
    web.stripe.fault("payment_intents.confirm", "close_after")
    paid = await web.pay_again(placed, "pm_card_visa")
    assert (paid.status_code, states(paid.json())) == (200, ("placed", "authorized"))
    assert web.books(placed["order"]["id"]) == HELD


async def test_a_question_that_was_lost_is_asked_again_under_the_same_key(
    web: WebShop, shop: Shop
) -> None:
    placed = await web.place(shop, DECLINED)
    web.stripe.fault("payment_intents.confirm", "close_before")
    key = uuid4().hex
    out = await web.pay_again(placed, "pm_card_visa", key=key)
    assert (out.status_code, out.json()["code"]) == (409, "payment_running")
    assert out.headers["retry-after"] == "2"
    other = await web.pay_again(placed, "pm_card_mastercard")
    assert (other.status_code, other.json()["code"]) == (409, "payment_running")
    web.clock.pass_by(seconds=6)
    done = await web.pay_again(placed, "pm_card_visa", key=key)
    assert (done.status_code, states(done.json())) == (200, ("placed", "authorized"))
    assert web.books(placed["order"]["id"]) == HELD


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "/payment_method"),
        ({"payment_method": ""}, "/payment_method"),
        ({"payment_method": "pm_card_visa", "return_url": "javascript:1"}, "/return_url"),
        ({"payment_method": "pm_card_visa", "amount": 1}, "/amount"),
    ],
)
async def test_a_body_that_is_no_card_is_refused(
    web: WebShop, body: dict[str, Any], path: str
) -> None:
    refused = await web.http.post(
        f"/v1/orders/{uuid4()}/payments", headers={"Idempotency-Key": uuid4().hex}, json=body
    )
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert refused.json()["path"] == path
