"""Tables of stock: locations, counters, the one ledger, reservations.

Hot logs carry no foreign key to location or SKU: a shared parent row costs up to half of the
throughput. The audit checks them instead.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from commerce.kernel.sql import metadata

MAX_UNITS = 1_000_000
"""The largest count of one SKU at one location, and of one movement."""

LOCATION_KINDS = ("store", "dark_store", "distribution_centre", "transit", "quarantine")

location = Table(
    "location",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    CheckConstraint(f"kind IN {LOCATION_KINDS}", name="kind"),
    CheckConstraint("latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180", name="place"),
)

# Updated in place (HOT): no index on a changing column, and room left on each page.
stock_level = Table(
    "stock_level",
    metadata,
    Column("location_id", Uuid, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("on_hand", Integer, nullable=False, server_default=text("0")),
    Column("reserved", Integer, nullable=False, server_default=text("0")),
    Column("safety_stock", Integer, nullable=False, server_default=text("0")),
    # on_hand has no lower bound: a sale at the till is a fact even when the shelf was empty.
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("safety_stock >= 0", name="safety_stock"),
    postgresql_with={"fillfactor": "70"},
)
Index("stock_level_sku_idx", stock_level.c.sku, stock_level.c.location_id)

unsellable_stock = Table(
    "unsellable_stock",
    metadata,
    Column("location_id", Uuid, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity >= 0", name="quantity"),
)

LEDGER_KINDS = (
    "receive", "adjust", "count", "hold", "fulfill", "release", "expire",
    "sale", "return", "write_off",
)  # fmt: skip

stock_ledger = Table(
    "stock_ledger",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("location_id", Uuid, nullable=False),
    Column("sku", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("on_hand_delta", Integer, nullable=False),
    Column("reserved_delta", Integer, nullable=False),
    Column("unsellable_delta", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("actor", Text, nullable=False),
    Column("reference", Uuid),
    CheckConstraint(f"kind IN {LEDGER_KINDS}", name="kind"),
    CheckConstraint(
        "on_hand_delta <> 0 OR reserved_delta <> 0 OR unsellable_delta <> 0", name="change"
    ),
    postgresql_partition_by="RANGE (id)",
)
Index("stock_ledger_key_idx", stock_ledger.c.location_id, stock_ledger.c.sku, stock_ledger.c.id)

RESERVATION_STATES = ("held", "committed", "fulfilled", "released", "expired")
RESERVATION_CLASSES = ("guest", "signed_in", "counter", "order")

reservation = Table(
    "reservation",
    metadata,
    Column("demand_id", Uuid, primary_key=True),
    Column("location_id", Uuid, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("hold_class", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("promised_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"state IN {RESERVATION_STATES}", name="state"),
    CheckConstraint(f"hold_class IN {RESERVATION_CLASSES}", name="hold_class"),
    CheckConstraint(f"quantity BETWEEN 1 AND {MAX_UNITS}", name="quantity"),
    CheckConstraint("state <> 'held' OR expires_at IS NOT NULL", name="expiry"),
    postgresql_with={"fillfactor": "80"},
)
Index(
    "reservation_live_idx",
    reservation.c.location_id,
    reservation.c.sku,
    postgresql_where=text("state IN ('held', 'committed')"),
)
Index(
    "reservation_expiry_idx",
    reservation.c.expires_at,
    postgresql_where=text("state = 'held'"),
)
