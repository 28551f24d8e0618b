"""Baskets of a till: held while they stand on the counter, sold in one transaction."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from commerce import orders, payments
from commerce.access import Principal, StoreNotAllowed
from commerce.fulfillment import Cash, CounterTender, ExternalTerminal, TenderedTooLittle
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, PriceChanged, StockShort
from commerce.pricing import CouponRefused, UnknownSku
from inventory import reservations, stock
from inventory.demands import Demand, Held, Want
from pos_sync import baskets
from pos_sync.baskets import HoldsLost, Sold, Standing
from tests.counter import NOW, SECRET, associate, counters, facts
from tests.shop import Shop, make_shop

AFTER = NOW + timedelta(minutes=10)
LATER = NOW + timedelta(minutes=4)


@pytest.fixture(scope="module")
async def db(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db)


def pesos(amount_minor: int) -> Money:
    return Money(amount_minor, "MXN")


async def opened(db: Database, who: Principal) -> UUID:
    assert who.location_ids is not None
    basket_id = ids.uuid7()
    async with db.transaction() as conn:
        await baskets.open_basket(conn, who, basket_id, who.location_ids[0], now=NOW)
    return basket_id


async def scan(
    db: Database,
    who: Principal,
    basket_id: UUID,
    barcode: str,
    *,
    quantity: int = 1,
    now: datetime = NOW,
) -> Standing:
    async with db.transaction() as conn:
        return await baskets.scan(conn, who, basket_id, barcode=barcode, quantity=quantity, now=now)


async def remove(
    db: Database, who: Principal, basket_id: UUID, line_number: int, *, now: datetime = NOW
) -> None:
    async with db.transaction() as conn:
        await baskets.remove(conn, who, basket_id, line_number, now=now)


async def hold_again(db: Database, who: Principal, basket_id: UUID, now: datetime) -> Standing:
    async with db.transaction() as conn:
        return await baskets.hold_again(conn, who, basket_id, now=now)


async def read(
    db: Database, who: Principal, basket_id: UUID, *, now: datetime = NOW, coupon: str | None = None
) -> Standing:
    async with db.reading() as conn:
        return await baskets.read(conn, who, basket_id, coupon_code=coupon, now=now)


async def sell(
    db: Database,
    who: Principal,
    basket_id: UUID,
    *,
    seen: Money,
    tender: CounterTender | None,
    coupon: str | None = None,
    now: datetime = NOW,
) -> Sold:
    async with db.transaction() as conn:
        return await baskets.sell(
            conn,
            who,
            basket_id,
            order_id=ids.uuid7(),
            fulfillment_id=ids.uuid7(),
            seen=seen,
            coupon_code=coupon,
            tender=tender,
            numbers=Numbers(SECRET),
            now=now,
        )


async def hold_on_the_web(db: Database, shop: Shop, units: int, now: datetime) -> object:
    want = Want(shop.stores[0].location_id, shop.skus[0].sku, units)
    async with db.transaction() as conn:
        (outcome,) = await reservations.hold(
            conn, [Demand(ids.uuid7(), (want,), "order", "web")], now=now
        )
    return outcome


async def test_scanned_goods_are_held_and_priced(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].gtin, quantity=2)
    standing = await scan(db, who, basket_id, shop.skus[1].sku)
    assert [(line.line_number, line.sku, line.quantity) for line in standing.basket.lines] == [
        (1, shop.skus[0].sku, 2),
        (2, shop.skus[1].sku, 1),
    ]
    assert standing.held_until == (AFTER, AFTER)
    assert (standing.quote.total_minor, standing.quote.currency) == (31_000, "MXN")
    assert await counters(db, shop) == (10, 2)
    assert await read(db, who, basket_id) == standing


async def test_a_gtin_is_found_in_its_longer_form_too(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    standing = await scan(db, who, basket_id, "0" + shop.skus[0].gtin)
    assert standing.basket.lines[0].sku == shop.skus[0].sku


async def test_each_scan_gives_all_lines_ten_minutes_more(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].sku)
    standing = await scan(db, who, basket_id, shop.skus[0].sku, now=LATER)
    until = LATER + timedelta(minutes=10)
    assert standing.held_until == (until, until)
    await remove(db, who, basket_id, 2, now=AFTER)
    standing = await read(db, who, basket_id, now=AFTER)
    assert standing.held_until == (AFTER + timedelta(minutes=10),)
    assert await counters(db, shop) == (10, 1)


async def test_more_than_there_is_is_refused_and_the_basket_stays(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    before = await scan(db, who, basket_id, shop.skus[0].sku, quantity=8)
    with pytest.raises(StockShort) as refused:
        await scan(db, who, basket_id, shop.skus[0].sku, quantity=3)
    assert [(s.requested, s.available) for s in refused.value.short] == [(3, 2)]
    assert await read(db, who, basket_id) == before
    assert await counters(db, shop) == (10, 8)


async def test_unknown_and_unsold_goods_are_refused(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    for barcode in ("nothing", "12345670"):
        with pytest.raises(NotFound):
            await scan(db, who, basket_id, barcode)
    async with db.transaction() as conn:
        await conn.driver.execute("DELETE FROM price WHERE sku = $1", shop.skus[2].sku)
    with pytest.raises(UnknownSku) as refused:
        await scan(db, who, basket_id, shop.skus[2].gtin)
    assert (refused.value.sku, refused.value.path) == (shop.skus[2].sku, "/barcode")
    with pytest.raises(NotFound):
        await remove(db, who, basket_id, 1)
    assert (await read(db, who, basket_id)).basket.lines == ()


async def test_a_sale_is_an_order_that_is_paid_and_gone(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].gtin)
    await scan(db, who, basket_id, shop.skus[1].gtin)
    await scan(db, who, basket_id, shop.skus[0].gtin, quantity=2)
    sold = await sell(db, who, basket_id, seen=pesos(41_000), tender=cash(50_000))
    assert sold.change == pesos(9_000)
    head = sold.order.head
    assert (head.state, head.channel, head.tender, head.total_minor) == (
        "completed",
        "store",
        "cash",
        41_000,
    )
    assert [(line.sku, line.fulfilled_quantity) for line in sold.order.lines] == [
        (shop.skus[0].sku, 1),
        (shop.skus[1].sku, 1),
        (shop.skus[0].sku, 2),
    ]
    (share,) = sold.order.fulfillments
    assert (share.kind, share.state, share.closed_at) == ("carry_out", "collected", NOW)
    assert await counters(db, shop) == (7, 0)
    assert await counters(db, shop, 1) == (9, 0)
    async with db.reading() as conn:
        (paid,) = await payments.of_order(conn, head.id)
        kept = await baskets.read(conn, who, basket_id, coupon_code=None, now=NOW)
        ledger = await stock.history(conn, (shop.stores[0].location_id, shop.skus[1].sku))
    assert (paid.state, paid.captured_minor) == ("captured", 41_000)
    assert (kept.basket.state, kept.basket.order_id) == ("sold", head.id)
    assert [(row.kind, row.on_hand_delta, row.reserved_delta) for row in reversed(ledger)] == [
        ("receive", 10, 0), ("hold", 0, 1), ("release", 0, -1), ("hold", 0, 1),
        ("fulfill", -1, -1),
    ]  # fmt: skip
    assert await facts(db, head.id) == ["order.placed", "payment.captured", "order.completed"]


async def test_a_basket_is_sold_once(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].gtin)
    await sell(db, who, basket_id, seen=pesos(10_000), tender=ExternalTerminal("T1-7"))
    with pytest.raises(WrongState) as refused:
        await sell(db, who, basket_id, seen=pesos(10_000), tender=ExternalTerminal("T1-8"))
    assert refused.value.state == "sold"
    with pytest.raises(WrongState):
        await scan(db, who, basket_id, shop.skus[0].gtin)
    with pytest.raises(WrongState):
        async with db.transaction() as conn:
            await baskets.release(conn, who, basket_id, now=NOW)
    assert await counters(db, shop) == (9, 0)


async def test_a_refused_sale_changes_nothing(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    before = await scan(db, who, basket_id, shop.skus[0].gtin)
    refusals: list[tuple[type[CommerceError], Money, CounterTender | None, str | None]] = [
        (PriceChanged, pesos(9_999), cash(10_000), None),
        (TenderedTooLittle, pesos(10_000), cash(9_999), None),
        (CouponRefused, pesos(10_000), cash(10_000), "NOPE"),
    ]
    for refusal, seen, tender, coupon in refusals:
        with pytest.raises(refusal):
            await sell(db, who, basket_id, seen=seen, tender=tender, coupon=coupon)
    assert await read(db, who, basket_id) == before
    assert await counters(db, shop) == (10, 1)
    empty = await opened(db, who)
    with pytest.raises(InvalidField):
        await sell(db, who, empty, seen=pesos(0), tender=None)


async def test_a_live_hold_is_sold_although_the_shelf_fell_short(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].gtin)
    at = shop.stores[0].location_id
    async with db.transaction() as conn:
        counted = stock.Movement(at, shop.skus[0].sku, "count", 0, "test")
        await stock.move(conn, [counted], now=NOW)
    await sell(db, who, basket_id, seen=pesos(10_000), tender=cash(10_000))
    assert await counters(db, shop) == (-1, 0)


async def test_a_dead_hold_stays_dead_and_is_said_per_line(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].gtin, quantity=4)
    standing = await scan(db, who, basket_id, shop.skus[1].gtin, now=AFTER)
    until = AFTER + timedelta(minutes=10)
    assert standing.held_until == (None, until)
    with pytest.raises(HoldsLost) as refused:
        await sell(db, who, basket_id, seen=pesos(51_000), tender=cash(51_000), now=AFTER)
    assert refused.value.line_numbers == [1]
    again = await hold_again(db, who, basket_id, AFTER)
    assert again.held_until == (until, until)
    assert again.basket.lines[1] == standing.basket.lines[1]
    await sell(db, who, basket_id, seen=pesos(51_000), tender=cash(51_000), now=AFTER)
    assert await counters(db, shop) == (6, 4), "the dead hold waits for the sweep"
    assert isinstance(await hold_on_the_web(db, shop, 6, AFTER), Held), "and counts as free"


async def test_what_the_web_was_promised_meanwhile_is_not_held_again(
    db: Database, shop: Shop
) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[0].gtin, quantity=4)
    await hold_on_the_web(db, shop, 7, AFTER)
    with pytest.raises(StockShort) as refused:
        await hold_again(db, who, basket_id, AFTER)
    assert [(s.sku, s.requested, s.available) for s in refused.value.short] == [
        (shop.skus[0].sku, 4, 3)
    ]
    assert (await read(db, who, basket_id, now=AFTER)).held_until == (None,)
    await remove(db, who, basket_id, 1, now=AFTER)
    assert await counters(db, shop) == (10, 7)


async def test_a_released_basket_gives_everything_back_once(db: Database, shop: Shop) -> None:
    who = associate(shop)
    basket_id = await opened(db, who)
    await scan(db, who, basket_id, shop.skus[1].gtin, quantity=2)
    await scan(db, who, basket_id, shop.skus[0].gtin, quantity=3)
    for _ in range(2):
        async with db.transaction() as conn:
            await baskets.release(conn, who, basket_id, now=NOW)
    assert await counters(db, shop) == (10, 0)
    assert await counters(db, shop, 1) == (10, 0)
    with pytest.raises(WrongState):
        await sell(db, who, basket_id, seen=pesos(52_000), tender=cash(52_000))


async def test_another_stores_associate_is_refused(db: Database, shop: Shop) -> None:
    who, stranger = associate(shop), associate(shop, store=1)
    basket_id = await opened(db, who)
    before = await scan(db, who, basket_id, shop.skus[0].gtin)
    with pytest.raises(StoreNotAllowed):
        await read(db, stranger, basket_id)
    with pytest.raises(StoreNotAllowed):
        await scan(db, stranger, basket_id, shop.skus[0].gtin)
    with pytest.raises(StoreNotAllowed):
        await sell(db, stranger, basket_id, seen=pesos(10_000), tender=cash(10_000))
    with pytest.raises(StoreNotAllowed):
        async with db.transaction() as conn:
            await baskets.open_basket(
                conn, stranger, ids.uuid7(), shop.stores[0].location_id, now=NOW
            )
    assert await read(db, who, basket_id) == before


async def test_a_sale_costs_the_same_for_one_line_or_many(db: Database, shop: Shop) -> None:
    who = associate(shop)
    counts = []
    for lines in (1, 6):
        basket_id = await opened(db, who)
        for index in range(lines):
            await scan(db, who, basket_id, shop.skus[index % 3].gtin)
        total = pesos((await read(db, who, basket_id)).quote.total_minor)
        async with db.transaction() as conn:
            await baskets.sell(
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
            counts.append(conn.statements)
        async with db.reading() as conn:
            sold = await baskets.read(conn, who, basket_id, coupon_code=None, now=NOW)
            assert sold.basket.order_id is not None
            order = await orders.by_id(conn, sold.basket.order_id)
        assert len(order.lines) == lines
    assert counts == [32, 32]


def cash(amount_minor: int) -> Cash:
    return Cash(pesos(amount_minor))
