"""What is held to compare shoppers: gone with the person, or the digests would find them again."""

from uuid import UUID

from sqlalchemy import delete, or_

from commerce.kernel.holdings import SHOPPER_IDS, Holding
from commerce.kernel.sql import Query
from commerce.tables import shopper_duplicate, shopper_trait

HOLDINGS = (
    Holding(
        table="shopper_trait",
        erase=Query(
            delete(shopper_trait)
            .where(shopper_trait.c.shopper_id == SHOPPER_IDS)
            .returning(shopper_trait.c.shopper_id),
            UUID,
        ),
    ),
    Holding(
        table="shopper_duplicate",
        erase=Query(
            delete(shopper_duplicate)
            .where(
                or_(
                    shopper_duplicate.c.first_id == SHOPPER_IDS,
                    shopper_duplicate.c.second_id == SHOPPER_IDS,
                )
            )
            .returning(shopper_duplicate.c.id),
            UUID,
        ),
    ),
)
