"""Placing, confirming and cancelling orders on a real database."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from commerce import orders
from commerce.customers import Contact
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import (
    CardPayment,
    Numbers,
    Order,
    PickupUnavailable,
    Placement,
    PriceChanged,
    StockGone,
    StockShort,
)
from commerce.pricing import Basket, CouponRefused, Line, UnknownSku, UnknownStore
from inventory import reservations, stock
from inventory.demands import Demand, Want
from tests.carts import make_coupon
from tests.shop import OPENED_AT, Shop, make_shop

NOW = OPENED_AT + timedelta(hours=1)
KEY = b"k" * 32


@pytest.fixture(scope="module")
async def database(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


def placement(
    shop: Shop,
    *lines: tuple[int, int],
    total_minor: int,
    coupon: str | None = None,
    card: bool = False,
    demand_id: UUID | None = None,
) -> Placement:
    """An order of (SKU number, units) at the shop's first store."""
    basket = Basket(
        shop.stores[0].location_id,
        tuple(Line(shop.skus[index].sku, quantity) for index, quantity in lines),
        coupon,
    )
    return Placement(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        basket=basket,
        seen=Money(total_minor, shop.currency),
        tender="card" if card else "pay_at_pickup",
        channel="web",
        key_id=ids.uuid7(),
        actor="test",
        contact=Contact(id=ids.uuid7(), name="Ana", email="ana@example.com", locale="es"),
        demand_id=demand_id,
        card=CardPayment(ids.uuid7(), ids.uuid7(), "pm_card_visa") if card else None,
    )


async def place(
    database: Database, *placements: Placement, now: datetime = NOW
) -> list[Order | CommerceError]:
    async with database.transaction() as conn:
        return await orders.place(conn, placements, numbers=Numbers(KEY), now=now)


async def placed(database: Database, wanted: Placement, now: datetime = NOW) -> Order:
    (outcome,) = await place(database, wanted, now=now)
    assert isinstance(outcome, Order), outcome
    return outcome


async def counters(database: Database, shop: Shop, index: int = 0) -> tuple[int, int]:
    key = (shop.stores[0].location_id, shop.skus[index].sku)
    async with database.reading() as conn:
        level = (await stock.levels(conn, [key]))[key]
    return level.on_hand, level.reserved


async def facts(database: Database, order_id: UUID) -> list[str]:
    async with database.reading() as conn:
        return [each.type for each in await events.timeline(conn, order_id)]


async def test_order_is_placed_with_frozen_lines_and_a_committed_promise(
    database: Database,
) -> None:
    shop = await make_shop(database)
    made = await placed(database, placement(shop, (0, 2), (1, 1), total_minor=31_000))
    async with database.reading() as conn:
        stored = await orders.by_id(conn, made.id)
        (one, two) = await reservations.of_demands(conn, [made.fulfillments[0].demand_id])
    assert stored == made
    assert (made.head.state, made.head.total_minor, made.head.tax_minor) == (
        "placed",
        31_000,
        4_276,
    )
    assert [(line.quantity, line.tax_minor) for line in made.lines] == [(2, 2_759), (1, 1_517)]
    assert {one.state, two.state} == {"committed"}
    assert await counters(database, shop) == (10, 2)
    assert await facts(database, made.id) == ["order.placed", "pickup.requested"]


async def test_a_sku_on_two_lines_is_summed_before_it_is_compared(database: Database) -> None:
    shop = await make_shop(database, on_hand=3)
    (outcome,) = await place(database, placement(shop, (0, 2), (0, 2), total_minor=40_000))
    assert isinstance(outcome, StockShort)
    assert [(s.requested, s.available) for s in outcome.short] == [(4, 3)]
    assert await counters(database, shop) == (3, 0)


async def test_each_order_of_a_batch_has_its_own_outcome(database: Database) -> None:
    shop = await make_shop(database, on_hand=1)
    unknown_sku = placement(shop, (0, 1), total_minor=10_000)
    basket = Basket(shop.stores[0].location_id, (Line("nothing", 1),))
    wanted = [
        placement(shop, (0, 1), total_minor=10_000),
        placement(shop, (0, 1), total_minor=10_000),
        placement(shop, (1, 1), total_minor=1),
        Placement(**{f: getattr(unknown_sku, f) for f in Placement.__struct_fields__}
                  | {"basket": basket}),
        placement(shop, (1, 1), total_minor=11_000, coupon="NOPE"),
        placement(shop, (2, 1), total_minor=12_000),
    ]  # fmt: skip
    outcomes = await place(database, *wanted)
    assert [type(each) for each in outcomes] == [
        Order, StockShort, PriceChanged, UnknownSku, CouponRefused, Order,
    ]  # fmt: skip
    assert outcomes[2].fields() == {"seen": Money(1, "MXN"), "total": Money(11_000, "MXN")}  # type: ignore[union-attr]
    assert await counters(database, shop, 1) == (1, 0)


