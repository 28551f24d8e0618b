"""What follow-ups are about, as it stands when they are due: read for all of a trigger at once."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Text, Uuid, and_, any_, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql import cast

from commerce import fulfillment as pickups
from commerce.follow_ups.settings import Settings, Trigger
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.tables import (
    cart,
    contact,
    fulfillment,
    item,
    order_line,
    orders,
    sku,
    watch,
)
from inventory import availability

FOREVER = datetime(9000, 1, 1, tzinfo=UTC)
SHOWN_LINES = 3
"""Of an abandoned cart, named in its message."""


class Due(msgspec.Struct, frozen=True):
    """A follow-up whose time has come."""

    id: UUID
    trigger: Trigger
    subject_id: UUID
    shopper_id: UUID | None
    contact_id: UUID | None


class Subject(msgspec.Struct, frozen=True):
    """What a follow-up is about, as it stands now."""

    open: bool
    since: datetime
    not_before: datetime
    location_id: UUID | None
    bought_at: datetime | None = None
    parameters: Mapping[str, Any] = {}


class _Cart(msgspec.Struct, frozen=True):
    id: UUID
    open: bool
    location_id: UUID | None
    updated_at: datetime
    claim_expires_at: datetime | None
    names: list[str]


class _Pickup(msgspec.Struct, frozen=True):
    id: UUID
    location_id: UUID
    state: str
    expires_at: datetime | None
    number: str
    name: str


class _Watch(msgspec.Struct, frozen=True):
    id: UUID
    location_id: UUID
    sku: str
    name: str
    created_at: datetime
    called_at: datetime | None
    open: bool


class _Order(msgspec.Struct, frozen=True):
    id: UUID
    location_id: UUID
    number: str
    closed_at: datetime | None
    kept: int


class _Moment(msgspec.Struct, frozen=True):
    of: UUID
    at: datetime


_TIME = DateTime(timezone=True)
_IDS = any_(bindparam("ids", type_=ARRAY(Uuid)))
_keys = (
    func.jsonb_object_keys(cart.c.lines).table_valued("value", name="k").render_derived().lateral()
)
_name = (
    select(item.c.name)
    .join(sku, sku.c.item_code == item.c.code)
    .where(sku.c.sku == _keys.c.value)
    .scalar_subquery()
)
_names = select(_name.label("name")).select_from(_keys).order_by(_keys.c.value).limit(SHOWN_LINES)
LIVE = and_(cart.c.state.in_(("open", "checkout")), cart.c.lines != cast(literal("{}"), JSONB))
"""A cart in which somebody may still find something."""

CARTS = Query(
    select(
        cart.c.id,
        LIVE.label("open"),
        cart.c.location_id,
        cart.c.updated_at,
        cart.c.claim_expires_at,
        func.array(_names.scalar_subquery(), type_=ARRAY(Text)).label("names"),
    ).where(cart.c.id == _IDS),
    _Cart,
)
PICKUPS = Query(
    select(
        fulfillment.c.id,
        fulfillment.c.location_id,
        fulfillment.c.state,
        fulfillment.c.expires_at,
        orders.c.number,
        contact.c.name,
    )
    .join(orders, orders.c.id == fulfillment.c.order_id)
    .join(contact, contact.c.id == orders.c.contact_id)
    .where(fulfillment.c.id == _IDS),
    _Pickup,
)
WATCHES = Query(
    select(
        watch.c.id,
        watch.c.location_id,
        watch.c.sku,
        item.c.name,
        watch.c.created_at,
        watch.c.called_at,
        watch.c.ended_at.is_(None).label("open"),
    )
    .join(sku, sku.c.sku == watch.c.sku)
    .join(item, item.c.code == sku.c.item_code)
    .where(watch.c.id == _IDS),
    _Watch,
)
_kept = (
    select(
        func.coalesce(func.sum(order_line.c.fulfilled_quantity - order_line.c.returned_quantity), 0)
    )
    .where(order_line.c.order_id == orders.c.id)
    .scalar_subquery()
)
ORDERS = Query(
    select(
        orders.c.id,
        orders.c.location_id,
        orders.c.number,
        orders.c.closed_at,
        cast(_kept, Integer).label("kept"),
    ).where(orders.c.id == _IDS),
    _Order,
)
_BOUGHT = orders.c.state.in_(("placed", "completed"))
_MEMBERS = rows_of("m", of=Uuid(), shopper_id=Uuid())
_newest = (
    select(orders.c.placed_at)
    .where(orders.c.shopper_id == _MEMBERS.c.shopper_id, _BOUGHT)
    .order_by(orders.c.id.desc())
    .limit(1)
    .lateral("newest")
)
PURCHASES = Query(
    select(_MEMBERS.c.of, func.max(_newest.c.placed_at).label("at"))
    .select_from(_MEMBERS.join(_newest, literal(True)))
    .group_by(_MEMBERS.c.of),
    _Moment,
)
_WAITED = rows_of("w", of=Uuid(), shopper_id=Uuid(), sku=Text(), since=_TIME)
PURCHASES_OF_SKUS = Query(
    select(_WAITED.c.of, func.max(orders.c.placed_at).label("at"))
    .select_from(
        _WAITED.join(orders, orders.c.shopper_id == _WAITED.c.shopper_id).join(
            order_line,
            (order_line.c.order_id == orders.c.id) & (order_line.c.sku == _WAITED.c.sku),
        )
    )
    .where(_BOUGHT, orders.c.placed_at >= _WAITED.c.since)
    .group_by(_WAITED.c.of),
    _Moment,
)


Ids = Mapping[UUID, tuple[UUID, ...]]
"""All ids of each shopper's person, root first."""


