"""Returns against a real database: stock where they come back, money for exactly what came."""

import msgspec
import pytest

from commerce import access, catalog, orders, payments, returns
from commerce.importing import CouponRecord
from commerce.kernel import ids
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.payments import RefundExceedsCapture
from commerce.returns import (
    Arrival,
    ReturnExceedsBought,
)
from inventory import stock
from tests.returning import (
    LATER,
    at_store,
    money,
    on_hand,
    receive,
    refuses,
    request,
    return_facts,
    take_back,
    unsellable,
)
from tests.shop import ACTOR, make_shop
from tests.sold import SOLD_AT, sell


async def test_unit_comes_back_at_another_store_and_is_refunded_in_cash(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), (1, 1), total_minor=31_000)
    who = at_store(shop, 1)
    done = await take_back(db, who, order, Arrival(1, "restock", 1))
    assert (done.return_.head.state, done.return_.head.refund_minor) == ("settled", 10_000)
    assert done.return_.head.location_id == shop.stores[1].location_id
    assert (await on_hand(db, shop, 0), await on_hand(db, shop, 1)) == (8, 11)
    assert await money(db, order) == (31_000, 10_000)
    async with db.reading() as conn:
        assert await returns.by_id(conn, done.return_.id) == done.return_
        assert [line.returned_quantity for line in (await orders.by_id(conn, order.id)).lines] == [
            1, 0,
        ]  # fmt: skip
        ledger = await stock.history(conn, (shop.stores[1].location_id, shop.skus[0].sku), page=1)
    assert [(row.kind, row.on_hand_delta, row.reference, row.actor) for row in ledger] == [
        ("return", 1, done.return_.id, who.actor)
    ]


async def test_timeline_and_staff_record_tell_ids_counts_and_amounts(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), total_minor=20_000)
    who = at_store(shop, 1)
    made = await request(db, who, order, {1: 2}, reason="too small")
    await receive(db, who, made.id, Arrival(1, "restock", 1))
    asked = {"return_id": str(made.id), "quantity": 2, "refund_minor": 20_000, "currency": "MXN"}
    came = asked | {"refund_minor": 10_000}
    assert await return_facts(db, order) == [
        ("return.requested", asked),
        ("return.approved", asked),
        ("return.received", came | {"received": 1, "restocked": 1}),
        ("return.settled", came),
    ]
    async with db.reading() as conn:
        record = await access.staff_record_page(conn, before=None, page=1_000)
    place = shop.stores[1].location_id
    assert {(e.action, e.actor, e.location_id) for e in record if str(made.id) in e.subject} == {
        ("return.received", who.actor, place),
        ("return.requested", who.actor, place),
    }


async def test_each_disposition_has_its_place(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 5), total_minor=50_000)
    done = await take_back(
        db,
        at_store(shop, 1),
        order,
        Arrival(1, "restock", 1),
        Arrival(1, "damaged", 2),
        Arrival(1, "return_to_vendor", 1),
        Arrival(1, "destroy", 1),
    )
    assert await on_hand(db, shop, 1) == 11
    assert await unsellable(db, shop, 1) == {"damaged": 2, "return_to_vendor": 1}
    assert [(u.disposition, u.quantity) for u in done.return_.units] == [
        ("damaged", 2), ("destroy", 1), ("restock", 1), ("return_to_vendor", 1),
    ]  # fmt: skip
    assert await money(db, order) == (50_000, 50_000)


async def test_only_what_came_is_refunded_and_the_rest_is_free_again(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 3), (1, 1), total_minor=41_000)
    made = await request(db, at_store(shop, 0), order, {1: 3, 2: 1})
    assert made.head.refund_minor == 41_000
    done = await receive(db, at_store(shop, 1), made.id, Arrival(1, "restock", 2))
    assert [(line.quantity, line.received_quantity, line.refund_minor)
            for line in done.return_.lines] == [(3, 2, 20_000), (1, 0, 0)]  # fmt: skip
    assert await money(db, order) == (41_000, 20_000)
    async with db.reading() as conn:
        now_sold = await orders.by_id(conn, order.id)
        offered = await returns.eligibility(conn, now_sold, now=LATER)
    assert [each.returnable for each in offered] == [1, 1]


