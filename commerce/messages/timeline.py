"""One story of a person: messages both ways, notes, and what became of orders, newest first.

It is read by whoever answers next, so it is cut as everything that staff sees: without the
shopper's consent only what is about one order in hand. Codes stay with those they were sent to.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Uuid,
    any_,
    bindparam,
    case,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.consents import MessageChannel
from commerce.kernel.events import event
from commerce.kernel.sql import Connection, Query, either
from commerce.messages.outbox import State
from commerce.messages.texts import SAMPLES
from commerce.tables import associate, message, note, orders

STORY = (
    "order.placed",
    "order.cancelled",
    "order.completed",
    "payment.refunded",
    "pickup.ready",
    "pickup.collected",
    "pickup.expired",
    "pickup.cancelled",
    "return.requested",
    "return.approved",
    "return.rejected",
    "return.received",
    "return.settled",
    "return.cancelled",
)
"""The events of an order that a conversation may be about."""

OPEN_TEMPLATES = ("reply", *sorted(name for name, of in SAMPLES.items() if "code" not in of))
"""Whose words others may read; the rest carry codes, which are for who got them."""


class Position(msgspec.Struct, frozen=True):
    """Where a page ends."""

    at: datetime
    id: UUID


END = Position(datetime(9999, 1, 1, tzinfo=UTC), UUID(int=0))
"""Newer than everything."""


class MessageEntry(msgspec.Struct, frozen=True, tag_field="kind", tag="message"):
    """A message to the shopper, or (`received`) from them. Without `body` where it has a code."""

    id: UUID
    at: datetime
    channel: MessageChannel
    purpose: str
    template: str
    actor: str
    subject: str
    body: str | None
    state: State
    why: str | None
    reply_to: UUID | None


class NoteEntry(msgspec.Struct, frozen=True, tag_field="kind", tag="note"):
    """What an associate wrote down."""

    id: UUID
    at: datetime
    associate: str
    location_id: UUID
    body: str


class EventEntry(msgspec.Struct, frozen=True, tag_field="kind", tag="event"):
    """What happened to an order, a pickup or a return."""

    id: UUID
    at: datetime
    type: str
    actor: str
    order_id: UUID
    order_number: str
    location_id: UUID | None


Entry = MessageEntry | NoteEntry | EventEntry

_PERSON = any_(bindparam("person_ids", type_=ARRAY(Uuid())))
_PAGE = bindparam("page", type_=Integer())
_BEFORE = tuple_(
    bindparam("before_at", type_=DateTime(timezone=True)), bindparam("before_id", type_=Uuid())
)


def _newest(of: Select[Any], at: ColumnElement[Any], key: ColumnElement[Any]) -> Select[Any]:
    return of.where(tuple_(at, key) < _BEFORE).order_by(at.desc(), key.desc()).limit(_PAGE)


_OPEN_BODY = case((message.c.template.in_(OPEN_TEMPLATES), message.c.body)).label("body")
_MESSAGE = [
    message.c.id,
    message.c.created_at.label("at"),
    *(message.c[name] for name in ("channel", "purpose", "template", "actor", "subject")),
    _OPEN_BODY,
    *(message.c[name] for name in ("state", "why", "reply_to")),
]
_OF_ORDER = bindparam("order_id", type_=Uuid())
_ABOUT_ORDER = message.c.reason.in_(select(event.c.id).where(event.c.aggregate_id == _OF_ORDER))
MESSAGES = Query(
    _newest(
        select(*_MESSAGE).where(message.c.shopper_id == _PERSON),
        message.c.created_at,
        message.c.id,
    ),
    MessageEntry,
)
MESSAGES_OF_ORDER = Query(
    _newest(
        select(*_MESSAGE).where(
            message.c.shopper_id == _PERSON, message.c.purpose == "service", _ABOUT_ORDER
        ),
        message.c.created_at,
        message.c.id,
    ),
    MessageEntry,
)
NOTES = Query(
    _newest(
        select(
            note.c.id,
            note.c.created_at.label("at"),
            associate.c.name.label("associate"),
            note.c.location_id,
            note.c.body,
        )
        .join(associate, associate.c.id == note.c.associate_id)
        .where(note.c.shopper_id == _PERSON),
        note.c.created_at,
        note.c.id,
    ),
    NoteEntry,
)
EVENTS = Query(
    _newest(
        select(
            event.c.id,
            event.c.at,
            event.c.type,
            event.c.actor,
            orders.c.id.label("order_id"),
            orders.c.number.label("order_number"),
            event.c.location_id,
        )
        .join(orders, orders.c.id == event.c.aggregate_id)
        .where(
            orders.c.shopper_id == _PERSON,
            either(orders.c.id == _OF_ORDER, "order_id", Uuid()),
            event.c.type.in_(STORY),
        ),
        event.c.at,
        event.c.id,
    ),
    EventEntry,
)


async def timeline(
    conn: Connection, person_ids: Sequence[UUID], *, before: Position | None, page: int
) -> list[Entry]:
    """The whole story of a person, newest first, beginning behind `before`."""
    asked = _asked(person_ids, before, page)
    found: list[Entry] = [
        *await conn.run(MESSAGES, **asked),
        *await conn.run(NOTES, **asked),
        *await conn.run(EVENTS, **asked, order_id=None),
    ]
    return _merged(found, page)


async def order_timeline(
    conn: Connection,
    person_ids: Sequence[UUID],
    order_id: UUID,
    *,
    before: Position | None,
    page: int,
) -> list[Entry]:
    """The part of it that is about one order: what happened, and what was told of it."""
    asked = {**_asked(person_ids, before, page), "order_id": order_id}
    found: list[Entry] = [
        *await conn.run(MESSAGES_OF_ORDER, **asked),
        *await conn.run(EVENTS, **asked),
    ]
    return _merged(found, page)


async def messages_of(
    conn: Connection, person_ids: Sequence[UUID], *, before: Position | None, page: int
) -> list[MessageEntry]:
    """A person's messages alone, both ways, newest first."""
    return await conn.run(MESSAGES, **_asked(person_ids, before, page))


def _asked(person_ids: Sequence[UUID], before: Position | None, page: int) -> dict[str, Any]:
    end = before or END
    return {
        "person_ids": list(person_ids), "before_at": end.at, "before_id": end.id, "page": page,
    }  # fmt: skip


def _merged(found: list[Entry], page: int) -> list[Entry]:
    return sorted(found, key=lambda entry: (entry.at, entry.id), reverse=True)[:page]
