"""How payments begin: a card's with its first call to the provider, any other's as a fact."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, DateTime, Text, Uuid, bindparam, insert, literal, select

from commerce.kernel import events
from commerce.kernel.errors import InvalidField
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.payments.rows import (
    FIRST_LEASE,
    Operation,
    Payment,
    add_operations,
    fact,
)
from commerce.states import OPERATION, PAYMENT
from commerce.tables import payment, payment_operation


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

_TAKEN = (
    *("id", "order_id", "fulfillment_id", "tender", "state", "currency", "amount_minor"),
    *("authorized_minor", "captured_minor", "reference", "created_at", "updated_at"),
)
TAKE = Query(
    insert(payment)
    .values({name: bindparam(f"new_{name}", type_=payment.c[name].type) for name in _TAKEN})
    .returning(payment),
    Payment,
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


async def take(
    conn: Connection,
    *,
    payment_id: UUID,
    order_id: UUID,
    fulfillment_id: UUID,
    tender: str,
    amount: Money,
    reference: str | None,
    actor: str,
    now: datetime,
) -> Payment:
    """Record money that an associate has taken: cash, or a card on a terminal of its own.

    An external terminal needs the number on its receipt, without which nobody finds the sale
    again. The caller has locked the order, and knows that so much is due. Not safe to repeat.
    """
    assert tender in {"cash", "external_terminal"}
    if tender == "external_terminal" and not reference:
        raise InvalidField(path="/reference", reason="an external terminal needs its reference")
    taken = await conn.one(
        TAKE,
        new_id=payment_id,
        new_order_id=order_id,
        new_fulfillment_id=fulfillment_id,
        new_tender=tender,
        new_state="captured",
        new_currency=amount.currency,
        new_amount_minor=amount.amount_minor,
        new_authorized_minor=amount.amount_minor,
        new_captured_minor=amount.amount_minor,
        new_reference=reference,
        new_created_at=now,
        new_updated_at=now,
    )
    done = Operation(
        payment_id=payment_id,
        kind="capture",
        state="succeeded",
        amount_minor=amount.amount_minor,
        actor=actor,
        created_at=now,
        updated_at=now,
    )
    await add_operations(conn, [done])
    captured = fact(
        taken,
        "payment.captured",
        actor,
        operation_id=done.id,
        amount_minor=amount.amount_minor,
    )
    await events.record(conn, [captured], now=now)
    return taken
