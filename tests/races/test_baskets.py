"""Tills and the web after the same goods, on committed data over two pools of connections."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from commerce import fulfillment, orders
from commerce.access import Principal
from commerce.fulfillment import Cash
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, Order, Placement, StockShort
from commerce.pricing import Basket, Line
from pos_sync import baskets
from pos_sync.baskets import Sold, Standing
from tests.counter import NOW, SECRET, associate, counters
from tests.shop import Shop, make_shop

PRICE = 10_000


@pytest.fixture(scope="module")
async def rival(dsn: str) -> AsyncIterator[Database]:
    """The pool of another process."""
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


async def opened(db: Database, who: Principal, shop: Shop) -> UUID:
    basket_id = ids.uuid7()
    at = shop.stores[0].location_id
    async with db.transaction() as conn:
        await baskets.open_basket(conn, who, basket_id, at, now=NOW)
    return basket_id


async def scan(db: Database, who: Principal, basket_id: UUID, barcode: str) -> Any:
    try:
        return await db.commit(
            lambda conn: baskets.scan(conn, who, basket_id, barcode=barcode, quantity=1, now=NOW)
        )
    except CommerceError as refused:
        return refused


async def sell(db: Database, who: Principal, basket_id: UUID, total_minor: int) -> Any:
    total = Money(total_minor, "MXN")
    try:
        return await db.commit(
            lambda conn: baskets.sell(
                conn,
                who,
                basket_id,
                order_id=ids.uuid7(),
                fulfillment_id=ids.uuid7(),
                seen=total,
                coupon_code=None,
                tender=Cash(total),
                numbers=Numbers(SECRET),
                now=NOW,
            )
        )
    except CommerceError as refused:
        return refused


async def order_on_the_web(db: Database, shop: Shop) -> Any:
    wanted = Placement(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[0].location_id, (Line(shop.skus[0].sku, 1),)),
        seen=Money(PRICE, shop.currency),
        tender="pay_at_pickup",
        channel="web",
        key_id=ids.uuid7(),
        actor="web",
    )
    (outcome,) = await db.commit(
        lambda conn: orders.place(conn, [wanted], numbers=Numbers(SECRET), now=NOW)
    )
    return outcome


async def test_a_till_and_the_web_after_the_last_unit(db: Database, rival: Database) -> None:
    for _ in range(8):
        shop = await make_shop(db, skus=1, stores=1, on_hand=1)
        who = associate(shop)
        basket_id = await opened(db, who, shop)
        at_till, on_web = await asyncio.gather(
            scan(db, who, basket_id, shop.skus[0].gtin), order_on_the_web(rival, shop)
        )
        outcomes = {type(at_till), type(on_web)}
        assert outcomes in ({Standing, StockShort}, {StockShort, Order})
        assert await counters(db, shop) == (1, 1)
        if isinstance(at_till, Standing):
            assert isinstance(await sell(db, who, basket_id, PRICE), Sold)
            assert await counters(db, shop) == (0, 0)


async def test_many_tills_and_shoppers_sell_what_there_is(db: Database, rival: Database) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=10)

    async def at_till(of: Database) -> Any:
        who = associate(shop)
        basket_id = await opened(of, who, shop)
        scanned = await scan(of, who, basket_id, shop.skus[0].gtin)
        return await sell(of, who, basket_id, PRICE) if isinstance(scanned, Standing) else scanned

    outcomes = await asyncio.gather(
        *(at_till(of) for of in (db, rival) * 8),
        *(order_on_the_web(of, shop) for of in (db, rival) * 8),
    )
    sold = sum(isinstance(each, Sold) for each in outcomes)
    promised = sum(isinstance(each, Order) for each in outcomes)
    assert sold + promised == 10
    assert sum(isinstance(each, StockShort) for each in outcomes) == 22
    assert await counters(db, shop) == (10 - sold, promised)


async def test_one_basket_is_sold_once(db: Database, rival: Database) -> None:
    for _ in range(8):
        shop = await make_shop(db, skus=2, stores=1)
        who = associate(shop)
        basket_id = await opened(db, who, shop)
        for each in shop.skus:
            await scan(db, who, basket_id, each.gtin)
        outcomes = await asyncio.gather(
            *(sell(of, who, basket_id, 21_000) for of in (db, rival, db))
        )
        assert sorted(type(each).__name__ for each in outcomes) == [
            Sold.__name__,
            WrongState.__name__,
            WrongState.__name__,
        ]
        assert await counters(db, shop) == (9, 0)
        assert await counters(db, shop, 1) == (9, 0)


async def test_baskets_of_the_same_goods_in_another_order_do_not_block_each_other(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db, skus=4, stores=1, on_hand=100)
    forward = [each.gtin for each in shop.skus]

    async def shopper(of: Database, barcodes: list[str]) -> Any:
        who = associate(shop)
        basket_id = await opened(of, who, shop)
        for barcode in barcodes:
            await scan(of, who, basket_id, barcode)
        return await sell(of, who, basket_id, 46_000)

    outcomes = await asyncio.gather(
        *(shopper(of, order) for of in (db, rival) for order in (forward, forward[::-1]) * 2)
    )
    assert [type(each) for each in outcomes] == [Sold] * 8
    for index in range(4):
        assert await counters(db, shop, index) == (92, 0)
    (share,) = outcomes[0].order.fulfillments
    assert share.kind == "carry_out"
    async with db.reading() as conn:
        open_work = await fulfillment.open_at(
            conn, associate(shop), shop.stores[0].location_id, state=None, after=UUID(int=0), page=9
        )
    assert open_work == [], "what was carried out is nobody's work"
