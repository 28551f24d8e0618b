"""Tables of clienteling: look-ups of shoppers, views of them, and the log of what was shown.

They name people by id. Only the reasons are free text, so erasing a person empties those. What was
searched for is not kept, only its kind.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.sql import metadata
from commerce.tables.people import shopper

LOOK_UP_KINDS = ("profile_code", "loyalty_code", "phone", "email", "name", "order")
VIEW_PURPOSES = ("serve_in_store", "pickup", "return", "follow_up")
VIEW_ENDINGS = ("closed", "expired", "session_ended", "consent_withdrawn", "merged", "erased")

_MARKED = "ÁÀÂÄÃÅÉÈÊËÍÌÎÏÓÒÔÖÕÚÙÛÜÑÇáàâäãåéèêëíìîïóòôöõúùûüñç"
_PLAIN = "aaaaaaeeeeiiiiooooouuuuncaaaaaaeeeeiiiiooooouuuunc"


def name_key(name: ColumnElement[Any]) -> ColumnElement[str]:
    """A name as it is searched for: small letters without marks.

    Not `lower` alone: under the C locale that knows no letter beyond ASCII.
    """
    return func.lower(func.translate(name, _MARKED, _PLAIN))


Index(
    "shopper_name_idx",
    name_key(shopper.c.name).label("key"),
    postgresql_ops={"key": "text_pattern_ops"},
)

shopper_look_up = Table(
    "shopper_look_up",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("associate_id", Uuid, nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("location_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("found", Integer, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"kind IN {LOOK_UP_KINDS}", name="kind"),
    CheckConstraint(f"purpose IN {VIEW_PURPOSES}", name="purpose"),
)
Index("shopper_look_up_associate_idx", shopper_look_up.c.associate_id, shopper_look_up.c.at)
Index("shopper_look_up_location_idx", shopper_look_up.c.location_id, shopper_look_up.c.at)

# What a look-up names instead of a shopper: good once, for a few minutes, in one session.
shopper_candidate = Table(
    "shopper_candidate",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("look_up_id", Uuid, ForeignKey("shopper_look_up.id"), nullable=False, index=True),
    Column("session_id", Uuid, nullable=False),
    Column("shopper_id", Uuid, nullable=False, index=True),
    Column("order_id", Uuid),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("view_id", Uuid),
)

# `person_ids` are all ids of the person when it was opened: who was merged since is another person.
shopper_view = Table(
    "shopper_view",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, nullable=False),
    Column("person_ids", ARRAY(Uuid), nullable=False),
    Column("order_id", Uuid),
    Column("associate_id", Uuid, nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("location_id", Uuid, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("consented", Boolean, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("ending", Text),
    CheckConstraint(f"purpose IN {VIEW_PURPOSES}", name="purpose"),
    CheckConstraint(f"ending IN {VIEW_ENDINGS}", name="ending"),
    CheckConstraint("(ended_at IS NULL) = (ending IS NULL)", name="ended"),
)
Index("shopper_view_shopper_idx", shopper_view.c.shopper_id, shopper_view.c.id)
Index("shopper_view_associate_idx", shopper_view.c.associate_id, shopper_view.c.id)
Index("shopper_view_location_idx", shopper_view.c.location_id, shopper_view.c.id)

# Append-only: one row each time that something of a shopper was shown, with what it was.
shopper_access = Table(
    "shopper_access",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("view_id", Uuid, nullable=False, index=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("shown", ARRAY(Text), nullable=False),
)
