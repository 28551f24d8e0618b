"""Pickups that nobody collects: called off by the store, or overdue."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import DateTime, bindparam, select

from commerce import access, orders
from commerce.access import Principal
from commerce.fulfillment.reading import Pickup, by_id, find, refusal
from commerce.kernel.errors import WrongState
from commerce.kernel.sql import Connection, Database, LostRace, Query
from commerce.tables import fulfillment
from commerce.tables import orders as orders_table

EXPIRED_AT_ONCE = 100
"""How many overdue pickups one sweep ends."""

NOT_COLLECTED = "not_collected"

CancelReason = Literal["shopper_asked", "not_found", "damaged", "store_closed"]

# The order is locked first, as everywhere; one that somebody works on is left for the next sweep.
NEXT_OVERDUE = Query(
    select(fulfillment.c.order_id)
    .join(orders_table, orders_table.c.id == fulfillment.c.order_id)
    .where(
        fulfillment.c.state == "ready",
        fulfillment.c.expires_at <= bindparam("now", type_=DateTime(timezone=True)),
        orders_table.c.state == "placed",
    )
    .order_by(fulfillment.c.expires_at)
    .limit(1)
    .with_for_update(of=orders_table, skip_locked=True, key_share=True),
    UUID,
)


async def cancel(
    conn: Connection, who: Principal, pickup_id: UUID, *, reason: CancelReason, now: datetime
) -> Pickup:
    """Call a pickup off at the store, and its order with it: stock is released, holds are voided.

    Cancelled already: nothing changes. Raises AlreadyCollected, WrongState.
    """
    found = await find(conn, who, pickup_id)
    order = await orders.lock(conn, found.order_id)
    (share,) = (each for each in order.fulfillments if each.id == pickup_id)
    if share.state in {"collected", "expired"}:
        raise await refusal(conn, pickup_id, "cancelled")
    if share.state == "cancelled":
        return await by_id(conn, pickup_id)
    await access.record_staff(
        conn,
        who,
        action="pickup.cancelled",
        subject=f"pickup:{pickup_id}",
        changes={"reason": reason},
        now=now,
        location_id=found.location_id,
    )
    await orders.cancel(conn, order.id, reason=reason, actor=who.actor, now=now)
    return await by_id(conn, pickup_id)


async def expire(db: Database, *, now: datetime, limit: int = EXPIRED_AT_ONCE) -> list[UUID]:
    """End ready pickups whose week is over: ready -> expired, the order is cancelled.

    One short transaction for each. Returns the orders, whose voids are to be carried out
    (`settlement.settle_order`, or its sweep). Safe to repeat, and in several processes at once.
    """
    ended: list[UUID] = []
    while len(ended) < limit:
        order_id = await db.commit(lambda conn: _expire_next(conn, now))
        if order_id is None:
            break
        ended.append(order_id)
    return ended


async def _expire_next(conn: Connection, now: datetime) -> UUID | None:
    order_id = await conn.first(NEXT_OVERDUE, now=now)
    if order_id is None:
        return None
    try:
        await orders.cancel(
            conn, order_id, reason=NOT_COLLECTED, pickup_becomes="expired", actor="system", now=now
        )
    except WrongState as handed_over:  # between the look and the lock
        raise LostRace from handed_over
    return order_id
