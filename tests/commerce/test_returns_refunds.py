"""Refunds of returns to the card, through the real gateway; the fake Stripe's books are the judge.

The fake refuses what the real one refuses, so a refund too many would fail here.
"""

from uuid import UUID

import pytest

from commerce import payments, returns, settlement
from commerce.access import Principal
from commerce.kernel.sql import Database
from commerce.orders import Order
from commerce.returns import Arrival, Received
from commerce.stripe_gateway import StripeGateway
from tests.counter import associate
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment, money
from tests.sold import sell_by_card
from tests.stripe_server import FakeStripeServer

PRICE = 10_000


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=1)


@pytest.fixture
async def sold(db: Database, gateway: StripeGateway, shop: Shop, clock: Moment) -> Order:
    """Two units, collected at the first store, captured."""
    return await sell_by_card(db, gateway, shop, units=2, clock=clock)


@pytest.fixture
def who(shop: Shop) -> Principal:
    """An associate of the other store."""
    return associate(shop, store=1)


async def take_back(
    db: Database, who: Principal, order: Order, quantity: int, clock: Moment
) -> Received:
    assert who.location_ids is not None
    async with db.transaction() as conn:
        return await returns.take_back(
            conn,
            who,
            order.id,
            [Arrival(1, "restock", quantity)],
            location_id=who.location_ids[0],
            reason=None,
            now=clock(),
        )


async def books(db: Database, stripe: FakeStripeServer, order: Order) -> dict[str, int]:
    async with db.reading() as conn:
        (paid,) = await payments.of_order(conn, order.id)
    assert paid.provider_id is not None
    return money(stripe.books(paid.provider_id))


async def state(db: Database, return_id: UUID) -> str:
    async with db.reading() as conn:
        return (await returns.by_id(conn, return_id)).head.state


async def test_a_return_is_settled_when_the_card_has_its_money_back(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    sold: Order,
    who: Principal,
    clock: Moment,
) -> None:
    done = await take_back(db, who, sold, 1, clock)
    assert (done.return_.head.state, len(done.operations)) == ("received", 1)
    assert (await books(db, stripe, sold)).get("refunded") is None
    await story.run_all(db, gateway, done.operations, clock)
    assert await state(db, done.return_.id) == "settled"
    assert await books(db, stripe, sold) == {
        "authorized": 2 * PRICE, "captured": 2 * PRICE, "refunded": PRICE, "kept": PRICE,
    }  # fmt: skip
    assert (await story.facts(db, sold.id))[-5:] == [
        "return.requested", "return.approved", "return.received",
        "payment.refunded", "return.settled",
    ]  # fmt: skip


async def test_when_everything_came_back_the_card_has_all_of_it(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    sold: Order,
    who: Principal,
    clock: Moment,
) -> None:
    for _ in range(2):
        done = await take_back(db, who, sold, 1, clock)
        await story.run_all(db, gateway, done.operations, clock)
    assert await books(db, stripe, sold) == {
        "authorized": 2 * PRICE, "captured": 2 * PRICE, "refunded": 2 * PRICE,
    }  # fmt: skip
    it = await story.standing(db, sold.id)
    assert [(paid.captured_minor, paid.refunded_minor) for paid in it.payments] == [
        (2 * PRICE, 2 * PRICE)
    ]


async def test_provider_down_leaves_the_return_received_and_the_sweep_ends_it(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1)
    sold = await sell_by_card(own_db, gateway, shop, units=2, clock=clock)
    done = await take_back(own_db, associate(shop, store=1), sold, 2, clock)
    stripe.fault("refunds.create", "timeout_after")
    await story.run_all(own_db, gateway, done.operations, clock)
    assert await state(own_db, done.return_.id) == "received"
    clock.pass_by(minutes=5)
    await settlement.resume(own_db, gateway, now=clock)
    assert await state(own_db, done.return_.id) == "settled"
    assert (await books(own_db, stripe, sold))["refunded"] == 2 * PRICE


async def test_a_refund_that_bounces_is_asked_for_again_and_never_twice(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    shop: Shop,
    who: Principal,
    clock: Moment,
) -> None:
    sold = await sell_by_card(db, gateway, shop, units=2, clock=clock, card="pm_card_refundFail")
    done = await take_back(db, who, sold, 1, clock)
    await story.run_all(db, gateway, done.operations, clock)
    sent = (await story.standing(db, sold.id)).operations[-1]
    stripe.control(f"refunds/{sent.provider_reference}/settle")
    await settlement.look_at_refund(db, gateway, sent, now=clock)
    assert (await story.standing(db, sold.id)).payments[0].refunded_minor == 0
    async with db.transaction() as conn:
        again = await returns.refund_again(conn, who, done.return_.id, now=clock())
        more = await returns.refund_again(conn, who, done.return_.id, now=clock())
    assert (len(again.operations), more.operations) == (1, ())
    await story.run_all(db, gateway, again.operations, clock)
    assert await state(db, done.return_.id) == "settled"
    assert await books(db, stripe, sold) == {
        "authorized": 2 * PRICE, "captured": 2 * PRICE, "refunded": 2 * PRICE,
        "refund_failed": PRICE, "kept": PRICE,
    }  # fmt: skip


async def test_a_pending_refund_settles_the_return_when_the_bank_has_sent_it(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    shop: Shop,
    who: Principal,
    clock: Moment,
) -> None:
    sold = await sell_by_card(db, gateway, shop, units=1, clock=clock, card="pm_card_pendingRefund")
    done = await take_back(db, who, sold, 1, clock)
    await story.run_all(db, gateway, done.operations, clock)
    assert await state(db, done.return_.id) == "received"
    sent = (await story.standing(db, sold.id)).operations[-1]
    stripe.control(f"refunds/{sent.provider_reference}/settle")
    await settlement.look_at_refund(db, gateway, sent, now=clock)
    assert await state(db, done.return_.id) == "settled"
