"""An order as clients see it. No personal data and no secret in it, so it may be stored."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from api.words import (
    Channel,
    FulfillmentKind,
    FulfillmentState,
    OrderState,
    PaidBy,
    PaymentState,
    Tender,
)
from commerce import payments
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.orders import Fulfillment, Order, OrderLine
from commerce.payments import Operation, Payment


class LineView(msgspec.Struct, frozen=True):
    """A line as it was sold; `total` is what is paid for it, tax and all."""

    line_number: int
    sku: str
    name: str
    quantity: int
    unit_price: Money
    discount: Money
    tax: Money
    total: Money
    cancelled_quantity: int
    fulfilled_quantity: int
    returned_quantity: int

    @classmethod
    def of(cls, line: OrderLine, currency: str) -> "LineView":
        """From the stored line."""
        return cls(
            line.line_number,
            line.sku,
            line.name,
            line.quantity,
            Money(line.unit_price_minor, currency),
            Money(line.discount_minor, currency),
            Money(line.tax_minor, currency),
            Money(line.total_minor, currency),
            line.cancelled_quantity,
            line.fulfilled_quantity,
            line.returned_quantity,
        )


class FulfillmentView(msgspec.Struct, frozen=True):
    """How and where the goods reach the shopper."""

    id: UUID
    kind: FulfillmentKind
    state: FulfillmentState
    location_id: UUID
    promised_at: datetime | None
    ready_at: datetime | None
    expires_at: datetime | None
    closed_at: datetime | None

    @classmethod
    def of(cls, share: Fulfillment) -> "FulfillmentView":
        """From the stored fulfillment."""
        return cls(
            share.id,
            share.kind,
            share.state,
            share.location_id,
            share.promised_at,
            share.ready_at,
            share.expires_at,
            share.closed_at,
        )


class CardView(msgspec.Struct, frozen=True):
    """Enough of a card for its owner to recognize it."""

    brand: str | None
    last4: str | None


class PaymentView(msgspec.Struct, frozen=True):
    """One tender's share of an order and what has become of its money.

    With `state` requires_action the shopper must prove who they are, at `redirect_url`. With a
    `decline_code` the last card was refused; another may be tried until `deadline_at`.
    """

    id: UUID
    tender: PaidBy
    state: PaymentState
    amount: Money
    authorized: Money
    captured: Money
    refunded: Money
    refund_pending: Money
    card: CardView | None
    decline_code: str | None
    redirect_url: str | None
    reference: str | None
    deadline_at: datetime | None

    @classmethod
    def of(cls, paid: Payment, operations: Sequence[Operation] = ()) -> "PaymentView":
        """Of a row and its operations."""
        currency = paid.currency
        pending = sum(op.amount_minor for op in operations if op.kind == "refund" and op.open)
        known = paid.card_brand or paid.card_last4
        return cls(
            id=paid.id,
            tender=paid.tender,
            state=paid.state,
            amount=paid.amount,
            authorized=Money(paid.authorized_minor, currency),
            captured=Money(paid.captured_minor, currency),
            refunded=Money(paid.refunded_minor, currency),
            refund_pending=Money(pending, currency),
            card=CardView(paid.card_brand, paid.card_last4) if known else None,
            decline_code=paid.decline_code,
            redirect_url=paid.redirect_url,
            reference=paid.reference,
            deadline_at=paid.deadline_at if paid.waits_for_card else None,
        )


async def payments_of(conn: Connection, order_id: UUID) -> list[PaymentView]:
    """The payments of an order, oldest first."""
    found = await payments.of_order(conn, order_id)
    operations = await payments.operations_of(conn, found)
    return [PaymentView.of(each, operations[each.id]) for each in found]


class OrderView(msgspec.Struct, frozen=True):
    """An order. `total = subtotal - discount`, plus `tax` unless prices include it."""

    id: UUID
    number: str
    state: OrderState
    channel: Channel
    tender: Tender
    created_at: datetime
    placed_at: datetime | None
    closed_at: datetime | None
    cancel_reason: str | None
    tax_included: bool
    coupon_code: str | None
    subtotal: Money
    discount: Money
    tax: Money
    total: Money
    lines: tuple[LineView, ...]
    fulfillments: tuple[FulfillmentView, ...]
    payments: tuple[PaymentView, ...]

    @classmethod
    def of(cls, order: Order, paid: Sequence[PaymentView] = ()) -> "OrderView":
        """From what is stored."""
        head = order.head
        currency = head.currency
        return cls(
            id=head.id,
            number=head.number,
            state=head.state,
            channel=head.channel,
            tender=head.tender,
            created_at=head.created_at,
            placed_at=head.placed_at,
            closed_at=head.closed_at,
            cancel_reason=head.cancel_reason,
            tax_included=head.tax_included,
            coupon_code=head.coupon_code,
            subtotal=Money(head.subtotal_minor, currency),
            discount=Money(head.discount_minor, currency),
            tax=Money(head.tax_minor, currency),
            total=Money(head.total_minor, currency),
            lines=tuple(LineView.of(line, currency) for line in order.lines),
            fulfillments=tuple(FulfillmentView.of(share) for share in order.fulfillments),
            payments=tuple(paid),
        )


async def order_view(conn: Connection, order: Order) -> OrderView:
    """An order with its payments as they stand."""
    return OrderView.of(order, await payments_of(conn, order.id))
