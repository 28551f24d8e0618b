"""Goods that are gone and not paid: a card's hold lapsed or its capture failed at the last moment.

Such an order stays open, in sight of its store, until another tender has paid it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Integer, bindparam, func, select

from commerce import access, orders, payments
from commerce.access import Principal, StoreNotAllowed, in_scope
from commerce.fulfillment import CounterTender, tenders
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query
from commerce.orders import Order
from commerce.settlement.consequences import complete_if_settled, due_minor
from commerce.tables import fulfillment, payment, payment_operation
from commerce.tables import orders as orders_table


class Due(Struct, frozen=True):
    """What a shopper has taken along and still owes."""

    order_id: UUID
    number: str
    location_id: UUID
    amount: Money
    handed_over_at: datetime


class _Found(Struct, frozen=True):
    order_id: UUID
    handed_over_at: datetime


_CAPTURE = payment_operation.c.kind == "capture"
_RUNNING = (
    select(payment_operation.c.id)
    .where(
        _CAPTURE,
        payment_operation.c.payment_id == payment.c.id,
        payment_operation.c.state.in_(("pending", "unknown")),
    )
    .exists()
)
FAILED = (
    select(payment_operation.c.payment_id)
    .where(_CAPTURE, payment_operation.c.state == "failed")
    .distinct()
    .subquery()
)
UNPAID = Query(
    select(
        orders_table.c.id.label("order_id"),
        func.max(fulfillment.c.closed_at).label("handed_over_at"),
    )
    .select_from(FAILED)
    .join(payment, payment.c.id == FAILED.c.payment_id)
    .join(orders_table, orders_table.c.id == payment.c.order_id)
    .join(fulfillment, fulfillment.c.id == payment.c.fulfillment_id)
    .where(
        orders_table.c.state == "placed",
        fulfillment.c.state == "collected",
        in_scope(fulfillment.c.location_id),
        ~_RUNNING,
    )
    .group_by(orders_table.c.id)
    .order_by(orders_table.c.id)
    .limit(bindparam("page", type_=Integer())),
    _Found,
)


async def dues(conn: Connection, who: Principal, *, page: int = 100) -> list[Due]:
    """What is owed for goods of the asker's stores, the oldest order first."""
    found = await conn.run(UNPAID, scope=who.scope, page=page)
    by_id = await orders.by_ids(conn, [each.order_id for each in found])
    owed = []
    for each in found:
        order = by_id[each.order_id]
        amount = await _due(conn, order)
        if amount.amount_minor:
            at = order.head.location_id
            owed.append(Due(order.id, order.head.number, at, amount, each.handed_over_at))
    return owed


async def pay_due(
    conn: Connection,
    who: Principal,
    order_id: UUID,
    tender: CounterTender,
    *,
    now: datetime,
) -> Money:
    """Take another tender for goods that are gone; returns the change. Completes the order.

    Raises NotFound, StoreNotAllowed, TenderedTooLittle, and InvalidField when nothing is due. A
    card that was not captured gives back what it may still hold.
    """
    order = await orders.lock(conn, order_id)
    if not who.sees(order.head.location_id):
        raise StoreNotAllowed(location_id=order.head.location_id)
    due = await _due(conn, order)
    checked = tenders.check(tender, due)
    assert checked is not None, "an amount is due"
    await payments.request_voids(conn, order_id, actor=who.actor, now=now)
    change = await tenders.take(
        conn,
        checked,
        order_id=order_id,
        fulfillment_id=order.fulfillments[0].id,
        due=due,
        actor=who.actor,
        now=now,
    )
    await access.record_staff(
        conn,
        who,
        action="order.due_paid",
        subject=f"order:{order_id}",
        changes={"due_minor": due.amount_minor, "currency": due.currency},
        now=now,
        location_id=order.head.location_id,
    )
    await complete_if_settled(conn, order_id, actor=who.actor, now=now)
    return change


async def _due(conn: Connection, order: Order) -> Money:
    """What is due of an order now: nothing while a capture is still under way."""
    paid = await payments.of_order(conn, order.id)
    if _captures_run(await payments.operations_of(conn, paid)):
        return Money(0, order.head.currency)
    return Money(due_minor(order, paid), order.head.currency)


def _captures_run(operations: dict[UUID, list[payments.Operation]]) -> bool:
    every: Sequence[payments.Operation] = [op for of in operations.values() for op in of]
    return any(op.open and op.kind == "capture" for op in every)
