"""What is held of outreach to a person."""

from uuid import UUID

from sqlalchemy import null, select, update

from commerce.kernel.holdings import NOW, SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import client_book_entry, outreach

_SERVED = client_book_entry.c.shopper_id == SHOPPER_IDS
_WRITTEN = outreach.c.shopper_id == SHOPPER_IDS

HOLDINGS = (
    Holding(
        table="client_book_entry",
        export=Query(select(document(client_book_entry)).where(_SERVED), str),
        erase=Query(
            update(client_book_entry)
            .where(_SERVED, client_book_entry.c.ended_at.is_(None))
            .values(ended_at=NOW, end_reason="erased")
            .returning(client_book_entry.c.id),
            UUID,
        ),
        stays="Which associate served which id, and when.",
    ),
    Holding(
        table="outreach",
        export=Query(select(document(outreach)).where(_WRITTEN), str),
        erase=Query(
            update(outreach)
            .where(_WRITTEN, outreach.c.note.is_not(None))
            .values(note=null())
            .returning(outreach.c.id),
            UUID,
        ),
        ids=Query(select(outreach.c.id).where(_WRITTEN), UUID),
        stays="That an associate wrote by which template, and what came of it.",
    ),
)
