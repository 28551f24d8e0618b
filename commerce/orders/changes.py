"""What happens to an order after it was taken: confirmed, cancelled, fulfilled, completed."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import DateTime, Integer, Text, Uuid, any_, bindparam, null, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import payments, pricing, stores
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.orders import reading
from commerce.orders.placing import placed_facts
from commerce.orders.reading import Fulfillment, Order
from commerce.states import ORDER, PICKUP
from commerce.tables import fulfillment, order_line, orders
from inventory import reservations, stock
from inventory.demands import Demand, Held, Want

_TIME = DateTime(timezone=True)
_COUNTS = rows_of("c", line_number=Integer(), quantity=Integer())

MOVE = Query(
    update(orders)
    .values(
        state=bindparam("target", type_=Text()),
        placed_at=bindparam("was_placed_at", type_=_TIME),
        closed_at=bindparam("is_closed_at", type_=_TIME),
        cancel_reason=bindparam("why", type_=Text()),
    )
    .where(
        orders.c.id == bindparam("of"),
        orders.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
    )
    .returning(orders.c.id),
    UUID,
)
REQUEST = Query(
    update(fulfillment)
    .values(
        requested_at=bindparam("now", type_=_TIME),
        demand_id=bindparam("under", type_=Uuid()),
        promised_at=bindparam("promise", type_=_TIME),
    )
    .where(fulfillment.c.id == bindparam("of"))
)
CANCEL_FULFILLMENTS = Query(
    update(fulfillment)
    .values(
        state=bindparam("target", type_=Text()),
        closed_at=bindparam("now", type_=_TIME),
        cancel_reason=bindparam("why", type_=Text()),
        expires_at=null(),
    )
    .where(
        fulfillment.c.order_id == bindparam("of"),
        fulfillment.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
    )
    .returning(fulfillment.c.id),
    UUID,
)
CANCEL_LINES = Query(
    update(order_line)
    .values(cancelled_quantity=order_line.c.quantity - order_line.c.fulfilled_quantity)
    .where(order_line.c.order_id == bindparam("of"))
)
COUNT_FULFILLED = Query(
    update(order_line)
    .values(fulfilled_quantity=order_line.c.fulfilled_quantity + _COUNTS.c.quantity)
    .where(
        order_line.c.order_id == bindparam("of"),
        order_line.c.line_number == _COUNTS.c.line_number,
    )
)
COUNT_CANCELLED = Query(
    update(order_line)
    .values(cancelled_quantity=order_line.c.cancelled_quantity + _COUNTS.c.quantity)
    .where(
        order_line.c.order_id == bindparam("of"),
        order_line.c.line_number == _COUNTS.c.line_number,
    )
)
COUNT_RETURNED = Query(
    update(order_line)
    .values(returned_quantity=order_line.c.returned_quantity + _COUNTS.c.quantity)
    .where(
        order_line.c.order_id == bindparam("of"),
        order_line.c.line_number == _COUNTS.c.line_number,
    )
)


class StockGone(CommerceError):
    """The hold ran out before the payment came, and the goods are promised to others by now."""

    code = "stock_gone"
    order_id: UUID


async def confirm(conn: Connection, order_id: UUID, *, actor: str, now: datetime) -> Order:
    """The payment is certain: pending_payment -> placed. Placed already: nothing changes.

    The hold becomes a promise; if it died meanwhile, stock is held anew in this transaction.
    Raises StockGone when there is none left, WrongState when the order was cancelled.
    """
    order = await reading.lock(conn, order_id)
    if order.head.state == "placed":
        return order
    if order.head.state not in ORDER.sources("placed"):
        raise wrong_state(order, "placed")
    (share,) = order.fulfillments
    at = await stores.by_id(conn, order.head.location_id)
    promised_at = stores.promise_at(at, now) or share.promised_at
    demand_id = share.demand_id
    # A hold that has died is held anew below, and levels are locked before reservations.
    await stock.lock(conn, {(order.head.location_id, line.sku) for line in order.lines})
    if not await reservations.commit(conn, {demand_id: promised_at}, now=now):
        demand_id = await _hold_again(conn, order, promised_at, actor, now)
    await _move(conn, order, "placed", placed_at=now)
    await conn.run(REQUEST, of=share.id, under=demand_id, promise=promised_at, now=now)
    await events.record(conn, placed_facts(order, share, actor), now=now)
    return await reading.by_id(conn, order_id)


async def cancel(
    conn: Connection,
    order_id: UUID,
    *,
    reason: str,
    actor: str,
    now: datetime,
    pickup_becomes: Literal["cancelled", "expired"] = "cancelled",
) -> Order:
    """Call an order off before anything was handed over: stock is released, payments are voided.

    Cancelled already: nothing changes. Raises WrongState once goods have left. The voids are
    intents; `settlement` carries them out.
    """
    order = await reading.lock(conn, order_id)
    if order.head.state == "cancelled":
        return order
    if order.head.state not in ORDER.sources("cancelled"):
        raise wrong_state(order, "cancelled")
    gone = await conn.run(
        CANCEL_FULFILLMENTS,
        of=order_id,
        target=pickup_becomes,
        sources=PICKUP.sources(pickup_becomes),
        why=reason,
        now=now,
    )
    if len(gone) < len(order.fulfillments):
        raise wrong_state(order, "cancelled")
    await _move(conn, order, "cancelled", closed_at=now, reason=reason)
    await conn.run(CANCEL_LINES, of=order_id)
    await payments.give_back(conn, order_id, actor=actor, now=now)
    # The ledger stays for ever, so it does not hold what the shopper may have typed.
    why = f"order_{pickup_becomes}"
    for share in order.fulfillments:
        await reservations.release(conn, share.demand_id, actor=actor, now=now, reason=why)
    if order.head.coupon_code:
        await pricing.give_back(conn, order.head.coupon_code)
    await events.record(conn, _cancelled_facts(order, pickup_becomes, actor), now=now)
    return await reading.by_id(conn, order_id)


async def complete(conn: Connection, order_id: UUID, *, actor: str, now: datetime) -> bool:
    """Everything is handed over and paid: placed -> completed. False: it was already."""
    order = await reading.lock(conn, order_id)
    if order.head.state == "completed":
        return False
    await _move(conn, order, "completed", closed_at=now)
    fact = Event("order.completed", "order", order_id, actor, {}, order.head.location_id)
    await events.record(conn, [fact], now=now)
    return True


async def count_fulfilled(conn: Connection, order_id: UUID, units: dict[int, int]) -> None:
    """So many more units per line number have been handed over; the order is locked."""
    await conn.run(
        COUNT_FULFILLED, of=order_id, line_number=list(units), quantity=list(units.values())
    )


async def count_cancelled(conn: Connection, order_id: UUID, units: dict[int, int]) -> None:
    """So many units per line number will not come (a short pick); the order is locked."""
    await conn.run(
        COUNT_CANCELLED, of=order_id, line_number=list(units), quantity=list(units.values())
    )


async def count_returned(conn: Connection, order_id: UUID, units: dict[int, int]) -> None:
    """So many more units per line number have come back; the order is locked."""
    await conn.run(
        COUNT_RETURNED, of=order_id, line_number=list(units), quantity=list(units.values())
    )


def wrong_state(order: Order, target: str) -> WrongState:
    """The refusal of a step that the order's life cycle does not allow now."""
    return WrongState(
        kind="order", id=str(order.id), state=order.head.state, allowed=ORDER.sources(target)
    )


