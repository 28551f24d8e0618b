"""Faults between us and the provider, and the sweep that brings every story to its end."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from commerce import settlement
from commerce.kernel.sql import Database
from commerce.payments import PaymentRunning
from commerce.stripe_gateway import StripeGateway
from tests.shop import make_shop
from tests.simulation import story
from tests.simulation.story import Moment, Standing, money
from tests.stripe_server import FakeStripeServer

PRICE = 10_000
ASKS = "pm_card_authenticationRequired"
FAULTS = (
    "timeout_before",
    "timeout_after",
    "close_before",
    "close_after",
    "error_before",
    "error_after",
    "rate_limit",
)
CALLS = (
    "payment_intents.create",
    "payment_intents.confirm",
    "payment_intents.capture",
    "refunds.create",
)


async def sweep_until_quiet(
    db: Database, gateway: StripeGateway, clock: Moment, **pause: float
) -> None:
    """Sweep, and let time pass, until nothing is left to do."""
    for _ in range(20):
        clock.pass_by(**(pause or {"seconds": 80}))
        if not await settlement.resume(db, gateway, now=clock):
            return
    raise AssertionError("the sweep never ends")


async def pay_somehow(db: Database, gateway: StripeGateway, order_id: UUID, clock: Moment) -> None:
    """Carry the payment on; where the answer stays out, the sweep does."""
    try:
        await settlement.settle_order(db, gateway, order_id, now=clock)
    except PaymentRunning:
        await sweep_until_quiet(db, gateway, clock)


def books(stripe: FakeStripeServer, it: Standing) -> dict[str, int]:
    provider_id = it.payments[0].provider_id
    assert provider_id is not None
    return money(stripe.books(provider_id))


def totals(stripe: FakeStripeServer, it: Standing) -> dict[str, int]:
    """The books of every payment that the provider made for this order."""
    sums: dict[str, int] = {}
    for entry in stripe.http.get("/_control/books").json()["payment_intents"]:
        if entry["order_id"] == str(it.order.id):
            for name, amount in money(entry).items():
                sums[name] = sums.get(name, 0) + amount
    return sums


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
async def test_a_lost_call_changes_nothing_in_the_end(
    own_db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    clock: Moment,
    call: str,
    fault: str,
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    stripe.fault(call, fault)
    order_id = await story.place(own_db, shop, now=clock())
    await pay_somehow(own_db, gateway, order_id, clock)
    assert (await story.standing(own_db, order_id)).states == ("placed", "authorized")
    asked = await story.hand_over(own_db, order_id, now=clock())
    await story.run_all(own_db, gateway, asked, clock)
    await sweep_until_quiet(own_db, gateway, clock)
    assert (await story.standing(own_db, order_id)).states == ("completed", "captured")
    asked = await story.refund(own_db, order_id, 4_000, now=clock())
    await story.run_all(own_db, gateway, asked, clock)
    await sweep_until_quiet(own_db, gateway, clock)
    it = await story.standing(own_db, order_id)
    assert it.payments[0].refunded_minor == 4_000
    assert not [op for op in it.operations if op.open]
    assert totals(stripe, it) == {
        "authorized": PRICE, "captured": PRICE, "refunded": 4_000, "kept": 6_000,
    }  # fmt: skip
    told = await story.facts(own_db, order_id)
    for kind in ("payment.authorized", "order.placed", "payment.captured", "payment.refunded"):
        assert told.count(kind) == 1, (kind, told)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_void_gives_the_hold_back_in_the_end(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment, fault: str
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock())
    await story.pay(own_db, gateway, order_id, clock)
    stripe.fault("payment_intents.cancel", fault)
    await story.cancel(own_db, order_id, now=clock())
    await settlement.settle_order(own_db, gateway, order_id, now=clock)
    await sweep_until_quiet(own_db, gateway, clock)
    it = await story.standing(own_db, order_id)
    assert it.states == ("cancelled", "voided")
    assert books(stripe, it) == {"authorized": PRICE, "voided": PRICE}


async def test_an_answer_that_stays_out_is_asked_for_ever_more_rarely(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock())
    stripe.fault("*", "rate_limit", times=1_000)
    with pytest.raises(PaymentRunning):
        await settlement.settle_order(own_db, gateway, order_id, now=clock)
    waits = []
    for _ in range(3):
        (operation, *_) = (await story.standing(own_db, order_id)).operations
        assert (operation.state, operation.next_attempt_at is None) == ("unknown", False)
        assert operation.next_attempt_at is not None
        waits.append(operation.next_attempt_at - clock())
        clock.at = operation.next_attempt_at
        assert await settlement.resume(own_db, gateway, now=clock) == 1
    assert waits == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]


async def test_a_key_that_the_provider_may_have_forgotten_is_not_used_again(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock())
    await story.pay(own_db, gateway, order_id, clock)
    stripe.fault("payment_intents.capture", "close_before")
    asked = await story.hand_over(own_db, order_id, now=clock())
    await story.run_all(own_db, gateway, asked, clock)
    clock.pass_by(hours=21)
    await sweep_until_quiet(own_db, gateway, clock)
    it = await story.standing(own_db, order_id)
    assert it.states == ("completed", "captured")
    assert [(op.kind, op.state, op.failure_code) for op in it.operations[1:]] == [
        ("capture", "failed", "replaced"),
        ("capture", "succeeded", None),
    ]
    assert books(stripe, it) == {"authorized": PRICE, "captured": PRICE, "kept": PRICE}


async def test_order_whose_time_to_pay_is_over_is_cancelled(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock(), card=ASKS)
    asked = await story.pay(own_db, gateway, order_id, clock)
    clock.pass_by(minutes=31)
    await sweep_until_quiet(own_db, gateway, clock)
    it = await story.standing(own_db, order_id)
    assert it.states == ("cancelled", "failed")
    assert it.order.head.cancel_reason == "payment_expired"
    assert "canceled" in stripe.http.get(asked.payments[0].redirect_url or "").text
    assert books(stripe, it) == {}


async def test_hold_that_lapsed_unseen_is_found(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock())
    it = await story.pay(own_db, gateway, order_id, clock)
    assert await settlement.resume(own_db, gateway, now=clock) == 0
    stripe.control(f"payment_intents/{it.payments[0].provider_id}/lapse")
    assert isinstance(it.payments[0].capture_before, datetime)
    clock.at = it.payments[0].capture_before
    assert await settlement.resume(own_db, gateway, now=clock) == 1
    assert (await story.standing(own_db, order_id)).states == ("placed", "lapsed")
    assert await settlement.resume(own_db, gateway, now=clock) == 0


async def test_hold_that_the_provider_keeps_longer_is_looked_at_now_and_then(
    own_db: Database, gateway: StripeGateway, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock())
    it = await story.pay(own_db, gateway, order_id, clock)
    assert it.payments[0].capture_before is not None
    clock.at = it.payments[0].capture_before
    assert await settlement.resume(own_db, gateway, now=clock) == 1
    assert await settlement.resume(own_db, gateway, now=clock) == 0
    clock.pass_by(minutes=10)
    assert await settlement.resume(own_db, gateway, now=clock) == 1
    assert (await story.standing(own_db, order_id)).states == ("placed", "authorized")


async def test_order_that_gets_more_time_while_the_sweep_looks_is_not_cancelled(
    own_db: Database, gateway: StripeGateway, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id = await story.place(own_db, shop, now=clock(), card="pm_card_chargeDeclined")
    await story.pay(own_db, gateway, order_id, clock)
    clock.pass_by(minutes=31)
    async with own_db.transaction() as conn:
        await settlement.try_card(
            conn,
            order_id,
            payment_method="pm_card_visa",
            return_url=None,
            actor=story.ACTOR,
            now=clock(),
        )
        sweeping = asyncio.create_task(settlement.resume(own_db, gateway, now=clock))
        done, _ = await asyncio.wait([sweeping], timeout=0.3)
        assert not done, "it waits for the order"
    await sweeping
    assert (await story.pay(own_db, gateway, order_id, clock)).states == ("placed", "authorized")
