"""Tables of consent and privacy: what a shopper allowed, quiet hours, and who was erased.

A decision is never changed and never removed while its shopper exists.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    Time,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commerce.kernel.sql import metadata
from commerce.states import ERASURE

SERVING_PURPOSES = ("personal_service", "browsing_insight")
WRITING_PURPOSES = ("follow_up", "marketing")
MESSAGE_CHANNELS = ("email", "sms", "whatsapp", "push")
CONSENT_SOURCES = ("profile", "counter", "unsubscribe", "preference_centre", "erasure")

# One decision is one id. A withdrawal stands under every id that the person has at that moment.
consent_decision = Table(
    "consent_decision",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("channel", Text),
    Column("granted", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        f"purpose IN {SERVING_PURPOSES} AND channel IS NULL"
        f" OR purpose IN {WRITING_PURPOSES} AND channel IN {MESSAGE_CHANNELS}"
        " AND channel IS NOT NULL",
        name="purpose",
    ),
    CheckConstraint(f"source IN {CONSENT_SOURCES}", name="source"),
)
Index(
    "consent_decision_shopper_idx",
    consent_decision.c.shopper_id,
    consent_decision.c.at,
    consent_decision.c.id,
)

# One row at most: the retailer's own window. Without it the default holds.
quiet_hours = Table(
    "quiet_hours",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("starts", Time, nullable=False),
    Column("ends", Time, nullable=False),
    CheckConstraint("id = 1", name="one"),
)

# The addresses are kept while the erasure is pending, to find what names the person by them. Counts
# are rows emptied so far, by table.
erasure = Table(
    "erasure",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, nullable=False),
    Column("shopper_ids", ARRAY(Uuid), nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("addresses", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # Of orders that were placed as a guest from these addresses; NULL: not looked for yet.
    Column("guest_contact_ids", ARRAY(Uuid)),
    Column("waits_for", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # Whoever works on it has it to itself until then; NULL: nothing more is to be done.
    Column("next_pass_at", DateTime(timezone=True)),
    Column("listed_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint(f"state IN {tuple(ERASURE)}", name="state"),
    CheckConstraint("(state = 'finished') = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("state = 'pending' OR cardinality(addresses) = 0", name="addresses"),
)
Index("erasure_shopper_idx", erasure.c.shopper_id, unique=True)
Index("erasure_due_idx", erasure.c.next_pass_at, postgresql_where=text("next_pass_at IS NOT NULL"))
Index("erasure_unlisted_idx", erasure.c.id, postgresql_where=text("listed_at IS NULL"))
