"""What happens to orders, told to whom they belong.

A message says what is true when it is written: who has collected meanwhile is not called any more.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import fulfillment as pickups
from commerce import stores
from commerce.consents import CHANNELS
from commerce.kernel.events import Recorded
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query
from commerce.messages.people import Reachable, reachable
from commerce.messages.writing import NewMessage, write_to
from commerce.tables import contact, fulfillment, orders

TEMPLATES: Mapping[str, str] = {
    "order.placed": "order_placed",
    "order.cancelled": "order_cancelled",
    "pickup.ready": "pickup_ready",
    "payment.refunded": "refund_made",
}
"""Which event is told to the shopper, and how."""

STILL_TRUE: Mapping[str, frozenset[str]] = {
    "order.placed": frozenset({"placed", "completed"}),
    "pickup.ready": frozenset({"ready"}),
}
"""State of the order (of the pickup, for its events) in which the message is worth sending."""


class _About(msgspec.Struct, frozen=True):
    order_id: UUID
    number: str
    order_state: str
    currency: str
    total_minor: int
    location_id: UUID
    contact_id: UUID
    shopper_id: UUID | None
    name: str
    email: str | None
    phone: str | None
    locale: str
    fulfillment_id: UUID
    fulfillment_state: str
    promised_at: datetime | None
    expires_at: datetime | None


ABOUT = Query(
    select(
        orders.c.id.label("order_id"),
        orders.c.number,
        orders.c.state.label("order_state"),
        orders.c.currency,
        orders.c.total_minor,
        fulfillment.c.location_id,
        orders.c.contact_id,
        contact.c.shopper_id,
        contact.c.name,
        contact.c.email,
        contact.c.phone,
        contact.c.locale,
        fulfillment.c.id.label("fulfillment_id"),
        fulfillment.c.state.label("fulfillment_state"),
        fulfillment.c.promised_at,
        fulfillment.c.expires_at,
    )
    .join(contact, contact.c.id == orders.c.contact_id)
    .join(fulfillment, fulfillment.c.order_id == orders.c.id)
    .where(orders.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))),
    _About,
)


async def tell(
    conn: Connection,
    events: Sequence[Recorded],
    *,
    secret: bytes,
    now: datetime,
    carried: Collection[str] = CHANNELS,
) -> None:
    """Write what shoppers are to be told of these events, where it is still true.

    Orders without a contact have nobody to tell. `secret` is the installation's, for pickup codes.
    `carried` are the channels that somebody carries; messages of others are done when written.
    """
    found = await conn.run(ABOUT, ids=sorted({each.aggregate_id for each in events}))
    places = await stores.by_ids(conn, sorted({each.location_id for each in found}))
    by_order: dict[UUID, list[_About]] = {}
    for about in found:
        by_order.setdefault(about.order_id, []).append(about)
    new = []
    for event in events:
        meant = _meant(event, by_order.get(event.aggregate_id, []))
        if meant is not None and _still_true(event, meant):
            new.append((_message(event, meant, places[meant.location_id], secret), _person(meant)))
    if new:
        await write_to(conn, new, now, carried=carried)


def _meant(event: Recorded, shares: Sequence[_About]) -> _About | None:
    """The part of the order that an event is about: its fulfillment, where it names one."""
    named = event.payload.get("fulfillment_id")
    return next((each for each in shares if named in (None, str(each.fulfillment_id))), None)


def _still_true(event: Recorded, about: _About) -> bool:
    present = about.fulfillment_state if event.type.startswith("pickup.") else about.order_state
    return event.type not in STILL_TRUE or present in STILL_TRUE[event.type]


def _person(about: _About) -> Reachable:
    return reachable(about.contact_id, about.shopper_id, about.email, about.phone, about.locale)


def _message(event: Recorded, about: _About, at: stores.Store, secret: bytes) -> NewMessage:
    return NewMessage(
        template=TEMPLATES[event.type],
        parameters=_facts(event, about, at, secret),
        reason=event.id,
        contact_id=about.contact_id,
        time_zone=at.time_zone,
    )


def _facts(event: Recorded, about: _About, at: stores.Store, secret: bytes) -> dict[str, Any]:
    """What the event's template may speak of."""
    facts: dict[str, Any] = {
        "name": about.name,
        "number": about.number,
        "total": Money(about.total_minor, about.currency),
    }
    match event.type:
        case "order.placed":
            facts |= {"store": at, "promised_at": about.promised_at}
        case "pickup.ready":
            code = pickups.pickup_code(secret, about.fulfillment_id)
            facts |= {"store": at, "code": code, "expires_at": about.expires_at}
        case "payment.refunded":
            amount = Money(event.payload["amount_minor"], about.currency)
            facts |= {"amount": amount, "tender": event.payload["tender"]}
    return facts
