"""Tables of people: shoppers and contacts, associates, keys and sessions, the staff record.

Which of them hold personal data says `commerce/privacy/registry.py`; everything else names a person
by id. Secrets are stored as digests.
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
TRAITS = ("email", "phone", "loyalty_code", "card")
"""What two shoppers have in common who may be one person."""

shopper = Table(
    "shopper",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, unique=True),
    Column("phone", Text, unique=True),
    Column("name", Text),
    Column("locale", Text, nullable=False, server_default=text("'en'")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("time_zone", Text),
    Column("loyalty_code", Text, nullable=False, unique=True),
    # Of a card that the shopper holds beside the own one; whose it is, nobody has checked.
    Column("other_loyalty_code", Text),
    Column("sizes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("preferences", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # The row that stands for the person: a root, which points nowhere itself.
    Column("merged_into", Uuid, ForeignKey("shopper.id")),
    # Rises with each change, so that who decides about a merge decides about what they saw.
    Column("revision", Integer, nullable=False, server_default=text("1")),
    Column("erased_at", DateTime(timezone=True)),
    CheckConstraint("email = lower(email)", name="email"),
    CheckConstraint("merged_into <> id", name="merged_into"),
)
Index(
    "shopper_merged_into_idx",
    shopper.c.merged_into,
    postgresql_where=text("merged_into IS NOT NULL"),
)

# Each row was merged at most once at a time, so what is not undone is a forest of pointers.
shopper_merge = Table(
    "shopper_merge",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("source_id", Uuid, ForeignKey("shopper.id"), nullable=False),
    Column("target_id", Uuid, ForeignKey("shopper.id"), nullable=False, index=True),
    Column("merged_at", DateTime(timezone=True), nullable=False),
    Column("merged_by", Text, nullable=False),
    Column("undone_at", DateTime(timezone=True)),
    Column("undone_by", Text),
    CheckConstraint("source_id <> target_id", name="two"),
    CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone"),
)
Index("shopper_merge_source_idx", shopper_merge.c.source_id)
Index(
    "shopper_merge_live_idx",
    shopper_merge.c.source_id,
    unique=True,
    postgresql_where=text("undone_at IS NULL"),
)

# By whom an external issuer knows a shopper; its subject is a digest.
shopper_identity = Table(
    "shopper_identity",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject_hash", LargeBinary, primary_key=True),
    Column("shopper_id", Uuid, ForeignKey("shopper.id"), nullable=False, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

# What two shoppers may have in common, as keyed digests.
shopper_trait = Table(
    "shopper_trait",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("shopper_id", Uuid, ForeignKey("shopper.id"), primary_key=True, index=True),
    CheckConstraint(f"kind IN {TRAITS}", name="kind"),
)

shopper_duplicate = Table(
    "shopper_duplicate",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("first_id", Uuid, ForeignKey("shopper.id"), nullable=False),
    Column("second_id", Uuid, ForeignKey("shopper.id"), nullable=False, index=True),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("first_id < second_id", name="two"),
    CheckConstraint("state IN ('suggested', 'dismissed')", name="state"),
)
Index(
    "shopper_duplicate_pair_idx",
    shopper_duplicate.c.first_id,
    shopper_duplicate.c.second_id,
    unique=True,
)
Index(
    "shopper_duplicate_suggested_idx",
    shopper_duplicate.c.id,
    postgresql_where=text("state = 'suggested'"),
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
    # Without a name it is what an erasure left.
    CheckConstraint("email IS NOT NULL OR phone IS NOT NULL OR name = ''", name="reachable"),
)

Index(
    "contact_shopper_idx",
    contact.c.shopper_id,
    postgresql_where=text("shopper_id IS NOT NULL"),
)

one_time_code = Table(
    "one_time_code",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recipient", Text, nullable=False, index=True),
    # Whose address it becomes; absent where somebody signs in.
    Column("shopper_id", Uuid),
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
Index("staff_record_subject_idx", staff_record.c.subject)

rate_window = Table(
    "rate_window",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("window_start", DateTime(timezone=True), primary_key=True),
    Column("requests", BigInteger, nullable=False),
)
