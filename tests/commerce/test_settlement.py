"""Payments carried through the real gateway; the fake Stripe's books are the judge."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from commerce import payments, settlement
from commerce.kernel.errors import WrongState
from commerce.kernel.ids import uuid7
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.payments import AuthorizationLapsed
from commerce.stripe_gateway import StripeGateway
from inventory import stock
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment, Standing, money
from tests.stripe_server import FakeStripeServer

DECLINED = "pm_card_chargeDeclined"
ASKS = "pm_card_authenticationRequired"
PRICE = 10_000


@pytest.fixture(scope="module")
async def db(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=1, stores=1)


async def counters(db: Database, shop: Shop) -> tuple[int, int]:
    key = (shop.stores[0].location_id, shop.skus[0].sku)
    async with db.reading() as conn:
        level = (await stock.levels(conn, [key]))[key]
    return level.on_hand, level.reserved


def books(stripe: FakeStripeServer, it: Standing) -> dict[str, int]:
    provider_id = it.payments[0].provider_id
    assert provider_id is not None
    return money(stripe.books(provider_id))


async def try_card(db: Database, order: Standing, card: str, clock: Moment) -> None:
    async with db.transaction() as conn:
        await settlement.try_card(
            conn,
            order.order.id,
            payment_method=card,
            return_url=story.RETURN_URL,
            actor=story.ACTOR,
            now=clock(),
        )


async def test_authorized_card_places_the_order(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), units=2)
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("placed", "authorized")
    assert it.calls == [("authorize", "succeeded")]
    (paid,) = it.payments
    assert (paid.authorized_minor, paid.captured_minor) == (2 * PRICE, 0)
    assert (paid.card_brand, paid.card_last4) == ("visa", "4242")
    assert paid.capture_before is not None
    assert books(stripe, it) == {"authorized": 2 * PRICE, "held": 2 * PRICE}
    assert await story.facts(db, order_id) == [
        "order.payment_requested",
        "payment.authorized",
        "order.placed",
        "pickup.requested",
    ]
    assert await counters(db, shop) == (10, 2)


async def test_declined_card_leaves_the_order_waiting_for_another(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=DECLINED)
    refused = await story.pay(db, gateway, order_id, clock)
    assert refused.states == ("pending_payment", "pending")
    assert refused.calls == [("authorize", "failed")]
    assert refused.payments[0].decline_code == "generic_decline"
    assert books(stripe, refused) == {}
    await try_card(db, refused, "pm_card_mastercard", clock)
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("placed", "authorized")
    assert it.calls == [("authorize", "failed"), ("authorize", "succeeded")]
    assert (it.payments[0].decline_code, it.payments[0].card_brand) == (None, "mastercard")
    assert it.payments[0].provider_id == refused.payments[0].provider_id
    assert books(stripe, it) == {"authorized": PRICE, "held": PRICE}


async def test_unknown_payment_method_is_a_decline(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card="pm_nobody_knows")
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("pending_payment", "pending")
    assert it.payments[0].decline_code == "resource_missing"
    assert it.calls == [("authorize", "failed")]


async def test_shopper_authenticates_and_the_order_is_placed(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=ASKS)
    asked = await story.pay(db, gateway, order_id, clock)
    assert asked.states == ("pending_payment", "requires_action")
    redirect_url = asked.payments[0].redirect_url
    assert redirect_url is not None
    assert await counters(db, shop) == (10, 1)
    story.answer_the_bank(redirect_url, "approve")
    await settlement.look(db, gateway, asked.payments[0].id, now=clock)
    it = await story.standing(db, order_id)
    assert it.states == ("placed", "authorized")
    assert it.calls == [("authorize", "succeeded")]
    assert it.payments[0].redirect_url is None
    assert books(stripe, it) == {"authorized": PRICE, "held": PRICE}


async def test_failed_authentication_is_a_decline_and_another_card_may_be_tried(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=ASKS)
    asked = await story.pay(db, gateway, order_id, clock)
    story.answer_the_bank(asked.payments[0].redirect_url or "", "fail")
    await settlement.look(db, gateway, asked.payments[0].id, now=clock)
    refused = await story.standing(db, order_id)
    assert refused.states == ("pending_payment", "pending")
    assert refused.payments[0].decline_code == "payment_intent_authentication_failure"
    await try_card(db, refused, "pm_card_visa", clock)
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("placed", "authorized")
    assert books(stripe, it) == {"authorized": PRICE, "held": PRICE}


async def test_another_card_gives_up_an_unfinished_authentication(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=ASKS)
    asked = await story.pay(db, gateway, order_id, clock)
    await try_card(db, asked, "pm_card_visa", clock)
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("placed", "authorized")
    assert [(op.state, op.failure_code) for op in it.operations] == [
        ("failed", "superseded"),
        ("succeeded", None),
    ]
    assert books(stripe, it) == {"authorized": PRICE, "held": PRICE}


async def test_no_other_card_is_asked_while_the_first_has_not_answered(
    db: Database, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    before = await story.standing(db, order_id)
    with pytest.raises(payments.PaymentRunning):
        await try_card(db, before, "pm_card_visa", clock)
    assert await story.standing(db, order_id) == before


async def test_a_paid_order_asks_no_other_card(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    paid = await story.pay(db, gateway, order_id, clock)
    with pytest.raises(WrongState):
        await try_card(db, paid, "pm_card_visa", clock)
    assert await story.standing(db, order_id) == paid


async def test_another_card_gets_more_time_and_the_hold_lives_as_long(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=DECLINED)
    refused = await story.pay(db, gateway, order_id, clock)
    clock.pass_by(minutes=25)
    await try_card(db, refused, DECLINED, clock)
    again = await story.pay(db, gateway, order_id, clock)
    (paid,) = again.payments
    assert paid.deadline_at is not None
    assert (paid.deadline_at - refused.order.head.created_at).total_seconds() == 40 * 60
    async with db.reading() as conn:
        until = await conn.driver.fetchval(
            "SELECT expires_at FROM reservation WHERE demand_id = $1",
            again.order.fulfillments[0].demand_id,
        )
    assert until == paid.deadline_at


async def test_an_authorization_by_many_at_once_is_one(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    (operation,) = (await story.standing(db, order_id)).operations
    await asyncio.gather(*(settlement.run(db, gateway, operation.id, now=clock) for _ in range(8)))
    it = await story.standing(db, order_id)
    assert it.states == ("placed", "authorized")
    assert it.operations[0].attempts == 1
    assert books(stripe, it) == {"authorized": PRICE, "held": PRICE}


async def test_hand_over_captures_and_completes_the_order(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), units=2)
    await story.pay(db, gateway, order_id, clock)
    asked = await story.hand_over(db, order_id, now=clock(), units=2)
    await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, order_id)
    assert it.states == ("completed", "captured")
    assert it.calls == [("authorize", "succeeded"), ("capture", "succeeded")]
    assert it.payments[0].captured_minor == 2 * PRICE
    assert books(stripe, it) == {
        "authorized": 2 * PRICE,
        "captured": 2 * PRICE,
        "kept": 2 * PRICE,
    }
    assert (await story.facts(db, order_id))[-2:] == ["payment.captured", "order.completed"]


async def test_asking_twice_for_a_capture_asks_once(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    it = await story.pay(db, gateway, order_id, clock)
    (share,) = it.order.fulfillments
    asked = []
    for _ in range(2):
        async with db.transaction() as conn:
            asked += await payments.request_capture(
                conn, share.id, amount_minor=PRICE - 1, actor="test", now=clock()
            )
    assert asked[0] == asked[1]
    await story.run_all(db, gateway, asked, clock)
    captured = books(stripe, it)
    assert captured == {
        "authorized": PRICE, "captured": PRICE - 1, "released": 1, "kept": PRICE - 1,
    }  # fmt: skip


async def test_capturing_nothing_gives_the_hold_back(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    it = await story.pay(db, gateway, order_id, clock)
    async with db.transaction() as conn:
        asked = await payments.request_capture(
            conn, it.order.fulfillments[0].id, amount_minor=0, actor="test", now=clock()
        )
    await story.run_all(db, gateway, asked, clock)
    assert (await story.standing(db, order_id)).payments[0].state == "voided"
    assert books(stripe, it) == {"authorized": PRICE, "voided": PRICE}


async def test_failed_capture_leaves_the_order_due_until_another_tender_pays(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    it = await story.pay(db, gateway, order_id, clock)
    stripe.control(f"payment_intents/{it.payments[0].provider_id}/lapse")
    asked = await story.hand_over(db, order_id, now=clock())
    await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, order_id)
    assert it.states == ("placed", "lapsed")
    assert it.calls == [("authorize", "succeeded"), ("capture", "failed")]
    assert settlement.due_minor(it.order, it.payments) == PRICE
    told = await story.facts(db, order_id)
    assert told[-3:] == ["payment.lapsed", "payment.capture_failed", "payment.due"]
    async with db.transaction() as conn:
        assert not await settlement.complete_if_settled(conn, order_id, actor="test", now=clock())
        await payments.take(
            conn,
            payment_id=uuid7(),
            order_id=order_id,
            fulfillment_id=it.order.fulfillments[0].id,
            tender="cash",
            amount=Money(PRICE, shop.currency),
            reference=None,
            actor="test",
            now=clock(),
        )
        assert await settlement.complete_if_settled(conn, order_id, actor="test", now=clock())
    assert (await story.standing(db, order_id)).order.head.state == "completed"


async def test_capture_of_a_lapsed_hold_is_refused_before_the_goods_leave(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    before = await story.pay(db, gateway, order_id, clock)
    assert before.payments[0].capture_before is not None
    clock.at = before.payments[0].capture_before
    with pytest.raises(AuthorizationLapsed):
        await story.hand_over(db, order_id, now=clock())
    assert await story.standing(db, order_id) == before


async def test_cancelled_order_gives_the_hold_back(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    await story.pay(db, gateway, order_id, clock)
    await story.cancel(db, order_id, now=clock())
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("cancelled", "voided")
    assert it.calls == [("authorize", "succeeded"), ("void", "succeeded")]
    assert books(stripe, it) == {"authorized": PRICE, "voided": PRICE}
    assert await counters(db, shop) == (10, 0)


async def test_order_cancelled_before_its_card_was_asked_never_asks_it(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock())
    await story.cancel(db, order_id, now=clock())
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("cancelled", "failed")
    assert it.calls == [("authorize", "failed")]
    assert it.payments[0].provider_id is None


async def test_order_cancelled_during_authentication_cannot_be_paid_any_more(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=ASKS)
    asked = await story.pay(db, gateway, order_id, clock)
    await story.cancel(db, order_id, now=clock())
    it = await story.pay(db, gateway, order_id, clock)
    assert it.states == ("cancelled", "failed")
    assert it.calls == [("authorize", "failed"), ("void", "succeeded")]
    url = asked.payments[0].redirect_url or ""
    assert "canceled" in stripe.http.get(url).text
    assert books(stripe, it) == {}


async def test_shopper_who_pays_after_the_goods_are_gone_gets_the_money_back(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=1)
    slow = await story.place(db, shop, now=clock(), card=ASKS)
    asked = await story.pay(db, gateway, slow, clock)
    clock.pass_by(minutes=31)
    quick = await story.place(db, shop, now=clock())
    assert (await story.pay(db, gateway, quick, clock)).states == ("placed", "authorized")
    story.answer_the_bank(asked.payments[0].redirect_url or "", "approve")
    await settlement.look(db, gateway, asked.payments[0].id, now=clock)
    it = await story.standing(db, slow)
    assert it.states == ("cancelled", "voided")
    assert it.order.head.cancel_reason == "stock_gone"
    assert books(stripe, it) == {"authorized": PRICE, "voided": PRICE}
    assert await counters(db, shop) == (1, 1)


async def test_shopper_who_pays_late_still_gets_what_is_there(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id = await story.place(db, shop, now=clock(), card=ASKS)
    asked = await story.pay(db, gateway, order_id, clock)
    clock.pass_by(minutes=31)
    story.answer_the_bank(asked.payments[0].redirect_url or "", "approve")
    await settlement.look(db, gateway, asked.payments[0].id, now=clock)
    it = await story.standing(db, order_id)
    assert it.states == ("placed", "authorized")
    assert it.order.fulfillments[0].demand_id != asked.order.fulfillments[0].demand_id
