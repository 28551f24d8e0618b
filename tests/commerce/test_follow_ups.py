"""Follow-ups: sent once, when it is time, to who allows it and has not bought meanwhile."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import follow_ups, orders
from commerce.access import OPERATOR
from commerce.follow_ups import DEFAULTS
from commerce.follow_ups.personal import HOLDINGS
from commerce.kernel import ids
from commerce.kernel.events import Recorded
from commerce.kernel.holdings import Scope, erase
from commerce.kernel.sql import Database
from tests import carts, counter, following, sold
from tests.following import DELAY, cart, due_at, hear, sent, shopper, state, sweep
from tests.shop import Shop, make_shop
from tests.simulation.story import Moment


@pytest.fixture
def db(own_db: Database) -> Database:
    return own_db


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db)


async def test_an_abandoned_cart_is_told_of_once(db: Database, shop: Shop, clock: Moment) -> None:
    left = await cart(db, shop, await shopper(db, now=clock()), now=clock())
    clock.pass_by(hours=3, minutes=59)
    assert await sweep(db, clock) == 0
    clock.pass_by(minutes=1)
    assert await sweep(db, clock) == 1
    for _ in range(3):
        await hear(db, now=clock())
        assert await sweep(db, clock) == 0
        clock.pass_by(days=9)
    assert await state(db, left.id) == ("sent", None)
    (body,) = await sent(db, "abandoned_cart")
    assert body.startswith("Hola Ana:")
    assert f"Item {shop.skus[0].item_code}." in body


async def test_a_cart_that_is_edited_again_waits_again(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    left = await cart(db, shop, owner, now=clock())
    clock.pass_by(hours=3)
    await carts.set_line(db, left.id, shop.skus[1].sku, 2, owner=owner, now=clock())
    await hear(db, now=clock())
    assert await due_at(db, left.id) == clock() + DELAY
    clock.pass_by(hours=3)
    await carts.set_line(db, left.id, shop.skus[1].sku, 1, owner=owner, now=clock())
    edited_at = clock()
    clock.pass_by(hours=1)  # the news of the last edit is late
    assert await sweep(db, clock) == 1
    assert await due_at(db, left.id) == edited_at + DELAY
    assert await sent(db, "abandoned_cart") == []


async def test_an_emptied_cart_is_let_be_and_a_filled_one_waits_again(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    left = await cart(db, shop, owner, now=clock())
    clock.pass_by(hours=1)
    await carts.set_line(db, left.id, shop.skus[0].sku, 0, owner=owner, now=clock())
    await hear(db, now=clock())
    assert await sweep(db, clock) == 1
    assert await state(db, left.id) == ("stopped", "over")
    await hear(db, now=clock())
    assert await state(db, left.id) == ("stopped", "over")
    clock.pass_by(hours=1)
    await carts.set_line(db, left.id, shop.skus[0].sku, 1, owner=owner, now=clock())
    await hear(db, now=clock())
    assert await state(db, left.id) == ("scheduled", None)
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("sent", None)


async def test_a_purchase_in_a_store_stops_it_at_once(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    left = await cart(db, shop, owner, now=clock())
    clock.pass_by(minutes=5)
    await sold.sell(db, shop, (1, 1), total_minor=11_000, shopper_id=owner.shopper_id, at=clock())
    await hear(db, now=clock())
    assert await sweep(db, clock) == 1
    assert await state(db, left.id) == ("stopped", "purchase")
    assert await sent(db, "abandoned_cart") == []


async def test_a_purchase_of_which_nobody_told_stops_it_when_it_is_due(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    left = await cart(db, shop, owner, now=clock())
    clock.pass_by(minutes=5)
    await sold.sell(db, shop, (1, 1), total_minor=11_000, shopper_id=owner.shopper_id, at=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("stopped", "purchase")


async def test_a_purchase_that_was_called_off_stops_nothing(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    left = await cart(db, shop, owner, now=clock())
    other = await carts.full_cart(db, shop, (1, 1), owner=owner)
    await carts.begun(db, other.id, owner=owner, now=clock())
    made = await carts.completed(db, carts.completion(other.id, 11_000, owner=owner), now=clock())
    async with db.transaction() as conn:
        await orders.cancel(conn, made.id, reason="shopper", actor="test", now=clock())
    await hear(db, now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("sent", None)


async def test_in_quiet_hours_it_waits_until_the_morning_there(
    db: Database, shop: Shop, clock: Moment
) -> None:
    """Noon in London is six in the morning in Mexico."""
    clock.at = datetime(2026, 11, 20, 8, tzinfo=UTC)
    left = await cart(db, shop, await shopper(db, now=clock()), now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("scheduled", None)
    assert await due_at(db, left.id) == datetime(2026, 11, 20, 15, tzinfo=UTC)
    clock.at = datetime(2026, 11, 20, 15, tzinfo=UTC)
    await sweep(db, clock)
    assert await state(db, left.id) == ("sent", None)


@pytest.mark.parametrize("when", ["never allowed", "withdrawn before it is due"])
async def test_without_consent_nothing_is_sent(
    db: Database, shop: Shop, clock: Moment, when: str
) -> None:
    owner = await shopper(db, now=clock(), allows=when != "never allowed")
    left = await cart(db, shop, owner, now=clock())
    if when != "never allowed":
        await following.allow(db, owner.person_ids[0], now=clock(), granted=False)
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("skipped", "no_consent")
    assert await sent(db, "abandoned_cart") == []


async def test_nobody_is_written_to_more_often_than_the_cap_says(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    first = await cart(db, shop, owner, now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    clock.pass_by(days=2)
    second = await cart(db, shop, owner, now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    clock.pass_by(days=4, hours=20)
    third = await cart(db, shop, owner, now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert [await state(db, each.id) for each in (first, second, third)] == [
        ("sent", None),
        ("skipped", "cap_reached"),
        ("sent", None),
    ]


async def test_what_a_merged_person_allows_buys_and_got_counts_for_all_their_rows(
    db: Database, shop: Shop, clock: Moment
) -> None:
    root, other = [await shopper(db, now=clock(), allows=allows) for allows in (True, False)]
    of_root, of_other = [await cart(db, shop, owner, now=clock()) for owner in (root, other)]
    await db.pool.execute(
        "UPDATE shopper SET merged_into = $1 WHERE id = $2", root.shopper_id, other.shopper_id
    )
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert sorted([await state(db, each.id) for each in (of_root, of_other)], key=str) == [
        ("sent", None),
        ("skipped", "cap_reached"),
    ]
    clock.pass_by(days=8)
    again = await cart(db, shop, other, now=clock())
    await sold.sell(db, shop, (1, 1), total_minor=11_000, shopper_id=root.shopper_id, at=clock())
    await hear(db, now=clock())
    await sweep(db, clock)
    assert await state(db, again.id) == ("stopped", "purchase")


async def test_whoever_was_erased_hears_nothing_any_more(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner, marked = [await shopper(db, now=clock()) for _ in range(2)]
    left, of_marked = [await cart(db, shop, each, now=clock()) for each in (owner, marked)]
    scope = Scope([*owner.person_ids], [], [], clock(), clock())
    async with db.transaction() as conn:
        for holding in HOLDINGS:
            assert await erase(conn, holding, scope) == (holding.table == "follow_up")
            assert await erase(conn, holding, scope) == 0
    await db.pool.execute(
        "UPDATE shopper SET erased_at = $2 WHERE id = $1", marked.shopper_id, clock()
    )
    assert await state(db, left.id) == ("stopped", "erased")
    clock.pass_by(hours=5)
    await hear(db, now=clock())
    await sweep(db, clock)
    assert await state(db, left.id) == ("stopped", "erased")
    assert await state(db, of_marked.id) == ("stopped", "erased")
    assert await sent(db, "abandoned_cart") == []


async def test_a_trigger_that_was_turned_off_sends_nothing(
    db: Database, shop: Shop, clock: Moment
) -> None:
    left = await cart(db, shop, await shopper(db, now=clock()), now=clock())
    off = msgspec.structs.replace(DEFAULTS["abandoned_cart"], enabled=False)
    async with db.transaction() as conn:
        await follow_ups.change_settings(conn, OPERATOR, off, now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("skipped", "disabled")


async def test_only_the_channel_of_the_trigger_is_used(
    db: Database, shop: Shop, clock: Moment
) -> None:
    left = await cart(db, shop, await shopper(db, now=clock()), now=clock())
    by_sms = msgspec.structs.replace(DEFAULTS["abandoned_cart"], channel="sms")
    async with db.transaction() as conn:
        await follow_ups.change_settings(conn, OPERATOR, by_sms, now=clock())
    clock.pass_by(hours=4)
    await sweep(db, clock)
    assert await state(db, left.id) == ("skipped", "no_consent")


async def test_two_workers_at_once_send_each_once_and_keep_the_cap(
    db: Database, shop: Shop, clock: Moment
) -> None:
    """Two carts each of a hundred and thirty people: three pages, taken by two at once."""
    people = [await shopper(db, now=clock()) for _ in range(130)]
    for owner in (*people, *people):
        await db.pool.execute(
            """INSERT INTO cart (id, key_id, state, shopper_id, lines, created_at, updated_at)
            VALUES ($1, $1, 'open', $2, $3, $4, $4)""",
            uuid4(), owner.shopper_id, {shop.skus[0].sku: [1, 1]}, clock(),
        )  # fmt: skip
    rows = await db.pool.fetch("SELECT id FROM cart")
    async with db.transaction() as conn:
        await follow_ups.hear(conn, [_changed(row["id"], clock()) for row in rows], now=clock())
    clock.pass_by(hours=4)
    swept = await asyncio.gather(
        *(follow_ups.run_due(db, secret=counter.SECRET, now=clock) for _ in range(2))
    )
    assert sum(swept) == 260
    counts = await db.pool.fetch("SELECT shopper_id, count(*) AS n FROM message GROUP BY 1")
    assert {row["shopper_id"] for row in counts} == {each.shopper_id for each in people}
    assert {row["n"] for row in counts} == {1}


def _changed(cart_id: UUID, at: datetime) -> Recorded:
    return Recorded(ids.uuid7(), 1, "cart.changed", 1, "cart", cart_id, None, "test", {}, at)
