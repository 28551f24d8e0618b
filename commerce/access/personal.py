"""What is held about a person's sessions."""

from sqlalchemy import select

from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables.people import session

HOLDINGS = (
    Holding(
        table="session",
        export=Query(
            select(document(session, without=["secret_hash", "key_id"])).where(
                session.c.shopper_id == SHOPPER_IDS
            ),
            str,
        ),
        stays="Ids and times, for thirty days after the session has run out; all are ended.",
    ),
)
