"""Reminders of pickups, goods that are back, questions after a purchase; dying in the middle."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commerce import follow_ups, fulfillment
from commerce.access import OPERATOR, Principal, permissions_of
from commerce.follow_ups import InStock, Watch
from commerce.follow_ups.watches import CALLED_PER_UNIT, CALLED_WITHIN
from commerce.kernel import ids
from commerce.kernel.errors import WrongState
from commerce.kernel.sql import Connection, Database
from commerce.returns import Arrival
from inventory import stock
from inventory.stock import Movement
from tests import counter, returning, sold
from tests.counter import SECRET
from tests.following import allow, cart, hear, sent, shopper, state, sweep
from tests.shop import Shop, make_shop
from tests.simulation.story import Moment


@pytest.fixture
def db(own_db: Database) -> Database:
    return own_db


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db)


async def waiting(db: Database, shop: Shop, clock: Moment) -> UUID:
    """A pickup that is ready for a guest, who is nobody's shopper."""
    made = await counter.order(db, shop, (0, 1), total_minor=10_000, now=clock())
    pickup_id = made.fulfillments[0].id
    await counter.ready(db, OPERATOR, pickup_id, now=clock())
    await hear(db, now=clock())
    return pickup_id


async def test_a_pickup_is_reminded_of_once_two_days_before_it_expires(
    db: Database, shop: Shop, clock: Moment
) -> None:
    pickup_id = await waiting(db, shop, clock)
    async with db.reading() as conn:
        expires_at = (await fulfillment.get(conn, OPERATOR, pickup_id)).head.expires_at
    assert expires_at is not None
    clock.at = expires_at - timedelta(days=2, seconds=1)
    assert await sweep(db, clock) == 0
    clock.pass_by(seconds=1)
    for _ in range(2):
        await hear(db, now=clock())
        await sweep(db, clock)
    assert await state(db, pickup_id) == ("sent", None)
    (body,) = await sent(db, "pickup_reminder")
    assert fulfillment.pickup_code(SECRET, pickup_id) in body


async def test_a_pickup_that_was_called_off_is_not_reminded_of(
    db: Database, shop: Shop, clock: Moment
) -> None:
    pickup_id = await waiting(db, shop, clock)
    async with db.transaction() as conn:
        await fulfillment.cancel(conn, OPERATOR, pickup_id, reason="damaged", now=clock())
    clock.pass_by(days=6)
    await sweep(db, clock)
    assert await state(db, pickup_id) == ("stopped", "over")
    assert await sent(db, "pickup_reminder") == []


def who(person_ids: tuple[UUID, ...]) -> Principal:
    return Principal(
        key_id=ids.uuid7(), key_kind="storefront", channel="app", person_ids=person_ids,
        permissions=permissions_of("storefront", "shopper"),
    )  # fmt: skip


async def watching(db: Database, shop: Shop, clock: Moment) -> tuple[UUID, Watch]:
    """Somebody who waits for the first SKU at the first store."""
    owner = await shopper(db, now=clock())
    at = shop.stores[0].location_id
    async with db.transaction() as conn:
        made = await follow_ups.put_watch(
            conn, who(owner.person_ids), shop.skus[0].sku, at, now=clock()
        )
    return owner.person_ids[0], made


async def move(db: Database, shop: Shop, clock: Moment, quantity: int) -> None:
    """Units of the first SKU come to the first store, or leave it."""
    at, sku = shop.stores[0].location_id, shop.skus[0].sku
    kind = "receive" if quantity > 0 else "sale"
    async with db.transaction() as conn:
        await stock.move(conn, [Movement(at, sku, kind, abs(quantity), "test")], now=clock())


async def test_goods_that_are_back_are_told_once_and_the_watch_is_over(
    db: Database, clock: Moment
) -> None:
    shop = await make_shop(db, on_hand=0)
    shopper_id, made = await watching(db, shop, clock)
    assert await sweep(db, clock) == 0
    await move(db, shop, clock, 1)
    assert await sweep(db, clock) == 1
    assert await state(db, made.id) == ("sent", None)
    for quantity in (-1, 1):
        await move(db, shop, clock, quantity)
        clock.pass_by(hours=1)
        assert await sweep(db, clock) == 0
    assert len(await sent(db, "back_in_stock")) == 1
    async with db.reading() as conn:
        assert await follow_ups.watches(conn, [shopper_id]) == []


