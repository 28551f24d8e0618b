"""What is held about who looked at a person: the ids stay on record, the reasons' words go."""

from uuid import UUID

from sqlalchemy import delete, select, update

from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import shopper_access, shopper_candidate, shopper_look_up, shopper_view

_VIEW = shopper_view.c.shopper_id == SHOPPER_IDS
_LOOK_UP = shopper_look_up.c.id.in_(
    select(shopper_candidate.c.look_up_id).where(shopper_candidate.c.shopper_id == SHOPPER_IDS)
)
_SEEN = shopper_access.c.view_id.in_(select(shopper_view.c.id).where(_VIEW))
HOLDINGS = (
    Holding(
        table="shopper_look_up",
        export=Query(
            select(document(shopper_look_up, without=["session_id"])).where(_LOOK_UP), str
        ),
        erase=Query(
            update(shopper_look_up)
            .where(_LOOK_UP, shopper_look_up.c.reason != "")
            .values(reason="")
            .returning(shopper_look_up.c.id),
            UUID,
        ),
        stays="Who looked somebody up and when, without whom: associates answer for it.",
    ),
    Holding(
        table="shopper_candidate",
        erase=Query(
            delete(shopper_candidate)
            .where(shopper_candidate.c.shopper_id == SHOPPER_IDS)
            .returning(shopper_candidate.c.id),
            UUID,
        ),
        ids=Query(
            select(shopper_candidate.c.id).where(shopper_candidate.c.shopper_id == SHOPPER_IDS),
            UUID,
        ),
    ),
    Holding(
        table="shopper_view",
        export=Query(select(document(shopper_view, without=["session_id"])).where(_VIEW), str),
        erase=Query(
            update(shopper_view)
            .where(_VIEW, shopper_view.c.reason != "")
            .values(reason="")
            .returning(shopper_view.c.id),
            UUID,
        ),
        ids=Query(select(shopper_view.c.id).where(_VIEW), UUID),
        stays="Who looked at which id and when: associates answer for it.",
    ),
    Holding(
        table="shopper_access",
        export=Query(select(document(shopper_access)).where(_SEEN), str),
        stays="Names of the fields that were shown, not what was in them.",
    ),
)
