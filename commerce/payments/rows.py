"""Rows of payments and their operations: how they are found, locked and written."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, DateTime, Text, Uuid, any_, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.events import Event
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.states import PAYMENT
from commerce.tables import payment, payment_operation

FIRST_LEASE = timedelta(seconds=30)
"""Who asked for an operation performs it, too; the sweep takes it over after so long."""

OPEN_STATES = ("pending", "unknown")
"""States of an operation whose outcome is still to come."""


class Payment(msgspec.Struct, frozen=True):
    """One tender's share of one fulfillment; a card's is one object at the provider.

    `authorized_minor`, `captured_minor` and `refunded_minor` are certain; what is under way stands
    in the operations. `decline_code` is why the last card was refused, until another one pays.
    """

    id: UUID
    order_id: UUID
    fulfillment_id: UUID
    tender: str
    state: str
    currency: str
    amount_minor: int
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    provider_id: str | None
    payment_method: str | None
    return_url: str | None
    redirect_url: str | None
    decline_code: str | None
    card_brand: str | None
    card_last4: str | None
    card_fingerprint: str | None
    reference: str | None
    capture_before: datetime | None
    deadline_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def amount(self) -> Money:
        """What it is for."""
        return Money(self.amount_minor, self.currency)

    @property
    def waits_for_card(self) -> bool:
        """Nothing is held yet, and it has not been given up."""
        return self.state in {"pending", "requires_action"}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call to the provider; its id is the provider's idempotency key.

    `attempts` counts the claims: at 0 nobody has called yet, beyond it somebody may have.
    """

    payment_id: UUID
    kind: str
    amount_minor: int
    actor: str
    created_at: datetime
    updated_at: datetime
    id: UUID = msgspec.field(default_factory=ids.uuid7)
    state: str = "pending"
    payment_method: str | None = None
    return_id: UUID | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    provider_reference: str | None = None
    failure_code: str | None = None

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN_STATES


_OF_ORDER = payment.c.order_id == bindparam("of_order")
_MUTABLE = (
    *("state", "authorized_minor", "captured_minor", "refunded_minor", "provider_id"),
    *("payment_method", "return_url", "redirect_url", "decline_code", "card_brand"),
    *("card_last4", "card_fingerprint", "capture_before", "deadline_at", "updated_at"),
)
_NEW_OPERATIONS = rows_of(
    "o",
    id=Uuid(),
    payment_id=Uuid(),
    kind=Text(),
    state=Text(),
    amount_minor=BigInteger(),
    payment_method=Text(),
    return_id=Uuid(),
    actor=Text(),
    next_attempt_at=DateTime(timezone=True),
    created_at=DateTime(timezone=True),
    updated_at=DateTime(timezone=True),
)
_NEW_COLUMNS = [c for c in _NEW_OPERATIONS.c if c.name != "position"]

OF_ORDER = Query(select(payment).where(_OF_ORDER).order_by(payment.c.id), Payment)
LOCK_OF_ORDER = Query(
    select(payment).where(_OF_ORDER).order_by(payment.c.id).with_for_update(key_share=True),
    Payment,
)
LOCK_OF_FULFILLMENT = Query(
    select(payment)
    .where(payment.c.fulfillment_id == bindparam("of_fulfillment"))
    .order_by(payment.c.id)
    .with_for_update(key_share=True),
    Payment,
)
BY_ID = Query(select(payment).where(payment.c.id == bindparam("payment_id")), Payment)
LOCK = Query(
    select(payment).where(payment.c.id == bindparam("payment_id")).with_for_update(key_share=True),
    Payment,
)
WRITE = Query(
    update(payment)
    .values({name: bindparam(f"new_{name}", type_=payment.c[name].type) for name in _MUTABLE})
    .where(
        payment.c.id == bindparam("payment_id"),
        payment.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
    )
    .returning(payment.c.id),
    UUID,
)
OPERATION = Query(
    select(payment_operation).where(payment_operation.c.id == bindparam("operation_id")),
    Operation,
)
OPERATIONS_OF = Query(
    select(payment_operation)
    .where(payment_operation.c.payment_id == any_(bindparam("payment_ids", type_=ARRAY(Uuid))))
    .order_by(payment_operation.c.id),
    Operation,
)
ADD_OPERATIONS = Query(
    insert(payment_operation).from_select(
        [c.name for c in _NEW_COLUMNS], select(*_NEW_COLUMNS).order_by(_NEW_OPERATIONS.c.id)
    )
)
WRITE_OPERATION = Query(
    update(payment_operation)
    .values(
        {
            name: bindparam(f"new_{name}", type_=payment_operation.c[name].type)
            for name in (
                *("state", "next_attempt_at", "provider_reference"),
                *("failure_code", "updated_at"),
            )
        }
    )
    .where(payment_operation.c.id == bindparam("operation_id"))
)


