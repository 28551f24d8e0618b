"""Payments that need no provider, and intents for those that do, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from commerce import orders, payments
from commerce.customers import Contact
from commerce.kernel import ids
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, Order, Placement
from commerce.payments import NewPayment, RefundExceedsCapture
from commerce.pricing import Basket, Line
from tests.shop import OPENED_AT, Shop, make_shop
from tests.simulation import story

NOW = OPENED_AT + timedelta(hours=1)
PRICE = 10_000


@pytest.fixture(scope="module")
async def db(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=1, stores=1, on_hand=100)


async def reserved(db: Database, shop: Shop) -> Order:
    """An order of one unit, to be paid at the counter."""
    placement = Placement(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[0].location_id, (Line(shop.skus[0].sku, 1),)),
        seen=Money(PRICE, shop.currency),
        tender="pay_at_pickup",
        channel="web",
        key_id=ids.uuid7(),
        actor="test",
        contact=Contact(id=ids.uuid7(), name="Ana", email="ana@example.com", locale="es"),
    )
    async with db.transaction() as conn:
        (placed,) = await orders.place(
            conn, [placement], numbers=Numbers(story.NUMBER_KEY), now=NOW
        )
    assert isinstance(placed, Order), placed
    return placed


async def take(
    db: Database, order: Order, tender: str, amount_minor: int, reference: str | None = None
) -> UUID:
    async with db.transaction() as conn:
        taken = await payments.take(
            conn,
            payment_id=ids.uuid7(),
            order_id=order.id,
            fulfillment_id=order.fulfillments[0].id,
            tender=tender,
            amount=Money(amount_minor, order.head.currency),
            reference=reference,
            actor="test",
            now=NOW,
        )
    return taken.id


async def refund(
    db: Database, order: Order, amount_minor: int, return_id: UUID | None = None
) -> list[UUID]:
    async with db.transaction() as conn:
        await orders.lock(conn, order.id)
        return await payments.request_refunds(
            conn, order.id, return_id, amount_minor=amount_minor, actor="test", now=NOW
        )


async def refunded(db: Database, order: Order) -> dict[str, int]:
    """What has gone back, by tender."""
    it = await story.standing(db, order.id)
    return {each.tender: each.refunded_minor for each in it.payments}


async def test_cash_is_captured_at_once(db: Database, shop: Shop) -> None:
    order = await reserved(db, shop)
    payment_id = await take(db, order, "cash", PRICE)
    it = await story.standing(db, order.id)
    (paid,) = it.payments
    assert (paid.id, paid.state, paid.authorized_minor, paid.captured_minor) == (
        payment_id, "captured", PRICE, PRICE,
    )  # fmt: skip
    assert it.calls == [("capture", "succeeded")]
    assert (await story.facts(db, order.id))[-1] == "payment.captured"


async def test_an_external_terminal_needs_its_reference(db: Database, shop: Shop) -> None:
    order = await reserved(db, shop)
    with pytest.raises(InvalidField) as refused:
        await take(db, order, "external_terminal", PRICE)
    assert refused.value.path == "/reference"
    assert (await story.standing(db, order.id)).payments == []
    await take(db, order, "external_terminal", PRICE, "T-0042")
    assert (await story.standing(db, order.id)).payments[0].reference == "T-0042"


async def test_a_refund_spills_from_the_terminal_to_the_cash(db: Database, shop: Shop) -> None:
    order = await reserved(db, shop)
    await take(db, order, "cash", 6_000)
    await take(db, order, "external_terminal", 4_000, "T-1")
    assert len(await refund(db, order, 9_000)) == 2
    assert await refunded(db, order) == {"cash": 5_000, "external_terminal": 4_000}
    with pytest.raises(RefundExceedsCapture) as refused:
        await refund(db, order, 1_001)
    assert (refused.value.requested_minor, refused.value.refundable_minor) == (1_001, 1_000)
    assert await refunded(db, order) == {"cash": 5_000, "external_terminal": 4_000}
    assert (await story.facts(db, order.id)).count("payment.refunded") == 2


async def test_a_return_asks_only_for_what_it_has_not_asked_for_yet(
    db: Database, shop: Shop
) -> None:
    order = await reserved(db, shop)
    await take(db, order, "cash", PRICE)
    return_id = ids.uuid7()
    assert len(await refund(db, order, 4_000, return_id)) == 1
    assert await refund(db, order, 4_000, return_id) == []
    assert len(await refund(db, order, 5_000, return_id)) == 1
    assert await refunded(db, order) == {"cash": 5_000}


async def test_refunds_at_once_from_the_same_till_never_exceed_it(db: Database, shop: Shop) -> None:
    order = await reserved(db, shop)
    await take(db, order, "cash", PRICE)
    outcomes = await asyncio.gather(
        *(refund(db, order, 4_000) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(outcome, RefundExceedsCapture) for outcome in outcomes) == 3
    assert await refunded(db, order) == {"cash": 8_000}


async def test_opening_many_costs_as_much_as_opening_one(db: Database, shop: Shop) -> None:
    order = await reserved(db, shop)
    counts = []
    for size in (1, 64):
        new = [
            NewPayment(
                payment_id=ids.uuid7(),
                operation_id=ids.uuid7(),
                order_id=order.id,
                fulfillment_id=order.fulfillments[0].id,
                tender="card",
                amount_minor=number + 1,
                currency="MXN",
                payment_method="pm_card_visa",
                deadline_at=NOW,
                actor="test",
            )
            for number in range(size)
        ]
        async with db.transaction() as conn:
            await payments.open_many(conn, new, now=NOW)
            counts.append(conn.statements)
    assert counts == [2, 2]
    it = await story.standing(db, order.id)
    assert len(it.payments) == 65
    assert {op.amount_minor for op in it.operations} == set(range(1, 65))
    assert set(it.calls) == {("authorize", "pending")}


async def test_a_payment_that_is_not_there_is_not_found(db: Database) -> None:
    async with db.transaction() as conn:
        for look in (payments.get, payments.lock):
            with pytest.raises(NotFound):
                await look(conn, ids.uuid7())
