"""What is held of follow-ups: what somebody waits for, was told of, and answered."""

from uuid import UUID

from sqlalchemy import delete, null, select, update

from commerce.kernel.holdings import NOW, SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import answer, follow_up, watch

_ANSWER = answer.c.shopper_id == SHOPPER_IDS
_WATCH = watch.c.shopper_id == SHOPPER_IDS
HOLDINGS = (
    Holding(
        table="follow_up",
        export=Query(
            select(document(follow_up)).where(
                follow_up.c.shopper_id.is_not(None), follow_up.c.shopper_id == SHOPPER_IDS
            ),
            str,
        ),
        erase=Query(
            update(follow_up)
            .where(
                follow_up.c.shopper_id.is_not(None),
                follow_up.c.shopper_id == SHOPPER_IDS,
                follow_up.c.state == "scheduled",
            )
            .values(state="stopped", reason="erased", decided_at=NOW)
            .returning(follow_up.c.id),
            UUID,
        ),
        stays="Ids and closed words: what was sent about which order or cart.",
    ),
    Holding(
        table="watch",
        export=Query(select(document(watch)).where(_WATCH), str),
        erase=Query(delete(watch).where(_WATCH).returning(watch.c.id), UUID),
    ),
    Holding(
        table="answer",
        export=Query(select(document(answer)).where(_ANSWER), str),
        erase=Query(
            update(answer)
            .where(_ANSWER, answer.c.comment.is_not(None))
            .values(comment=null())
            .returning(answer.c.follow_up_id),
            UUID,
        ),
        stays="The stars that were given, without the words.",
    ),
)
