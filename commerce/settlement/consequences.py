"""What follows from an answer of the provider, in the transaction that records it.

authorized      the order is placed; if its goods are gone by now, it is cancelled and voided
captured        the order is completed, once everything is handed over and paid
captured, although the order was cancelled or paid otherwise: the money goes back
captured more than was asked, by hand at the provider: what is too much goes back
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from commerce import orders, payments, pricing, returns
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.sql import Connection
from commerce.orders import Order, StockGone
from commerce.payments import Change, Payment
from commerce.states import ORDER, PICKUP
from inventory import reservations

TIME_FOR_ANOTHER_CARD = timedelta(minutes=15)
LONGEST_WAIT_FOR_PAYMENT = timedelta(hours=1)
"""How long an order may hold its stock unpaid, however many cards are tried."""

SYSTEM = "system"


async def follow(conn: Connection, order: Order, change: Change, *, now: datetime) -> None:
    """Carry a change of a payment over to its order; both are locked."""
    captured = change.became("captured")
    if change.became("authorized") or (captured and change.before.waits_for_card):
        await _place(conn, order, change.actor, now)
    asked = [op for op in change.operations if op.kind == "capture" and op.state == "succeeded"]
    if captured or asked:
        order = await orders.by_id(conn, order.id)
        if order.head.state in ORDER.terminal:  # called off, or paid otherwise by now
            await payments.give_back(conn, order.id, actor=SYSTEM, now=now)
            return
        for operation in asked:
            excess_minor = change.after.captured_minor - operation.amount_minor
            if excess_minor > 0:
                await payments.request_refunds(
                    conn, order.id, None, amount_minor=excess_minor, actor=SYSTEM, now=now
                )
        await complete_if_settled(conn, order.id, actor=change.actor, now=now)


async def follow_refund(conn: Connection, change: Change, *, now: datetime) -> None:
    """Settle the return that a refund was for, once the last of its refunds has succeeded."""
    for operation in change.operations:
        if operation.return_id is not None and operation.state == "succeeded":
            await returns.settle(conn, operation.return_id, by=operation.actor, now=now)


async def complete_if_settled(
    conn: Connection, order_id: UUID, *, actor: str, now: datetime
) -> bool:
    """Complete an order that is handed over and paid in full. False: not yet, or it was already."""
    order = await orders.lock(conn, order_id)
    if order.head.state not in ORDER.sources("completed"):
        return False
    if any(share.state not in PICKUP.terminal for share in order.fulfillments):
        return False
    if due_minor(order, await payments.of_order(conn, order_id)) > 0:
        return False
    return await orders.complete(conn, order_id, actor=actor, now=now)


def due_minor(order: Order, paid: Sequence[Payment]) -> int:
    """What is still to be paid for the units that were handed over. Pure."""
    received = sum(
        pricing.refund_of(
            line.units,
            line.unit_price_minor,
            tax_included=order.head.tax_included,
            first=0,
            count=line.fulfilled_quantity,
        )
        for line in order.lines
    )
    return max(0, received - sum(each.captured_minor for each in paid))


async def try_card(
    conn: Connection,
    order_id: UUID,
    *,
    payment_method: str,
    return_url: str | None,
    actor: str,
    now: datetime,
) -> UUID:
    """Pay a waiting order with another card; returns the operation to carry out.

    The order gets more time, and its stock is held so long, up to an hour from its placing. Raises
    WrongState when it waits for no card, PaymentRunning while a card is being asked.
    """
    order = await orders.lock(conn, order_id)
    if order.head.state != "pending_payment":
        raise WrongState(
            kind="order",
            id=str(order_id),
            state=order.head.state,
            allowed=[*ORDER.sources("placed")],
        )
    waiting = [each for each in await payments.of_order(conn, order_id) if each.waits_for_card]
    if not waiting:
        raise NotFound(kind="payment", id=str(order_id))
    latest = order.head.created_at + LONGEST_WAIT_FOR_PAYMENT
    deadline_at = max(min(now + TIME_FOR_ANOTHER_CARD, latest), waiting[0].deadline_at or now)
    operation_id = await payments.try_card(
        conn,
        waiting[0].id,
        payment_method=payment_method,
        return_url=return_url,
        deadline_at=deadline_at,
        actor=actor,
        now=now,
    )
    demands = [share.demand_id for share in order.fulfillments]
    await reservations.extend(conn, demands, until=deadline_at, now=now)
    return operation_id


async def _place(conn: Connection, order: Order, actor: str, now: datetime) -> None:
    if order.head.state == "pending_payment":
        try:
            async with conn.savepoint():
                await orders.confirm(conn, order.id, actor=actor, now=now)
        except StockGone:
            await orders.cancel(conn, order.id, reason=StockGone.code, actor=SYSTEM, now=now)
    elif order.head.state == "cancelled":
        await payments.request_voids(conn, order.id, now=now)
