"""Tables of browsing: what visitors looked at, whose it is, and who wants none of it recorded.

Events are many, cheap and written once: cut by month, without foreign keys, with one index for
visitors and one for shoppers, each event in one of the two.
"""

from sqlalchemy import Boolean, CheckConstraint, Column, DateTime, Index, Table, Text, Uuid, text

from commerce.kernel.sql import metadata

DEVICES = ("web", "app", "kiosk")
BROWSING_EVENTS = ("view", "search", "add", "remove", "store_visit", "scan")

# The id is made from the visitor, the client's own id and the client's time: a repeated event has
# the same one.
browsing_event = Table(
    "browsing_event",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("visitor_id", Uuid, nullable=False),
    Column("shopper_id", Uuid),
    Column("session_id", Uuid, nullable=False),
    Column("device", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sku", Text),
    Column("item", Text),
    Column("query", Text),
    Column("location_id", Uuid),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"device IN {DEVICES}", name="device"),
    CheckConstraint(f"type IN {BROWSING_EVENTS}", name="type"),
    postgresql_partition_by="RANGE (id)",
)
Index(
    "browsing_event_visitor_idx",
    browsing_event.c.visitor_id,
    browsing_event.c.received_at,
    postgresql_where=text("shopper_id IS NULL"),
)
Index(
    "browsing_event_shopper_idx",
    browsing_event.c.shopper_id,
    browsing_event.c.received_at,
    postgresql_where=text("shopper_id IS NOT NULL"),
)

# Whose a visitor's anonymous events are: received after `since`, up to and with `until`. The spans
# of one visitor follow each other without overlap.
browsing_link = Table(
    "browsing_link",
    metadata,
    Column("visitor_id", Uuid, primary_key=True),
    Column("since", DateTime(timezone=True), primary_key=True),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("shopper_id", Uuid, nullable=False),
    CheckConstraint("since < until", name="span"),
)
Index("browsing_link_shopper_idx", browsing_link.c.shopper_id, browsing_link.c.until)

# Of a person with several ids the newest choice counts. Without any, browsing is recorded.
browsing_choice = Table(
    "browsing_choice",
    metadata,
    Column("shopper_id", Uuid, primary_key=True),
    Column("recording", Boolean, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
)
