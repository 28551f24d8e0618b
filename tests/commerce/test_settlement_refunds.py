"""Refunds carried through the real gateway: to the card, at once, pending, bounced."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from commerce import payments, settlement
from commerce.kernel.sql import Database
from commerce.stripe_gateway import StripeGateway
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment, Standing, money
from tests.stripe_server import FakeStripeServer

PRICE = 10_000


@pytest.fixture(scope="module")
async def db(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=1, stores=1)


def books(stripe: FakeStripeServer, it: Standing) -> dict[str, int]:
    provider_id = it.payments[0].provider_id
    assert provider_id is not None
    return money(stripe.books(provider_id))


async def captured(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment, card: str = "pm_card_visa"
) -> Standing:
    """An order that was handed over and paid."""
    order_id = await story.place(db, shop, now=clock(), card=card)
    await story.pay(db, gateway, order_id, clock)
    asked = await story.hand_over(db, order_id, now=clock())
    await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, order_id)
    assert it.states == ("completed", "captured")
    return it


async def test_refund_goes_back_to_the_card(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    it = await captured(db, gateway, shop, clock)
    for amount_minor in (3_000, 7_000):
        asked = await story.refund(db, it.order.id, amount_minor, now=clock())
        await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, it.order.id)
    assert it.payments[0].refunded_minor == PRICE
    assert it.calls[2:] == [("refund", "succeeded"), ("refund", "succeeded")]
    assert books(stripe, it) == {"authorized": PRICE, "captured": PRICE, "refunded": PRICE}
    with pytest.raises(payments.RefundExceedsCapture):
        await story.refund(db, it.order.id, 1, now=clock())


async def test_refunds_asked_at_once_never_exceed_what_was_captured(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    it = await captured(db, gateway, shop, clock)
    outcomes = await asyncio.gather(
        *(story.refund(db, it.order.id, 3_000, now=clock()) for _ in range(6)),
        return_exceptions=True,
    )
    asked = [op for outcome in outcomes if isinstance(outcome, list) for op in outcome]
    assert len(asked) == 3
    assert sum(isinstance(o, payments.RefundExceedsCapture) for o in outcomes) == 3
    await asyncio.gather(*(settlement.run(db, gateway, op, now=clock) for op in asked))
    assert books(stripe, it) == {
        "authorized": PRICE, "captured": PRICE, "refunded": 9_000, "kept": 1_000,
    }  # fmt: skip


async def test_refund_that_bounces_is_owed_again(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    it = await captured(db, gateway, shop, clock, card="pm_card_refundFail")
    asked = await story.refund(db, it.order.id, 4_000, now=clock())
    await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, it.order.id)
    assert (it.calls[-1], it.payments[0].refunded_minor) == (("refund", "succeeded"), 4_000)
    stripe.control(f"refunds/{it.operations[-1].provider_reference}/settle")
    await settlement.look_at_refund(db, gateway, it.operations[-1], now=clock)
    it = await story.standing(db, it.order.id)
    assert (it.calls[-1], it.payments[0].refunded_minor) == (("refund", "failed"), 0)
    assert (await story.facts(db, it.order.id))[-1] == "payment.refund_failed"
    assert books(stripe, it)["kept"] == PRICE


async def test_pending_refund_counts_and_succeeds_when_the_bank_has_sent_it(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    it = await captured(db, gateway, shop, clock, card="pm_card_pendingRefund")
    asked = await story.refund(db, it.order.id, PRICE, now=clock())
    await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, it.order.id)
    assert (it.calls[-1], it.payments[0].refunded_minor) == (("refund", "pending"), 0)
    with pytest.raises(payments.RefundExceedsCapture):
        await story.refund(db, it.order.id, 1, now=clock())
    stripe.control(f"refunds/{it.operations[-1].provider_reference}/settle")
    clock.pass_by(hours=2)
    await story.run_all(db, gateway, asked, clock)
    it = await story.standing(db, it.order.id)
    assert (it.calls[-1], it.payments[0].refunded_minor) == (("refund", "succeeded"), PRICE)
