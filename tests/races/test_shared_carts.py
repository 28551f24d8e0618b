"""Carts that several people change at once: merged, claimed, released, sold; on committed data."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from commerce import carts, orders
from commerce.access import Principal
from commerce.carts import Cart, CartMerged, CartOrdered, Owner, Sale, Sold
from commerce.fulfillment import ExternalTerminal
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers, PriceChanged
from tests import counter
from tests.carts import (
    KEY,
    NOW,
    begun,
    completed,
    completion,
    counters,
    full_cart,
    make_cart,
    read,
    set_line,
    shopper,
)
from tests.shop import Shop, make_shop

ROUNDS = 12


@pytest.fixture(scope="module")
async def rival(dsn: str) -> AsyncIterator[Database]:
    """The pool of another process."""
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


async def tried(db: Database, work: Callable[[Connection], Awaitable[Any]]) -> Any:
    """What came of it, or why not."""
    try:
        return await db.commit(work)
    except CommerceError as refusal:
        return refusal


def staff_of(who: Principal) -> Owner:
    return Owner((), has_token=False, store_ids=who.location_ids or ())


async def merge(db: Database, guest: Cart, owner: Owner) -> Any:
    taking = Owner(owner.person_ids, has_token=True)
    return await tried(
        db, lambda conn: carts.merge_guest(conn, guest.id, taking, actor="test", now=NOW)
    )


async def claim(db: Database, who: Principal, cart_id: UUID, owner: Owner, at: UUID) -> None:
    async with db.transaction() as conn:
        code = await carts.make_code(conn, cart_id, owner, secret=KEY, now=NOW)
        claimed = await carts.claim(conn, who, code=code.code, location_id=at, secret=KEY, now=NOW)
    assert isinstance(claimed, Cart)


async def live(db: Database, owner: Owner) -> list[Cart]:
    async with db.reading() as conn:
        return await carts.of_person(conn, owner.person_ids)


async def test_sign_in_on_two_devices_at_once_leaves_one_cart_with_all_lines(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db)
    for _ in range(ROUNDS):
        ana = shopper()
        first, second = await full_cart(db, shop, (0, 1)), await full_cart(db, shop, (1, 2), (0, 3))
        await asyncio.gather(
            merge(db, first, ana), merge(rival, second, ana),
            merge(rival, first, ana), merge(db, second, ana),
        )  # fmt: skip
        (current,) = await live(db, ana)
        lines = {sku: quantity for sku, (quantity, _) in current.lines.items()}
        assert lines == {shop.skus[0].sku: 3, shop.skus[1].sku: 2}


async def test_guests_edit_during_the_merge_is_in_it_or_refused(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db)
    sku = shop.skus[2].sku
    for _ in range(ROUNDS):
        ana = shopper()
        await full_cart(db, shop, (0, 1), owner=ana)
        guest = await full_cart(db, shop, (1, 1))
        edited, merged = await asyncio.gather(
            asyncio.gather(set_line(rival, guest.id, sku, 2), return_exceptions=True),
            merge(db, guest, ana),
        )
        lines = merged.cart.lines
        if isinstance(edited[0], Cart):
            assert lines[sku][0] == 2
        else:
            assert isinstance(edited[0], CartMerged)
            assert sku not in lines


async def test_merge_and_order_of_the_guests_cart_are_one_or_the_other(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db, on_hand=100)
    before = await counters(db, shop)
    ordered = 0
    for _ in range(ROUNDS):
        ana = shopper()
        await full_cart(db, shop, (1, 1), owner=ana)
        guest = await begun(db, (await full_cart(db, shop, (0, 1))).id)
        outcome, merged = await asyncio.gather(
            asyncio.gather(completed(rival, completion(guest.id, 10_000)), return_exceptions=True),
            merge(db, guest, ana),
        )
        if isinstance(merged, CommerceError):
            assert isinstance(merged, CartOrdered)
            ordered += 1
        else:
            assert isinstance(outcome[0], AssertionError), "a merged cart becomes no order"
    assert await counters(db, shop) == (before[0], ordered)


async def test_what_is_sold_is_what_the_cart_had_however_the_shopper_edits(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db, on_hand=100)
    who, at = counter.associate(shop), shop.stores[0].location_id
    for number in range(ROUNDS):
        ana = shopper()
        mine = await full_cart(db, shop, (0, 1), owner=ana)
        if number % 2:
            await begun(db, mine.id, owner=ana)
        await claim(db, who, mine.id, ana, at)
        sold, edited = await asyncio.gather(
            sell(rival, who, mine.id, 10_000),
            asyncio.gather(
                set_line(db, mine.id, shop.skus[1].sku, 1, owner=ana), return_exceptions=True
            ),
        )
        if isinstance(sold, Sold):
            assert isinstance(edited[0], CartOrdered)
            assert [line.sku for line in sold.order.lines] == [shop.skus[0].sku]
        else:
            assert isinstance(sold, PriceChanged)
            assert isinstance(edited[0], Cart)
            again = await sell(db, who, mine.id, 21_000)
            assert isinstance(again, Sold), again
            assert len(again.order.lines) == 2
    on_hand, reserved = await counters(db, shop)
    assert (on_hand, reserved) == (100 - ROUNDS, 0)


async def sell(db: Database, who: Principal, cart_id: UUID, total_minor: int) -> Any:
    sale = Sale(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        kind="carry_out",
        seen=Money(total_minor, "MXN"),
        tender=ExternalTerminal("T1-1"),
        contact=None,
    )
    return await tried(
        db,
        lambda conn: carts.sell(
            conn, who, cart_id, staff_of(who), sale, numbers=Numbers(KEY), now=NOW
        ),
    )


async def test_two_sales_of_one_cart_are_one_order(db: Database, rival: Database) -> None:
    shop = await make_shop(db, on_hand=100)
    who, at = counter.associate(shop), shop.stores[0].location_id
    ana = shopper()
    mine = await begun(db, (await full_cart(db, shop, (0, 1), owner=ana)).id, owner=ana)
    await claim(db, who, mine.id, ana, at)
    outcomes = await asyncio.gather(
        *(sell(pool, who, mine.id, 10_000) for pool in (db, rival, db)),
        asyncio.gather(
            completed(rival, completion(mine.id, 10_000, owner=ana)), return_exceptions=True
        ),
    )
    assert all(isinstance(each, Sold | NotFound) for each in outcomes[:3])
    found = (await read(db, mine.id, ana)).cart
    assert found.order_id is not None
    async with db.reading() as conn:
        order = await orders.by_id(conn, found.order_id)
        count = await conn.driver.fetchval(
            "SELECT count(*) FROM orders WHERE cart_id = $1", mine.id
        )
    assert (count, order.head.attributed_to) == (1, who.actor)


async def test_after_the_release_the_store_changes_nothing(db: Database, rival: Database) -> None:
    shop = await make_shop(db)
    who, at = counter.associate(shop), shop.stores[0].location_id
    for _ in range(ROUNDS):
        ana = shopper()
        mine = await make_cart(db, owner=ana, location_id=at)
        await claim(db, who, mine.id, ana, at)

        async def edit(quantity: int, cart_id: UUID = mine.id) -> Any:
            return await tried(
                rival,
                lambda conn: carts.set_line(
                    conn, cart_id, staff_of(who), sku=shop.skus[0].sku, quantity=quantity,
                    actor=who.actor, now=NOW,
                ),
            )  # fmt: skip

        async def release(cart_id: UUID = mine.id, owner: Owner = ana) -> Any:
            return await tried(
                db, lambda conn: carts.release(conn, cart_id, owner, actor="test", now=NOW)
            )

        *edits, released = await asyncio.gather(*(edit(n) for n in range(1, 5)), release())
        made = [each.revision for each in edits if isinstance(each, Cart)]
        assert all(isinstance(each, Cart | NotFound) for each in edits)
        assert all(revision < released.revision for revision in made)
        assert (await read(db, mine.id, ana)).cart.revision == released.revision


async def test_carts_that_change_places_at_once_do_not_wait_in_a_ring(
    db: Database, rival: Database
) -> None:
    shop = await make_shop(db, on_hand=4)
    here, there = (each.location_id for each in shop.stores)
    owners = [shopper() for _ in range(4)]
    held = []
    for index, owner in enumerate(owners):
        mine = await full_cart(db, shop, (0, 1), (1, 1), owner=owner)
        await begun(db, mine.id, owner=owner)
        held.append(mine.id)
        if index % 2:
            await move(db, mine.id, owner, there)
    places = [there, here, there, here]
    outcomes = await asyncio.gather(
        *(
            move((db, rival)[n % 2], held[n], owners[n], places[n])
            for n in range(len(held))
        )
    )  # fmt: skip
    assert [each.location_id for each in outcomes] == places
    assert await reserved(db, shop) == {here: 2, there: 2}


async def move(db: Database, cart_id: UUID, owner: Owner, at: UUID) -> Any:
    return await tried(
        db,
        lambda conn: carts.move(
            conn, cart_id, owner, location_id=at, demand_id=ids.uuid7(), actor="test", now=NOW
        ),
    )


async def reserved(db: Database, shop: Shop) -> dict[UUID, int]:
    async with db.reading() as conn:
        rows = await conn.driver.fetch(
            "SELECT location_id, reserved FROM stock_level WHERE sku = $1", shop.skus[0].sku
        )
    return {each["location_id"]: each["reserved"] for each in rows}
