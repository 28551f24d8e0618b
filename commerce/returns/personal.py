"""What is held about the person who brought goods back: why, in somebody's words."""

from uuid import UUID

from sqlalchemy import null, or_, select, update

from commerce import access
from commerce.kernel.holdings import Holding, document
from commerce.kernel.sql import Query
from commerce.orders.personal import OF_PERSON
from commerce.tables import fulfillment, return_, return_line

_OURS = return_.c.order_id.in_(OF_PERSON)
_PICKUP = fulfillment.c.order_id.in_(OF_PERSON)
HOLDINGS = (
    access.words_about(
        {
            "return": select(return_.c.id).where(_OURS),
            "pickup": select(fulfillment.c.id).where(_PICKUP),
        }
    ),
    Holding(
        table="return",
        export=Query(select(document(return_)).where(_OURS), str),
        erase=Query(
            update(return_)
            .where(_OURS, or_(return_.c.reason.is_not(None), return_.c.rejection.is_not(None)))
            .values(reason=null(), rejection=null())
            .returning(return_.c.id),
            UUID,
        ),
        ids=Query(select(return_.c.id).where(_OURS), UUID),
        waits=True,
        stays="Goods, money and ids: the books that the law asks for.",
    ),
    Holding(
        table="return_line",
        export=Query(
            select(document(return_line)).where(return_line.c.order_id.in_(OF_PERSON)), str
        ),
        stays="What came back, for how much: the books that the law asks for.",
    ),
)
