"""The first schema: stock, goods, sales, people, the event log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from commerce.kernel.events import Xid8

revision = "0001"
down_revision = None


def upgrade() -> None:  # noqa: PLR0915  one statement per table
    op.execute("CREATE SEQUENCE order_number")
    op.execute("CREATE SEQUENCE event_sequence")
    op.create_table(
        "associate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("pin_hash", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("pin_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("pin_locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('associate', 'manager')", name=op.f("associate_role_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("associate_pkey")),
        sa.UniqueConstraint("code", name=op.f("associate_code_key")),
    )
    op.create_table(
        "basket",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "lines",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'sold') = (order_id IS NOT NULL)", name=op.f("basket_order_check")
        ),
        sa.CheckConstraint("jsonb_typeof(lines) = 'array'", name=op.f("basket_lines_check")),
        sa.CheckConstraint(
            "state IN ('open', 'sold', 'released')", name=op.f("basket_state_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("basket_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "browsing_choice",
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("recording", sa.Boolean(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shopper_id", name=op.f("browsing_choice_pkey")),
    )
    op.create_table(
        "browsing_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("visitor_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("item", sa.Text(), nullable=True),
        sa.Column("query", sa.Text(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "device IN ('web', 'app', 'kiosk')", name=op.f("browsing_event_device_check")
        ),
        sa.CheckConstraint(
            "type IN ('view', 'search', 'add', 'remove', 'store_visit', 'scan')",
            name=op.f("browsing_event_type_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("browsing_event_pkey")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index(
        "browsing_event_shopper_idx",
        "browsing_event",
        ["shopper_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NOT NULL"),
    )
    op.create_index(
        "browsing_event_visitor_idx",
        "browsing_event",
        ["visitor_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NULL"),
    )
    op.create_table(
        "browsing_link",
        sa.Column("visitor_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("since < until", name=op.f("browsing_link_span_check")),
        sa.PrimaryKeyConstraint("visitor_id", "since", name=op.f("browsing_link_pkey")),
    )
    op.create_index(
        "browsing_link_shopper_idx", "browsing_link", ["shopper_id", "until"], unique=False
    )
    op.create_table(
        "cart",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("coupon_code", sa.Text(), nullable=True),
        sa.Column(
            "lines",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("demand_id", sa.Uuid(), nullable=True),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hold_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claim_location_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code_digest", sa.LargeBinary(), nullable=True),
        sa.Column("code_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("link_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("link_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'checkout') = (demand_id IS NOT NULL AND held_since IS NOT NULL AND hold_expires_at IS NOT NULL)",
            name=op.f("cart_hold_check"),
        ),
        sa.CheckConstraint(
            "(state = 'merged') = (merged_into IS NOT NULL)", name=op.f("cart_merged_check")
        ),
        sa.CheckConstraint(
            "(state = 'ordered') = (order_id IS NOT NULL)", name=op.f("cart_order_check")
        ),
        sa.CheckConstraint("jsonb_typeof(lines) = 'object'", name=op.f("cart_lines_check")),
        sa.CheckConstraint(
            "state IN ('open', 'checkout', 'ordered', 'merged')", name=op.f("cart_state_check")
        ),
        sa.CheckConstraint(
            "claimed_by IS NOT NULL AND claim_location_id IS NOT NULL AND claimed_at IS NOT NULL OR claim_expires_at IS NULL",
            name=op.f("cart_claim_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("cart_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "cart_claimed_idx",
        "cart",
        ["claim_location_id"],
        unique=False,
        postgresql_where=sa.text("claim_expires_at IS NOT NULL"),
    )
    op.create_index(
        "cart_code_idx",
        "cart",
        ["code_digest"],
        unique=True,
        postgresql_where=sa.text("code_digest IS NOT NULL"),
    )
    op.create_index(
        "cart_shopper_idx",
        "cart",
        ["shopper_id", "id"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NOT NULL"),
    )
    op.create_table(
        "claim_try",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("claim_try_pkey")),
    )
    op.create_table(
        "consent_decision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('personal_service', 'browsing_insight') AND channel IS NULL OR purpose IN ('follow_up', 'marketing') AND channel IN ('email', 'sms', 'whatsapp', 'push') AND channel IS NOT NULL",
            name=op.f("consent_decision_purpose_check"),
        ),
        sa.CheckConstraint(
            "source IN ('profile', 'counter', 'unsubscribe', 'preference_centre', 'erasure')",
            name=op.f("consent_decision_source_check"),
        ),
        sa.PrimaryKeyConstraint("id", "shopper_id", name=op.f("consent_decision_pkey")),
    )
    op.create_index(
        "consent_decision_shopper_idx", "consent_decision", ["shopper_id", "at", "id"], unique=False
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), server_default=sa.text("'en'"), nullable=False),
        sa.CheckConstraint(
            "email IS NOT NULL OR phone IS NOT NULL OR name = ''",
            name=op.f("contact_reachable_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("contact_pkey")),
    )
    op.create_index(
        "contact_shopper_idx",
        "contact",
        ["shopper_id"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NOT NULL"),
    )
    op.create_table(
        "coupon",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("percent_bp", sa.Integer(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column(
            "minimum_subtotal_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_redemptions", sa.Integer(), nullable=True),
        sa.Column("redeemed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "kind = 'percent' AND percent_bp BETWEEN 1 AND 10000 AND amount_minor IS NULL OR kind = 'amount' AND amount_minor > 0 AND currency IS NOT NULL AND percent_bp IS NULL",
            name=op.f("coupon_kind_check"),
        ),
        sa.CheckConstraint(
            "max_redemptions IS NULL OR redeemed <= max_redemptions",
            name=op.f("coupon_limit_check"),
        ),
        sa.CheckConstraint("redeemed >= 0", name=op.f("coupon_redeemed_check")),
        sa.PrimaryKeyConstraint("code", name=op.f("coupon_pkey")),
    )
    op.create_table(
        "delivery",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'done') = (fault IS NULL)", name=op.f("delivery_fault_check")),
        sa.CheckConstraint(
            "(state = 'failed') = (again_at IS NOT NULL)", name=op.f("delivery_again_at_check")
        ),
        sa.CheckConstraint(
            "state IN ('done', 'failed', 'dead')", name=op.f("delivery_state_check")
        ),
        sa.PrimaryKeyConstraint("event_id", "actor", name=op.f("delivery_pkey")),
    )
    op.create_index(
        "delivery_failed_idx",
        "delivery",
        ["again_at"],
        unique=False,
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_index(
        "delivery_open_idx",
        "delivery",
        ["event_id", "actor"],
        unique=False,
        postgresql_where=sa.text("state <> 'done'"),
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "addresses", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("guest_contact_ids", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column(
            "waits_for",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("next_pass_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'finished') = (finished_at IS NOT NULL)", name=op.f("erasure_finished_check")
        ),
        sa.CheckConstraint(
            "state = 'pending' OR cardinality(addresses) = 0", name=op.f("erasure_addresses_check")
        ),
        sa.CheckConstraint("state IN ('pending', 'finished')", name=op.f("erasure_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("erasure_pkey")),
    )
    op.create_index(
        "erasure_due_idx",
        "erasure",
        ["next_pass_at"],
        unique=False,
        postgresql_where=sa.text("next_pass_at IS NOT NULL"),
    )
    op.create_index("erasure_shopper_idx", "erasure", ["shopper_id"], unique=True)
    op.create_index(
        "erasure_unlisted_idx",
        "erasure",
        ["id"],
        unique=False,
        postgresql_where=sa.text("listed_at IS NULL"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "sequence",
            sa.BigInteger(),
            server_default=sa.text("nextval('event_sequence')"),
            nullable=False,
        ),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("aggregate", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("event_pkey")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("event_aggregate_idx", "event", ["aggregate_id", "sequence"], unique=False)
    op.create_index("event_xid_idx", "event", ["xid"], unique=False)
    op.create_table(
        "follow_up",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(state = 'scheduled') = (decided_at IS NULL)", name=op.f("follow_up_decided_check")
        ),
        sa.CheckConstraint(
            "(state IN ('stopped', 'skipped')) = (reason IS NOT NULL)",
            name=op.f("follow_up_reason_check"),
        ),
        sa.CheckConstraint(
            "order_id IS NULL OR state = 'sent'", name=op.f("follow_up_converted_check")
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'sent', 'stopped', 'skipped')",
            name=op.f("follow_up_state_check"),
        ),
        sa.CheckConstraint(
            "trigger IN ('abandoned_cart', 'pickup_reminder', 'back_in_stock', 'after_purchase')",
            name=op.f("follow_up_trigger_check"),
        ),
        sa.CheckConstraint(
            "shopper_id IS NOT NULL OR contact_id IS NOT NULL", name=op.f("follow_up_person_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("follow_up_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "follow_up_due_idx",
        "follow_up",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index("follow_up_scheduled_at_idx", "follow_up", ["scheduled_at"], unique=False)
    op.create_index(
        "follow_up_shopper_idx",
        "follow_up",
        ["shopper_id", "id"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NOT NULL"),
    )
    op.create_index("follow_up_subject_idx", "follow_up", ["subject_id", "trigger"], unique=True)
    op.create_table(
        "follow_up_settings",
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("delay_minutes", sa.Integer(), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=False),
        sa.Column("cap_days", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'whatsapp', 'push')",
            name=op.f("follow_up_settings_channel_check"),
        ),
        sa.CheckConstraint(
            "trigger IN ('abandoned_cart', 'pickup_reminder', 'back_in_stock', 'after_purchase')",
            name=op.f("follow_up_settings_trigger_check"),
        ),
        sa.CheckConstraint(
            "delay_minutes >= 0 AND cap > 0 AND cap_days > 0",
            name=op.f("follow_up_settings_limits_check"),
        ),
        sa.PrimaryKeyConstraint("trigger", name=op.f("follow_up_settings_pkey")),
    )
    op.create_table(
        "fulfillment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("demand_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("picking_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("picked_by", sa.Text(), nullable=True),
        sa.Column("handed_over_by", sa.Text(), nullable=True),
        sa.Column("staging_location", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("code_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("code_locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('pickup', 'carry_out')", name=op.f("fulfillment_kind_check")),
        sa.CheckConstraint(
            "state IN ('requested', 'picking', 'ready', 'collected', 'expired', 'cancelled')",
            name=op.f("fulfillment_state_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("fulfillment_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "fulfillment_expiry_idx",
        "fulfillment",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_index(
        "fulfillment_open_idx",
        "fulfillment",
        ["location_id", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('requested', 'picking', 'ready')"),
    )
    op.create_index(op.f("fulfillment_order_id_idx"), "fulfillment", ["order_id"], unique=False)
    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("generation_pkey")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("overdue_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("heartbeat_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "idempotency_key",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("resource_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IS NULL) = (answer IS NULL)", name=op.f("idempotency_key_answer_check")
        ),
        sa.CheckConstraint(
            "status IS NOT NULL OR resource_id IS NOT NULL",
            name=op.f("idempotency_key_running_check"),
        ),
        sa.PrimaryKeyConstraint("principal_id", "route", "key", name=op.f("idempotency_key_pkey")),
    )
    op.create_index("idempotency_key_age_idx", "idempotency_key", ["created_at"], unique=False)
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("installation_one_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("installation_pkey")),
    )
    op.create_table(
        "item",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("final_sale", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("return_window_days", sa.Integer(), server_default=sa.text("30"), nullable=False),
        sa.CheckConstraint("return_window_days BETWEEN 0 AND 3650", name=op.f("item_window_check")),
        sa.PrimaryKeyConstraint("code", name=op.f("item_pkey")),
    )
    op.create_index("item_department_idx", "item", ["department", "code"], unique=False)
    op.create_table(
        "location",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('store', 'dark_store', 'distribution_centre', 'transit', 'quarantine')",
            name=op.f("location_kind_check"),
        ),
        sa.CheckConstraint(
            "latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180",
            name=op.f("location_place_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("location_pkey")),
        sa.UniqueConstraint("code", name=op.f("location_code_key")),
    )
    op.create_table(
        "log_reader",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("log_reader_pkey")),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'whatsapp', 'push')", name=op.f("message_channel_check")
        ),
        sa.CheckConstraint(
            "purpose = 'service' OR shopper_id IS NOT NULL", name=op.f("message_consent_check")
        ),
        sa.CheckConstraint(
            "purpose IN ('service', 'follow_up', 'marketing')", name=op.f("message_purpose_check")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'sent', 'delivered', 'read', 'failed', 'suppressed', 'received')",
            name=op.f("message_state_check"),
        ),
        sa.CheckConstraint(
            "shopper_id IS NULL OR contact_id IS NULL", name=op.f("message_person_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("message_pkey")),
    )
    op.create_index(
        "message_address_idx",
        "message",
        ["recipient"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NULL AND contact_id IS NULL"),
    )
    op.create_index(
        "message_contact_idx",
        "message",
        ["contact_id"],
        unique=False,
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.create_index(
        "message_queued_idx",
        "message",
        ["channel", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "message_shopper_idx",
        "message",
        ["shopper_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NOT NULL"),
    )
    op.create_table(
        "message_template",
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'whatsapp', 'push')",
            name=op.f("message_template_channel_check"),
        ),
        sa.CheckConstraint(
            "html IS NULL OR channel = 'email'", name=op.f("message_template_html_check")
        ),
        sa.PrimaryKeyConstraint(
            "template", "channel", "locale", name=op.f("message_template_pkey")
        ),
    )
    op.create_table(
        "note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("associate_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("note_pkey")),
    )
    op.create_index("note_shopper_idx", "note", ["shopper_id", "created_at", "id"], unique=False)
    op.create_table(
        "one_time_code",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("one_time_code_pkey")),
    )
    op.create_index(
        op.f("one_time_code_recipient_idx"), "one_time_code", ["recipient"], unique=False
    )
    op.create_table(
        "order_line",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("fulfillment_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_rate_bp", sa.Integer(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("units", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("final_sale", sa.Boolean(), nullable=False),
        sa.Column("return_window_days", sa.Integer(), nullable=False),
        sa.Column("cancelled_quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fulfilled_quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("returned_quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "cancelled_quantity + fulfilled_quantity <= quantity",
            name=op.f("order_line_ordered_check"),
        ),
        sa.CheckConstraint(
            "cancelled_quantity >= 0 AND fulfilled_quantity >= 0",
            name=op.f("order_line_counts_check"),
        ),
        sa.CheckConstraint(
            "discount_minor BETWEEN 0 AND unit_price_minor * quantity AND tax_minor >= 0",
            name=op.f("order_line_amounts_check"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("order_line_quantity_check")),
        sa.CheckConstraint(
            "returned_quantity BETWEEN 0 AND fulfilled_quantity",
            name=op.f("order_line_returned_check"),
        ),
        sa.PrimaryKeyConstraint("order_id", "line_number", name=op.f("order_line_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("cart_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_included", sa.Boolean(), nullable=False),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("coupon_code", sa.Text(), nullable=True),
        sa.Column("tender", sa.Text(), nullable=False),
        sa.Column("attributed_to", sa.Text(), nullable=True),
        sa.Column("attributed_location_id", sa.Uuid(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('web', 'app', 'store')", name=op.f("orders_channel_check")),
        sa.CheckConstraint(
            "state IN ('pending_payment', 'placed', 'completed', 'cancelled')",
            name=op.f("orders_state_check"),
        ),
        sa.CheckConstraint(
            "tender IN ('card', 'cash', 'external_terminal', 'pay_at_pickup')",
            name=op.f("orders_tender_check"),
        ),
        sa.CheckConstraint(
            "discount_minor BETWEEN 0 AND subtotal_minor", name=op.f("orders_discount_check")
        ),
        sa.CheckConstraint(
            "total_minor = subtotal_minor - discount_minor + CASE WHEN tax_included THEN 0 ELSE tax_minor END",
            name=op.f("orders_total_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("orders_pkey")),
        sa.UniqueConstraint("number", name=op.f("orders_number_key")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "orders_guest_idx",
        "orders",
        ["contact_id"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NULL AND contact_id IS NOT NULL"),
    )
    op.create_index("orders_location_idx", "orders", ["location_id", "id"], unique=False)
    op.create_index(
        "orders_pending_idx",
        "orders",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending_payment'"),
    )
    op.create_index(
        "orders_shopper_idx",
        "orders",
        ["shopper_id", "id"],
        unique=False,
        postgresql_where=sa.text("shopper_id IS NOT NULL"),
    )
    op.create_table(
        "price_zone",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_included", sa.Boolean(), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("price_zone_currency_check")),
        sa.PrimaryKeyConstraint("code", name=op.f("price_zone_pkey")),
    )
    op.create_table(
        "provider_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("operation_id", sa.Uuid(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("provider_event_pkey")),
    )
    op.create_index(
        "provider_event_open_idx",
        "provider_event",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("applied_at IS NULL"),
    )
    op.create_table(
        "quiet_hours",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Time(), nullable=False),
        sa.Column("ends", sa.Time(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("quiet_hours_one_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("quiet_hours_pkey")),
    )
    op.create_table(
        "rate_window",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "window_start", name=op.f("rate_window_pkey")),
    )
    op.create_table(
        "reservation",
        sa.Column("demand_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("hold_class", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "hold_class IN ('guest', 'signed_in', 'counter', 'order')",
            name=op.f("reservation_hold_class_check"),
        ),
        sa.CheckConstraint(
            "state <> 'held' OR expires_at IS NOT NULL", name=op.f("reservation_expiry_check")
        ),
        sa.CheckConstraint(
            "state IN ('held', 'committed', 'fulfilled', 'released', 'expired')",
            name=op.f("reservation_state_check"),
        ),
        sa.CheckConstraint(
            "quantity BETWEEN 1 AND 1000000", name=op.f("reservation_quantity_check")
        ),
        sa.PrimaryKeyConstraint("demand_id", "location_id", "sku", name=op.f("reservation_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "reservation_expiry_idx",
        "reservation",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "reservation_live_idx",
        "reservation",
        ["location_id", "sku"],
        unique=False,
        postgresql_where=sa.text("state IN ('held', 'committed')"),
    )
    op.create_table(
        "shopper",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), server_default=sa.text("'en'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("loyalty_code", sa.Text(), nullable=False),
        sa.Column("other_loyalty_code", sa.Text(), nullable=True),
        sa.Column(
            "sizes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "preferences",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("email = lower(email)", name=op.f("shopper_email_check")),
        sa.CheckConstraint("merged_into <> id", name=op.f("shopper_merged_into_check")),
        sa.ForeignKeyConstraint(
            ["merged_into"], ["shopper.id"], name=op.f("shopper_merged_into_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_pkey")),
        sa.UniqueConstraint("email", name=op.f("shopper_email_key")),
        sa.UniqueConstraint("loyalty_code", name=op.f("shopper_loyalty_code_key")),
        sa.UniqueConstraint("phone", name=op.f("shopper_phone_key")),
    )
    op.create_index(
        "shopper_merged_into_idx",
        "shopper",
        ["merged_into"],
        unique=False,
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_index(
        "shopper_name_idx",
        "shopper",
        [
            sa.literal_column(
                "lower(translate(name, 'ÁÀÂÄÃÅÉÈÊËÍÌÎÏÓÒÔÖÕÚÙÛÜÑÇáàâäãåéèêëíìîïóòôöõúùûüñç', 'aaaaaaeeeeiiiiooooouuuuncaaaaaaeeeeiiiiooooouuuunc'))"
            ).label("key")
        ],
        unique=False,
        postgresql_ops={"key": "text_pattern_ops"},
    )
    op.create_table(
        "shopper_access",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("view_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_access_pkey")),
    )
    op.create_index(op.f("shopper_access_view_id_idx"), "shopper_access", ["view_id"], unique=False)
    op.create_table(
        "shopper_look_up",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("associate_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('profile_code', 'loyalty_code', 'phone', 'email', 'name', 'order')",
            name=op.f("shopper_look_up_kind_check"),
        ),
        sa.CheckConstraint(
            "purpose IN ('serve_in_store', 'pickup', 'return', 'follow_up')",
            name=op.f("shopper_look_up_purpose_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_look_up_pkey")),
    )
    op.create_index(
        "shopper_look_up_associate_idx", "shopper_look_up", ["associate_id", "at"], unique=False
    )
    op.create_index(
        "shopper_look_up_location_idx", "shopper_look_up", ["location_id", "at"], unique=False
    )
    op.create_table(
        "shopper_view",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("person_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("associate_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("consented", sa.Boolean(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "ending IN ('closed', 'expired', 'session_ended', 'consent_withdrawn', 'merged', 'erased')",
            name=op.f("shopper_view_ending_check"),
        ),
        sa.CheckConstraint(
            "purpose IN ('serve_in_store', 'pickup', 'return', 'follow_up')",
            name=op.f("shopper_view_purpose_check"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ending IS NULL)", name=op.f("shopper_view_ended_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_view_pkey")),
    )
    op.create_index(
        "shopper_view_associate_idx", "shopper_view", ["associate_id", "id"], unique=False
    )
    op.create_index(
        "shopper_view_location_idx", "shopper_view", ["location_id", "id"], unique=False
    )
    op.create_index("shopper_view_shopper_idx", "shopper_view", ["shopper_id", "id"], unique=False)
    op.create_table(
        "shopping_list",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("share_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("shared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(kind = 'list') = (name IS NOT NULL)", name=op.f("shopping_list_name_check")
        ),
        sa.CheckConstraint(
            "kind <> 'saved_for_later' OR shared_at IS NULL",
            name=op.f("shopping_list_shared_check"),
        ),
        sa.CheckConstraint(
            "kind IN ('saved_for_later', 'wishlist', 'list')", name=op.f("shopping_list_kind_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopping_list_pkey")),
    )
    op.create_index(
        "shopping_list_own_idx",
        "shopping_list",
        ["shopper_id", "kind"],
        unique=True,
        postgresql_where=sa.text("kind <> 'list'"),
    )
    op.create_index(
        "shopping_list_shopper_idx", "shopping_list", ["shopper_id", "id"], unique=False
    )
    op.create_table(
        "staff_record",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "changes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("staff_record_pkey")),
    )
    op.create_index("staff_record_subject_idx", "staff_record", ["subject"], unique=False)
    op.create_table(
        "stock_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("first_loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("done_through", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_file_pkey")),
    )
    op.create_table(
        "stock_ledger",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("on_hand_delta", sa.Integer(), nullable=False),
        sa.Column("reserved_delta", sa.Integer(), nullable=False),
        sa.Column("unsellable_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reference", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('receive', 'adjust', 'count', 'hold', 'fulfill', 'release', 'expire', 'sale', 'return', 'write_off')",
            name=op.f("stock_ledger_kind_check"),
        ),
        sa.CheckConstraint(
            "on_hand_delta <> 0 OR reserved_delta <> 0 OR unsellable_delta <> 0",
            name=op.f("stock_ledger_change_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_ledger_pkey")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index(
        "stock_ledger_key_idx", "stock_ledger", ["location_id", "sku", "id"], unique=False
    )
    op.create_table(
        "stock_level",
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("safety_stock", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("reserved >= 0", name=op.f("stock_level_reserved_check")),
        sa.CheckConstraint("safety_stock >= 0", name=op.f("stock_level_safety_stock_check")),
        sa.PrimaryKeyConstraint("location_id", "sku", name=op.f("stock_level_pkey")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("stock_level_sku_idx", "stock_level", ["sku", "location_id"], unique=False)
    op.create_table(
        "stopped_address",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'whatsapp', 'push')",
            name=op.f("stopped_address_channel_check"),
        ),
        sa.PrimaryKeyConstraint("channel", "address", name=op.f("stopped_address_pkey")),
    )
    op.create_table(
        "tax_zone",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("rate_bp", sa.Integer(), nullable=False),
        sa.CheckConstraint("rate_bp BETWEEN 0 AND 10000", name=op.f("tax_zone_rate_bp_check")),
        sa.PrimaryKeyConstraint("code", name=op.f("tax_zone_pkey")),
    )
    op.create_table(
        "unsellable_stock",
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity >= 0", name=op.f("unsellable_stock_quantity_check")),
        sa.PrimaryKeyConstraint("location_id", "sku", "reason", name=op.f("unsellable_stock_pkey")),
    )
    op.create_table(
        "watch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("watch_pkey")),
    )
    op.create_index("watch_called_idx", "watch", ["location_id", "sku", "called_at"], unique=False)
    op.create_index(
        "watch_open_idx",
        "watch",
        ["shopper_id", "sku", "location_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(op.f("watch_shopper_id_idx"), "watch", ["shopper_id"], unique=False)
    op.create_index(
        "watch_waiting_idx",
        "watch",
        ["location_id", "sku", "id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL AND called_at IS NULL"),
    )
    op.create_table(
        "answer",
        sa.Column("follow_up_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name=op.f("answer_rating_check")),
        sa.ForeignKeyConstraint(
            ["follow_up_id"], ["follow_up.id"], name=op.f("answer_follow_up_id_fkey")
        ),
        sa.PrimaryKeyConstraint("follow_up_id", name=op.f("answer_pkey")),
    )
    op.create_index(op.f("answer_shopper_id_idx"), "answer", ["shopper_id"], unique=False)
    op.create_table(
        "client_book_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("associate_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "end_reason IN ('removed', 'passed_on', 'consent_withdrawn', 'erased')",
            name=op.f("client_book_entry_end_reason_check"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("client_book_entry_ended_check")
        ),
        sa.ForeignKeyConstraint(
            ["associate_id"], ["associate.id"], name=op.f("client_book_entry_associate_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("client_book_entry_pkey")),
    )
    op.create_index(
        "client_book_entry_associate_idx",
        "client_book_entry",
        ["associate_id", "id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "client_book_entry_open_idx",
        "client_book_entry",
        ["location_id", "shopper_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        op.f("client_book_entry_shopper_id_idx"), "client_book_entry", ["shopper_id"], unique=False
    )
    op.create_table(
        "list_line",
        sa.Column("list_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("list_line_quantity_check")),
        sa.ForeignKeyConstraint(
            ["list_id"], ["shopping_list.id"], name=op.f("list_line_list_id_fkey")
        ),
        sa.PrimaryKeyConstraint("list_id", "sku", name=op.f("list_line_pkey")),
    )
    op.create_index("list_line_sku_idx", "list_line", ["sku"], unique=False)
    op.create_table(
        "payment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_id", sa.Uuid(), nullable=False),
        sa.Column("tender", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("authorized_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("payment_method", sa.Text(), nullable=True),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("redirect_url", sa.Text(), nullable=True),
        sa.Column("decline_code", sa.Text(), nullable=True),
        sa.Column("card_brand", sa.Text(), nullable=True),
        sa.Column("card_last4", sa.Text(), nullable=True),
        sa.Column("card_fingerprint", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("capture_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'requires_action', 'authorized', 'captured', 'voided', 'lapsed', 'failed')",
            name=op.f("payment_state_check"),
        ),
        sa.CheckConstraint(
            "tender IN ('card', 'cash', 'external_terminal')", name=op.f("payment_tender_check")
        ),
        sa.CheckConstraint(
            "0 <= refunded_minor AND refunded_minor <= captured_minor AND captured_minor <= authorized_minor",
            name=op.f("payment_books_check"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("payment_order_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("payment_pkey")),
        sa.UniqueConstraint("provider_id", name=op.f("payment_provider_id_key")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("payment_fulfillment_id_idx"), "payment", ["fulfillment_id"], unique=False)
    op.create_index(
        "payment_held_idx",
        "payment",
        ["capture_before"],
        unique=False,
        postgresql_where=sa.text("state = 'authorized'"),
    )
    op.create_index(op.f("payment_order_id_idx"), "payment", ["order_id"], unique=False)
    op.create_index(
        "payment_waiting_idx",
        "payment",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'requires_action')"),
    )
    op.create_table(
        "preferred_channel",
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'whatsapp', 'push')",
            name=op.f("preferred_channel_channel_check"),
        ),
        sa.ForeignKeyConstraint(
            ["shopper_id"], ["shopper.id"], name=op.f("preferred_channel_shopper_id_fkey")
        ),
        sa.PrimaryKeyConstraint("shopper_id", name=op.f("preferred_channel_pkey")),
    )
    op.create_table(
        "push_device",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "platform IN ('ios', 'android', 'web')", name=op.f("push_device_platform_check")
        ),
        sa.ForeignKeyConstraint(
            ["shopper_id"], ["shopper.id"], name=op.f("push_device_shopper_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("push_device_pkey")),
    )
    op.create_index(op.f("push_device_shopper_id_idx"), "push_device", ["shopper_id"], unique=False)
    op.create_index(op.f("push_device_token_idx"), "push_device", ["token"], unique=False)
    op.create_table(
        "refused_stock_line",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["stock_file.id"], name=op.f("refused_stock_line_file_id_fkey")
        ),
        sa.PrimaryKeyConstraint("file_id", "line", name=op.f("refused_stock_line_pkey")),
    )
    op.create_table(
        "return",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("refund_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("received_by", sa.Text(), nullable=True),
        sa.Column("rejection", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('requested', 'approved', 'received', 'settled', 'rejected', 'cancelled')",
            name=op.f("return_state_check"),
        ),
        sa.CheckConstraint(
            "received_at IS NULL OR location_id IS NOT NULL", name=op.f("return_place_check")
        ),
        sa.CheckConstraint("refund_minor >= 0", name=op.f("return_refund_minor_check")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("return_order_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("return_pkey")),
    )
    op.create_index("return_location_idx", "return", ["location_id", "id"], unique=False)
    op.create_index(op.f("return_order_id_idx"), "return", ["order_id"], unique=False)
    op.create_table(
        "shopper_candidate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("look_up_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("view_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["look_up_id"], ["shopper_look_up.id"], name=op.f("shopper_candidate_look_up_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_candidate_pkey")),
    )
    op.create_index(
        op.f("shopper_candidate_look_up_id_idx"), "shopper_candidate", ["look_up_id"], unique=False
    )
    op.create_index(
        op.f("shopper_candidate_shopper_id_idx"), "shopper_candidate", ["shopper_id"], unique=False
    )
    op.create_table(
        "shopper_duplicate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("second_id", sa.Uuid(), nullable=False),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('suggested', 'dismissed')", name=op.f("shopper_duplicate_state_check")
        ),
        sa.CheckConstraint("first_id < second_id", name=op.f("shopper_duplicate_two_check")),
        sa.ForeignKeyConstraint(
            ["first_id"], ["shopper.id"], name=op.f("shopper_duplicate_first_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["second_id"], ["shopper.id"], name=op.f("shopper_duplicate_second_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_duplicate_pkey")),
    )
    op.create_index(
        "shopper_duplicate_pair_idx", "shopper_duplicate", ["first_id", "second_id"], unique=True
    )
    op.create_index(
        op.f("shopper_duplicate_second_id_idx"), "shopper_duplicate", ["second_id"], unique=False
    )
    op.create_index(
        "shopper_duplicate_suggested_idx",
        "shopper_duplicate",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'suggested'"),
    )
    op.create_table(
        "shopper_identity",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject_hash", sa.LargeBinary(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["shopper_id"], ["shopper.id"], name=op.f("shopper_identity_shopper_id_fkey")
        ),
        sa.PrimaryKeyConstraint("issuer", "subject_hash", name=op.f("shopper_identity_pkey")),
    )
    op.create_index(
        op.f("shopper_identity_shopper_id_idx"), "shopper_identity", ["shopper_id"], unique=False
    )
    op.create_table(
        "shopper_merge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("merged_by", sa.Text(), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(undone_at IS NULL) = (undone_by IS NULL)", name=op.f("shopper_merge_undone_check")
        ),
        sa.CheckConstraint("source_id <> target_id", name=op.f("shopper_merge_two_check")),
        sa.ForeignKeyConstraint(
            ["source_id"], ["shopper.id"], name=op.f("shopper_merge_source_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["shopper.id"], name=op.f("shopper_merge_target_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shopper_merge_pkey")),
    )
    op.create_index(
        "shopper_merge_live_idx",
        "shopper_merge",
        ["source_id"],
        unique=True,
        postgresql_where=sa.text("undone_at IS NULL"),
    )
    op.create_index("shopper_merge_source_idx", "shopper_merge", ["source_id"], unique=False)
    op.create_index(
        op.f("shopper_merge_target_id_idx"), "shopper_merge", ["target_id"], unique=False
    )
    op.create_table(
        "shopper_trait",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('email', 'phone', 'loyalty_code', 'card')",
            name=op.f("shopper_trait_kind_check"),
        ),
        sa.ForeignKeyConstraint(
            ["shopper_id"], ["shopper.id"], name=op.f("shopper_trait_shopper_id_fkey")
        ),
        sa.PrimaryKeyConstraint("kind", "digest", "shopper_id", name=op.f("shopper_trait_pkey")),
    )
    op.create_index(
        op.f("shopper_trait_shopper_id_idx"), "shopper_trait", ["shopper_id"], unique=False
    )
    op.create_table(
        "sku",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("item_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("gtin", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.ForeignKeyConstraint(["item_code"], ["item.code"], name=op.f("sku_item_code_fkey")),
        sa.PrimaryKeyConstraint("sku", name=op.f("sku_pkey")),
        sa.UniqueConstraint("gtin", name=op.f("sku_gtin_key")),
    )
    op.create_index(op.f("sku_item_code_idx"), "sku", ["item_code"], unique=False)
    op.create_table(
        "store",
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("price_zone", sa.Text(), nullable=False),
        sa.Column("tax_zone", sa.Text(), nullable=False),
        sa.Column("pickup_enabled", sa.Boolean(), nullable=False),
        sa.Column(
            "pickup_lead_minutes", sa.Integer(), server_default=sa.text("120"), nullable=False
        ),
        sa.Column("opening_hours", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "pickup_lead_minutes BETWEEN 0 AND 20160", name=op.f("store_lead_check")
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("store_location_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["price_zone"], ["price_zone.code"], name=op.f("store_price_zone_fkey")
        ),
        sa.ForeignKeyConstraint(["tax_zone"], ["tax_zone.code"], name=op.f("store_tax_zone_fkey")),
        sa.PrimaryKeyConstraint("location_id", name=op.f("store_pkey")),
        sa.UniqueConstraint("code", name=op.f("store_code_key")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "origins", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "channel IN ('web', 'app', 'store')", name=op.f("api_key_channel_check")
        ),
        sa.CheckConstraint(
            "kind IN ('storefront', 'integration', 'tablet', 'backoffice')",
            name=op.f("api_key_kind_check"),
        ),
        sa.CheckConstraint(
            "requests_per_minute > 0", name=op.f("api_key_requests_per_minute_check")
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["store.location_id"], name=op.f("api_key_location_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("api_key_pkey")),
        sa.UniqueConstraint("secret_hash", name=op.f("api_key_secret_hash_key")),
    )
    op.create_table(
        "associate_store",
        sa.Column("associate_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["associate_id"], ["associate.id"], name=op.f("associate_store_associate_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["store.location_id"], name=op.f("associate_store_location_id_fkey")
        ),
        sa.PrimaryKeyConstraint("associate_id", "location_id", name=op.f("associate_store_pkey")),
    )
    op.create_table(
        "outreach",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("associate_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("outcome_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('replied', 'reply_later', 'not_interested')",
            name=op.f("outreach_outcome_check"),
        ),
        sa.CheckConstraint(
            "purpose IN ('follow_up', 'marketing')", name=op.f("outreach_purpose_check")
        ),
        sa.CheckConstraint(
            "(outcome IS NULL) = (outcome_at IS NULL)", name=op.f("outreach_outcome_at_check")
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["client_book_entry.id"], name=op.f("outreach_entry_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("outreach_pkey")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index("outreach_entry_idx", "outreach", ["entry_id", "id"], unique=False)
    op.create_index("outreach_location_idx", "outreach", ["location_id", "id"], unique=False)
    op.create_index("outreach_shopper_idx", "outreach", ["shopper_id", "id"], unique=False)
    op.create_table(
        "payment_operation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("payment_method", sa.Text(), nullable=True),
        sa.Column("return_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_reference", sa.Text(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('authorize', 'capture', 'void', 'refund')",
            name=op.f("payment_operation_kind_check"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'unknown', 'succeeded', 'failed')",
            name=op.f("payment_operation_state_check"),
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("payment_operation_amount_minor_check")),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("payment_operation_payment_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("payment_operation_pkey")),
    )
    op.create_index(
        "payment_operation_failed_capture_idx",
        "payment_operation",
        ["payment_id"],
        unique=False,
        postgresql_where=sa.text("kind = 'capture' AND state = 'failed'"),
    )
    op.create_index(
        "payment_operation_open_idx",
        "payment_operation",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'unknown')"),
    )
    op.create_index(
        op.f("payment_operation_payment_id_idx"), "payment_operation", ["payment_id"], unique=False
    )
    op.create_index(
        "payment_operation_return_idx",
        "payment_operation",
        ["return_id"],
        unique=False,
        postgresql_where=sa.text("return_id IS NOT NULL"),
    )
    op.create_table(
        "price",
        sa.Column("price_zone", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("price_amount_minor_check")),
        sa.ForeignKeyConstraint(
            ["price_zone"], ["price_zone.code"], name=op.f("price_price_zone_fkey")
        ),
        sa.ForeignKeyConstraint(["sku"], ["sku.sku"], name=op.f("price_sku_fkey")),
        sa.PrimaryKeyConstraint("price_zone", "sku", name=op.f("price_pkey")),
    )
    op.create_index("price_sku_idx", "price", ["sku"], unique=False)
    op.create_table(
        "return_line",
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("received_quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("refund_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("return_line_quantity_check")),
        sa.CheckConstraint(
            "received_quantity BETWEEN 0 AND quantity", name=op.f("return_line_received_check")
        ),
        sa.CheckConstraint("refund_minor >= 0", name=op.f("return_line_refund_minor_check")),
        sa.ForeignKeyConstraint(
            ["order_id", "line_number"],
            ["order_line.order_id", "order_line.line_number"],
            name=op.f("return_line_order_id_line_number_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["return_id"], ["return.id"], name=op.f("return_line_return_id_fkey")
        ),
        sa.PrimaryKeyConstraint("return_id", "line_number", name=op.f("return_line_pkey")),
    )
    op.create_table(
        "return_unit",
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "disposition IN ('restock', 'damaged', 'return_to_vendor', 'destroy')",
            name=op.f("return_unit_disposition_check"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("return_unit_quantity_check")),
        sa.ForeignKeyConstraint(
            ["return_id", "line_number"],
            ["return_line.return_id", "return_line.line_number"],
            name=op.f("return_unit_return_id_line_number_fkey"),
        ),
        sa.PrimaryKeyConstraint(
            "return_id", "line_number", "disposition", name=op.f("return_unit_pkey")
        ),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("shopper_id", sa.Uuid(), nullable=True),
        sa.Column("associate_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind = 'shopper' AND shopper_id IS NOT NULL AND associate_id IS NULL OR kind = 'associate' AND associate_id IS NOT NULL AND shopper_id IS NULL AND location_id IS NOT NULL",
            name=op.f("session_kind_check"),
        ),
        sa.ForeignKeyConstraint(
            ["associate_id"], ["associate.id"], name=op.f("session_associate_id_fkey")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("session_key_id_fkey")),
        sa.ForeignKeyConstraint(
            ["location_id"], ["store.location_id"], name=op.f("session_location_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("session_pkey")),
        sa.UniqueConstraint("secret_hash", name=op.f("session_secret_hash_key")),
    )
    op.create_index(op.f("session_associate_id_idx"), "session", ["associate_id"], unique=False)
    op.create_index(op.f("session_shopper_id_idx"), "session", ["shopper_id"], unique=False)
    # Months get partitions of their own at every start; these catch whatever falls outside.
    op.execute("CREATE TABLE browsing_event_default PARTITION OF browsing_event DEFAULT")
    op.execute("CREATE TABLE event_default PARTITION OF event DEFAULT")
    op.execute("CREATE TABLE stock_ledger_default PARTITION OF stock_ledger DEFAULT")
