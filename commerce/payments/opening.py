"""How payments begin: a card's with its first call to the provider, any other tender's at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, DateTime, Text, Uuid, bindparam, insert, literal, select

from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.states import OPERATION, PAYMENT
from commerce.tables import payment, payment_operation

FIRST_LEASE = timedelta(seconds=30)
"""Who asked for an operation performs it, too; the sweep takes it over after so long."""


class NewPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A card payment to be authorized by the operation of this id, made before the batch.

    `payment_method` is the provider's id of the card. `return_url` is where the shopper goes after
    proving who they are; without it the shopper's device must handle that itself.
    """

    payment_id: UUID
    operation_id: UUID
    order_id: UUID
    fulfillment_id: UUID
    tender: str
    amount_minor: int
    currency: str
    payment_method: str
    deadline_at: datetime
    actor: str
    return_url: str | None = None


_NEW = rows_of(
    "n",
    payment_id=Uuid(),
    operation_id=Uuid(),
    order_id=Uuid(),
    fulfillment_id=Uuid(),
    tender=Text(),
    amount_minor=BigInteger(),
    currency=Text(),
    payment_method=Text(),
    deadline_at=DateTime(timezone=True),
    actor=Text(),
    return_url=Text(),
)
_NOW = bindparam("now", type_=DateTime(timezone=True))

OPEN = Query(
    insert(payment).from_select(
        [
            *("id", "order_id", "fulfillment_id", "tender", "amount_minor", "currency"),
            *("payment_method", "deadline_at", "return_url", "state", "created_at", "updated_at"),
        ],
        select(
            *(_NEW.c.payment_id, _NEW.c.order_id, _NEW.c.fulfillment_id, _NEW.c.tender),
            *(_NEW.c.amount_minor, _NEW.c.currency, _NEW.c.payment_method, _NEW.c.deadline_at),
            *(_NEW.c.return_url, literal(PAYMENT.initial), _NOW, _NOW),
        ).order_by(_NEW.c.payment_id),
    )
)
AUTHORIZE = Query(
    insert(payment_operation).from_select(
        [
            *("id", "payment_id", "kind", "state", "amount_minor", "payment_method", "actor"),
            *("next_attempt_at", "created_at", "updated_at"),
        ],
        select(
            *(_NEW.c.operation_id, _NEW.c.payment_id, literal("authorize")),
            *(literal(OPERATION.initial), _NEW.c.amount_minor, _NEW.c.payment_method),
            *(_NEW.c.actor, bindparam("due", type_=DateTime(timezone=True)), _NOW, _NOW),
        ).order_by(_NEW.c.operation_id),
    )
)


async def open_many(conn: Connection, new: Sequence[NewPayment], *, now: datetime) -> None:
    """Write pending payments with their first operation: two statements, however many.

    The caller performs the operations after its commit (`settlement.run`); the sweep does what is
    left.
    """
    if not new:
        return
    columns = columns_of(new, *NewPayment.__struct_fields__)
    await conn.run(OPEN, **columns, now=now)
    await conn.run(AUTHORIZE, **columns, due=now + FIRST_LEASE, now=now)
