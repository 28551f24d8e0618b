"""Steps of a return and what they leave behind, made through the real verbs."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commerce import orders, payments, returns
from commerce.access import Principal
from commerce.kernel import events
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Database
from commerce.orders import Order
from commerce.returns import Arrival, Received, Return
from inventory import stock
from tests.counter import associate
from tests.shop import Shop
from tests.sold import SOLD_AT

LATER = SOLD_AT + timedelta(days=3)
TOO_LATE = SOLD_AT + timedelta(days=40)


def at_store(shop: Shop, number: int, role: str = "associate") -> Principal:
    """Somebody who works at the store of this number."""
    return associate(shop, store=number, role=role)


async def request(
    db: Database, who: Principal, order: Order, wanted: dict[int, int], **given: Any
) -> Return:
    """Ask to bring units back, by line number."""
    async with db.transaction() as conn:
        return await returns.request(
            conn, who, order.id, wanted, **{"reason": None, "now": LATER, **given}
        )


async def receive(db: Database, who: Principal, return_id: UUID, *arrivals: Arrival) -> Received:
    """Take the goods of a return at the store where `who` works."""
    assert who.location_ids is not None
    async with db.transaction() as conn:
        return await returns.receive(
            conn, who, return_id, arrivals, location_id=who.location_ids[0], now=LATER
        )


async def take_back(
    db: Database, who: Principal, order: Order, *arrivals: Arrival, **given: Any
) -> Received:
    """A return in one step, at the store where `who` works."""
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
    """What a store has of a SKU, by their numbers."""
    key = (shop.stores[store].location_id, shop.skus[sku].sku)
    async with db.reading() as conn:
        return (await stock.levels(conn, [key]))[key].on_hand


async def unsellable(db: Database, shop: Shop, store: int) -> dict[str, int]:
    """What a store cannot sell, by reason."""
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
    """The returns on an order's timeline."""
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
