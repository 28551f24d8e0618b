"""Tables of sales: orders, their frozen lines, payments, fulfillments and returns.

No foreign key to location, SKU or shopper on the hot ones, and none from lines and fulfillments to
the order that one statement writes with them; the audit checks those.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from commerce.kernel.sql import metadata
from commerce.states import FULFILLMENT_STATES, OPERATION, ORDER, PAYMENT, RETURN

CHANNELS = ("web", "app", "store")
TENDERS = ("card", "cash", "external_terminal")
"""Means of payment. `pay_at_pickup` is none: it is the promise of one of these at hand-over."""
FULFILLMENT_KINDS = ("pickup", "carry_out")
DISPOSITIONS = ("restock", "damaged", "return_to_vendor", "destroy")

order_number = Sequence("order_number", metadata=metadata)
"""Its values are permuted into the numbers that people see (`ids.order_number`)."""

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("shopper_id", Uuid),
    Column("contact_id", Uuid),
    Column("cart_id", Uuid),
    Column("location_id", Uuid, nullable=False),
    Column("currency", Text, nullable=False),
    Column("tax_included", Boolean, nullable=False),
    Column("subtotal_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("coupon_code", Text),
    Column("tender", Text, nullable=False),
    # Who served the shopper, and at which store: not always where the goods are.
    Column("attributed_to", Text),
    Column("attributed_location_id", Uuid),
    Column("cancel_reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("placed_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    CheckConstraint(f"state IN {tuple(ORDER)}", name="state"),
    CheckConstraint(f"channel IN {CHANNELS}", name="channel"),
    CheckConstraint(f"tender IN {(*TENDERS, 'pay_at_pickup')}", name="tender"),
    CheckConstraint(
        "total_minor = subtotal_minor - discount_minor"
        " + CASE WHEN tax_included THEN 0 ELSE tax_minor END",
        name="total",
    ),
    CheckConstraint("discount_minor BETWEEN 0 AND subtotal_minor", name="discount"),
    postgresql_with={"fillfactor": "80"},
)
Index(
    "orders_shopper_idx",
    orders.c.shopper_id,
    orders.c.id,
    postgresql_where=text("shopper_id IS NOT NULL"),
)
Index(
    "orders_guest_idx",
    orders.c.contact_id,
    postgresql_where=text("shopper_id IS NULL AND contact_id IS NOT NULL"),
)
Index("orders_location_idx", orders.c.location_id, orders.c.id)
Index(
    "orders_pending_idx",
    orders.c.created_at,
    postgresql_where=text("state = 'pending_payment'"),
)

# Everything that a refund will ever read stands here, frozen at the sale. `units` splits the line
# into runs of equal units: [[count, discount_minor, tax_minor], ...], summing to the line.
order_line = Table(
    "order_line",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("line_number", Integer, primary_key=True),
    Column("fulfillment_id", Uuid, nullable=False),
    Column("sku", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("tax_rate_bp", Integer, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("units", JSONB, nullable=False),
    Column("final_sale", Boolean, nullable=False),
    Column("return_window_days", Integer, nullable=False),
    Column("cancelled_quantity", Integer, nullable=False, server_default=text("0")),
    Column("fulfilled_quantity", Integer, nullable=False, server_default=text("0")),
    Column("returned_quantity", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("cancelled_quantity >= 0 AND fulfilled_quantity >= 0", name="counts"),
    CheckConstraint("cancelled_quantity + fulfilled_quantity <= quantity", name="ordered"),
    CheckConstraint("returned_quantity BETWEEN 0 AND fulfilled_quantity", name="returned"),
    CheckConstraint(
        "discount_minor BETWEEN 0 AND unit_price_minor * quantity AND tax_minor >= 0",
        name="amounts",
    ),
    postgresql_with={"fillfactor": "80"},
)

fulfillment = Table(
    "fulfillment",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False, index=True),
    Column("location_id", Uuid, nullable=False),
    # The demand that its reservations stand under; a later hold for it is another demand.
    Column("demand_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("promised_at", DateTime(timezone=True)),
    Column("requested_at", DateTime(timezone=True)),
    Column("picking_at", DateTime(timezone=True)),
    Column("ready_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    Column("picked_by", Text),
    Column("handed_over_by", Text),
    Column("staging_location", Text),
    Column("cancel_reason", Text),
    Column("code_tries", Integer, nullable=False, server_default=text("0")),
    Column("code_locked_until", DateTime(timezone=True)),
    CheckConstraint(f"kind IN {FULFILLMENT_KINDS}", name="kind"),
    CheckConstraint(f"state IN {FULFILLMENT_STATES}", name="state"),
    postgresql_with={"fillfactor": "80"},
)
Index(
    "fulfillment_open_idx",
    fulfillment.c.location_id,
    fulfillment.c.id,
    postgresql_where=text("state IN ('requested', 'picking', 'ready')"),
)
Index(
    "fulfillment_expiry_idx",
    fulfillment.c.expires_at,
    postgresql_where=text("state = 'ready'"),
)

# authorized, captured and refunded are what is certain; what is under way stands in the operations.
payment = Table(
    "payment",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", Uuid, ForeignKey("orders.id"), nullable=False, index=True),
    Column("fulfillment_id", Uuid, nullable=False, index=True),
    Column("tender", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("authorized_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("captured_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("refunded_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("provider_id", Text, unique=True),
    Column("payment_method", Text),
    Column("return_url", Text),
    Column("redirect_url", Text),
    Column("decline_code", Text),
    Column("card_brand", Text),
    Column("card_last4", Text),
    Column("card_fingerprint", Text),
    Column("reference", Text),
    Column("capture_before", DateTime(timezone=True)),
    Column("deadline_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"tender IN {TENDERS}", name="tender"),
    CheckConstraint(f"state IN {tuple(PAYMENT)}", name="state"),
    CheckConstraint(
        "0 <= refunded_minor AND refunded_minor <= captured_minor"
        " AND captured_minor <= authorized_minor",
        name="books",
    ),
    postgresql_with={"fillfactor": "80"},
)

Index(
    "payment_waiting_idx",
    payment.c.deadline_at,
    postgresql_where=text("state IN ('pending', 'requires_action')"),
)
Index("payment_held_idx", payment.c.capture_before, postgresql_where=text("state = 'authorized'"))

payment_operation = Table(
    "payment_operation",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("payment_id", Uuid, ForeignKey("payment.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("payment_method", Text),
    Column("return_id", Uuid),
    Column("actor", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("provider_reference", Text),
    Column("failure_code", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('authorize', 'capture', 'void', 'refund')", name="kind"),
    CheckConstraint(f"state IN {tuple(OPERATION)}", name="state"),
    CheckConstraint("amount_minor >= 0", name="amount_minor"),
)
Index(
    "payment_operation_open_idx",
    payment_operation.c.next_attempt_at,
    postgresql_where=text("state IN ('pending', 'unknown')"),
)
Index(
    "payment_operation_failed_capture_idx",
    payment_operation.c.payment_id,
    postgresql_where=text("kind = 'capture' AND state = 'failed'"),
)
Index(
    "payment_operation_return_idx",
    payment_operation.c.return_id,
    postgresql_where=text("return_id IS NOT NULL"),
)

# The webhook inbox keeps ids, states and amounts, never bodies: those carry personal data.
provider_event = Table(
    "provider_event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("payment_id", Uuid),
    Column("operation_id", Uuid),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("applied_at", DateTime(timezone=True)),
    Column("outcome", Text),
)
Index(
    "provider_event_open_idx",
    provider_event.c.received_at,
    postgresql_where=text("applied_at IS NULL"),
)

return_ = Table(
    "return",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", Uuid, ForeignKey("orders.id"), nullable=False, index=True),
    # The store that takes the goods back; unknown until then when the shopper asked from home.
    Column("location_id", Uuid),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("refund_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("received_by", Text),
    Column("rejection", Text),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    CheckConstraint(f"state IN {tuple(RETURN)}", name="state"),
    CheckConstraint("refund_minor >= 0", name="refund_minor"),
    CheckConstraint("received_at IS NULL OR location_id IS NOT NULL", name="place"),
)
Index("return_location_idx", return_.c.location_id, return_.c.id)

return_line = Table(
    "return_line",
    metadata,
    Column("return_id", Uuid, ForeignKey("return.id"), primary_key=True),
    Column("line_number", Integer, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("sku", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("received_quantity", Integer, nullable=False, server_default=text("0")),
    Column("refund_minor", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["order_id", "line_number"], ["order_line.order_id", "order_line.line_number"]
    ),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("received_quantity BETWEEN 0 AND quantity", name="received"),
    CheckConstraint("refund_minor >= 0", name="refund_minor"),
)

return_unit = Table(
    "return_unit",
    metadata,
    Column("return_id", Uuid, primary_key=True),
    Column("line_number", Integer, primary_key=True),
    Column("disposition", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    ForeignKeyConstraint(
        ["return_id", "line_number"], ["return_line.return_id", "return_line.line_number"]
    ),
    CheckConstraint(f"disposition IN {DISPOSITIONS}", name="disposition"),
    CheckConstraint("quantity > 0", name="quantity"),
)

# One row: what order numbers and pickup codes are derived from. It lives and dies with the orders
# that it numbered, so it belongs into the database and its backups, not into a setting.
installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="one"),
)
