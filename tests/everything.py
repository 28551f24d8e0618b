"""A small shop in which everything has happened that can: for tests of what looks at all of it."""

from datetime import timedelta
from uuid import UUID

import msgspec

from commerce import returns
from commerce.fulfillment import Cash
from commerce.kernel import ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, Order
from commerce.provider import Gateway
from commerce.returns import Arrival
from inventory import reservations
from pos_sync import baskets
from tests import carts, counter, returning, sold
from tests.carts import make_coupon
from tests.counter import SECRET, associate
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment

UNITS = 3


class Everything(msgspec.Struct, frozen=True):
    """What was made, by what it shows."""

    shop: Shop
    requested: Order
    """Of two lines with a coupon, to be paid at pickup."""
    picked_short: Order
    """One unit of three was not found; ready."""
    authorized: UUID
    """By card, placed."""
    waiting: UUID
    """By a card that wants more proof."""
    cancelled: UUID
    """By card, voided."""
    partly_back: Order
    """Three units paid in cash; one came back to another store, damaged, one is asked for."""
    all_back: Order
    """Three units by card, captured; all came back and were refunded."""
    cart_id: UUID
    """In checkout."""
    ordered: Order
    """Of a cart, to be paid at pickup."""
    dead_demand: UUID
    """A hold that ran out and was swept."""
    basket_id: UUID
    """Sold at the till."""


async def make_everything(db: Database, gateway: Gateway, clock: Moment) -> Everything:
    """A shop with one of each."""
    shop = await make_shop(db, on_hand=50)
    coupon = await make_coupon(db)
    requested = await counter.order(db, shop, (0, 2), (1, 1), total_minor=27_900, coupon=coupon)
    return Everything(
        shop=shop,
        requested=requested,
        picked_short=await _picked_short(db, shop),
        authorized=await _card(db, gateway, shop, clock, "pm_card_visa"),
        waiting=await _card(db, gateway, shop, clock, "pm_card_authenticationRequired"),
        cancelled=await _cancelled(db, gateway, shop, clock),
        partly_back=await _partly_back(db, shop),
        all_back=await _all_back(db, gateway, shop, clock),
        cart_id=await _in_checkout(db, shop),
        ordered=await _ordered(db, shop),
        dead_demand=await _dead(db, shop),
        basket_id=await _till(db, shop),
    )


async def _picked_short(db: Database, shop: Shop) -> Order:
    made = await counter.order(db, shop, (0, UNITS), total_minor=30_000)
    pickup_id = made.fulfillments[0].id
    await counter.ready(db, associate(shop), pickup_id, short=((1, 1),))
    return made


async def _card(db: Database, gateway: Gateway, shop: Shop, clock: Moment, card: str) -> UUID:
    order_id = await story.place(db, shop, now=clock(), card=card)
    await story.pay(db, gateway, order_id, clock)
    return order_id


async def _cancelled(db: Database, gateway: Gateway, shop: Shop, clock: Moment) -> UUID:
    order_id = await _card(db, gateway, shop, clock, "pm_card_visa")
    await story.cancel(db, order_id, now=clock())
    await story.pay(db, gateway, order_id, clock)
    return order_id


async def _partly_back(db: Database, shop: Shop) -> Order:
    made = await sold.sell(db, shop, (0, UNITS), total_minor=30_000)
    there = returning.at_store(shop, 1)
    await returning.take_back(db, there, made, Arrival(1, "damaged", 1))
    await returning.request(db, there, made, {1: 1})
    return made


async def _all_back(db: Database, gateway: Gateway, shop: Shop, clock: Moment) -> Order:
    made = await sold.sell_by_card(db, gateway, shop, units=UNITS, clock=clock)
    for quantity in (1, 2):
        taken = await returning.take_back(
            db, returning.at_store(shop, 1), made, Arrival(1, "restock", quantity)
        )
        await story.run_all(db, gateway, taken.operations, clock)
        async with db.reading() as conn:
            assert (await returns.by_id(conn, taken.return_.id)).head.state == "settled"
    return made


async def _in_checkout(db: Database, shop: Shop) -> UUID:
    return (await carts.begun(db, (await carts.full_cart(db, shop, (0, 1))).id)).id


async def _ordered(db: Database, shop: Shop) -> Order:
    made = await carts.begun(db, (await carts.full_cart(db, shop, (2, 1))).id)
    return await carts.completed(db, carts.completion(made.id, 12_000))


async def _dead(db: Database, shop: Shop) -> UUID:
    made = await carts.begun(db, (await carts.full_cart(db, shop, (1, 2))).id)
    assert made.demand_id is not None
    assert made.hold_expires_at is not None
    async with db.transaction() as conn:
        await reservations.sweep(conn, now=made.hold_expires_at + timedelta(seconds=1))
    return made.demand_id


async def _till(db: Database, shop: Shop) -> UUID:
    who, basket_id = associate(shop), ids.uuid7()
    async with db.transaction() as conn:
        await baskets.open_basket(conn, who, basket_id, shop.stores[0].location_id, now=counter.NOW)
        await baskets.scan(
            conn, who, basket_id, barcode=shop.skus[2].gtin, quantity=2, now=counter.NOW
        )
        await baskets.sell(
            conn,
            who,
            basket_id,
            order_id=ids.uuid7(),
            fulfillment_id=ids.uuid7(),
            seen=Money(24_000, shop.currency),
            coupon_code=None,
            tender=Cash(Money(30_000, shop.currency)),
            numbers=Numbers(SECRET),
            now=counter.NOW,
        )
    return basket_id
