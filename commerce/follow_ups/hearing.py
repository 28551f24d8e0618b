"""What follow-ups learn from events: when one is due, and when one may have become pointless.

Events come late, twice and in any order, so only their subjects count: carts, pickups and orders
are read as they stand. What may be over is not stopped here but looked at at once, so that one
place decides (`deciding`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Uuid, any_, bindparam, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import customers
from commerce.follow_ups.rows import New, schedule, wake, wake_shoppers
from commerce.follow_ups.settings import IN_HAND, Settings, settings
from commerce.follow_ups.subjects import LIVE
from commerce.kernel.events import Recorded
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.tables import cart, follow_up, fulfillment, orders

CONVERTED_WITHIN = timedelta(days=7)
"""An order within this time after a follow-up counts as its success."""


class _Cart(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID
    updated_at: datetime
    filled: bool


class _Ready(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID | None
    contact_id: UUID | None
    ready_at: datetime
    expires_at: datetime


class _Bought(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID
    placed_at: datetime
    completed_at: datetime | None


_TIME = DateTime(timezone=True)
_IDS = any_(bindparam("ids", type_=ARRAY(Uuid)))

CARTS = Query(
    select(
        cart.c.id,
        cart.c.shopper_id,
        cart.c.updated_at,
        LIVE.label("filled"),
    ).where(cart.c.id == _IDS, cart.c.shopper_id.is_not(None)),
    _Cart,
)
READY = Query(
    select(
        fulfillment.c.id,
        orders.c.shopper_id,
        orders.c.contact_id,
        fulfillment.c.ready_at,
        fulfillment.c.expires_at,
    )
    .join(orders, orders.c.id == fulfillment.c.order_id)
    .where(
        fulfillment.c.order_id == _IDS,
        fulfillment.c.state == "ready",
        orders.c.contact_id.is_not(None),
    ),
    _Ready,
)
BOUGHT = Query(
    select(
        orders.c.id,
        orders.c.shopper_id,
        orders.c.placed_at,
        orders.c.closed_at.label("completed_at"),
    ).where(
        orders.c.id == _IDS,
        orders.c.state.in_(("placed", "completed")),
        orders.c.shopper_id.is_not(None),
    ),
    _Bought,
)
_PURCHASES = rows_of("p", order_id=Uuid(), shopper_id=Uuid(), placed_at=_TIME)
CONVERT = Query(
    update(follow_up)
    .where(
        follow_up.c.shopper_id == _PURCHASES.c.shopper_id,
        follow_up.c.state == "sent",
        follow_up.c.trigger.not_in(IN_HAND),
        follow_up.c.order_id.is_(None),
        follow_up.c.decided_at <= _PURCHASES.c.placed_at,
        follow_up.c.decided_at > _PURCHASES.c.placed_at - CONVERTED_WITHIN,
    )
    .values(order_id=_PURCHASES.c.order_id)
)


async def hear(conn: Connection, new: Sequence[Recorded], *, now: datetime) -> None:
    """Schedule what follows from these events, and wake what may be over. Safe to repeat."""
    by_type: dict[str, list[UUID]] = {}
    for event in new:
        by_type.setdefault(event.type, []).append(event.aggregate_id)
    of = await settings(conn)
    edited = [*by_type.get("cart.changed", ()), *by_type.get("cart.merged", ())]
    await _carts(conn, sorted({*edited}), of["abandoned_cart"], now)
    await _pickups(conn, by_type.get("pickup.ready", ()), of["pickup_reminder"])
    await _purchases(conn, by_type.get("order.placed", ()), now)
    await _completed(conn, by_type.get("order.completed", ()), of["after_purchase"])


async def _carts(conn: Connection, ids: Sequence[UUID], of: Settings, now: datetime) -> None:
    if not ids:
        return
    found = await conn.run(CARTS, ids=list(ids))
    waiting = [
        New(each.id, each.updated_at + of.delay, each.updated_at, shopper_id=each.shopper_id)
        for each in found
        if each.filled
    ]
    await schedule(conn, of.trigger, waiting)
    await wake(conn, of.trigger, [each.id for each in found if not each.filled], now=now)


async def _pickups(conn: Connection, order_ids: Sequence[UUID], of: Settings) -> None:
    if not order_ids:
        return
    found = await conn.run(READY, ids=list(order_ids))
    waiting = [
        New(each.id, each.expires_at - of.delay, each.ready_at, each.shopper_id, each.contact_id)
        for each in found
    ]
    await schedule(conn, of.trigger, waiting)


async def _purchases(conn: Connection, order_ids: Sequence[UUID], now: datetime) -> None:
    """Whoever has bought is not reminded of it; what was sent before has perhaps led to it."""
    if not order_ids:
        return
    found = await conn.run(BOUGHT, ids=list(order_ids))
    persons = await customers.persons_of(conn, [each.shopper_id for each in found])
    rows = [
        (each.id, shopper_id, each.placed_at)
        for each in found
        for shopper_id in persons.get(each.shopper_id, (each.shopper_id,))
    ]
    if rows:
        await wake_shoppers(conn, sorted({shopper_id for _, shopper_id, _ in rows}), now=now)
        order_id, shopper_id, placed_at = map(list, zip(*rows, strict=True))
        await conn.run(CONVERT, order_id=order_id, shopper_id=shopper_id, placed_at=placed_at)


async def _completed(conn: Connection, order_ids: Sequence[UUID], of: Settings) -> None:
    if not order_ids:
        return
    found = await conn.run(BOUGHT, ids=list(order_ids))
    waiting = [
        New(each.id, each.completed_at + of.delay, each.completed_at, shopper_id=each.shopper_id)
        for each in found
        if each.completed_at is not None
    ]
    await schedule(conn, of.trigger, waiting)
