"""Tables of the conversation with shoppers: messages, notes, devices, the retailer's own texts.

Personal data stands in all of them but `message_template`; see `commerce.messages`.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from commerce.kernel.sql import metadata
from commerce.tables.privacy import MESSAGE_CHANNELS

MESSAGE_PURPOSES = ("service", "follow_up", "marketing")
MESSAGE_STATES = ("queued", "sent", "delivered", "read", "failed", "suppressed", "received")
PLATFORMS = ("ios", "android", "web")

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
    # Whose clock quiet hours are kept by.
    Column("time_zone", Text),
    # The message that this one answers.
    Column("reply_to", Uuid),
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
Index(
    "message_address_idx",
    message.c.recipient,
    postgresql_where=text("shopper_id IS NULL AND contact_id IS NULL"),
)

# A carrier said that there is nobody. Lifted when the address turns out to be somebody's.
stopped_address = Table(
    "stopped_address",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"channel IN {MESSAGE_CHANNELS}", name="channel"),
)

message_template = Table(
    "message_template",
    metadata,
    Column("template", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("locale", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("html", Text),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"channel IN {MESSAGE_CHANNELS}", name="channel"),
    CheckConstraint("html IS NULL OR channel = 'email'", name="html"),
)

preferred_channel = Table(
    "preferred_channel",
    metadata,
    Column("shopper_id", Uuid, ForeignKey("shopper.id"), primary_key=True),
    Column("channel", Text, nullable=False),
    CheckConstraint(f"channel IN {MESSAGE_CHANNELS}", name="channel"),
)

push_device = Table(
    "push_device",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, ForeignKey("shopper.id"), nullable=False, index=True),
    Column("platform", Text, nullable=False),
    Column("token", Text, nullable=False, index=True),
    Column("used_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"platform IN {PLATFORMS}", name="platform"),
)

note = Table(
    "note",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, nullable=False),
    Column("associate_id", Uuid, nullable=False),
    Column("location_id", Uuid, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
Index("note_shopper_idx", note.c.shopper_id, note.c.created_at, note.c.id)
