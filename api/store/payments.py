"""What shoppers still owe a store for goods that they have taken along."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from api.auth import may
from api.contract import raises
from api.once import once
from api.order_views import OrderView, order_view
from commerce import orders, settlement
from commerce.access import Principal, StoreNotAllowed
from commerce.fulfillment import Cash, ExternalTerminal, TenderedTooLittle
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.settlement import Due

OK = 200
PAGE = 100


class PayDue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What pays the amount that is due, in full."""

    tender: Cash | ExternalTerminal


class PaidDue(msgspec.Struct, frozen=True):
    """The order, completed, and the cash to give back."""

    order: OrderView
    change: Money


@get("/v1/store/payments-due", guards=[may("pickup.hand_over")])
async def list_payments_due(
    reading: Connection,
    who: Principal,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE)] = PAGE,
) -> list[Due]:
    """Goods that left although their card did not pay in the end, the oldest order first.

    Each stays here, and its order open, until somebody takes another tender for it.
    """
    return await settlement.dues(reading, who, page=limit)


@post(
    "/v1/store/orders/{order_id:uuid}/pay-due",
    guards=[may("pickup.hand_over")],
    status_code=OK,
    opt=raises(NotFound, StoreNotAllowed, TenderedTooLittle, InvalidField),
)
@once
async def pay_due(
    order_id: UUID, data: PayDue, conn: Connection, who: Principal, now: datetime
) -> PaidDue:
    """Take cash or a card on a terminal of its own for what is due, and complete the order."""
    change = await settlement.pay_due(conn, who, order_id, data.tender, now=now)
    return PaidDue(await order_view(conn, await orders.by_id(conn, order_id)), change)


ROUTES = [list_payments_due, pay_due]
