"""Which carts are forgotten, and when."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from commerce import carts
from commerce.carts import Owner
from commerce.kernel.sql import Database
from tests.carts import NOW, begun, completed, completion, full_cart, make_cart, shopper
from tests.shop import make_shop

KEPT = timedelta(days=90)
TODAY = datetime.now(UTC)
"""Ids of carts are made by the real clock, and tell how old they are."""


@pytest.fixture
async def own(own_dsn: str) -> AsyncIterator[Database]:
    """A database without the carts of other tests."""
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


async def forget(db: Database, days: int, page: int = 100) -> int:
    async with db.transaction() as conn:
        return await carts.forget(conn, kept_for=KEPT, now=TODAY + timedelta(days=days), page=page)


async def left(db: Database) -> set[str]:
    async with db.reading() as conn:
        return {row["id"] for row in await conn.driver.fetch("SELECT id FROM cart")}


async def test_only_what_nobody_touched_and_became_no_order_is_forgotten(own: Database) -> None:
    shop = await make_shop(own)
    ana = shopper()
    abandoned, old_checkout = await make_cart(own), await full_cart(own, shop, (0, 1))
    await begun(own, old_checkout.id)
    bought = await full_cart(own, shop, (1, 1))
    await begun(own, bought.id)
    await completed(own, completion(bought.id, 11_000))
    target, guest = await full_cart(own, shop, (0, 1), owner=ana), await make_cart(own)
    async with own.transaction() as conn:
        taking = Owner(ana.person_ids, has_token=True)
        await carts.merge_guest(conn, guest.id, taking, actor="test", now=NOW)
    touched = await make_cart(own)
    async with own.transaction() as conn:
        await carts.remove_coupon(
            conn,
            touched.id,
            Owner((), has_token=True),
            actor="test",
            now=TODAY + timedelta(days=30),
        )
    assert await forget(own, 89) == 0
    assert await forget(own, 91, page=2) == 2
    assert await forget(own, 91) == 2
    assert await left(own) == {bought.id, touched.id}
    assert await forget(own, 91) == 0
    assert await forget(own, 121) == 1
    assert await left(own) == {bought.id}
    assert {abandoned.id, old_checkout.id, target.id, guest.id}.isdisjoint(await left(own))