async def test_when_everything_came_back_all_that_was_captured_is_refunded(db: Database) -> None:
    shop = await make_shop(db)
    code = f"C{shop.tag}"
    coupon = CouponRecord(code=code, kind="amount", amount_minor=100, currency="MXN")
    async with db.transaction() as conn:
        assert await catalog.upsert_coupons(conn, [coupon]) == [None]
    order = await sell(db, shop, (0, 3), (1, 2), total_minor=51_900, coupon=code)
    refunds = []
    for line_number, quantity in ((1, 1), (2, 1), (1, 2), (2, 1)):
        done = await take_back(
            db, at_store(shop, 1), order, Arrival(line_number, "restock", quantity)
        )
        refunds.append(done.return_.head.refund_minor)
    assert sum(refunds) == 51_900
    assert await money(db, order) == (51_900, 51_900)
    refused = await refuses(
        db,
        order,
        ReturnExceedsBought,
        take_back(db, at_store(shop, 1), order, Arrival(1, "restock", 1)),
    )
    assert (refused.requested, refused.returnable) == (1, 0)


async def test_units_of_an_open_return_cannot_be_asked_for_again(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), total_minor=20_000)
    made = await request(db, at_store(shop, 0), order, {1: 2})
    refused = await refuses(
        db, order, ReturnExceedsBought, request(db, at_store(shop, 1), order, {1: 1})
    )
    assert refused.returnable == 0
    async with db.transaction() as conn:
        cancelled = await returns.cancel(conn, at_store(shop, 0), made.id, now=LATER)
    assert (cancelled.head.state, cancelled.head.closed_at) == ("cancelled", LATER)
    assert (await request(db, at_store(shop, 1), order, {1: 2})).head.state == "approved"


async def test_a_return_is_received_once(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), total_minor=20_000)
    made = await request(db, at_store(shop, 0), order, {1: 2})
    await receive(db, at_store(shop, 0), made.id, Arrival(1, "restock", 2))
    refused = await refuses(
        db, order, WrongState, receive(db, at_store(shop, 1), made.id, Arrival(1, "restock", 2))
    )
    assert (refused.state, refused.allowed) == ("settled", ["approved"])
    async with db.transaction() as conn:
        with pytest.raises(WrongState):
            await returns.cancel(conn, at_store(shop, 0), made.id, now=LATER)


async def test_nothing_is_refunded_before_goods_came(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    made = await request(db, at_store(shop, 0), order, {1: 1})
    async with db.transaction() as conn:
        with pytest.raises(WrongState):
            await returns.refund_again(conn, at_store(shop, 0), made.id, now=LATER)
    assert await money(db, order) == (10_000, 0)


async def test_a_refund_spills_over_tenders_and_stops_at_what_was_captured(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 3), total_minor=30_000)
    async with db.transaction() as conn:
        (paid,) = await payments.of_order(conn, order.id)
        await conn.driver.execute(
            "UPDATE payment SET captured_minor = 12000, authorized_minor = 12000 WHERE id = $1",
            paid.id,
        )
        await payments.take(
            conn, payment_id=ids.uuid7(), order_id=order.id, fulfillment_id=paid.fulfillment_id,
            tender="external_terminal", amount=Money(13_000, "MXN"), reference="T1", actor=ACTOR,
            now=SOLD_AT,
        )  # fmt: skip
    done = await take_back(db, at_store(shop, 1), order, Arrival(1, "restock", 2))
    async with db.reading() as conn:
        spread = {p.tender: p.refunded_minor for p in await payments.of_order(conn, order.id)}
    assert (done.return_.head.state, spread) == (
        "settled",
        {"external_terminal": 13_000, "cash": 7_000},
    )
    with pytest.raises(RefundExceedsCapture) as refused:
        await take_back(db, at_store(shop, 1), order, Arrival(1, "restock", 1))
    assert (refused.value.requested_minor, refused.value.refundable_minor) == (10_000, 5_000)
    assert await money(db, order) == (25_000, 20_000)
    assert await on_hand(db, shop, 1) == 12


async def test_a_free_unit_comes_back_without_a_refund(db: Database) -> None:
    shop = await make_shop(db)
    code = f"C{shop.tag}"
    coupon = CouponRecord(code=code, kind="percent", percent_bp=10_000)
    async with db.transaction() as conn:
        assert await catalog.upsert_coupons(conn, [coupon]) == [None]
    order = await sell(db, shop, (0, 1), total_minor=0, coupon=code)
    done = await take_back(db, at_store(shop, 0), order, Arrival(1, "restock", 1))
    assert (done.return_.head.state, done.operations) == ("settled", ())


async def test_an_unknown_return_and_an_unknown_store_are_not_found(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    nowhere = msgspec.structs.replace(at_store(shop, 0), location_ids=(ids.uuid7(),))
    made = await request(db, at_store(shop, 0), order, {1: 1})
    for who, return_id, kind in (
        (at_store(shop, 0), ids.uuid7(), "return"),
        (nowhere, made.id, "store"),
    ):
        refused = await refuses(
            db, order, NotFound, receive(db, who, return_id, Arrival(1, "restock", 1))
        )
        assert refused.kind == kind
