"""Tables of consent and privacy: what a shopper allowed, and when nobody is written to.

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
)

from commerce.kernel.sql import metadata

SERVING_PURPOSES = ("personal_service", "browsing_insight")
WRITING_PURPOSES = ("follow_up", "marketing")
MESSAGE_CHANNELS = ("email", "sms", "whatsapp", "push")
CONSENT_SOURCES = ("profile", "counter", "unsubscribe")

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
