"""What is held about the person whose goods are handed over."""

from uuid import UUID

from sqlalchemy import null, select, update

from commerce.kernel.holdings import Holding, document
from commerce.kernel.sql import Query
from commerce.orders.personal import OF_PERSON
from commerce.tables import fulfillment

_OURS = fulfillment.c.order_id.in_(OF_PERSON)
HOLDINGS = (
    Holding(
        table="fulfillment",
        export=Query(select(document(fulfillment)).where(_OURS), str),
        erase=Query(
            update(fulfillment)
            .where(_OURS, fulfillment.c.cancel_reason.is_not(None))
            .values(cancel_reason=null())
            .returning(fulfillment.c.id),
            UUID,
        ),
        waits=True,
        stays="Where, when and by whom goods were handed over: part of the order.",
    ),
)
