"""What is held about the person of an order. Orders stay: they are the retailer's books."""

from uuid import UUID

from sqlalchemy import Select, null, or_, select, update

from commerce.kernel.holdings import CONTACT_IDS, SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import order_line, orders

OF_PERSON: Select[tuple[UUID]] = select(orders.c.id).where(
    or_(
        orders.c.shopper_id.is_not(None) & (orders.c.shopper_id == SHOPPER_IDS),
        orders.c.shopper_id.is_(None)
        & orders.c.contact_id.is_not(None)
        & (orders.c.contact_id == CONTACT_IDS),
    )
)
"""The ids of a person's orders, also of those placed as a guest."""

HOLDINGS = (
    Holding(
        table="orders",
        export=Query(
            select(document(orders, without=["key_id"])).where(orders.c.id.in_(OF_PERSON)), str
        ),
        erase=Query(
            update(orders)
            .where(orders.c.id.in_(OF_PERSON), orders.c.cancel_reason.is_not(None))
            .values(cancel_reason=null())
            .returning(orders.c.id),
            UUID,
        ),
        ids=Query(OF_PERSON, UUID),
        waits=True,
        stays="Lines, money and ids: the books that the law asks for.",
    ),
    Holding(
        table="order_line",
        export=Query(select(document(order_line)).where(order_line.c.order_id.in_(OF_PERSON)), str),
        stays="What was sold, for how much: the books that the law asks for.",
    ),
)
