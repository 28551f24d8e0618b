"""Pickups paid by card, through the real gateway; the fake Stripe's books are the judge."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from commerce import fulfillment, settlement
from commerce.audit.orders import BOOKS as ORDERS
from commerce.audit.orders import judge_money
from commerce.audit.payments import BOOKS as PAYMENTS
from commerce.audit.payments import judge
from commerce.fulfillment import Cash, CounterTender, HandedOver, TenderRequired
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.payments import AuthorizationLapsed
from commerce.stripe_gateway import StripeGateway
from tests import counter
from tests.counter import SECRET, associate, counters, facts
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment, money
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


async def waiting(
    db: Database,
    gateway: StripeGateway,
    shop: Shop,
    clock: Moment,
    *,
    short: tuple[tuple[int, int], ...] = (),
) -> tuple[UUID, UUID]:
    """Three units, authorized and picked: the order and its pickup."""
    order_id = await story.place(db, shop, now=clock(), units=3)
    paid = await story.pay(db, gateway, order_id, clock)
    (share,) = paid.order.fulfillments
    await counter.ready(db, associate(shop), share.id, short=short, now=clock())
    return order_id, share.id


async def hand_over(
    db: Database, shop: Shop, pickup_id: UUID, clock: Moment, tender: CounterTender | None = None
) -> HandedOver:
    async with db.transaction() as conn:
        given = await fulfillment.hand_over(
            conn,
            associate(shop),
            pickup_id,
            secret=SECRET,
            code=fulfillment.pickup_code(SECRET, pickup_id),
            override_reason=None,
            tender=tender,
            now=clock(),
        )
    assert isinstance(given, HandedOver), given
    return given


async def books(db: Database, stripe: FakeStripeServer, order_id: UUID) -> dict[str, int]:
    (paid,) = [p for p in (await story.standing(db, order_id)).payments if p.tender == "card"]
    assert paid.provider_id is not None
    return money(stripe.books(paid.provider_id))


async def test_the_capture_completes_the_order(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    given = await hand_over(db, shop, pickup_id, clock)
    assert (given.pickup.head.state, given.pickup.head.order_state) == ("collected", "placed")
    assert len(given.operations) == 1
    assert await counters(db, shop) == (7, 0)
    await settlement.settle_order(db, gateway, order_id, now=clock)
    it = await story.standing(db, order_id)
    assert it.states == ("completed", "captured")
    assert await books(db, stripe, order_id) == {
        "authorized": 3 * PRICE,
        "captured": 3 * PRICE,
        "kept": 3 * PRICE,
    }


async def test_units_not_found_are_not_captured(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock, short=((1, 2),))
    given = await hand_over(db, shop, pickup_id, clock)
    assert given.pickup.due == Money(PRICE, "MXN")
    await settlement.settle_order(db, gateway, order_id, now=clock)
    assert (await story.standing(db, order_id)).states == ("completed", "captured")
    assert await books(db, stripe, order_id) == {
        "authorized": 3 * PRICE,
        "captured": PRICE,
        "kept": PRICE,
        "released": 2 * PRICE,
    }
    assert await counters(db, shop) == (9, 0)


async def test_when_nothing_was_found_the_hold_is_given_back(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id, _ = await waiting(db, gateway, shop, clock, short=((1, 3),))
    await settlement.settle_order(db, gateway, order_id, now=clock)
    assert (await story.standing(db, order_id)).states == ("cancelled", "voided")
    assert await books(db, stripe, order_id) == {"authorized": 3 * PRICE, "voided": 3 * PRICE}


async def test_goods_go_although_the_provider_is_silent(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    await hand_over(db, shop, pickup_id, clock)
    stripe.fault("payment_intents.capture", "timeout_before", seconds=2.0)
    await settlement.settle_order(db, gateway, order_id, now=clock)
    it = await story.standing(db, order_id)
    assert it.states == ("placed", "authorized")
    assert it.calls[-1] == ("capture", "unknown")
    clock.pass_by(minutes=10)
    await settlement.settle_order(db, gateway, order_id, now=clock)
    assert (await story.standing(db, order_id)).states == ("completed", "captured")


async def test_a_lapsed_hold_gives_nothing_but_another_tender_does(
    db: Database, gateway: StripeGateway, shop: Shop, clock: Moment
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    before = await story.standing(db, order_id)
    assert before.payments[0].capture_before is not None
    clock.at = before.payments[0].capture_before
    with pytest.raises(AuthorizationLapsed) as refused:
        await hand_over(db, shop, pickup_id, clock)
    assert refused.value.amount_minor == 3 * PRICE
    assert await story.standing(db, order_id) == before
    assert await counters(db, shop) == (10, 3)
    given = await hand_over(db, shop, pickup_id, clock, Cash(Money(3 * PRICE, "MXN")))
    assert (given.pickup.head.order_state, given.operations) == ("completed", [])
    assert await counters(db, shop) == (7, 0)


async def test_another_tender_gives_the_cards_hold_back(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    await hand_over(db, shop, pickup_id, clock, Cash(Money(3 * PRICE, "MXN")))
    await settlement.settle_order(db, gateway, order_id, now=clock)
    it = await story.standing(db, order_id)
    assert it.order.head.state == "completed"
    assert {p.tender: (p.state, p.captured_minor) for p in it.payments} == {
        "card": ("voided", 0),
        "cash": ("captured", 3 * PRICE),
    }
    assert await books(db, stripe, order_id) == {"authorized": 3 * PRICE, "voided": 3 * PRICE}


async def test_a_hold_that_was_voided_elsewhere_needs_another_tender(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, shop: Shop, clock: Moment
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    (paid,) = (await story.standing(db, order_id)).payments
    stripe.post(f"/v1/payment_intents/{paid.provider_id}/cancel", [])
    await settlement.look(db, gateway, paid.id, now=clock)
    with pytest.raises(TenderRequired):
        await hand_over(db, shop, pickup_id, clock)


async def test_overdue_pickups_expire_once_and_give_everything_back(
    own_db: Database, gateway: StripeGateway, stripe: FakeStripeServer, clock: Moment
) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    order_id, pickup_id = await waiting(own_db, gateway, shop, clock)
    younger_clock = Moment(clock() + timedelta(hours=1))
    younger, _ = await waiting(own_db, gateway, shop, younger_clock)
    clock.pass_by(days=7)
    assert await fulfillment.expire(own_db, now=clock()) == [order_id]
    assert await fulfillment.expire(own_db, now=clock()) == []
    async with own_db.reading() as conn:
        pickup = await fulfillment.get(conn, associate(shop), pickup_id)
    assert (pickup.head.state, pickup.head.order_state) == ("expired", "cancelled")
    assert (await story.standing(own_db, order_id)).order.head.cancel_reason == "not_collected"
    assert (await facts(own_db, order_id))[-2:] == ["order.cancelled", "pickup.expired"]
    assert await counters(own_db, shop) == (10, 3)
    await settlement.settle_order(own_db, gateway, order_id, now=clock)
    assert (await story.standing(own_db, order_id)).states == ("cancelled", "voided")
    assert await books(own_db, stripe, order_id) == {
        "authorized": 3 * PRICE,
        "voided": 3 * PRICE,
    }
    assert (await story.standing(own_db, younger)).states == ("placed", "authorized")


async def test_one_sweep_ends_a_bounded_number(own_db: Database, clock: Moment) -> None:
    shop = await make_shop(own_db, skus=1, stores=1)
    for _ in range(3):
        made = await counter.order(own_db, shop, (0, 1), total_minor=PRICE, now=clock())
        await counter.ready(own_db, associate(shop), made.fulfillments[0].id, now=clock())
    clock.pass_by(days=7)
    sizes = [len(await fulfillment.expire(own_db, now=clock(), limit=2)) for _ in range(3)]
    assert sizes == [2, 1, 0]
    assert await counters(own_db, shop) == (10, 0)


async def capture_by_hand(
    db: Database, gateway: StripeGateway, stripe: FakeStripeServer, order_id: UUID, clock: Moment,
    *, seen: bool, amount_minor: int = 3 * PRICE,
) -> None:  # fmt: skip
    """Somebody captures a hold at the provider; we learn of it at once, or not yet."""
    (paid,) = (await story.standing(db, order_id)).payments
    amount = [("amount_to_capture", str(amount_minor))]
    stripe.post(f"/v1/payment_intents/{paid.provider_id}/capture", amount)
    if seen:
        await settlement.look(db, gateway, paid.id, now=clock)


async def doubts(db: Database, order_id: UUID) -> list[str]:
    """What the audit finds about an order's money."""
    number = (await story.standing(db, order_id)).order.head.number
    async with db.reading() as conn:
        found = [f for books in await conn.run(ORDERS) for f in judge_money(books)]
        found += [f for books in await conn.run(PAYMENTS) for f in judge(books)]
    return [str(each) for each in found if number in each.subject]


