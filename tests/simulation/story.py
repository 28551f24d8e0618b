"""Steps of a card order's life, on real parts: our verbs and sagas, PostgreSQL, the fake Stripe."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec

from commerce import orders, payments, settlement
from commerce.customers import Contact
from commerce.kernel import events, ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import CardPayment, Numbers, Order, Placement
from commerce.payments import Operation, Payment
from commerce.pricing import Basket, Line
from commerce.provider import Gateway
from inventory import reservations
from tests.shop import OPENED_AT, Shop

NUMBER_KEY = b"k" * 32
ACTOR = "test"
RETURN_URL = "http://shop.example/back"


class Moment:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = OPENED_AT + timedelta(hours=1)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        """What it shows."""
        return self.at

    def pass_by(self, **time: float) -> None:
        """So much time goes by."""
        self.at += timedelta(**time)


class Standing(msgspec.Struct, frozen=True):
    """An order, its payments and their operations as they stand."""

    order: Order
    payments: list[Payment]
    operations: list[Operation]

    @property
    def states(self) -> tuple[str, str]:
        """Of the order and of its only payment."""
        (paid,) = self.payments
        return self.order.head.state, paid.state

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Kind and state of each operation, oldest first."""
        return [(each.kind, each.state) for each in self.operations]


async def place(
    db: Database,
    shop: Shop,
    *,
    now: datetime,
    card: str = "pm_card_visa",
    units: int = 1,
    order_id: UUID | None = None,
) -> UUID:
    """Place an order of units of the shop's first SKU, by card; nobody has asked the card yet."""
    order_id = order_id or ids.uuid7()
    placement = Placement(
        order_id=order_id,
        fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[0].location_id, (Line(shop.skus[0].sku, units),)),
        seen=Money(shop.skus[0].price_minor * units, shop.currency),
        tender="card",
        channel="web",
        key_id=ids.uuid7(),
        actor=ACTOR,
        contact=Contact(id=ids.uuid7(), name="Ana", email="ana@example.com", locale="es"),
        card=CardPayment(ids.uuid7(), ids.uuid7(), card, RETURN_URL),
    )
    async with db.transaction() as conn:
        (placed,) = await orders.place(conn, [placement], numbers=Numbers(NUMBER_KEY), now=now)
    assert isinstance(placed, Order), placed
    return order_id


async def standing(db: Database, order_id: UUID) -> Standing:
    """What our tables say."""
    async with db.reading() as conn:
        order = await orders.by_id(conn, order_id)
        paid = await payments.of_order(conn, order_id)
        operations = await payments.operations_of(conn, paid)
    return Standing(order, paid, [op for each in paid for op in operations[each.id]])


async def hand_over(db: Database, order_id: UUID, *, now: datetime, units: int = 1) -> list[UUID]:
    """The goods leave, and their price is asked of the card; returns the operations."""
    async with db.transaction() as conn:
        order = await orders.lock(conn, order_id)
        (share,) = order.fulfillments
        (line,) = order.lines
        await reservations.fulfill(conn, share.demand_id, actor=ACTOR, now=now)
        await orders.count_fulfilled(conn, order_id, {1: units})
        await conn.driver.execute(
            "UPDATE fulfillment SET state = 'collected', closed_at = $2 WHERE id = $1",
            share.id,
            now,
        )
        return await payments.request_capture(
            conn,
            share.id,
            amount_minor=line.total_minor * units // line.quantity,
            actor=ACTOR,
            now=now,
        )


async def cancel(db: Database, order_id: UUID, *, now: datetime) -> None:
    """Call the order off."""
    async with db.transaction() as conn:
        await orders.cancel(conn, order_id, reason="shopper", actor=ACTOR, now=now)


async def refund(db: Database, order_id: UUID, amount_minor: int, *, now: datetime) -> list[UUID]:
    """Ask for money back; returns the operations."""
    async with db.transaction() as conn:
        await orders.lock(conn, order_id)
        return await payments.request_refunds(
            conn, order_id, None, amount_minor=amount_minor, actor=ACTOR, now=now
        )


async def run_all(
    db: Database, gateway: Gateway, operation_ids: Sequence[UUID], clock: Moment
) -> None:
    """Carry out operations one after the other."""
    for operation_id in operation_ids:
        await settlement.run(db, gateway, operation_id, now=clock)


async def pay(db: Database, gateway: Gateway, order_id: UUID, clock: Moment) -> Standing:
    """Carry the order's payment on, and see how it stands."""
    await settlement.settle_order(db, gateway, order_id, now=clock)
    return await standing(db, order_id)


async def facts(db: Database, order_id: UUID) -> list[str]:
    """The order's timeline."""
    async with db.reading() as conn:
        return [each.type for each in await events.timeline(conn, order_id)]


def answer_the_bank(redirect_url: str, outcome: str) -> None:
    """The shopper says yes ("approve") or no ("fail") on the bank's page."""
    answer = httpx.post(redirect_url, data={"outcome": outcome}, trust_env=False)
    assert answer.is_redirect, answer.text


def lapse(stripe_url: str, provider_id: str) -> None:
    """The hold of a payment grows too old."""
    path = f"{stripe_url}/_control/payment_intents/{provider_id}/lapse"
    httpx.post(path, trust_env=False)


def books_of(stripe_url: str, order_id: UUID) -> dict[str, int]:
    """What happened to the money of an order, over all payments that the provider made for it."""
    sums: dict[str, int] = {}
    answer = httpx.get(f"{stripe_url}/_control/books", trust_env=False)
    for entry in answer.json()["payment_intents"]:
        if entry["order_id"] == str(order_id):
            for name, amount in money(entry).items():
                sums[name] = sums.get(name, 0) + amount
    return sums


def money(books: dict[str, Any]) -> dict[str, int]:
    """The entries of one payment in the provider's books that are not zero."""
    return {
        name.removesuffix("_minor"): amount
        for name, amount in books.items()
        if name.endswith("_minor") and amount
    }
