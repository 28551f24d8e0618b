"""A cart goes to another store, and takes what it holds along: all of it or nothing."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Uuid, bindparam, update

from commerce import orders, pricing
from commerce.carts.checkout import short
from commerce.carts.editing import choose_store
from commerce.carts.rows import Cart, Owner, changed, lock_live
from commerce.kernel import events
from commerce.kernel.sql import Connection, Query
from commerce.tables import cart
from inventory import reservations, stock
from inventory.demands import Demand, Refused, Want

MOVE = Query(
    update(cart)
    .values(
        location_id=bindparam("at", type_=Uuid()),
        demand_id=bindparam("demand", type_=Uuid()),
        revision=cart.c.revision + 1,
        updated_at=bindparam("now", type_=DateTime(timezone=True)),
    )
    .where(cart.c.id == bindparam("of"))
)


async def move(
    conn: Connection, cart_id: UUID, owner: Owner, *, location_id: UUID, demand_id: UUID,
    actor: str, now: datetime,
) -> Cart:  # fmt: skip
    """Choose another store for a cart without leaving its checkout; `demand_id` is a new one.

    What is held is held there from now on, and no longer than before. There already: nothing
    changes. Raises NotFound, CartOrdered, UnknownStore; and where the cart holds stock that the
    store does not sell or has too little of, UnknownSku, CouponRefused, PickupUnavailable or
    StockShort: then all stays as it was.
    """
    before = await lock_live(conn, cart_id, owner, now=now)
    if not before.held(now) or before.location_id is None or before.demand_id is None:
        return await choose_store(
            conn, cart_id, owner, location_id=location_id, actor=actor, now=now
        )
    if before.location_id == location_id:
        return before
    after = msgspec.structs.replace(
        before,
        location_id=location_id,
        demand_id=demand_id,
        revision=before.revision + 1,
        updated_at=now,
    )
    basket = after.basket()
    given = await pricing.terms(conn, [basket])
    pricing.quote(basket, given, now=now)
    orders.promise_pickup(given.stores[location_id], now)
    # Of both stores in one statement, so that two carts that change places do not wait in a ring.
    places = (before.location_id, location_id)
    await stock.lock(conn, {(place, sku) for place in places for sku in after.lines})
    await _hold(conn, after, actor, now)
    await reservations.release(conn, before.demand_id, actor=actor, now=now, reason="cart_moved")
    await conn.run(MOVE, of=cart_id, at=location_id, demand=demand_id, now=now)
    await events.record(conn, [changed(after, actor)], now=now)
    return after


async def _hold(conn: Connection, after: Cart, actor: str, now: datetime) -> None:
    assert after.demand_id is not None
    basket = after.basket()
    demand = Demand(
        id=after.demand_id,
        wants=tuple(Want(basket.location_id, line.sku, line.quantity) for line in basket.lines),
        hold_class="guest" if after.shopper_id is None else "signed_in",
        actor=actor,
        expires_at=after.hold_expires_at,
        new=True,
    )
    (outcome,) = await reservations.hold(conn, [demand], now=now)
    if isinstance(outcome, Refused):
        raise short(after, outcome)