@pytest.mark.parametrize("seen", [True, False])
async def test_a_hold_captured_by_hand_pays_and_what_is_too_much_goes_back(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    shop: Shop,
    clock: Moment,
    seen: bool,
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock, short=((1, 1),))
    await capture_by_hand(db, gateway, stripe, order_id, clock, seen=seen)
    await hand_over(db, shop, pickup_id, clock)
    await settlement.settle_order(db, gateway, order_id, now=clock)
    it = await story.standing(db, order_id)
    assert it.states == ("completed", "captured")
    assert await books(db, stripe, order_id) == {
        "authorized": 3 * PRICE, "captured": 3 * PRICE, "refunded": PRICE, "kept": 2 * PRICE,
    }  # fmt: skip
    assert await doubts(db, order_id) == []


@pytest.mark.parametrize("seen", [True, False])
async def test_nobody_pays_twice_with_cash_and_a_card_captured_by_hand(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    shop: Shop,
    clock: Moment,
    seen: bool,
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    await capture_by_hand(db, gateway, stripe, order_id, clock, seen=seen)
    await hand_over(db, shop, pickup_id, clock, Cash(Money(3 * PRICE, "MXN")))
    await settlement.settle_order(db, gateway, order_id, now=clock)
    it = await story.standing(db, order_id)
    assert {p.tender: (p.captured_minor, p.refunded_minor) for p in it.payments} == {
        "card": (3 * PRICE, 3 * PRICE),
        "cash": (3 * PRICE, 0),
    }
    assert (await books(db, stripe, order_id))["refunded"] == 3 * PRICE
    assert await doubts(db, order_id) == []


@pytest.mark.parametrize("seen", [True, False])
async def test_a_cancelled_order_gives_back_what_was_captured_by_hand(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    shop: Shop,
    clock: Moment,
    seen: bool,
) -> None:
    order_id, _ = await waiting(db, gateway, shop, clock)
    await capture_by_hand(db, gateway, stripe, order_id, clock, seen=seen)
    await story.cancel(db, order_id, now=clock())
    await settlement.settle_order(db, gateway, order_id, now=clock)
    it = await story.standing(db, order_id)
    assert it.states == ("cancelled", "captured")
    assert it.payments[0].refunded_minor == 3 * PRICE
    assert (await books(db, stripe, order_id))["refunded"] == 3 * PRICE
    assert await doubts(db, order_id) == []


@pytest.mark.parametrize("seen", [True, False])
async def test_too_little_captured_by_hand_is_due_at_the_store(
    db: Database,
    gateway: StripeGateway,
    stripe: FakeStripeServer,
    shop: Shop,
    clock: Moment,
    seen: bool,
) -> None:
    order_id, pickup_id = await waiting(db, gateway, shop, clock)
    await capture_by_hand(db, gateway, stripe, order_id, clock, seen=seen, amount_minor=PRICE)
    await hand_over(db, shop, pickup_id, clock)
    await settlement.settle_order(db, gateway, order_id, now=clock)
    async with db.transaction() as conn:
        (due,) = await settlement.dues(conn, associate(shop))
        assert (due.order_id, due.amount) == (order_id, Money(2 * PRICE, "MXN"))
        await settlement.pay_due(conn, associate(shop), order_id, Cash(due.amount), now=clock())
    it = await story.standing(db, order_id)
    assert it.order.head.state == "completed"
    assert {p.tender: p.captured_minor - p.refunded_minor for p in it.payments} == {
        "card": PRICE,
        "cash": 2 * PRICE,
    }
    assert await doubts(db, order_id) == []
