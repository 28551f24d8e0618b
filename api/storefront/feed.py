"""What becomes of an order, as it happens."""

from typing import Any
from uuid import UUID

from litestar import Request, get
from litestar.types import ASGIApp

from api.auth import may
from api.contract import answers, raises
from api.feeds import BLOCKS, LogReader
from api.services import Services
from api.storefront.orders import OrderToken, own_order
from api.streams import EVENT_STREAM, After, Feed, LastEventId, stream_of, types_for
from commerce.access import Principal
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Busy


@get(
    "/v1/orders/{order_id:uuid}/feed",
    guards=[may("order.read", "order.place")],
    opt=answers(BLOCKS, EVENT_STREAM) | raises(Busy, NotFound),
)
async def follow_order(
    order_id: UUID,
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    order_token: OrderToken = None,
    after: After = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Follow one order as server-sent events: its shopper's own, a guest's by its token.

    The first event is `open`; fetch the order then. `start_over` says the same again.
    """
    async with services.database.reading() as conn:
        order = await own_order(conn, order_id, who, order_token, services.secret)
    owner_id = order.head.shopper_id
    await services.part(LogReader).started()

    async def allowed(now: Principal) -> bool:
        owns = owner_id in now.person_ids or owner_id not in who.person_ids
        return owns and now.permissions >= who.permissions

    stream = stream_of(order_id, who, types_for("shopper"))
    return Feed(services, request, stream, after=last_event_id or after, allowed=allowed,
                write=lambda entry: entry.for_shoppers)  # fmt: skip


ROUTES = [follow_order]