async def subjects(
    conn: Connection,
    due: Sequence[Due],
    ids: Ids,
    settings: Mapping[Trigger, Settings],
    *,
    secret: bytes,
    now: datetime,
) -> dict[UUID, Subject]:
    """By their ids; what does not exist any more is left out. `secret` is for pickup codes."""

    def of(trigger: Trigger) -> list[Due]:
        return [each for each in due if each.trigger == trigger]

    return {
        **await _carts(conn, of("abandoned_cart"), ids, settings["abandoned_cart"].delay),
        **await _pickups(conn, of("pickup_reminder"), settings["pickup_reminder"].delay, secret),
        **await _watches(conn, of("back_in_stock"), ids, settings["back_in_stock"].delay, now),
        **await _orders(conn, of("after_purchase"), settings["after_purchase"].delay),
    }


async def _carts(
    conn: Connection, due: Sequence[Due], ids: Ids, delay: timedelta
) -> dict[UUID, Subject]:
    """Nobody is reminded of a cart that an associate has at hand."""
    if not due:
        return {}
    found = await conn.run(CARTS, ids=[each.subject_id for each in due])
    pairs = [(each.subject_id, member) for each in due for member in _person(each, ids)]
    rows = await conn.run(
        PURCHASES, of=[cart_id for cart_id, _ in pairs], shopper_id=[member for _, member in pairs]
    )
    bought = {each.of: each.at for each in rows}
    return {
        each.id: Subject(
            open=each.open,
            since=each.updated_at,
            not_before=max(each.updated_at + delay, each.claim_expires_at or each.updated_at),
            location_id=each.location_id,
            bought_at=bought.get(each.id),
            parameters={"items": ", ".join(each.names)},
        )
        for each in found
    }


async def _pickups(
    conn: Connection, due: Sequence[Due], delay: timedelta, secret: bytes
) -> dict[UUID, Subject]:
    """The shopper has bought already: nothing but the pickup itself ends its reminder."""
    if not due:
        return {}
    found = await conn.run(PICKUPS, ids=[each.subject_id for each in due])
    return {
        each.id: Subject(
            open=each.state == "ready",
            since=FOREVER,
            not_before=(each.expires_at or FOREVER) - delay,
            location_id=each.location_id,
            parameters={
                "name": each.name,
                "number": each.number,
                "code": pickups.pickup_code(secret, each.id),
                "expires_at": each.expires_at,
            },
        )
        for each in found
    }


async def _watches(
    conn: Connection, due: Sequence[Due], ids: Ids, delay: timedelta, now: datetime
) -> dict[UUID, Subject]:
    """Over while there are none; whoever has bought the SKU anywhere waits no more."""
    if not due:
        return {}
    person_of = {each.subject_id: _person(each, ids) for each in due}
    found = await conn.run(WATCHES, ids=list(person_of))
    asked = [(each.sku, [each.location_id]) for each in found]
    there = await availability.of_skus(conn, asked, now=now)
    members = [(each, member) for each in found for member in person_of[each.id]]
    rows = await conn.run(
        PURCHASES_OF_SKUS,
        of=[each.id for each, _ in members],
        shopper_id=[member for _, member in members],
        sku=[each.sku for each, _ in members],
        since=[each.created_at for each, _ in members],
    )
    bought = {each.of: each.at for each in rows}
    return {
        each.id: Subject(
            open=each.open and at_store.available_to_promise > 0,
            since=each.created_at,
            not_before=(each.called_at or now) + delay,
            location_id=each.location_id,
            bought_at=bought.get(each.id),
            parameters={"item": each.name},
        )
        for each, (at_store,) in zip(found, there, strict=True)
    }


async def _orders(conn: Connection, due: Sequence[Due], delay: timedelta) -> dict[UUID, Subject]:
    """Nobody is asked how it was when everything came back."""
    if not due:
        return {}
    found = await conn.run(ORDERS, ids=[each.subject_id for each in due])
    return {
        each.id: Subject(
            open=each.kept > 0,
            since=FOREVER,
            not_before=(each.closed_at or FOREVER) + delay,
            location_id=each.location_id,
            parameters={"number": each.number},
        )
        for each in found
    }


def _person(due: Due, ids: Ids) -> tuple[UUID, ...]:
    return ids.get(due.shopper_id, ()) if due.shopper_id is not None else ()
