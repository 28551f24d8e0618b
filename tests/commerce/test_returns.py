"""Returns against a real database: stock where they come back, money for exactly what came."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from commerce import access, catalog, orders, payments, returns
from commerce.access import Principal, StoreNotAllowed
from commerce.importing import CouponRecord
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Order
from commerce.payments import RefundExceedsCapture
from commerce.returns import (
    Arrival,
    FinalSale,
    Received,
    Return,
    ReturnExceedsBought,
    ReturnWindowClosed,
)
from inventory import stock
from tests.counter import associate
from tests.shop import ACTOR, Shop, make_shop
from tests.sold import SOLD_AT, sell, shopper

LATER = SOLD_AT + timedelta(days=3)
TOO_LATE = SOLD_AT + timedelta(days=40)


def at_store(shop: Shop, number: int, role: str = "associate") -> Principal:
    return associate(shop, store=number, role=role)


async def request(
    db: Database, who: Principal, order: Order, wanted: dict[int, int], **given: Any
) -> Return:
    async with db.transaction() as conn:
        return await returns.request(
            conn, who, order.id, wanted, **{"reason": None, "now": LATER, **given}
        )


async def receive(db: Database, who: Principal, return_id: UUID, *arrivals: Arrival) -> Received:
    assert who.location_ids is not None
    async with db.transaction() as conn:
        return await returns.receive(
            conn, who, return_id, arrivals, location_id=who.location_ids[0], now=LATER
        )


async def take_back(
    db: Database, who: Principal, order: Order, *arrivals: Arrival, **given: Any
) -> Received:
    assert who.location_ids is not None
    async with db.transaction() as conn:
        return await returns.take_back(
            conn,
            who,
            order.id,
            arrivals,
            location_id=who.location_ids[0],
            **{"reason": None, "now": LATER, **given},
        )


async def on_hand(db: Database, shop: Shop, store: int, sku: int = 0) -> int:
    key = (shop.stores[store].location_id, shop.skus[sku].sku)
    async with db.reading() as conn:
        return (await stock.levels(conn, [key]))[key].on_hand


async def unsellable(db: Database, shop: Shop, store: int) -> dict[str, int]:
    async with db.reading() as conn:
        rows = await conn.driver.fetch(
            "SELECT reason, quantity FROM unsellable_stock WHERE location_id = $1",
            shop.stores[store].location_id,
        )
    return {row["reason"]: row["quantity"] for row in rows}


async def money(db: Database, order: Order) -> tuple[int, int]:
    """Captured and refunded."""
    async with db.reading() as conn:
        paid = await payments.of_order(conn, order.id)
    return sum(p.captured_minor for p in paid), sum(p.refunded_minor for p in paid)


async def return_facts(db: Database, order: Order) -> list[tuple[str, dict[str, Any]]]:
    async with db.reading() as conn:
        facts = await events.timeline(conn, order.id)
    return [(each.type, each.payload) for each in facts if each.type.startswith("return.")]


async def everything(db: Database, order: Order) -> list[Any]:
    """All that a refusal must not change."""
    async with db.reading() as conn:
        (paid,) = await payments.of_order(conn, order.id)
        return [
            await orders.by_id(conn, order.id),
            await returns.of_order(conn, order.id),
            paid,
            (await payments.operations_of(conn, [paid]))[paid.id],
            await events.timeline(conn, order.id),
            await conn.driver.fetch(
                "SELECT * FROM stock_level WHERE sku = ANY($1) ORDER BY 1, 2",
                [line.sku for line in order.lines],
            ),
        ]


async def refuses(db: Database, order: Order, expected: type[CommerceError], work: Any) -> Any:
    """That `work` is refused so, and changes nothing; the refusal."""
    before = await everything(db, order)
    with pytest.raises(expected) as refused:
        await work
    assert await everything(db, order) == before
    return refused.value


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


async def test_final_sale_stays_sold(db: Database) -> None:
    shop = await make_shop(db)
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE item SET final_sale = true WHERE code = $1", shop.skus[0].item_code
        )
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    await refuses(
        db,
        order,
        FinalSale,
        take_back(
            db, at_store(shop, 0, "manager"), order, Arrival(1, "restock", 1), exception="please"
        ),
    )


async def test_a_rule_that_changes_after_the_sale_does_not_count(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE item SET final_sale = true, return_window_days = 0 WHERE code = $1",
            shop.skus[0].item_code,
        )
    done = await take_back(db, at_store(shop, 0), order, Arrival(1, "restock", 1))
    assert done.return_.head.state == "settled"


async def test_a_closed_window_waits_for_a_manager(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), total_minor=20_000)
    who, manager = at_store(shop, 0), at_store(shop, 0, "manager")
    refused = await refuses(
        db, order, ReturnWindowClosed, request(db, who, order, {1: 1}, now=TOO_LATE)
    )
    assert str(refused.closed_on) == "2026-12-20"
    made = await request(db, who, order, {1: 1}, now=TOO_LATE, exception="was in hospital")
    assert made.head.state == "requested"
    await refuses(db, order, WrongState, receive(db, who, made.id, Arrival(1, "restock", 1)))
    async with db.transaction() as conn:
        approved = await returns.approve(conn, manager, made.id, why="kind", now=TOO_LATE)
    assert approved.head.state == "approved"
    done = await receive(db, who, made.id, Arrival(1, "restock", 1))
    assert done.return_.head.state == "settled"
    async with db.reading() as conn:
        record = await access.staff_record_page(conn, before=None, page=1_000)
    why = {e.action: e.changes.get("why") for e in record if str(made.id) in e.subject}
    assert (why["return.requested"], why["return.approved"]) == ("was in hospital", "kind")


async def test_a_rejected_exception_says_why_and_frees_its_units(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    made = await request(db, at_store(shop, 0), order, {1: 1}, now=TOO_LATE, exception="late")
    async with db.transaction() as conn:
        rejected = await returns.reject(
            conn, at_store(shop, 0, "manager"), made.id, why="worn", now=TOO_LATE
        )
        offered = await returns.eligibility(conn, order, now=LATER)
    assert (rejected.head.state, rejected.head.rejection) == ("rejected", "worn")
    assert [each.returnable for each in offered] == [1]
    assert [kind for kind, _ in await return_facts(db, order)] == [
        "return.requested", "return.rejected",
    ]  # fmt: skip


async def test_manager_takes_back_outside_the_window_in_one_step(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    done = await take_back(
        db,
        at_store(shop, 1, "manager"),
        order,
        Arrival(1, "damaged", 1),
        now=TOO_LATE,
        exception="regular customer",
    )
    assert done.return_.head.state == "settled"
    assert [kind for kind, _ in await return_facts(db, order)] == [
        "return.requested", "return.approved", "return.received", "return.settled",
    ]  # fmt: skip


async def test_shopper_asks_for_own_orders_only(db: Database) -> None:
    shop = await make_shop(db)
    owner = shopper(ids.uuid7())
    order = await sell(db, shop, (0, 2), total_minor=20_000, shopper_id=owner.shopper_id)
    stranger = shopper(ids.uuid7())
    refused = await refuses(db, order, NotFound, request(db, stranger, order, {1: 1}))
    assert refused.kind == "order"
    made = await request(db, owner, order, {1: 1})
    assert (made.head.state, made.head.location_id) == ("approved", None)
    async with db.transaction() as conn:
        with pytest.raises(NotFound):
            await returns.cancel(conn, stranger, made.id, now=LATER)
    done = await receive(db, at_store(shop, 1), made.id, Arrival(1, "restock", 1))
    assert done.return_.head.location_id == shop.stores[1].location_id


async def test_associates_change_nothing_of_another_store_but_may_take_goods(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    here, there = at_store(shop, 0), at_store(shop, 1)
    place = shop.stores[0].location_id
    made = await request(db, here, order, {1: 1}, location_id=place)
    async with db.transaction() as conn:
        for work in (
            returns.cancel(conn, there, made.id, now=LATER),
            returns.request(conn, there, order.id, {1: 1}, reason=None, now=LATER,
                            location_id=place),
            returns.receive(conn, there, made.id, [Arrival(1, "restock", 1)], location_id=place,
                            now=LATER),
        ):  # fmt: skip
            with pytest.raises(StoreNotAllowed):
                await work
        assert await returns.for_staff(conn, made.id, scope=there.scope) == made
    done = await receive(db, there, made.id, Arrival(1, "restock", 1))
    async with db.reading() as conn:
        assert await returns.for_staff(conn, made.id, scope=there.scope) == done.return_
        with pytest.raises(NotFound):
            await returns.for_staff(conn, made.id, scope=here.scope)
        listed = await _at(conn, there)
        assert (listed, await _at(conn, here)) == ([done.return_], [])


async def _at(conn: Connection, who: Principal) -> list[Return]:
    return await returns.at_locations(
        conn, who.scope, state="settled", before=UUID(int=2**128 - 1), page=10
    )


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
