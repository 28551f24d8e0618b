"""Two counters at once: every unit comes back once, and its money goes back once."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from commerce import orders, payments, returns
from commerce.access import Principal
from commerce.kernel.errors import WrongState
from commerce.kernel.sql import Connection, Database
from commerce.orders import Order
from commerce.returns import Arrival, Received, Return, ReturnExceedsBought
from inventory import stock
from tests.counter import associate
from tests.shop import Shop, make_shop
from tests.sold import SOLD_AT, sell

LATER = SOLD_AT + timedelta(days=1)
AT_ONCE = 8


async def outcomes(*attempts: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*attempts, return_exceptions=True)


async def take_back(db: Database, who: Principal, order: Order, quantity: int) -> Received:
    async def work(conn: Connection) -> Received:
        assert who.location_ids is not None
        return await returns.take_back(
            conn,
            who,
            order.id,
            [Arrival(1, "restock", quantity)],
            location_id=who.location_ids[0],
            reason=None,
            now=LATER,
        )

    return await db.commit(work)


async def receive(db: Database, who: Principal, made: Return, quantity: int) -> Received:
    async def work(conn: Connection) -> Received:
        assert who.location_ids is not None
        return await returns.receive(
            conn,
            who,
            made.id,
            [Arrival(1, "restock", quantity)],
            location_id=who.location_ids[0],
            now=LATER,
        )

    return await db.commit(work)


async def restocked(db: Database, shop: Shop) -> int:
    """Units that came back to any store."""
    keys = [(place.location_id, shop.skus[0].sku) for place in shop.stores]
    async with db.reading() as conn:
        rows = [row for key in keys for row in await stock.history(conn, key)]
    return sum(row.on_hand_delta for row in rows if row.kind == "return")


async def refunded_minor(db: Database, order: Order) -> int:
    async with db.reading() as conn:
        return sum(each.refunded_minor for each in await payments.of_order(conn, order.id))


async def test_two_stores_that_receive_one_return_get_it_once(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), total_minor=20_000)
    async with db.transaction() as conn:
        made = await returns.request(
            conn, associate(shop), order.id, {1: 2}, reason=None, now=LATER
        )
    tried = await outcomes(
        *(receive(db, associate(shop, store=n % 2), made, 2) for n in range(AT_ONCE))
    )
    won = [each for each in tried if isinstance(each, Received)]
    assert len(won) == 1
    assert [type(each) for each in tried if each not in won] == [WrongState] * (AT_ONCE - 1)
    assert await restocked(db, shop) == 2
    assert await refunded_minor(db, order) == 20_000
    async with db.reading() as conn:
        assert (await orders.by_id(conn, order.id)).lines[0].returned_quantity == 2
        assert (await returns.by_id(conn, made.id)) == won[0].return_


async def test_one_unit_is_taken_back_by_one_of_many_counters(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 3), total_minor=30_000)
    tried = await outcomes(
        *(take_back(db, associate(shop, store=n % 2), order, 1) for n in range(AT_ONCE))
    )
    assert sum(isinstance(each, Received) for each in tried) == 3
    assert sum(isinstance(each, ReturnExceedsBought) for each in tried) == AT_ONCE - 3
    assert await restocked(db, shop) == 3
    assert await refunded_minor(db, order) == 30_000


async def test_a_return_is_received_or_cancelled_never_both(db: Database) -> None:
    shop = await make_shop(db)
    who = associate(shop)
    for _ in range(AT_ONCE):
        order = await sell(db, shop, (0, 1), total_minor=10_000)
        async with db.transaction() as conn:
            made = await returns.request(conn, who, order.id, {1: 1}, reason=None, now=LATER)

        async def cancel(conn: Connection, of: Return = made) -> Return:
            return await returns.cancel(conn, who, of.id, now=LATER)

        tried = await outcomes(receive(db, who, made, 1), db.commit(cancel))
        assert sum(isinstance(each, WrongState) for each in tried) == 1
        async with db.reading() as conn:
            state = (await returns.by_id(conn, made.id)).head.state
        assert (state, await refunded_minor(db, order)) in {("settled", 10_000), ("cancelled", 0)}
