"""Every verb locks in the one order, so that two of them never wait for each other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from commerce import carts, fulfillment, orders, returns, settlement
from commerce.carts import Checkout, Owner, Sale
from commerce.fulfillment import Cash, PickupCodeWrong
from commerce.kernel import ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers, Order, Placement
from commerce.pricing import Basket, Line
from commerce.returns import Arrival
from commerce.stripe_gateway import StripeGateway
from inventory import reservations, stock
from inventory.demands import Demand, Want
from inventory.stock import Movement
from pos_sync import baskets
from tests import counter, returning, sold
from tests.carts import (
    GUEST,
    NOW,
    apply_coupon,
    begin,
    begun,
    complete,
    completion,
    full_cart,
    make_coupon,
    set_line,
    shopper,
)  # fmt: skip
from tests.locking import ObservedDatabase, locked_by, out_of_order
from tests.shop import ACTOR, Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment, answer_the_bank
from tests.statements import statements
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, free_port

LATER = NOW + timedelta(hours=2)


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[ObservedDatabase]:
    opened = await Database.open(own_dsn)
    yield ObservedDatabase(opened)
    await opened.close()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[StripeGateway]:
    with FakeStripeServer(tmp_path, free_port()) as stripe:
        made = StripeGateway(
            api_key="sk_test_locks", api_base=stripe.url, webhook_secret=WEBHOOK_SECRET
        )
        yield made
        await made.close()


Work = Callable[[Connection], Awaitable[Any]]


async def buy_by_cart(db: ObservedDatabase, shop: Shop) -> None:
    """Edited, in and out of checkout, extended in one batch with another, bought, expired."""
    at = shop.stores[0].location_id
    code = await make_coupon(db, max_redemptions=5)
    first, other = [await full_cart(db, shop, (0, 1), (1, 2)) for _ in range(2)]
    await apply_coupon(db, first.id, code)
    await begun(db, first.id)
    wishes = [Checkout(each.id, GUEST, ids.uuid7(), ACTOR) for each in (first, other)]
    async with db.transaction() as conn:
        await carts.begin(conn, wishes, now=NOW + timedelta(minutes=1))
    await set_line(db, first.id, shop.skus[0].sku, 2)
    await begun(db, first.id)
    async with db.transaction() as conn:
        await carts.leave(conn, first.id, GUEST, actor=ACTOR, now=NOW)
    async with db.transaction() as conn:
        await carts.choose_store(conn, first.id, GUEST, location_id=at, actor=ACTOR, now=NOW)
    async with db.transaction() as conn:
        taking = Owner((ids.uuid7(),), has_token=True)
        await carts.merge_guest(conn, first.id, taking, actor=ACTOR, now=NOW)
    owner = shopper()
    bought = await full_cart(db, shop, (0, 1), owner=owner)
    await apply_coupon(db, bought.id, code, owner)
    await begun(db, bought.id, owner=owner)
    wanted = completion(bought.id, 9_000, owner=owner, card=True)
    (made,) = await complete(db, wanted)
    assert isinstance(made, Order), made
    late = await full_cart(db, shop, (0, 1))
    await begun(db, late.id)
    await complete(db, completion(late.id, 10_000), now=LATER)
    await begin(db, late.id, now=LATER)


async def hand_a_cart_over(db: ObservedDatabase, shop: Shop) -> None:
    """Merged at sign-in, claimed, moved with its hold, linked, sold, released; and forgotten."""
    owner, who = shopper(), counter.associate(shop)
    await full_cart(db, shop, (1, 1), owner=owner)
    there = shop.stores[1].location_id
    guest = await full_cart(db, shop, (0, 2), (2, 1))
    await begun(db, guest.id)
    taking = Owner(owner.person_ids, has_token=True)
    staff = Owner((), has_token=False, store_ids=who.location_ids or ())

    async def do(work: Work) -> Any:
        async with db.transaction() as conn:
            return await work(conn)

    async def claim_and_release(conn: Connection) -> None:
        code = await carts.make_code(conn, guest.id, owner, secret=counter.SECRET, now=NOW)
        at = shop.stores[0].location_id
        await carts.claim(conn, who, code=code.code, location_id=at, secret=counter.SECRET, now=NOW)
        await carts.link(conn, who, guest.id, staff, now=NOW)
        await carts.revoke_link(conn, who, guest.id, staff, now=NOW)
        await carts.release(conn, guest.id, owner, actor=ACTOR, now=NOW)

    async def move_to(conn: Connection, place: UUID) -> None:
        await carts.move(
            conn, mine.id, owner, location_id=place, demand_id=ids.uuid7(), actor=ACTOR, now=NOW
        )

    merged = await do(lambda conn: carts.merge_guest(conn, guest.id, taking, actor=ACTOR, now=NOW))
    mine = merged.cart
    sku = shop.skus[1].sku
    await do(lambda conn: carts.save_for_later(conn, mine.id, owner, sku=sku, actor=ACTOR, now=NOW))
    guest = mine
    await do(claim_and_release)
    await begun(db, mine.id, owner=owner)
    await do(lambda conn: move_to(conn, there))
    await do(lambda conn: move_to(conn, shop.stores[0].location_id))
    seen = Money(32_000, "MXN")
    sale = Sale(
        order_id=ids.uuid7(), fulfillment_id=ids.uuid7(), kind="carry_out", seen=seen,
        tender=Cash(seen), contact=None,
    )  # fmt: skip
    await do(
        lambda conn: carts.sell(
            conn, who, mine.id, owner, sale, numbers=Numbers(counter.SECRET), now=NOW
        )
    )
    later = NOW + timedelta(days=400)
    await do(lambda conn: carts.forget(conn, kept_for=timedelta(days=1), now=later, page=10))


async def order_and_cancel(db: ObservedDatabase, shop: Shop) -> None:
    """In one call with a limited coupon, more than there is, and called off."""
    code = await make_coupon(db, max_redemptions=5)
    made = await counter.order(db, shop, (0, 1), (1, 1), total_minor=18_900, coupon=code)
    greedy = Placement(
        order_id=ids.uuid7(), fulfillment_id=ids.uuid7(), seen=Money(10_000_000, "MXN"),
        basket=Basket(shop.stores[0].location_id, (Line(shop.skus[0].sku, 1_000),)),
        tender="pay_at_pickup", channel="web", key_id=ids.uuid7(), actor=ACTOR,
    )  # fmt: skip
    async with db.transaction() as conn:
        await orders.place(conn, [greedy], numbers=Numbers(counter.SECRET), now=LATER)
    await story.cancel(db, made.id, now=NOW)


async def pay_by_card(db: ObservedDatabase, gateway: StripeGateway, shop: Shop) -> None:
    """Declined and another card, 3DS, too late twice, voided, captured, given back."""
    clock = Moment(NOW)
    declined = await story.place(db, shop, now=NOW, card="pm_card_chargeDeclined")
    await story.pay(db, gateway, declined, clock)
    async with db.transaction() as conn:
        await settlement.try_card(
            conn, declined, payment_method="pm_card_visa", return_url=None, actor=ACTOR, now=NOW
        )
    assert (await story.pay(db, gateway, declined, clock)).states == ("placed", "authorized")
    await story.cancel(db, declined, now=NOW)
    await story.pay(db, gateway, declined, clock)
    asked = await story.place(db, shop, now=NOW, card="pm_card_authenticationRequired")
    (payment,) = (await story.pay(db, gateway, asked, clock)).payments
    assert payment.redirect_url is not None
    answer_the_bank(payment.redirect_url, "approve")
    await settlement.look(db, gateway, payment.id, now=clock)
    late = await story.place(db, shop, now=NOW - timedelta(minutes=31))
    assert (await story.pay(db, gateway, late, clock)).states == ("placed", "authorized")
    scarce = await make_shop(db, on_hand=1)
    gone = await story.place(db, scarce, now=NOW - timedelta(minutes=31))
    await counter.order(db, scarce, (0, 1), total_minor=10_000)
    assert (await story.pay(db, gateway, gone, clock)).states == ("cancelled", "voided")
    made = await sold.sell_by_card(db, gateway, shop, units=2, clock=clock)
    back = await returning.take_back(
        db, returning.at_store(shop, 1), made, Arrival(1, "restock", 1), now=NOW
    )
    await story.run_all(db, gateway, back.operations, clock)


async def at_the_counter(db: ObservedDatabase, shop: Shop) -> None:
    """Picked short, a wrong code, handed over with and without one, called off, not collected."""
    manager = counter.associate(shop, role="manager")

    async def ready(*short: tuple[int, int]) -> UUID:
        made = await counter.order(db, shop, (0, 2), (1, 1), total_minor=31_000)
        await counter.ready(db, manager, made.fulfillments[0].id, short=short)
        return made.fulfillments[0].id

    async def hand_over(pickup_id: UUID, code: str | None, override: str | None = None) -> Any:
        async with db.transaction() as conn:
            return await fulfillment.hand_over(
                conn, manager, pickup_id, secret=counter.SECRET, code=code,
                override_reason=override, tender=Cash(Money(50_000, "MXN")), now=NOW,
            )  # fmt: skip

    short = await ready((1, 1), (2, 1))
    assert isinstance(await hand_over(short, "WRONG0"), PickupCodeWrong)
    await hand_over(short, fulfillment.pickup_code(counter.SECRET, short))
    await hand_over(await ready(), None, "lost the phone")
    called_off = await ready()
    async with db.transaction() as conn:
        await fulfillment.cancel(conn, manager, called_off, reason="damaged", now=NOW)
    await ready()
    assert len(await fulfillment.expire(db, now=NOW + timedelta(days=30))) == 1


async def bring_back(db: ObservedDatabase, shop: Shop) -> None:
    """Asked for and cancelled, rejected, approved, received; in one step; refunded again."""
    manager = returning.at_store(shop, 0, "manager")
    made = await sold.sell(db, shop, (0, 9), total_minor=90_000)

    async def exception() -> UUID:
        asked = await returning.request(
            db, manager, made, {1: 1}, exception="gift", now=returning.TOO_LATE
        )
        return asked.id

    async def decide(work: Work) -> None:
        async with db.transaction() as conn:
            await work(conn)

    cancelled = await exception()
    await decide(lambda conn: returns.cancel(conn, manager, cancelled, now=NOW))
    rejected = await exception()
    await decide(lambda conn: returns.reject(conn, manager, rejected, why="no", now=NOW))
    approved = await exception()
    await decide(lambda conn: returns.approve(conn, manager, approved, why="yes", now=NOW))
    await returning.receive(db, manager, approved, Arrival(1, "damaged", 1))
    taken = await returning.take_back(db, manager, made, Arrival(1, "restock", 2))
    await decide(lambda conn: returns.refund_again(conn, manager, taken.return_.id, now=NOW))


async def at_the_till(db: ObservedDatabase, shop: Shop) -> None:
    """Scanned, taken out, held again after a pause, sold with a coupon; given up."""
    who, code = counter.associate(shop), await make_coupon(db, max_redemptions=5)
    sell_id, leave_id = ids.uuid7(), ids.uuid7()

    async def scan(basket_id: UUID, index: int) -> None:
        async with db.transaction() as conn:
            await baskets.scan(
                conn, who, basket_id, barcode=shop.skus[index].sku, quantity=1, now=NOW
            )

    for basket_id in (sell_id, leave_id):
        async with db.transaction() as conn:
            await baskets.open_basket(conn, who, basket_id, shop.stores[0].location_id, now=NOW)
        for index in (1, 0, 2):
            await scan(basket_id, index)
    async with db.transaction() as conn:
        await baskets.remove(conn, who, sell_id, 3, now=NOW)
    async with db.transaction() as conn:
        await baskets.hold_again(conn, who, sell_id, now=LATER)
    async with db.transaction() as conn:
        await baskets.sell(
            conn, who, sell_id, order_id=ids.uuid7(), fulfillment_id=ids.uuid7(),
            seen=Money(18_900, "MXN"), coupon_code=code, tender=Cash(Money(18_900, "MXN")),
            numbers=Numbers(counter.SECRET), now=LATER,
        )  # fmt: skip
    async with db.transaction() as conn:
        await baskets.release(conn, who, leave_id, now=LATER)


async def move_stock(db: ObservedDatabase, shop: Shop) -> None:
    """Received, found broken, below what is promised; holds reclaimed and swept."""
    at, skus = shop.stores[1].location_id, [each.sku for each in shop.skus]
    kinds = ("receive", "sale", "count")
    moved = [Movement(at, sku, kind, 4, ACTOR) for sku, kind in zip(skus[::-1], kinds, strict=True)]
    broken = [Movement(at, sku, "return", 1, ACTOR, unsellable="damaged") for sku in skus[::-1]]
    held = Demand(ids.uuid7(), tuple(Want(at, sku, 2) for sku in skus[::-1]), "guest", ACTOR, LATER)
    async with db.transaction() as conn:
        await reservations.hold(conn, [held], now=NOW)
    async with db.transaction() as conn:
        await stock.move(conn, moved + broken, now=NOW)
    async with db.transaction() as conn:
        await stock.set_safety_stock(conn, {(at, skus[0]): 1})
    async with db.transaction() as conn:
        await reservations.release_part(conn, held.id, held.wants[:1], actor=ACTOR, now=NOW)
    async with db.transaction() as conn:
        await reservations.sweep(conn, now=LATER + timedelta(days=1))


async def test_every_verb_locks_in_the_one_order(
    db: ObservedDatabase, gateway: StripeGateway
) -> None:
    shop = await make_shop(db, on_hand=100)
    await buy_by_cart(db, shop)
    await hand_a_cart_over(db, shop)
    await order_and_cancel(db, shop)
    await pay_by_card(db, gateway, shop)
    for story_of in (at_the_counter, bring_back, at_the_till, move_stock):
        await story_of(db, shop)
    names = {id(query): name for name, query in statements().items()}
    wrong = {
        f"{sentence}: {', '.join(names[id(each)] for each in made if locked_by(each))}"
        for made in db.transactions
        for sentence in out_of_order(made)
    }
    assert wrong == set(), "DESIGN.md, section 3, names the order"
    seen = {id(query) for made in db.transactions for query in made}
    locking = {name for name, query in statements().items() if locked_by(query)}
    missed = locking - {names[each] for each in seen}
    assert missed == set(), "a verb that locks has a place in these stories"
