"""Messages to shoppers: written with the event that is their reason, sent once it is certain.

    queued -> sent | failed

`tell` writes messages in the transaction of the actor that was told of the events; an event has one
message of a template, however often it comes. `send` carries them: it takes some for itself for a
while, sends, then notes it. Whoever dies between sending and noting leaves them for the next one,
so a message is never lost and may come twice. Without a carrier a message stays in the outbox, as
sent: the back office reads it there.

A message says what is true when it is written: who has collected meanwhile is not called any more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    Uuid,
    all_,
    any_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import fulfillment as pickups
from commerce import notification_texts as texts
from commerce import stores
from commerce.kernel import ids
from commerce.kernel.clock import Clock
from commerce.kernel.events import Recorded
from commerce.kernel.sql import Connection, Database, Query, either, rows_of
from commerce.tables import contact, fulfillment, notification, orders

State = Literal["queued", "sent", "failed"]

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

SEND_AT_ONCE = 8
KEEP_AT_ONCE = 500
ATTEMPTS = 8
_LEASE = timedelta(minutes=2)
_FIRST_WAIT = timedelta(seconds=15)


class NotSent(Exception):
    """The carrier did not take the message. Says why without naming anybody."""


class Message(msgspec.Struct, frozen=True):
    """What a carrier gets."""

    id: UUID
    channel: str
    recipient: str
    subject: str
    body: str
    attempts: int


class Post(Protocol):
    """Carries messages to people: SMTP, or whatever a test hands in."""

    channels: frozenset[str]
    """What it can carry; other messages stay in the outbox."""

    async def send(self, message: Message) -> None:
        """Hand one message over. Raises NotSent."""


class Notification(msgspec.Struct, frozen=True):
    """A message as the back office sees it. Personal data."""

    id: UUID
    event_id: UUID
    contact_id: UUID
    channel: str
    template: str
    recipient: str
    subject: str
    body: str
    state: str
    attempts: int
    created_at: datetime
    sent_at: datetime | None


class _About(msgspec.Struct, frozen=True):
    order_id: UUID
    number: str
    order_state: str
    currency: str
    total_minor: int
    location_id: UUID
    contact_id: UUID
    name: str
    email: str | None
    phone: str | None
    locale: str
    fulfillment_id: UUID
    fulfillment_state: str
    promised_at: datetime | None
    expires_at: datetime | None


_NOW = bindparam("now", type_=DateTime(timezone=True))
_IDS = bindparam("ids", type_=ARRAY(Uuid))
_CHANNELS = bindparam("channels", type_=ARRAY(Text))

ABOUT = Query(
    select(
        orders.c.id.label("order_id"),
        orders.c.number,
        orders.c.state.label("order_state"),
        orders.c.currency,
        orders.c.total_minor,
        fulfillment.c.location_id,
        orders.c.contact_id,
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
    .where(orders.c.id == any_(_IDS)),
    _About,
)
_NEW = rows_of(
    "n",
    id=Uuid(),
    event_id=Uuid(),
    contact_id=Uuid(),
    channel=Text(),
    template=Text(),
    recipient=Text(),
    subject=Text(),
    body=Text(),
)
_NEW_COLUMNS = [c for c in _NEW.c if c.name != "position"]
QUEUE = Query(
    upsert(notification)
    .from_select(
        [*(c.name for c in _NEW_COLUMNS), "state", "created_at"],
        select(*_NEW_COLUMNS, literal("queued"), _NOW).order_by(_NEW.c.event_id),
    )
    .on_conflict_do_nothing()
)
_MESSAGE = [notification.c[name] for name in Message.__struct_fields__]
_NEXT = (
    select(notification.c.id)
    .where(
        notification.c.state == "queued",
        or_(notification.c.next_attempt_at.is_(None), notification.c.next_attempt_at <= _NOW),
    )
    .order_by(notification.c.id)
    .limit(bindparam("page", type_=Integer()))
    .with_for_update(skip_locked=True)
)


def _among(found: Select[tuple[UUID]]) -> ColumnElement[bool]:
    """As an array, so that the locking part runs once whatever the plan."""
    return notification.c.id == any_(func.array(found.scalar_subquery(), type_=ARRAY(Uuid)))


TAKE = Query(
    update(notification)
    .where(_among(_NEXT.where(notification.c.channel == any_(_CHANNELS))))
    .values(
        attempts=notification.c.attempts + 1,
        next_attempt_at=bindparam("until", type_=DateTime(timezone=True)),
    )
    .returning(*_MESSAGE),
    Message,
)
KEEP = Query(
    update(notification)
    .where(_among(_NEXT.where(notification.c.channel != all_(_CHANNELS))))
    .values(state="sent", sent_at=_NOW)
    .returning(notification.c.id),
    UUID,
)
_OUTCOMES = rows_of("o", id=Uuid(), state=Text(), again_at=_NOW.type)
NOTE = Query(
    update(notification)
    .values(
        state=_OUTCOMES.c.state,
        next_attempt_at=_OUTCOMES.c.again_at,
        sent_at=case((_OUTCOMES.c.state == "sent", _NOW)),
    )
    .where(notification.c.id == _OUTCOMES.c.id, notification.c.state == "queued")
)
NEWEST_FIRST = Query(
    select(*(notification.c[name] for name in Notification.__struct_fields__))
    .where(
        either(notification.c.id < bindparam("before"), "before", Uuid()),
        either(notification.c.state == bindparam("in_state", type_=Text()), "in_state", Text()),
    )
    .order_by(notification.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Notification,
)


async def tell(
    conn: Connection, events: Sequence[Recorded], *, secret: bytes, now: datetime
) -> None:
    """Write what shoppers are to be told of these events, where it is still true.

    Orders without a contact have nobody to tell. `secret` is the installation's, for pickup codes.
    """
    found = await conn.run(ABOUT, ids=sorted({each.aggregate_id for each in events}))
    places = await stores.by_ids(conn, sorted({each.location_id for each in found}))
    by_order: dict[UUID, list[_About]] = {}
    for about in found:
        by_order.setdefault(about.order_id, []).append(about)
    rows = []
    for event in events:
        meant = _meant(event, by_order.get(event.aggregate_id, []))
        if meant is not None and _still_true(event, meant):
            rows.append(_row(event, meant, places[meant.location_id], secret))
    if rows:
        columns = zip(*rows, strict=True)
        names = (c.name for c in _NEW_COLUMNS)
        await conn.run(QUEUE, **dict(zip(names, map(list, columns), strict=True)), now=now)


async def send(db: Database, post: Post | None, *, now: Clock) -> int:
    """Send what is due; returns how many messages were tried. Any number may run it at once."""
    channels = list(post.channels) if post is not None else []
    tried = 0
    while True:
        kept = await _keep(db, channels, now)
        sent = await _send_some(db, post, now) if post is not None else 0
        tried += kept + sent
        if not kept and not sent:
            return tried


async def page(
    conn: Connection, *, state: State | None, before: UUID | None, page: int
) -> list[Notification]:
    """The outbox, newest first."""
    return await conn.run(NEWEST_FIRST, in_state=state, before=before, page=page)


def _meant(event: Recorded, shares: Sequence[_About]) -> _About | None:
    """The part of the order that an event is about: its fulfillment, where it names one."""
    named = event.payload.get("fulfillment_id")
    return next((each for each in shares if named in (None, str(each.fulfillment_id))), None)


def _still_true(event: Recorded, about: _About) -> bool:
    present = about.fulfillment_state if event.type.startswith("pickup.") else about.order_state
    return event.type not in STILL_TRUE or present in STILL_TRUE[event.type]


def _row(event: Recorded, about: _About, at: stores.Store, secret: bytes) -> tuple[Any, ...]:
    """One message, in the order of the columns."""
    channel = "email" if about.email else "sms"
    template = TEMPLATES[event.type]
    subject, body = texts.render(
        template, about.locale, channel=channel, about=_facts(event, about, at, secret)
    )
    recipient = about.email or about.phone
    return (ids.uuid7(), event.id, about.contact_id, channel, template, recipient, subject, body)


def _facts(event: Recorded, about: _About, at: stores.Store, secret: bytes) -> dict[str, Any]:
    """What templates may speak of."""
    locale = about.locale
    amount_minor = event.payload.get("amount_minor", about.total_minor)
    return {
        "name": about.name,
        "number": about.number,
        "total": texts.amount(about.total_minor, about.currency, locale),
        "amount": texts.amount(amount_minor, about.currency, locale),
        "tender": event.payload.get("tender"),
        "store": at,
        "hours": texts.hours(at, locale),
        "promised_at": about.promised_at and texts.moment(about.promised_at, at.time_zone, locale),
        "expires_at": about.expires_at and texts.moment(about.expires_at, at.time_zone, locale),
        "code": pickups.pickup_code(secret, about.fulfillment_id),
    }


async def _keep(db: Database, channels: list[str], now: Clock) -> int:
    """What nobody carries stays where it is; that is all that is done with it."""

    async def work(conn: Connection) -> list[UUID]:
        return await conn.run(KEEP, channels=channels, page=KEEP_AT_ONCE, now=now())

    return len(await db.commit(work))


async def _send_some(db: Database, post: Post, now: Clock) -> int:
    """Take some, send them, note it: three steps, with the network in none of the transactions."""

    async def take(conn: Connection) -> list[Message]:
        moment = now()
        return await conn.run(
            TAKE,
            channels=list(post.channels),
            page=SEND_AT_ONCE,
            now=moment,
            until=moment + _LEASE,
        )

    taken = await db.commit(take)
    if not taken:
        return 0
    states = await asyncio.gather(*(_carry(post, each) for each in taken))

    async def note(conn: Connection) -> None:
        moment = now()
        waits = [_FIRST_WAIT * 2 ** (each.attempts - 1) for each in taken]
        await conn.run(
            NOTE,
            id=[each.id for each in taken],
            state=list(states),
            again_at=[moment + wait for wait in waits],
            now=moment,
        )

    await db.commit(note)
    return len(taken)


async def _carry(post: Post, message: Message) -> State:
    try:
        await post.send(message)
    except NotSent:
        return "queued" if message.attempts < ATTEMPTS else "failed"
    return "sent"
