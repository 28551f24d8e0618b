"""Payments as clients see them: no card fingerprint, no provider's id."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.payments import rows
from commerce.payments.rows import Operation, Payment


class CardView(Struct, frozen=True):
    """Enough of a card for its owner to recognize it."""

    brand: str | None
    last4: str | None


class PaymentView(Struct, frozen=True):
    """One tender's share of an order and what has become of its money.

    With `state` requires_action the shopper must prove who they are, at `redirect_url`. With a
    `decline_code` the last card was refused; another may be tried until `deadline_at`.
    """

    id: UUID
    fulfillment_id: UUID
    tender: str
    state: str
    amount: Money
    authorized: Money
    captured: Money
    refunded: Money
    refund_pending: Money
    card: CardView | None
    decline_code: str | None
    redirect_url: str | None
    reference: str | None
    capture_before: datetime | None
    deadline_at: datetime | None

    @classmethod
    def of(cls, payment: Payment, operations: list[Operation]) -> "PaymentView":
        """Of a row and its operations."""
        currency = payment.currency
        pending = sum(op.amount_minor for op in operations if op.kind == "refund" and op.open)
        known = payment.card_brand or payment.card_last4
        return cls(
            id=payment.id,
            fulfillment_id=payment.fulfillment_id,
            tender=payment.tender,
            state=payment.state,
            amount=payment.amount,
            authorized=Money(payment.authorized_minor, currency),
            captured=Money(payment.captured_minor, currency),
            refunded=Money(payment.refunded_minor, currency),
            refund_pending=Money(pending, currency),
            card=CardView(payment.card_brand, payment.card_last4) if known else None,
            decline_code=payment.decline_code,
            redirect_url=payment.redirect_url,
            reference=payment.reference,
            capture_before=payment.capture_before,
            deadline_at=payment.deadline_at if payment.waits_for_card else None,
        )


async def of_order(conn: Connection, order_id: UUID) -> list[PaymentView]:
    """The payments of an order, oldest first."""
    found = await conn.run(rows.OF_ORDER, of_order=order_id)
    operations = await rows.operations_of(conn, found)
    return [PaymentView.of(each, operations[each.id]) for each in found]
