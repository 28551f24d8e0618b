"""Tables of the tills."""

from sqlalchemy import CheckConstraint, Column, DateTime, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from commerce.kernel.sql import metadata
from commerce.states import BASKET

# Read and written whole under the lock of its row: [{line_number, sku, quantity, demand_id}, ...].
basket = Table(
    "basket",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("location_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("lines", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("opened_by", Text, nullable=False),
    Column("order_id", Uuid),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"state IN {tuple(BASKET)}", name="state"),
    CheckConstraint("jsonb_typeof(lines) = 'array'", name="lines"),
    CheckConstraint("(state = 'sold') = (order_id IS NOT NULL)", name="order"),
    postgresql_with={"fillfactor": "80"},
)
