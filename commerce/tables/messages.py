"""Tables of the conversation with shoppers: messages, the retailer's own texts.

Personal data stands in `message`; see `commerce.messages`.
"""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Integer, Table, Text, Uuid, text

from commerce.kernel.sql import metadata
from commerce.tables.privacy import MESSAGE_CHANNELS

MESSAGE_PURPOSES = ("service", "follow_up", "marketing")
MESSAGE_STATES = ("queued", "sent", "delivered", "read", "failed", "suppressed", "received")

# The id is made of the reason and the template (`ids.about`): one message of a template for each
# reason, without another index to say so.
message = Table(
    "message",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("reason", Uuid, nullable=False),
    Column("template", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    # At most one is set: a known shopper, else the contact of an order, else a sign-in.
    Column("shopper_id", Uuid),
    Column("contact_id", Uuid),
    Column("actor", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("html", Text),
    Column("state", Text, nullable=False),
    # Why it failed or was suppressed.
    Column("why", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Not sent before; whoever sends it has the message to itself until then.
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("delivered_at", DateTime(timezone=True)),
    CheckConstraint(f"purpose IN {MESSAGE_PURPOSES}", name="purpose"),
    CheckConstraint(f"channel IN {MESSAGE_CHANNELS}", name="channel"),
    CheckConstraint(f"state IN {MESSAGE_STATES}", name="state"),
    CheckConstraint("shopper_id IS NULL OR contact_id IS NULL", name="person"),
    CheckConstraint("purpose = 'service' OR shopper_id IS NOT NULL", name="consent"),
)
Index(
    "message_queued_idx",
    message.c.channel,
    message.c.due_at,
    postgresql_where=text("state = 'queued'"),
)
Index(
    "message_shopper_idx",
    message.c.shopper_id,
    message.c.created_at,
    message.c.id,
    postgresql_where=text("shopper_id IS NOT NULL"),
)
Index(
    "message_contact_idx",
    message.c.contact_id,
    postgresql_where=text("contact_id IS NOT NULL"),
)
