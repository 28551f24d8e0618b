"""What the policy refuses, what a manager may allow, and who may ask for what."""

from uuid import UUID

import pytest

from commerce import access, returns
from commerce.access import PermissionDenied, Principal, StoreNotAllowed
from commerce.kernel import ids
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.sql import Connection, Database
from commerce.returns import (
    Arrival,
    FinalSale,
    Return,
    ReturnWindowClosed,
)
from tests.returning import (
    LATER,
    TOO_LATE,
    at_store,
    receive,
    refuses,
    request,
    return_facts,
    take_back,
)
from tests.shop import make_shop
from tests.sold import sell, shopper


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


async def test_an_exception_that_is_not_needed_is_approved_by_the_policy(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 2), total_minor=20_000)
    made = await request(db, at_store(shop, 0), order, {1: 1}, exception="to be safe")
    assert made.head.state == "approved"
    done = await take_back(
        db, at_store(shop, 0), order, Arrival(1, "restock", 1), exception="to be safe"
    )
    assert done.return_.head.state == "settled"


async def test_only_a_manager_takes_back_outside_the_window(db: Database) -> None:
    shop = await make_shop(db)
    order = await sell(db, shop, (0, 1), total_minor=10_000)
    await refuses(
        db,
        order,
        PermissionDenied,
        take_back(
            db,
            at_store(shop, 0),
            order,
            Arrival(1, "restock", 1),
            now=TOO_LATE,
            exception="friend",
        ),
    )