async def test_few_are_called_for_a_unit_those_who_waited_longest_first(
    db: Database, clock: Moment
) -> None:
    shop = await make_shop(db, on_hand=0)
    made = [(await watching(db, shop, clock))[1] for _ in range(2 * CALLED_PER_UNIT)]
    await move(db, shop, clock, 1)
    assert await sweep(db, clock) == CALLED_PER_UNIT
    assert await sweep(db, clock) == 0
    assert [await state(db, each.id) for each in made[:CALLED_PER_UNIT]] == [
        ("sent", None)
    ] * CALLED_PER_UNIT
    clock.pass_by(seconds=CALLED_WITHIN.total_seconds())
    assert await sweep(db, clock) == CALLED_PER_UNIT


async def test_goods_that_are_gone_by_morning_are_waited_for_again(
    db: Database, clock: Moment
) -> None:
    shop = await make_shop(db, on_hand=0)
    shopper_id, made = await watching(db, shop, clock)
    clock.pass_by(hours=12)  # ten in the evening
    await move(db, shop, clock, 1)
    await sweep(db, clock)
    assert await state(db, made.id) == ("scheduled", None)
    await move(db, shop, clock, -1)
    clock.pass_by(hours=11)
    await sweep(db, clock)
    assert await state(db, made.id) == ("stopped", "over")
    async with db.reading() as conn:
        assert [each.id for each in await follow_ups.watches(conn, [shopper_id])] == [made.id]
    clock.pass_by(hours=3)
    await move(db, shop, clock, 1)
    await sweep(db, clock)
    assert await state(db, made.id) == ("sent", None)


async def test_whoever_has_bought_it_elsewhere_waits_no_more(db: Database, clock: Moment) -> None:
    shop = await make_shop(db)
    await move(db, shop, clock, -10)
    shopper_id, made = await watching(db, shop, clock)
    clock.pass_by(hours=1)
    await move(db, shop, clock, 3)
    await sold.sell(db, shop, (0, 1), total_minor=10_000, shopper_id=shopper_id, at=clock())
    await sweep(db, clock)
    assert await state(db, made.id) == ("stopped", "purchase")
    assert await sent(db, "back_in_stock") == []


async def test_a_withdrawn_consent_ends_the_wait(db: Database, clock: Moment) -> None:
    shop = await make_shop(db, on_hand=0)
    shopper_id, made = await watching(db, shop, clock)
    await allow(db, shopper_id, now=clock(), granted=False)
    await move(db, shop, clock, 1)
    await sweep(db, clock)
    assert await state(db, made.id) == ("skipped", "no_consent")


async def test_there_is_no_waiting_for_what_is_there(
    db: Database, shop: Shop, clock: Moment
) -> None:
    with pytest.raises(InStock):
        await watching(db, shop, clock)


async def test_after_a_purchase_is_asked_how_it_was(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    bought = await sold.sell(
        db, shop, (0, 1), total_minor=10_000, shopper_id=owner.shopper_id, at=clock()
    )
    await hear(db, now=clock())
    clock.pass_by(days=3)
    await sweep(db, clock)
    assert await state(db, bought.id) == ("sent", None)
    (body,) = await sent(db, "after_purchase")
    assert bought.head.number in body
    async with db.reading() as conn:
        (question,) = await follow_ups.questions(conn, owner.person_ids)
    assert question.order_id == bought.id


async def test_nobody_is_asked_about_what_they_brought_back(
    db: Database, shop: Shop, clock: Moment
) -> None:
    owner = await shopper(db, now=clock())
    bought = await sold.sell(
        db, shop, (0, 1), total_minor=10_000, shopper_id=owner.shopper_id, at=clock()
    )
    await hear(db, now=clock())
    there = returning.at_store(shop, 1)
    await returning.take_back(db, there, bought, Arrival(1, "restock", 1))
    clock.pass_by(days=3)
    await sweep(db, clock)
    assert await state(db, bought.id) == ("stopped", "over")


async def test_a_sweep_that_dies_has_done_nothing(db: Database, shop: Shop, clock: Moment) -> None:
    """Messages, states and watches are one transaction; the next sweep goes on."""
    left = await cart(db, shop, await shopper(db, now=clock()), now=clock())
    clock.pass_by(hours=4)
    dying = Dying(db)
    with pytest.raises(WrongState):
        await follow_ups.run_due(dying, secret=SECRET, now=clock)
    assert dying.written == 1
    assert await state(db, left.id) == ("scheduled", None)
    assert await sent(db, "abandoned_cart") == []
    assert await sweep(db, clock) == 1
    assert len(await sent(db, "abandoned_cart")) == 1


class Dying(Database):
    """A database whose process dies just before it commits."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.pool, database.dsn)
        self.written = 0

    async def commit(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        """Does the work, and is gone."""
        async with self.transaction() as conn:
            self.written = await work(conn)
            raise WrongState(kind="process", id="1", state="dead", allowed=[])