async def of_order(conn: Connection, order_id: UUID) -> list[Payment]:
    """The payments of an order, oldest first."""
    return await conn.run(OF_ORDER, of_order=order_id)


async def get(conn: Connection, payment_id: UUID) -> Payment:
    """A payment as it stands. Raises NotFound."""
    found = await conn.first(BY_ID, payment_id=payment_id)
    if found is None:
        raise NotFound(kind="payment", id=str(payment_id))
    return found


async def lock(conn: Connection, payment_id: UUID) -> Payment:
    """A payment, locked for the rest of the transaction. Raises NotFound."""
    found = await conn.first(LOCK, payment_id=payment_id)
    if found is None:
        raise NotFound(kind="payment", id=str(payment_id))
    return found


async def operations_of(
    conn: Connection, payments: Sequence[Payment]
) -> dict[UUID, list[Operation]]:
    """The operations of each payment, oldest first."""
    found: dict[UUID, list[Operation]] = {each.id: [] for each in payments}
    for operation in await conn.run(OPERATIONS_OF, payment_ids=list(found)):
        found[operation.payment_id].append(operation)
    return found


async def write(conn: Connection, changed: Payment, *, before: Payment) -> None:
    """Write a locked payment; a move that its life cycle does not have is a bug."""
    written = await conn.first(
        WRITE,
        payment_id=changed.id,
        sources=(
            [before.state] if changed.state == before.state else PAYMENT.sources(changed.state)
        ),
        **{f"new_{name}": getattr(changed, name) for name in _MUTABLE},
    )
    assert written is not None, f"{before.state} -> {changed.state}"


async def add_operations(conn: Connection, operations: Sequence[Operation]) -> None:
    """Write new operations: intents, or facts that need no provider."""
    if operations:
        await conn.run(ADD_OPERATIONS, **columns_of(operations, *(c.name for c in _NEW_COLUMNS)))


async def write_operation(conn: Connection, changed: Operation) -> None:
    """Write the progress of an operation whose payment is locked."""
    await conn.run(
        WRITE_OPERATION,
        operation_id=changed.id,
        new_state=changed.state,
        new_next_attempt_at=changed.next_attempt_at,
        new_provider_reference=changed.provider_reference,
        new_failure_code=changed.failure_code,
        new_updated_at=changed.updated_at,
    )


def intent(of: Payment, kind: str, amount_minor: int, *, actor: str, now: datetime) -> Operation:
    """A call to be made by whoever asked for it, or by the sweep a little later."""
    return Operation(
        payment_id=of.id,
        kind=kind,
        amount_minor=amount_minor,
        actor=actor,
        next_attempt_at=now + FIRST_LEASE,
        created_at=now,
        updated_at=now,
    )


def fact(about: Payment, kind: str, actor: str, **more: object) -> Event:
    """What has happened to a payment, on its order's timeline: ids and amounts only."""
    payload = {
        "payment_id": about.id,
        "fulfillment_id": about.fulfillment_id,
        "tender": about.tender,
        "currency": about.currency,
        **more,
    }
    return Event(
        type=kind, aggregate="order", aggregate_id=about.order_id, actor=actor, payload=payload
    )
