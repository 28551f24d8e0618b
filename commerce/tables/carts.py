"""Tables of what shoppers gather: carts, and the lists that they keep beside them.

No personal data: a shopper is named by id, and a list shows others no more than its chosen name.
"""

from sqlalchemy import (
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
from sqlalchemy.dialects.postgresql import JSONB

from commerce.kernel.sql import metadata
from commerce.states import CART

LIST_KINDS = ("saved_for_later", "wishlist", "list")

# A cart is read and written whole, so its lines stand in its row, under the lock that it has
# anyway: {sku: [quantity, the cart's revision when the SKU was added]}. What an edit or a checkout
# changes stands in no index, so that the row is updated in place.
cart = Table(
    "cart",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("1")),
    Column("key_id", Uuid, nullable=False),
    Column("shopper_id", Uuid),
    Column("location_id", Uuid),
    Column("coupon_code", Text),
    Column("lines", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # In checkout: the demand that its stock is held under, since when and until when.
    Column("demand_id", Uuid),
    Column("held_since", DateTime(timezone=True)),
    Column("hold_expires_at", DateTime(timezone=True)),
    Column("order_id", Uuid),
    Column("merged_into", Uuid),
    # Who claimed it last, where and when; the claim lasts until then, NULL: it has been released.
    Column("claimed_by", Text),
    Column("claim_location_id", Uuid),
    Column("claimed_at", DateTime(timezone=True)),
    Column("claim_expires_at", DateTime(timezone=True)),
    Column("code_digest", LargeBinary),
    Column("code_expires_at", DateTime(timezone=True)),
    # Links are numbered, and only that of the last number opens the cart, while it lives.
    Column("link_number", Integer, nullable=False, server_default=text("0")),
    Column("link_expires_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"state IN {tuple(CART)}", name="state"),
    CheckConstraint("jsonb_typeof(lines) = 'object'", name="lines"),
    CheckConstraint(
        "(state = 'checkout') = (demand_id IS NOT NULL AND held_since IS NOT NULL"
        " AND hold_expires_at IS NOT NULL)",
        name="hold",
    ),
    CheckConstraint("(state = 'ordered') = (order_id IS NOT NULL)", name="order"),
    CheckConstraint("(state = 'merged') = (merged_into IS NOT NULL)", name="merged"),
    CheckConstraint(
        "claimed_by IS NOT NULL AND claim_location_id IS NOT NULL AND claimed_at IS NOT NULL"
        " OR claim_expires_at IS NULL",
        name="claim",
    ),
    postgresql_with={"fillfactor": "80"},
)
Index(
    "cart_shopper_idx",
    cart.c.shopper_id,
    cart.c.id,
    postgresql_where=text("shopper_id IS NOT NULL"),
)
Index(
    "cart_claimed_idx",
    cart.c.claim_location_id,
    postgresql_where=text("claim_expires_at IS NOT NULL"),
)
Index(
    "cart_code_idx",
    cart.c.code_digest,
    unique=True,
    postgresql_where=text("code_digest IS NOT NULL"),
)

# Tries of claim codes, by tablet and by associate, within a window of time.
claim_try = Table(
    "claim_try",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("window_ends_at", DateTime(timezone=True), nullable=False),
)

shopping_list = Table(
    "shopping_list",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("shopper_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text),
    # The link that is out is that of the last number; shared or not.
    Column("share_number", Integer, nullable=False, server_default=text("0")),
    Column("shared_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"kind IN {LIST_KINDS}", name="kind"),
    CheckConstraint("(kind = 'list') = (name IS NOT NULL)", name="name"),
    CheckConstraint("kind <> 'saved_for_later' OR shared_at IS NULL", name="shared"),
)
Index("shopping_list_shopper_idx", shopping_list.c.shopper_id, shopping_list.c.id)
Index(
    "shopping_list_own_idx",
    shopping_list.c.shopper_id,
    shopping_list.c.kind,
    unique=True,
    postgresql_where=text("kind <> 'list'"),
)

list_line = Table(
    "list_line",
    metadata,
    Column("list_id", Uuid, ForeignKey("shopping_list.id"), primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("added_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("quantity > 0", name="quantity"),
)
Index("list_line_sku_idx", list_line.c.sku)
