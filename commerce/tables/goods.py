"""Tables of goods: zones, stores, catalog, prices and coupons."""

from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.dialects.postgresql import JSONB

from commerce.kernel.sql import metadata

price_zone = Table(
    "price_zone",
    metadata,
    Column("code", Text, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("tax_included", Boolean, nullable=False),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
)

tax_zone = Table(
    "tax_zone",
    metadata,
    Column("code", Text, primary_key=True),
    Column("rate_bp", Integer, nullable=False),
    CheckConstraint("rate_bp BETWEEN 0 AND 10000", name="rate_bp"),
)

# A store is a location where people shop; its id is the location's.
store = Table(
    "store",
    metadata,
    Column("location_id", Uuid, ForeignKey("location.id"), primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("address", JSONB, nullable=False),
    Column("phone", Text),
    Column("time_zone", Text, nullable=False),
    Column("price_zone", Text, ForeignKey("price_zone.code"), nullable=False),
    Column("tax_zone", Text, ForeignKey("tax_zone.code"), nullable=False),
    Column("pickup_enabled", Boolean, nullable=False),
    Column("pickup_lead_minutes", Integer, nullable=False, server_default=text("120")),
    Column("opening_hours", JSONB, nullable=False),
    CheckConstraint("pickup_lead_minutes BETWEEN 0 AND 20160", name="lead"),
)

item = Table(
    "item",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("department", Text, nullable=False),
    Column("brand", Text),
    Column("final_sale", Boolean, nullable=False, server_default=text("false")),
    Column("return_window_days", Integer, nullable=False, server_default=text("30")),
    CheckConstraint("return_window_days BETWEEN 0 AND 3650", name="window"),
)
Index("item_department_idx", item.c.department, item.c.code)

sku = Table(
    "sku",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("item_code", Text, ForeignKey("item.code"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("options", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("gtin", Text, unique=True),
    Column("active", Boolean, nullable=False, server_default=text("true")),
)

price = Table(
    "price",
    metadata,
    Column("price_zone", Text, ForeignKey("price_zone.code"), primary_key=True),
    Column("sku", Text, ForeignKey("sku.sku"), primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor >= 0", name="amount_minor"),
)
Index("price_sku_idx", price.c.sku)

coupon = Table(
    "coupon",
    metadata,
    Column("code", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("percent_bp", Integer),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("minimum_subtotal_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("starts_at", DateTime(timezone=True)),
    Column("ends_at", DateTime(timezone=True)),
    Column("max_redemptions", Integer),
    Column("redeemed", Integer, nullable=False, server_default=text("0")),
    CheckConstraint(
        "kind = 'percent' AND percent_bp BETWEEN 1 AND 10000 AND amount_minor IS NULL"
        " OR kind = 'amount' AND amount_minor > 0 AND currency IS NOT NULL AND percent_bp IS NULL",
        name="kind",
    ),
    CheckConstraint("redeemed >= 0", name="redeemed"),
    CheckConstraint("max_redemptions IS NULL OR redeemed <= max_redemptions", name="limit"),
)

# How far a file of stock movements was loaded, because each of its lines may count only once.
stock_file = Table(
    "stock_file",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("first_loaded_at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("done_through", Integer, nullable=False, server_default=text("0")),
)

# Lines before that which were refused, and are tried again when the file comes again.
refused_stock_line = Table(
    "refused_stock_line",
    metadata,
    Column("file_id", Uuid, ForeignKey("stock_file.id"), primary_key=True),
    Column("line", Integer, primary_key=True),
)
