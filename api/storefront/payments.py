"""Paying an order by card: another card after a refusal, and the way back from the bank."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post

from api.auth import may
from api.contract import answers, claims_itself, no_key_needed, raises
from api.order_views import OrderView, order_view
from api.sagas import Begun, Saga, answer_saga
from api.services import Services
from api.storefront.orders import OrderToken, own_order
from commerce import orders, payments, settlement
from commerce.access import Principal
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.sql import Connection
from commerce.payments import PaymentRunning
from commerce.provider import ProviderRefused, ProviderUnavailable, RequiresAction

OK = 200
PAYS = ("payment.authorize", "order.place")


class AnotherCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's id of a card, and where the shopper goes after proving who they are."""

    payment_method: Annotated[
        str, msgspec.Meta(min_length=1, max_length=255, examples=["pm_card_visa"])
    ]
    return_url: Annotated[str, msgspec.Meta(max_length=2000, pattern="^https?://")] | None = None


class PaidOrder(msgspec.Struct, frozen=True):
    """The order as it stands now.

    `client_secret` lets the provider's script on the page authenticate the shopper, where the
    payment asks for it.
    """

    order: OrderView
    client_secret: str | None


@post(
    "/v1/orders/{order_id:uuid}/payments",
    guards=[may(*PAYS)],
    status_code=OK,
    opt=raises(NotFound, WrongState, PaymentRunning) | answers(OrderView),
)
@claims_itself
async def pay_again(
    order_id: UUID,
    request: Request[Any, Any, Any],
    data: AnotherCard,
    who: Principal,
    services: Services,
    order_token: OrderToken = None,
) -> Response[bytes]:
    """Try another card for an order that waits for its payment; its stock is held a little longer.

    The answer waits for the card. When it is still out (`payment_running`), repeat the request
    with the same key.
    """

    async def begin(conn: Connection) -> Begun:
        await own_order(conn, order_id, who, order_token, services.secret)
        await settlement.try_card(
            conn,
            order_id,
            payment_method=data.payment_method,
            return_url=data.return_url,
            actor=who.actor,
            now=services.now(),
        )
        return Begun(order_id, waits=True)

    async def settle(waiting: UUID) -> None:
        gateway = await services.gateway()
        await settlement.settle_order(services.database, gateway, waiting, now=services.now)
        services.doorbell.ring()

    return await answer_saga(request, Saga(begin, settle, _view))


@post(
    "/v1/orders/{order_id:uuid}/payments/refresh",
    guards=[may(*PAYS)],
    status_code=OK,
    opt=raises(NotFound, ProviderUnavailable, ProviderRefused),
)
@no_key_needed("it only looks; repeating it is harmless")
async def refresh_payments(
    order_id: UUID, who: Principal, services: Services, order_token: OrderToken = None
) -> PaidOrder:
    """Ask the provider how the order's payment stands: for a shopper who comes back from the bank.

    The order is placed as soon as the bank has said yes; a webhook tells us too, perhaps later.
    """
    async with services.database.reading() as conn:
        await own_order(conn, order_id, who, order_token, services.secret)
        waiting = [each for each in await payments.of_order(conn, order_id) if each.waits_for_card]
    client_secret = None
    for each in waiting:
        gateway = await services.gateway()
        seen = await settlement.look(services.database, gateway, each.id, now=services.now)
        if isinstance(seen, RequiresAction):
            client_secret = seen.client_secret
    services.doorbell.ring()
    async with services.database.reading() as conn:
        return PaidOrder(await _view(conn, order_id), client_secret)


async def _view(conn: Connection, order_id: UUID) -> OrderView:
    return await order_view(conn, await orders.by_id(conn, order_id))


ROUTES = [pay_again, refresh_payments]
