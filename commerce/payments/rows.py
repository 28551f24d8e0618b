"""Rows of payments and their operations, and how they are found and locked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.errors import NotFound
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query
from commerce.tables import payment, payment_operation

Tender = Literal["card", "cash", "external_terminal"]
OperationKind = Literal["authorize", "capture", "void", "refund"]

OPEN_OPERATIONS = ("pending", "unknown")
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
        """Nothing is held yet and it has not been given up."""
        return self.state in {"pending", "requires_action"}


class Operation(msgspec.Struct, frozen=True):
    """One call to the provider; its id is the provider's idempotency key.

    `attempts` counts the claims: at 0 nobody has called yet, beyond it somebody may have.
    """

    id: UUID
    payment_id: UUID
    kind: str
    state: str
    amount_minor: int
    payment_method: str | None
    return_id: UUID | None
    actor: str
    attempts: int
    next_attempt_at: datetime | None
    provider_reference: str | None
    failure_code: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN_OPERATIONS


_OF_ORDER = payment.c.order_id == bindparam("of_order")

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


async def lock(conn: Connection, payment_id: UUID) -> Payment:
    """A payment, locked for the rest of the transaction. Raises NotFound."""
    found = await conn.first(LOCK, payment_id=payment_id)
    if found is None:
        raise NotFound(kind="payment", id=str(payment_id))
    return found


async def operations_of(conn: Connection, rows: Sequence[Payment]) -> dict[UUID, list[Operation]]:
    """The operations of each payment, oldest first."""
    found: dict[UUID, list[Operation]] = {row.id: [] for row in rows}
    for operation in await conn.run(OPERATIONS_OF, payment_ids=list(found)):
        found[operation.payment_id].append(operation)
    return found
