"""Tables of what is written to shoppers unasked, and of what they asked to hear.

Follow-ups with their settings, watches on stock, answers to questions; the client books of
associates and what they write from them. All of it names people by id; personal are the words of an
answer and of an associate's note, which erasure empties.
"""

from sqlalchemy import (
    Boolean,
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
from commerce.states import FOLLOW_UP
from commerce.tables.privacy import MESSAGE_CHANNELS, WRITING_PURPOSES

TRIGGERS = ("abandoned_cart", "pickup_reminder", "back_in_stock", "after_purchase")
OUTREACH_OUTCOMES = ("replied", "reply_later", "not_interested")
"""What an associate notes by hand."""
END_REASONS = ("removed", "passed_on", "consent_withdrawn", "erased")

# What the back office has changed of a trigger's settings; without a row the defaults hold.
follow_up_settings = Table(
    "follow_up_settings",
    metadata,
    Column("trigger", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("delay_minutes", Integer, nullable=False),
    Column("cap", Integer, nullable=False),
    Column("cap_days", Integer, nullable=False),
    Column("channel", Text),
    CheckConstraint(f"trigger IN {TRIGGERS}", name="trigger"),
    CheckConstraint("delay_minutes >= 0 AND cap > 0 AND cap_days > 0", name="limits"),
    CheckConstraint(f"channel IN {MESSAGE_CHANNELS}", name="channel"),
)

# The subject is a cart, a pickup, a watch or an order: one follow-up of a trigger about each, ever.
follow_up = Table(
    "follow_up",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("trigger", Text, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Column("shopper_id", Uuid),
    Column("contact_id", Uuid),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("scheduled_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    # Bought within the days of `CONVERTED_WITHIN` after it was sent.
    Column("order_id", Uuid),
    CheckConstraint(f"trigger IN {TRIGGERS}", name="trigger"),
    CheckConstraint(f"state IN {tuple(FOLLOW_UP)}", name="state"),
    CheckConstraint("(state = 'scheduled') = (decided_at IS NULL)", name="decided"),
    CheckConstraint("(state IN ('stopped', 'skipped')) = (reason IS NOT NULL)", name="reason"),
    CheckConstraint("order_id IS NULL OR state = 'sent'", name="converted"),
    CheckConstraint("shopper_id IS NOT NULL OR contact_id IS NOT NULL", name="person"),
    postgresql_with={"fillfactor": "80"},
)
Index("follow_up_subject_idx", follow_up.c.subject_id, follow_up.c.trigger, unique=True)
Index("follow_up_due_idx", follow_up.c.due_at, postgresql_where=text("state = 'scheduled'"))
Index(
    "follow_up_shopper_idx",
    follow_up.c.shopper_id,
    follow_up.c.id,
    postgresql_where=text("shopper_id IS NOT NULL"),
)
Index("follow_up_scheduled_at_idx", follow_up.c.scheduled_at)

# Somebody waits for a SKU at a store. Called: a follow-up about it is on its way.
watch = Table(
    "watch",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, nullable=False, index=True),
    Column("sku", Text, nullable=False),
    Column("location_id", Uuid, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("called_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
)
Index(
    "watch_open_idx",
    watch.c.shopper_id,
    watch.c.sku,
    watch.c.location_id,
    unique=True,
    postgresql_where=text("ended_at IS NULL"),
)
Index(
    "watch_waiting_idx",
    watch.c.location_id,
    watch.c.sku,
    watch.c.id,
    postgresql_where=text("ended_at IS NULL AND called_at IS NULL"),
)
Index("watch_called_idx", watch.c.location_id, watch.c.sku, watch.c.called_at)

answer = Table(
    "answer",
    metadata,
    Column("follow_up_id", Uuid, ForeignKey("follow_up.id"), primary_key=True),
    Column("shopper_id", Uuid, nullable=False, index=True),
    Column("order_id", Uuid, nullable=False),
    Column("rating", Integer, nullable=False),
    Column("comment", Text),
    Column("answered_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),
)

# A shopper has one associate at a store; nobody else of that store writes to them unasked.
client_book_entry = Table(
    "client_book_entry",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("location_id", Uuid, nullable=False),
    Column("associate_id", Uuid, ForeignKey("associate.id"), nullable=False),
    Column("shopper_id", Uuid, nullable=False, index=True),
    Column("added_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("end_reason", Text),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
    CheckConstraint(f"end_reason IN {END_REASONS}", name="end_reason"),
)
Index(
    "client_book_entry_open_idx",
    client_book_entry.c.location_id,
    client_book_entry.c.shopper_id,
    unique=True,
    postgresql_where=text("ended_at IS NULL"),
)
Index(
    "client_book_entry_associate_idx",
    client_book_entry.c.associate_id,
    client_book_entry.c.id,
    postgresql_where=text("ended_at IS NULL"),
)

outreach = Table(
    "outreach",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("entry_id", Uuid, ForeignKey("client_book_entry.id"), nullable=False),
    Column("location_id", Uuid, nullable=False),
    Column("associate_id", Uuid, nullable=False),
    Column("shopper_id", Uuid, nullable=False),
    Column("template", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("written_at", DateTime(timezone=True), nullable=False),
    Column("replied_at", DateTime(timezone=True)),
    Column("visited_at", DateTime(timezone=True)),
    # Bought within the days of `ATTRIBUTED_WITHIN` after it was written.
    Column("order_id", Uuid),
    Column("outcome", Text),
    Column("note", Text),
    Column("outcome_at", DateTime(timezone=True)),
    CheckConstraint(f"purpose IN {WRITING_PURPOSES}", name="purpose"),
    CheckConstraint(f"outcome IN {OUTREACH_OUTCOMES}", name="outcome"),
    CheckConstraint("(outcome IS NULL) = (outcome_at IS NULL)", name="outcome_at"),
    postgresql_with={"fillfactor": "80"},
)
Index("outreach_shopper_idx", outreach.c.shopper_id, outreach.c.id)
Index("outreach_entry_idx", outreach.c.entry_id, outreach.c.id)
Index("outreach_location_idx", outreach.c.location_id, outreach.c.id)
