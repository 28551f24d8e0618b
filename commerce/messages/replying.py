"""An associate answers what a shopper wrote."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access import Principal, record_staff
from commerce.consents import MessageChannel
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.messages.writing import Address, NewMessage, Outcome, write
from commerce.stores import Store
from commerce.tables import message

ANSWER_WITHIN = timedelta(days=7)
"""A conversation is over when nobody wrote for so long."""


class ConversationOver(CommerceError):
    """The shopper wrote too long ago. Write within their consents instead."""

    code = "conversation_over"
    message_id: UUID


class _Received(msgspec.Struct, frozen=True):
    id: UUID
    channel: MessageChannel
    recipient: str
    locale: str
    created_at: datetime


RECEIVED = Query(
    select(*(message.c[name] for name in _Received.__struct_fields__)).where(
        message.c.id == bindparam("of", type_=Uuid()),
        message.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid()))),
        message.c.state == "received",
    ),
    _Received,
)


async def answer(
    conn: Connection,
    who: Principal,
    person_ids: Sequence[UUID],
    message_id: UUID,
    *,
    reason: UUID,
    text: str,
    at: Store,
    now: datetime,
) -> Outcome:
    """Answer by the channel and to the address that a message came from.

    It is service: they wrote to us. `reason` is the command's id; repeating it writes nothing.
    Raises `NotFound` for a message that is not from this person, and `ConversationOver`.
    """
    received = await conn.first(RECEIVED, of=message_id, person_ids=list(person_ids))
    if received is None:
        raise NotFound(kind="message", id=str(message_id))
    if received.created_at < now - ANSWER_WITHIN:
        raise ConversationOver(message_id=message_id)
    new = NewMessage(
        template="answer",
        parameters={"text": text, "store": at},
        reason=reason,
        shopper_id=person_ids[0],
        address=Address(received.channel, received.recipient, received.locale),
        actor=who.actor,
        reply_to=message_id,
    )
    (outcome,) = await write(conn, [new], now)
    await record_staff(
        conn, who, action="message.answered", subject=f"shopper:{person_ids[0]}",
        changes={"message_id": str(outcome.id)}, now=now,
    )  # fmt: skip
    return outcome