async def test_a_batch_costs_as_many_statements_as_one_order(database: Database) -> None:
    shop = await make_shop(database, on_hand=100)
    counts = []
    numbers = Numbers(KEY)
    for size in (1, 64):
        wanted = [placement(shop, (0, 1), (1, 1), total_minor=21_000) for _ in range(size)]
        async with database.transaction() as conn:
            outcomes = await orders.place(conn, wanted, numbers=numbers, now=NOW)
            await conn.flush()
            counts.append(conn.statements)
        assert all(isinstance(each, Order) for each in outcomes)
    assert counts == [5, 3]  # the first draws a block of numbers


async def test_a_coupons_use_that_an_order_did_not_take_is_for_the_next_in_the_batch(
    database: Database,
) -> None:
    shop = await make_shop(database, on_hand=5)
    code = await make_coupon(database, max_redemptions=2)
    greedy = [placement(shop, (0, 6), total_minor=54_000, coupon=code) for _ in range(3)]
    modest = [placement(shop, (0, 1), total_minor=9_000, coupon=code) for _ in range(4)]
    wanted = [greedy[0], modest[0], greedy[1], *modest[1:], greedy[2]]
    outcomes = await place(database, *wanted)
    assert [type(each) for each in outcomes] == [
        StockShort, Order, StockShort, Order, CouponRefused, CouponRefused, CouponRefused,
    ]  # fmt: skip
    assert await counters(database, shop) == (5, 2)
    async with database.reading() as conn:
        used = await conn.driver.fetchval("SELECT redeemed FROM coupon WHERE code = $1", code)
    assert used == 2


async def test_unknown_store_and_closed_pickup_are_named(database: Database) -> None:
    shop = await make_shop(database)
    nowhere = placement(shop, (0, 1), total_minor=10_000)
    basket = Basket(ids.uuid7(), (Line(shop.skus[0].sku, 1),))
    fields = {f: getattr(nowhere, f) for f in Placement.__struct_fields__}
    (outcome,) = await place(database, Placement(**fields | {"basket": basket}))
    assert isinstance(outcome, UnknownStore)
    async with database.transaction() as conn:
        await conn.driver.execute(
            "UPDATE store SET pickup_enabled = false WHERE location_id = $1",
            shop.stores[0].location_id,
        )
    (outcome,) = await place(database, nowhere)
    assert isinstance(outcome, PickupUnavailable)
    assert outcome.reason == "pickup_disabled"
    assert await counters(database, shop) == (10, 0)


async def test_order_by_card_waits_and_is_confirmed_once(database: Database) -> None:
    shop = await make_shop(database)
    made = await placed(database, placement(shop, (0, 1), total_minor=10_000, card=True))
    assert (made.head.state, made.fulfillments[0].requested_at) == ("pending_payment", None)
    async with database.transaction() as conn:
        done = await orders.confirm(conn, made.id, actor="test", now=NOW)
        assert await orders.confirm(conn, made.id, actor="test", now=NOW) == done
    assert (done.head.state, done.fulfillments[0].requested_at) == ("placed", NOW)
    assert await counters(database, shop) == (10, 1)
    assert await facts(database, made.id) == [
        "order.payment_requested", "order.placed", "pickup.requested",
    ]  # fmt: skip


async def test_late_payment_holds_again_or_learns_that_stock_is_gone(database: Database) -> None:
    shop = await make_shop(database, on_hand=1)
    late = NOW + timedelta(hours=1)
    made = await placed(database, placement(shop, (0, 1), total_minor=10_000, card=True))
    rival = Demand(
        ids.uuid7(), (Want(shop.stores[0].location_id, shop.skus[0].sku, 1),), "order", "test"
    )
    async with database.transaction() as conn:
        await reservations.hold(conn, [rival], now=late)
    with pytest.raises(StockGone):
        async with database.transaction() as conn:
            await orders.confirm(conn, made.id, actor="test", now=late)
    async with database.transaction() as conn:
        await reservations.release(conn, rival.id, actor="test", now=late)
        done = await orders.confirm(conn, made.id, actor="test", now=late)
    assert done.head.state == "placed"
    assert done.fulfillments[0].demand_id != made.fulfillments[0].demand_id
    assert await counters(database, shop) == (1, 1)


async def test_cancelling_releases_stock_once(database: Database) -> None:
    shop = await make_shop(database)
    made = await placed(database, placement(shop, (0, 2), total_minor=20_000))
    async with database.transaction() as conn:
        done = await orders.cancel(conn, made.id, reason="shopper", actor="test", now=NOW)
        assert await orders.cancel(conn, made.id, reason="again", actor="test", now=NOW) == done
    assert (done.head.state, done.head.cancel_reason) == ("cancelled", "shopper")
    assert [line.cancelled_quantity for line in done.lines] == [2]
    assert await counters(database, shop) == (10, 0)
    assert (await facts(database, made.id))[-2:] == ["order.cancelled", "pickup.cancelled"]
    with pytest.raises(WrongState):
        async with database.transaction() as conn:
            await orders.confirm(conn, made.id, actor="test", now=NOW)
