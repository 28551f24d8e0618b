"""Returns for shoppers who have signed in: ask for one from home, see how it stands.

Which store takes the goods is decided when they come.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get, post

from api.auth import may
from api.contract import raises
from api.once import once
from api.return_views import (
    Reason,
    ReturnableOrder,
    ReturnView,
    WantedLines,
    wanted_units,
)
from commerce import orders, returns
from commerce.access import Principal
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.sql import Connection
from commerce.orders import Order
from commerce.returns import (
    FinalSale,
    OrderNotCompleted,
    ReturnExceedsBought,
    ReturnWindowClosed,
)

CREATED = 201
OK = 200


class RequestReturn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the shopper wants to bring back, and why."""

    lines: WantedLines
    reason: Reason | None = None


@get(
    "/v1/orders/{order_id:uuid}/returnable",
    guards=[may("return.request_own")],
    opt=raises(NotFound),
)
async def read_returnable(
    order_id: UUID, reading: Connection, who: Principal, now: datetime
) -> ReturnableOrder:
    """What may come back of an own order, line by line, and its returns so far."""
    order = await _own_order(reading, order_id, who)
    offered = await returns.eligibility(reading, order, now=now)
    return ReturnableOrder.of(order, offered, await returns.of_order(reading, order_id))


@post(
    "/v1/orders/{order_id:uuid}/returns",
    guards=[may("return.request_own")],
    status_code=CREATED,
    opt=raises(NotFound, OrderNotCompleted, FinalSale, ReturnExceedsBought, ReturnWindowClosed),
)
@once
async def request_return(
    order_id: UUID, data: RequestReturn, conn: Connection, who: Principal, now: datetime
) -> ReturnView:
    """Ask to bring units of an own order back, to any store. Approved at once, or refused."""
    made = await returns.request(
        conn, who, order_id, wanted_units(data.lines), reason=data.reason, now=now
    )
    return ReturnView.of(made)


@get(
    "/v1/returns/{return_id:uuid}",
    guards=[may("return.request_own")],
    opt=raises(NotFound),
)
async def read_return(return_id: UUID, reading: Connection, who: Principal) -> ReturnView:
    """How a return of an own order stands."""
    shown = await returns.by_id(reading, return_id)
    try:
        await _own_order(reading, shown.head.order_id, who)
    except NotFound as not_theirs:
        raise NotFound(kind="return", id=str(return_id)) from not_theirs
    return ReturnView.of(shown)


@post(
    "/v1/returns/{return_id:uuid}/cancel",
    guards=[may("return.request_own")],
    status_code=OK,
    opt=raises(NotFound, WrongState),
)
@once
async def cancel_return(
    return_id: UUID, conn: Connection, who: Principal, now: datetime
) -> ReturnView:
    """Keep the goods after all."""
    return ReturnView.of(await returns.cancel(conn, who, return_id, now=now))


async def _own_order(conn: Connection, order_id: UUID, who: Principal) -> Order:
    order = await orders.by_id(conn, order_id)
    if order.head.shopper_id not in who.person_ids:
        raise NotFound(kind="order", id=str(order_id))
    return order


ROUTES = [read_returnable, request_return, read_return, cancel_return]
