"""What is held about a person's browsing: all of it goes."""

from uuid import UUID

from sqlalchemy import Integer, and_, delete, exists, literal, or_, select

from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import browsing_choice, browsing_event, browsing_link

PAGE = 5_000
"""Rows that one statement deletes: a person may have browsed for years."""

_THEIRS = and_(browsing_event.c.shopper_id.is_not(None), browsing_event.c.shopper_id == SHOPPER_IDS)
_LINKED = and_(
    browsing_event.c.shopper_id.is_(None),
    browsing_event.c.visitor_id.in_(
        select(browsing_link.c.visitor_id).where(browsing_link.c.shopper_id == SHOPPER_IDS)
    ),
    exists().where(
        browsing_link.c.shopper_id == SHOPPER_IDS,
        browsing_link.c.visitor_id == browsing_event.c.visitor_id,
        browsing_event.c.received_at > browsing_link.c.since,
        browsing_event.c.received_at <= browsing_link.c.until,
    ),
)
_OURS = select(browsing_event.c.id).where(or_(_THEIRS, _LINKED))
HOLDINGS = (
    Holding(
        table="browsing_event",
        export=Query(select(document(browsing_event)).where(browsing_event.c.id.in_(_OURS)), str),
        erase=Query(
            delete(browsing_event)
            .where(browsing_event.c.id.in_(_OURS.limit(literal(PAGE, Integer()))))
            .returning(browsing_event.c.id),
            UUID,
        ),
    ),
    Holding(
        table="browsing_link",
        export=Query(
            select(document(browsing_link)).where(browsing_link.c.shopper_id == SHOPPER_IDS), str
        ),
        erase=Query(
            delete(browsing_link)
            .where(browsing_link.c.shopper_id == SHOPPER_IDS)
            .returning(browsing_link.c.visitor_id),
            UUID,
        ),
    ),
    Holding(
        table="browsing_choice",
        export=Query(
            select(document(browsing_choice)).where(browsing_choice.c.shopper_id == SHOPPER_IDS),
            str,
        ),
        erase=Query(
            delete(browsing_choice)
            .where(browsing_choice.c.shopper_id == SHOPPER_IDS)
            .returning(browsing_choice.c.shopper_id),
            UUID,
        ),
    ),
)
