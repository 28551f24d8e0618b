"""The outbox as the back office reads it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Text, Uuid, bindparam, select

from commerce.consents import MessageChannel
from commerce.kernel.sql import Connection, Query, either
from commerce.messages.writing import Purpose
from commerce.tables import message

State = Literal["queued", "sent", "delivered", "read", "failed", "suppressed", "received"]


class Written(msgspec.Struct, frozen=True):
    """A message as it stands. Personal data."""

    id: UUID
    reason: UUID
    purpose: Purpose
    channel: MessageChannel
    shopper_id: UUID | None
    template: str
    recipient: str
    subject: str
    body: str
    state: str
    why: str | None
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None


NEWEST_FIRST = Query(
    select(*(message.c[name] for name in Written.__struct_fields__))
    .where(
        either(message.c.id < bindparam("before"), "before", Uuid()),
        either(message.c.state == bindparam("in_state", type_=Text()), "in_state", Text()),
    )
    .order_by(message.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Written,
)


async def page(
    conn: Connection, *, state: State | None, before: UUID | None, page: int
) -> list[Written]:
    """Messages, those of the newest reasons first."""
    return await conn.run(NEWEST_FIRST, in_state=state, before=before, page=page)
