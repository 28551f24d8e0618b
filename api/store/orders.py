"""Orders at the counter: any store finds any order by its number, without a shopper's data."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.params import PathParameter

from api.auth import may
from api.contract import raises
from api.order_views import OrderView, order_view
from commerce import access, orders
from commerce.access import Principal
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection

OrderNumber = Annotated[str, PathParameter(min_length=1, max_length=20)]


@get(
    "/v1/store/orders/{order_number:str}",
    guards=[may("order.read")],
    opt=raises(NotFound),
)
async def find_order(
    order_number: OrderNumber, conn: Connection, who: Principal, now: datetime
) -> OrderView:
    """An order by the number on its receipt, however it was typed. Each look is on record.

    It names the store that holds the goods; who they are for is told there (`/v1/store/pickups`).
    """
    order = await orders.by_number(conn, order_number)
    await access.record_staff(
        conn, who, action="order.viewed", subject=f"order:{order.id}", changes={}, now=now
    )
    return await order_view(conn, order)


ROUTES = [find_order]
