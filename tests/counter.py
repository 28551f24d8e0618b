"""What happens at a store's counter, made through the real verbs: associates and their pickups."""

from datetime import datetime, timedelta
from uuid import UUID

from commerce import fulfillment, orders
from commerce.access import Principal, permissions_of
from commerce.customers import Contact
from commerce.fulfillment import Pickup, ShortLine
from commerce.kernel import events, ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, Order, Placement
from commerce.pricing import Basket, Line
from inventory import stock
from tests.shop import OPENED_AT, Shop

NOW = OPENED_AT + timedelta(hours=1)
SECRET = b"s" * 32


def associate(shop: Shop, *, store: int = 0, role: str = "associate") -> Principal:
    """Somebody who has signed in at one of the shop's stores."""
    return Principal(
        key_id=ids.uuid7(),
        key_kind="tablet",
        channel="store",
        permissions=permissions_of("tablet", role),
        session_id=ids.uuid7(),
        associate_id=ids.uuid7(),
        role=role,
        location_ids=(shop.stores[store].location_id,),
    )


async def order(
    db: Database,
    shop: Shop,
    *lines: tuple[int, int],
    total_minor: int,
    coupon: str | None = None,
    now: datetime = NOW,
) -> Order:
    """An order of (SKU number, units) to be paid at pickup, at the shop's first store."""
    chosen = tuple(Line(shop.skus[index].sku, quantity) for index, quantity in lines)
    wanted = Placement(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[0].location_id, chosen, coupon),
        seen=Money(total_minor, shop.currency),
        tender="pay_at_pickup",
        channel="web",
        key_id=ids.uuid7(),
        actor="test",
        contact=Contact(id=ids.uuid7(), name="Ana", email="ana@example.com", locale="es"),
    )
    async with db.transaction() as conn:
        (made,) = await orders.place(conn, [wanted], numbers=Numbers(SECRET), now=now)
    assert isinstance(made, Order), made
    return made


async def ready(
    db: Database,
    who: Principal,
    pickup_id: UUID,
    *,
    short: tuple[tuple[int, int], ...] = (),
    now: datetime = NOW,
) -> Pickup:
    """Pick it; `short` are line numbers and units that were not found."""
    missing = [ShortLine(line_number, quantity) for line_number, quantity in short]
    async with db.transaction() as conn:
        await fulfillment.start_picking(conn, who, pickup_id, now=now)
        return await fulfillment.finish_picking(
            conn, who, pickup_id, staging_location="A1", short=missing, now=now
        )


async def counters(db: Database, shop: Shop, index: int = 0) -> tuple[int, int]:
    """On hand and reserved of a SKU at the first store."""
    key = (shop.stores[0].location_id, shop.skus[index].sku)
    async with db.reading() as conn:
        level = (await stock.levels(conn, [key]))[key]
    return level.on_hand, level.reserved


async def facts(db: Database, order_id: UUID) -> list[str]:
    """The order's timeline."""
    async with db.reading() as conn:
        return [each.type for each in await events.timeline(conn, order_id)]
