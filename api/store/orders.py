"""Orders at the counter: any store finds any order by its number, without a shopper's data."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import PathParameter

from api.auth import may
from api.contract import raises
from api.order_views import OrderView, order_view
from commerce import access, orders
from commerce.access import Principal
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.orders import Order


class CounterOrderView(OrderView, frozen=True):
    """An order as staff see it: whose sale it was, and of which store."""

    attributed_to: UUID | None
    """The associate who served the shopper."""
    attributed_location_id: UUID | None

    @classmethod
    async def read(cls, conn: Connection, order: Order) -> "CounterOrderView":
        """With its payments as they stand."""
        shown = msgspec.structs.asdict(await order_view(conn, order))
        by = order.head.attributed_to
        return cls(
            **shown,
            attributed_to=None if by is None else UUID(by.partition(":")[2]),
            attributed_location_id=order.head.attributed_location_id,
        )


OrderNumber = Annotated[str, PathParameter(min_length=1, max_length=20)]


@get(
    "/v1/store/orders/{order_number:str}",
    guards=[may("order.read")],
    opt=raises(NotFound),
)
async def find_order(
    order_number: OrderNumber, conn: Connection, who: Principal, now: datetime
) -> CounterOrderView:
    """An order by the number on its receipt, however it was typed. Each look is on record.

    It names the store that holds the goods; who they are for is told there (`/v1/store/pickups`).
    """
    order = await orders.by_number(conn, order_number)
    await access.record_staff(
        conn, who, action="order.viewed", subject=f"order:{order.id}", changes={}, now=now
    )
    return await CounterOrderView.read(conn, order)


ROUTES = [find_order]
