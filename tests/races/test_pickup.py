"""Associates, managers, shoppers and sweeps at one pickup, on committed data over two pools."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commerce import fulfillment, orders, payments
from commerce.access import Principal
from commerce.fulfillment import (
    AlreadyCollected,
    Cash,
    HandedOver,
    PickupCodeLocked,
    PickupCodeWrong,
)
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Order
from tests import counter
from tests.counter import NOW, SECRET, associate, counters, facts
from tests.shop import Shop, make_shop

ROUNDS = 8
PRICE = 10_000


@pytest.fixture(scope="module")
async def rival(dsn: str) -> AsyncIterator[Database]:
    """The pool of another process."""
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


async def waiting(db: Database) -> tuple[Shop, Order]:
    """One unit, picked."""
    shop = await make_shop(db, skus=1, stores=1, on_hand=5)
    made = await counter.order(db, shop, (0, 1), total_minor=PRICE)
    await counter.ready(db, associate(shop), made.fulfillments[0].id)
    return shop, made


async def attempt(db: Database, work: Callable[[Connection], Awaitable[Any]]) -> Any:
    """What came of it; refusals are outcomes."""
    try:
        return await db.commit(work)
    except CommerceError as refused:
        return refused


async def hand_over(db: Database, who: Principal, made: Order, *, code: str | None = None) -> Any:
    (share,) = made.fulfillments
    return await attempt(
        db,
        lambda conn: fulfillment.hand_over(
            conn,
            who,
            share.id,
            secret=SECRET,
            code=code or fulfillment.pickup_code(SECRET, share.id),
            override_reason=None,
            tender=Cash(Money(PRICE, "MXN")),
            now=NOW,
        ),
    )


async def start(db: Database, who: Principal, pickup_id: UUID) -> Any:
    return await attempt(db, lambda conn: fulfillment.start_picking(conn, who, pickup_id, now=NOW))


async def by_store(db: Database, who: Principal, made: Order) -> Any:
    pickup_id = made.fulfillments[0].id
    return await attempt(
        db, lambda conn: fulfillment.cancel(conn, who, pickup_id, reason="damaged", now=NOW)
    )


async def by_shopper(db: Database, _: Principal, made: Order) -> Any:
    return await attempt(
        db, lambda conn: orders.cancel(conn, made.id, reason="shopper", actor="web", now=NOW)
    )


async def captured_minor(db: Database, made: Order) -> int:
    async with db.reading() as conn:
        return sum(each.captured_minor for each in await payments.of_order(conn, made.id))


async def test_two_hand_overs_give_the_goods_once(db: Database, rival: Database) -> None:
    for _ in range(ROUNDS):
        shop, made = await waiting(db)
        people = [associate(shop) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(
                hand_over(of, who, made)
                for of, who in zip((db, rival, db, rival), people, strict=True)
            )
        )
        winners = [
            who for who, each in zip(people, outcomes, strict=True) if isinstance(each, HandedOver)
        ]
        told = [each for each in outcomes if isinstance(each, AlreadyCollected)]
        assert (len(winners), len(told)) == (1, 3)
        assert {each.handed_over_by for each in told} == {winners[0].actor}
        assert await counters(db, shop) == (4, 0)
        assert await captured_minor(db, made) == PRICE
        assert (await facts(db, made.id)).count("pickup.collected") == 1


async def test_hand_over_against_cancelling(db: Database, rival: Database) -> None:
    for index in range(ROUNDS):
        shop, made = await waiting(db)
        who = associate(shop)
        cancel = by_store if index % 2 else by_shopper
        given, ended = await asyncio.gather(hand_over(db, who, made), cancel(rival, who, made))
        async with db.reading() as conn:
            order = await orders.by_id(conn, made.id)
        if isinstance(given, HandedOver):
            assert isinstance(ended, AlreadyCollected | WrongState)
            assert (order.head.state, await captured_minor(db, made)) == ("completed", PRICE)
            assert await counters(db, shop) == (4, 0)
        else:
            assert isinstance(given, WrongState)
            assert (order.head.state, await captured_minor(db, made)) == ("cancelled", 0)
            assert await counters(db, shop) == (5, 0)


async def test_hand_over_against_the_sweep_of_overdue_pickups(own_dsn: str) -> None:
    db, rival = await Database.open(own_dsn), await Database.open(own_dsn)
    late = NOW + timedelta(days=7)
    for _ in range(ROUNDS):
        shop, made = await waiting(db)
        given, *swept = await asyncio.gather(
            hand_over(db, associate(shop), made),
            fulfillment.expire(rival, now=late),
            fulfillment.expire(db, now=late),
        )
        ended = [order_id for each in swept for order_id in each]
        async with db.reading() as conn:
            (share,) = (await orders.by_id(conn, made.id)).fulfillments
        if isinstance(given, HandedOver):
            assert (ended, share.state) == ([], "collected")
            assert await counters(db, shop) == (4, 0)
        else:
            assert isinstance(given, WrongState)
            assert (ended, share.state) == ([made.id], "expired")
            assert await counters(db, shop) == (5, 0)
    await db.close()
    await rival.close()


async def test_sweeps_at_once_end_each_pickup_once(own_dsn: str) -> None:
    db, rival = await Database.open(own_dsn), await Database.open(own_dsn)
    made = [(await waiting(db))[1].id for _ in range(12)]
    late = NOW + timedelta(days=7)
    swept = await asyncio.gather(*(fulfillment.expire(of, now=late) for of in (db, rival) * 2))
    assert sorted(order_id for each in swept for order_id in each) == sorted(made)
    await db.close()
    await rival.close()


async def test_parallel_guesses_count_one_by_one(db: Database, rival: Database) -> None:
    shop, made = await waiting(db)
    outcomes = await asyncio.gather(
        *(hand_over(of, associate(shop), made, code="WRONG1") for of in (db, rival) * 6)
    )
    wrong = [each.tries_left for each in outcomes if isinstance(each, PickupCodeWrong)]
    assert sorted(wrong) == [1, 2, 3, 4]
    assert sum(isinstance(each, PickupCodeLocked) for each in outcomes) == 8
    assert await counters(db, shop) == (5, 1)


async def test_two_associates_start_one_picks(db: Database, rival: Database) -> None:
    for _ in range(ROUNDS):
        shop = await make_shop(db, skus=1, stores=1)
        made = await counter.order(db, shop, (0, 1), total_minor=PRICE)
        outcomes = await asyncio.gather(
            *(start(of, associate(shop), made.fulfillments[0].id) for of in (db, rival))
        )
        assert sum(isinstance(each, WrongState) for each in outcomes) == 1
