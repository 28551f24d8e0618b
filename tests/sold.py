"""Orders that were paid and handed over, made through the real verbs, for tests of what follows."""

from datetime import datetime, timedelta
from uuid import UUID

from commerce import fulfillment, orders
from commerce.access import OPERATOR, Principal, permissions_of
from commerce.customers import Contact
from commerce.fulfillment import Cash, HandedOver
from commerce.kernel import ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, Order, Placement
from commerce.pricing import Basket, Line
from commerce.provider import Gateway
from tests import counter
from tests.shop import ACTOR, OPENED_AT, Shop
from tests.simulation import story
from tests.simulation.story import Moment

SOLD_AT = OPENED_AT + timedelta(hours=2)


def shopper(shopper_id: UUID) -> Principal:
    """A shopper who has signed in."""
    return Principal(
        key_id=ids.uuid7(),
        key_kind="storefront",
        channel="web",
        permissions=permissions_of("storefront", "shopper"),
        session_id=ids.uuid7(),
        person_ids=(shopper_id,),
    )


async def sell(
    db: Database,
    shop: Shop,
    *lines: tuple[int, int],
    total_minor: int,
    coupon: str | None = None,
    shopper_id: UUID | None = None,
    at: datetime = SOLD_AT,
) -> Order:
    """An order of (SKU number, units), collected at the first store and paid there in cash."""
    total = Money(total_minor, shop.currency)
    chosen = tuple(Line(shop.skus[index].sku, quantity) for index, quantity in lines)
    wanted = Placement(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[0].location_id, chosen, coupon),
        seen=total,
        tender="pay_at_pickup",
        channel="web",
        key_id=ids.uuid7(),
        actor=ACTOR,
        shopper_id=shopper_id,
        contact=Contact(
            id=ids.uuid7(), name="Ana", shopper_id=shopper_id, email="ana@example.com", locale="es"
        ),
    )
    async with db.transaction() as conn:
        (made,) = await orders.place(conn, [wanted], numbers=Numbers(counter.SECRET), now=at)
    assert isinstance(made, Order), made
    await _hand_over(db, made, Cash(total) if total_minor else None, at)
    return await _completed(db, made.id)


async def sell_by_card(
    db: Database,
    gateway: Gateway,
    shop: Shop,
    *,
    units: int,
    clock: Moment,
    card: str = "pm_card_visa",
) -> Order:
    """An order of units of the first SKU, collected at the first store, its card captured."""
    order_id = await story.place(db, shop, now=clock(), units=units, card=card)
    placed = await story.pay(db, gateway, order_id, clock)
    handed = await _hand_over(db, placed.order, None, clock())
    await story.run_all(db, gateway, handed.operations, clock)
    return await _completed(db, order_id)


async def _hand_over(db: Database, made: Order, cash: Cash | None, at: datetime) -> HandedOver:
    (share,) = made.fulfillments
    await counter.ready(db, OPERATOR, share.id, now=at)
    async with db.transaction() as conn:
        handed = await fulfillment.hand_over(
            conn,
            OPERATOR,
            share.id,
            secret=counter.SECRET,
            code=fulfillment.pickup_code(counter.SECRET, share.id),
            override_reason=None,
            tender=cash,
            now=at,
        )
    assert isinstance(handed, HandedOver), handed
    return handed


async def _completed(db: Database, order_id: UUID) -> Order:
    async with db.reading() as conn:
        sold = await orders.by_id(conn, order_id)
    assert sold.head.state == "completed"
    return sold
