"""Shoppers, tills and clicks at the same time, on committed data over two pools of connections."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from commerce import carts, orders
from commerce.carts import CartOrdered, Checkout, Completion, Quoted
from commerce.kernel import ids
from commerce.kernel.coalesce import Coalescer
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers, Order, Placement, StockShort
from commerce.pricing import Basket, CouponRefused, Line
from inventory import reservations
from inventory.demands import Demand, Held, Refused, Want
from tests.carts import (
    GUEST,
    KEY,
    NOW,
    apply_coupon,
    begin,
    begun,
    complete,
    completion,
    counters,
    full_cart,
    make_cart,
    make_coupon,
    read,
    set_line,
)
from tests.shop import Shop, make_shop


@pytest.fixture(scope="module")
async def rival(dsn: str) -> AsyncIterator[Database]:
    """The pool of another process."""
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


def desk(db: Database) -> "Coalescer[Completion, Order]":
    """Where a process completes carts."""

    async def work(conn: Connection, items: Any) -> list[Order | CommerceError]:
        return await carts.complete(conn, items, numbers=Numbers(KEY), now=NOW)

    return Coalescer(db, work, weigh=lambda _: 2)


async def order_count(db: Database, shop: Shop) -> int:
    async with db.reading() as conn:
        counted = await conn.driver.fetchval(
            "SELECT count(*) FROM orders WHERE location_id = $1", shop.stores[0].location_id
        )
    return int(counted)


async def test_cart_completed_many_times_at_once_is_one_order(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 2))
    await begun(db, made.id)
    outcomes = await asyncio.gather(
        *(complete(of, completion(made.id, 20_000)) for of in (db, rival) * 5)
    )
    (order,) = {each.id for (each,) in outcomes if isinstance(each, Order)}
    assert len(outcomes) == 10
    assert all(isinstance(each, Order) for (each,) in outcomes)
    assert (await read(db, made.id)).cart.order_id == order
    assert await order_count(db, shop) == 1
    assert await counters(db, shop) == (10, 2)


async def test_two_shoppers_for_the_last_unit(db: Database, rival: Database) -> None:
    for _ in range(5):
        shop = await make_shop(db, on_hand=1)
        made = [await full_cart(db, shop, (0, 1)) for _ in range(2)]
        outcomes = await asyncio.gather(begin(db, made[0].id), begin(rival, made[1].id))
        assert {type(each) for each in outcomes} == {Quoted, StockShort}
        assert await counters(db, shop) == (1, 1)


async def test_web_app_and_till_after_the_last_units_sell_exactly_those(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db, on_hand=6)
    at, sku = shop.stores[0].location_id, shop.skus[0].sku

    async def web(of: Database) -> bool:
        made = await full_cart(of, shop, (0, 1))
        if isinstance(await begin(of, made.id), StockShort):
            return False
        (outcome,) = await complete(of, completion(made.id, 10_000))
        assert isinstance(outcome, Order)
        return True

    async def app(of: Database) -> bool:
        wanted = Placement(
            order_id=ids.uuid7(), fulfillment_id=ids.uuid7(), basket=Basket(at, (Line(sku, 1),)),
            seen=Money(10_000, "MXN"), tender="pay_at_pickup", channel="app", key_id=ids.uuid7(),
            actor="test",
        )  # fmt: skip
        async with of.transaction() as conn:
            (outcome,) = await orders.place(conn, [wanted], numbers=Numbers(KEY), now=NOW)
        assert isinstance(outcome, Order | StockShort)
        return isinstance(outcome, Order)

    async def till(of: Database) -> bool:
        basket = Demand(
            ids.uuid7(), (Want(at, sku, 1),), "counter", "test", NOW + timedelta(minutes=5)
        )
        async with of.transaction() as conn:
            (outcome,) = await reservations.hold(conn, [basket], now=NOW)
        assert isinstance(outcome, Held | Refused)
        return isinstance(outcome, Held)

    won = await asyncio.gather(*(buy(of) for of in (db, rival) for buy in (web, app, till) * 3))
    assert sum(won) == 6
    assert await counters(db, shop) == (6, 6)


async def test_edits_at_once_lose_no_line(db: Database, rival: Database) -> None:
    shop = await make_shop(db, skus=20, stores=1)
    made = await make_cart(db)
    await asyncio.gather(
        *(
            set_line(of, made.id, each.sku, number + 1)
            for number, each in enumerate(shop.skus)
            for of in (db, rival)
        )
    )
    found = (await read(db, made.id)).cart
    assert {line.sku: line.quantity for line in found.wanted} == {
        each.sku: number + 1 for number, each in enumerate(shop.skus)
    }
    assert found.revision == 41


async def test_edit_and_completion_at_once_agree(db: Database, rival: Database) -> None:
    for _ in range(10):
        shop = await make_shop(db)
        made = await full_cart(db, shop, (0, 1))
        await begun(db, made.id)
        edited, completed = await asyncio.gather(
            set_line(db, made.id, shop.skus[0].sku, 5),
            complete(rival, completion(made.id, 10_000)),
            return_exceptions=True,
        )
        assert isinstance(completed, list)
        (outcome,) = completed
        found = (await read(db, made.id)).cart
        if isinstance(outcome, Order):
            assert isinstance(edited, CartOrdered)
            assert (found.state, found.lines, await counters(db, shop)) == (
                "ordered", made.lines, (10, 1),
            )  # fmt: skip
        else:
            assert isinstance(outcome, WrongState)
            assert found == edited
            assert (found.state, await counters(db, shop)) == ("open", (10, 0))


async def test_last_use_of_a_coupon_goes_to_one_cart(db: Database, rival: Database) -> None:
    shop = await make_shop(db)
    code = await make_coupon(db, max_redemptions=3)
    made = [await full_cart(db, shop, (0, 1)) for _ in range(8)]
    for each in made:
        await apply_coupon(db, each.id, code)
        await begun(db, each.id)
    desks = [desk(db), desk(rival)]
    outcomes = await asyncio.gather(
        *(desks[number % 2].submit(completion(each.id, 9_000)) for number, each in enumerate(made)),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if isinstance(each, CouponRefused)]
    assert [each.reason for each in refused] == ["used_up"] * 5
    assert sum(isinstance(each, Order) for each in outcomes) == 3
    async with db.reading() as conn:
        used = await conn.driver.fetchval("SELECT redeemed FROM coupon WHERE code = $1", code)
    assert used == 3
    assert await counters(db, shop) == (10, 8)


async def test_checkouts_begun_many_times_at_once_hold_once(db: Database, rival: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    wishes = [Checkout(made.id, GUEST, ids.uuid7(), "test") for _ in range(3)]

    async def enter(of: Database) -> set[object]:
        async with of.transaction() as conn:
            outcomes = await carts.begin(conn, wishes, now=NOW)
        return {each.cart.demand_id for each in outcomes if isinstance(each, Quoted)}

    held = await asyncio.gather(*(enter(of) for of in (db, rival) * 3))
    assert len(set().union(*held)) == 1
    assert await counters(db, shop) == (10, 1)
