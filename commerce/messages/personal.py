"""What is held of the conversation with a person."""

from uuid import UUID

from sqlalchemy import delete, or_, select

from commerce.kernel.holdings import ADDRESSES, CONTACT_IDS, SHOPPER_IDS, UNTIL, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import message

OF_PERSON = or_(
    message.c.shopper_id.is_not(None) & (message.c.shopper_id == SHOPPER_IDS),
    message.c.contact_id.is_not(None) & (message.c.contact_id == CONTACT_IDS),
    message.c.shopper_id.is_(None)
    & message.c.contact_id.is_(None)
    & (message.c.recipient == ADDRESSES)
    & (message.c.created_at <= UNTIL),
)
"""Messages to a person: as a shopper, as the contact of an order, and those with codes."""

HOLDINGS = (
    Holding(
        table="message",
        export=Query(select(document(message)).where(OF_PERSON), str),
        erase=Query(delete(message).where(OF_PERSON).returning(message.c.id), UUID),
        waits=True,
    ),
)