async def _move(
    conn: Connection,
    order: Order,
    target: str,
    *,
    placed_at: datetime | None = None,
    closed_at: datetime | None = None,
    reason: str | None = None,
) -> None:
    moved = await conn.run(
        MOVE,
        of=order.id,
        target=target,
        sources=ORDER.sources(target),
        was_placed_at=placed_at or order.head.placed_at,
        is_closed_at=closed_at,
        why=reason,
    )
    if not moved:
        raise wrong_state(order, target)


async def _hold_again(
    conn: Connection, order: Order, promised_at: datetime | None, actor: str, now: datetime
) -> UUID:
    at = order.head.location_id
    demand = Demand(
        id=ids.uuid7(),
        wants=tuple(Want(at, line.sku, line.quantity) for line in order.lines),
        hold_class="order",
        actor=actor,
        promised_at=promised_at,
    )
    (outcome,) = await reservations.hold(conn, [demand], now=now)
    if not isinstance(outcome, Held):
        raise StockGone(order_id=order.id)
    return demand.id


def _cancelled_facts(order: Order, pickup_became: str, actor: str) -> list[Event]:
    """Without the reason: it may be what the shopper typed, and stands with the order."""
    facts = [Event("order.cancelled", "order", order.id, actor, {}, order.head.location_id)]
    facts += [
        _pickup_ended(share, pickup_became, actor)
        for share in order.fulfillments
        if share.requested_at
    ]
    return facts


def _pickup_ended(share: Fulfillment, became: str, actor: str) -> Event:
    payload = {"fulfillment_id": share.id}
    return Event(f"pickup.{became}", "order", share.order_id, actor, payload, share.location_id)
