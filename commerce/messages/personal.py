"""What is held of the conversation with a person: all of it goes."""

from uuid import UUID

from sqlalchemy import Table, case, delete, or_, select

from commerce.kernel.holdings import (
    ADDRESSES,
    CONTACT_IDS,
    SHOPPER_IDS,
    UNTIL,
    Holding,
    document,
)
from commerce.kernel.sql import Query
from commerce.messages.timeline import OPEN_TEMPLATES
from commerce.tables import message, note, preferred_channel, push_device, stopped_address
from commerce.tables.privacy import MESSAGE_CHANNELS

OF_PERSON = or_(
    message.c.shopper_id.is_not(None) & (message.c.shopper_id == SHOPPER_IDS),
    message.c.contact_id.is_not(None) & (message.c.contact_id == CONTACT_IDS),
    message.c.shopper_id.is_(None)
    & message.c.contact_id.is_(None)
    & (message.c.recipient == ADDRESSES)
    & (message.c.created_at <= UNTIL),
)
"""Messages to a person: as a shopper, as the contact of an order, and those with codes."""

_WORDS = ("body", "html")
_OPEN = message.c.template.in_(OPEN_TEMPLATES)
_TOLD = (
    select(
        *(each for each in message.c if each.name not in _WORDS),
        *(case((_OPEN, message.c[name])).label(name) for name in _WORDS),
    )
    .where(OF_PERSON)
    .subquery("told")
)
"""Codes are for who got them: whoever exports a person's data could sign in as them."""

_STOPPED = (
    stopped_address.c.channel.in_(MESSAGE_CHANNELS),
    stopped_address.c.address == ADDRESSES,
    stopped_address.c.at <= UNTIL,
)
_NOTE = note.c.shopper_id == SHOPPER_IDS


def _of_shopper(table: Table, *, without: tuple[str, ...] = ()) -> Holding:
    """A table that has nothing but what a shopper gave."""
    ours = table.c.shopper_id == SHOPPER_IDS
    return Holding(
        table=str(table.name),
        export=Query(select(document(table, without=without)).where(ours), str),
        erase=Query(delete(table).where(ours).returning(table.c.shopper_id), UUID),
    )


HOLDINGS = (
    Holding(
        table="note",
        export=Query(select(document(note)).where(_NOTE), str),
        erase=Query(delete(note).where(_NOTE).returning(note.c.id), UUID),
        ids=Query(select(note.c.id).where(_NOTE), UUID),
    ),
    _of_shopper(preferred_channel),
    _of_shopper(push_device, without=("token",)),
    Holding(
        table="stopped_address",
        export=Query(select(document(stopped_address)).where(*_STOPPED), str),
        erase=Query(
            delete(stopped_address).where(*_STOPPED).returning(stopped_address.c.channel), str
        ),
    ),
    Holding(
        table="message",
        export=Query(select(document(_TOLD)), str),
        erase=Query(delete(message).where(OF_PERSON).returning(message.c.id), UUID),
        waits=True,
    ),
)
