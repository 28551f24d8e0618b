"""Webhooks of the provider: signed, kept once, applied in any order, or left alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from api import database
from api.fake_stripe.webhooks import signature
from api.webhooks import Inbox
from commerce import settlement
from commerce.kernel.ids import uuid7
from tests.conftest import clone, drop
from tests.paying import WebShop, states, web_shop
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import answer_the_bank
from tests.stripe_server import WEBHOOK_SECRET, Delivery, FakeStripeServer, WebhookEndpoint

PRICE = 10_000
ASKS = "pm_card_authenticationRequired"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[WebhookEndpoint]:
    """Where the provider's webhooks arrive; each test passes them on as it likes."""
    with WebhookEndpoint() as listening:
        yield listening


@pytest.fixture(scope="module")
def stripe(
    tmp_path_factory: pytest.TempPathFactory, endpoint: WebhookEndpoint
) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), endpoint.port) as running:
        yield running


@pytest.fixture(scope="module")
async def web(template_dsn: str, stripe: FakeStripeServer) -> AsyncIterator[WebShop]:
    """Over a database of its own, because the sweep looks at all payments in it."""
    alone = clone(template_dsn)
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(alone)))
    async with web_shop(alone, stripe) as serving:
        yield serving
    drop(alone)


@pytest.fixture
async def shop(web: WebShop) -> Shop:
    return await make_shop(web.services.database, skus=1, stores=1)


async def deliver(web: WebShop, delivery: Delivery) -> httpx.Response:
    """Pass a webhook on, signed anew for the clock of now; wait until it is applied."""
    at = int(web.clock().timestamp())
    signed = signature(delivery.body, WEBHOOK_SECRET, at)
    answer = await web.http.post(
        "/v1/webhooks/stripe", content=delivery.body, headers={"Stripe-Signature": signed}
    )
    await web.services.part(Inbox).close()
    return answer


async def inbox(web: WebShop, event_id: str) -> Any:
    """How one event stands in the inbox; None: it is not there."""
    async with web.services.database.reading() as conn:
        return await conn.driver.fetchrow("SELECT * FROM provider_event WHERE id = $1", event_id)


async def provider_id(web: WebShop, placed: Any) -> str:
    async with web.services.database.reading() as conn:
        found: str = await conn.driver.fetchval(
            "SELECT provider_id FROM payment WHERE order_id = $1", placed["order"]["id"]
        )
    return found


async def test_the_banks_yes_places_the_order(
    web: WebShop, shop: Shop, endpoint: WebhookEndpoint
) -> None:
    placed = await web.place(shop, ASKS)
    answer_the_bank(placed["order"]["payments"][0]["redirect_url"], "approve")
    arrived = endpoint.wait_for(await provider_id(web, placed), 3)
    (told,) = [d for d in arrived if d.event["type"].endswith("amount_capturable_updated")]
    answer = await deliver(web, told)
    assert (answer.status_code, answer.content) == (200, b"")
    assert states(await web.read(placed)) == ("placed", "authorized")
    assert (await inbox(web, told.event["id"]))["outcome"] == "applied"


async def test_every_event_of_a_story_in_any_order_and_twice_changes_nothing(
    web: WebShop, shop: Shop, endpoint: WebhookEndpoint
) -> None:
    db, clock = web.services.database, web.clock
    placed = await web.place(shop, "pm_card_visa")
    order_id = UUID(placed["order"]["id"])
    gateway = await web.services.gateway()
    await story.run_all(db, gateway, await story.hand_over(db, order_id, now=clock()), clock)
    await story.run_all(db, gateway, await story.refund(db, order_id, 4_000, now=clock()), clock)
    before = await story.standing(db, order_id)
    web.stripe.wait_until_delivered()
    ours = (str(order_id), str(before.payments[0].id))  # a refund names only the payment
    about = [d for d in endpoint.deliveries if any(name in d.body.decode() for name in ours)]
    assert len({d.event["type"] for d in about}) >= 6
    told = await story.facts(db, order_id)
    for delivery in (*reversed(about), *about):
        assert (await deliver(web, delivery)).status_code == 200
    after = await story.standing(db, order_id)
    assert (after.states, after.calls) == (before.states, before.calls)
    assert after.payments[0].refunded_minor == 4_000
    assert await story.facts(db, order_id) == told


async def test_a_refund_that_bounces_is_taken_back(
    web: WebShop, shop: Shop, endpoint: WebhookEndpoint
) -> None:
    db, clock = web.services.database, web.clock
    placed = await web.place(shop, "pm_card_refundFail")
    order_id = UUID(placed["order"]["id"])
    gateway = await web.services.gateway()
    await story.run_all(db, gateway, await story.hand_over(db, order_id, now=clock()), clock)
    await story.run_all(db, gateway, await story.refund(db, order_id, 900, now=clock()), clock)
    refund_id = (await story.standing(db, order_id)).operations[-1].provider_reference
    assert refund_id is not None
    web.stripe.control(f"refunds/{refund_id}/settle")
    *_, bounced = endpoint.wait_for(refund_id, 2)
    assert bounced.event["type"] == "refund.failed"
    await deliver(web, bounced)
    it = await story.standing(db, order_id)
    assert (it.calls[-1], it.payments[0].refunded_minor) == (("refund", "failed"), 0)


async def test_a_forged_event_is_refused_and_not_kept(web: WebShop, shop: Shop) -> None:
    placed = await web.place(shop, ASKS)
    body = b'{"id": "evt_forged", "type": "payment_intent.succeeded"}'
    for signed in ("", "t=1,v1=00", signature(body, "whsec_other", int(web.clock().timestamp()))):
        answer = await web.http.post(
            "/v1/webhooks/stripe", content=body, headers={"Stripe-Signature": signed}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "webhook_refused")
    assert await inbox(web, "evt_forged") is None
    assert states(await web.read(placed)) == ("pending_payment", "requires_action")


async def test_an_event_about_a_payment_that_is_not_ours_is_kept_and_left_alone(
    web: WebShop, endpoint: WebhookEndpoint
) -> None:
    foreign = web.stripe.post(
        "/v1/payment_intents",
        [("amount", 500), ("currency", "mxn"), ("metadata[payment_id]", str(uuid7()))],
    ).json()["id"]
    (told, *_) = endpoint.wait_for(foreign, 1)
    assert (await deliver(web, told)).status_code == 200
    assert (await inbox(web, told.event["id"]))["outcome"] == "not_ours"


async def test_an_event_waits_in_the_inbox_while_the_provider_does_not_answer(
    web: WebShop, shop: Shop, endpoint: WebhookEndpoint
) -> None:
    placed = await web.place(shop, ASKS)
    answer_the_bank(placed["order"]["payments"][0]["redirect_url"], "approve")
    arrived = endpoint.wait_for(await provider_id(web, placed), 3)
    (told,) = [d for d in arrived if d.event["type"].endswith("amount_capturable_updated")]
    web.stripe.fault("payment_intents.retrieve", "rate_limit")
    assert (await deliver(web, told)).status_code == 200
    assert (await inbox(web, told.event["id"]))["applied_at"] is None
    assert states(await web.read(placed)) == ("pending_payment", "requires_action")
    web.clock.pass_by(seconds=11)
    gateway = await web.services.gateway()
    await settlement.resume(web.services.database, gateway, now=web.clock)
    assert (await inbox(web, told.event["id"]))["outcome"] == "applied"
    assert states(await web.read(placed)) == ("placed", "authorized")
