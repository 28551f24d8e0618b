"""Tables of people: shoppers and contacts, associates, keys and sessions, the staff record.

Personal data stands in `shopper` and `contact` only; everything else names a person by id. Secrets
are stored as digests.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commerce.kernel.sql import metadata

KEY_KINDS = ("storefront", "integration", "tablet", "backoffice")
ROLES = ("associate", "manager")

shopper = Table(
    "shopper",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, unique=True),
    Column("phone", Text, unique=True),
    Column("name", Text),
    Column("locale", Text, nullable=False, server_default=text("'en'")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # The row that stands for the person: a root, which points nowhere itself.
    Column("merged_into", Uuid, ForeignKey("shopper.id")),
    CheckConstraint("email = lower(email)", name="email"),
    CheckConstraint("merged_into <> id", name="merged_into"),
)
Index(
    "shopper_merged_into_idx",
    shopper.c.merged_into,
    postgresql_where=text("merged_into IS NOT NULL"),
)

contact = Table(
    "contact",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Column("locale", Text, nullable=False, server_default=text("'en'")),
    CheckConstraint("email IS NOT NULL OR phone IS NOT NULL", name="reachable"),
)

one_time_code = Table(
    "one_time_code",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recipient", Text, nullable=False, index=True),
    Column("code_hash", LargeBinary, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("origins", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("location_id", Uuid, ForeignKey("store.location_id")),
    Column("requests_per_minute", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint(f"kind IN {KEY_KINDS}", name="kind"),
    CheckConstraint("channel IN ('web', 'app', 'store')", name="channel"),
    CheckConstraint("requests_per_minute > 0", name="requests_per_minute"),
)

associate = Table(
    "associate",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("pin_hash", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("pin_tries", Integer, nullable=False, server_default=text("0")),
    Column("pin_locked_until", DateTime(timezone=True)),
    CheckConstraint(f"role IN {ROLES}", name="role"),
)

associate_store = Table(
    "associate_store",
    metadata,
    Column("associate_id", Uuid, ForeignKey("associate.id"), primary_key=True),
    Column("location_id", Uuid, ForeignKey("store.location_id"), primary_key=True),
)

session = Table(
    "session",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("key_id", Uuid, ForeignKey("api_key.id"), nullable=False),
    Column("shopper_id", Uuid, index=True),
    Column("associate_id", Uuid, ForeignKey("associate.id"), index=True),
    Column("location_id", Uuid, ForeignKey("store.location_id")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint(
        "kind = 'shopper' AND shopper_id IS NOT NULL AND associate_id IS NULL"
        " OR kind = 'associate' AND associate_id IS NOT NULL AND shopper_id IS NULL"
        " AND location_id IS NOT NULL",
        name="kind",
    ),
)

staff_record = Table(
    "staff_record",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("key_id", Uuid),
    Column("location_id", Uuid),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("changes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
)

rate_window = Table(
    "rate_window",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("window_start", DateTime(timezone=True), primary_key=True),
    Column("requests", BigInteger, nullable=False),
)
