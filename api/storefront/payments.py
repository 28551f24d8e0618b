"""Paying an order by card: another card after a refusal, and the way back from the bank."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post

from api.auth import may
from api.contract import answers, claims_itself, no_key_needed, raises
from api.once import claim_of, kept, response
from api.order_views import OrderView, order_view
from api.services import Services
from api.storefront.orders import OrderToken, own_order
from commerce import orders, payments, settlement
from commerce.access import Principal
from commerce.kernel import idempotency
from commerce.kernel.errors import CommerceError, NotFound, WrongState
from commerce.kernel.idempotency import Answer, Stored
from commerce.kernel.sql import Connection
from commerce.payments import PaymentRunning
from commerce.provider import ProviderRefused, ProviderUnavailable, RequiresAction

OK = 200
_encode = msgspec.json.Encoder().encode
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
    claim = await claim_of(request)

    async def ask(conn: Connection) -> Answer | Stored:
        (found,) = await idempotency.claim(conn, [claim])
        if isinstance(found, CommerceError):
            raise found
        if found is not None:
            return found
        try:
            async with conn.savepoint():
                await own_order(conn, order_id, who, order_token, services.secret)
                await _try_card(conn, order_id, data, who, services.now())
            answer = Answer(claim, None, None, order_id)
        except CommerceError as refused:
            problem = None if isinstance(refused, PaymentRunning) else kept(refused, request.scope)
            if problem is None:
                raise
            answer = Answer(claim, *problem)
        await idempotency.store(conn, [answer], now=services.now())
        return answer

    async def finish(conn: Connection) -> bytes:
        body = _encode(await order_view(conn, await orders.by_id(conn, order_id)))
        await idempotency.finish(conn, claim, OK, body)
        return body

    known = await services.commit(ask)
    if isinstance(known, Stored) and known.status is not None and known.answer is not None:
        return response(known.status, known.answer, replayed=True)
    if isinstance(known, Answer) and known.status is not None and known.body is not None:
        return response(known.status, known.body)
    gateway = await services.gateway()
    await settlement.settle_order(services.database, gateway, order_id, now=services.now)
    return response(OK, await services.commit(finish))


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
        return PaidOrder(await order_view(conn, await orders.by_id(conn, order_id)), client_secret)


async def _try_card(
    conn: Connection, order_id: UUID, data: AnotherCard, who: Principal, now: datetime
) -> None:
    await settlement.try_card(
        conn,
        order_id,
        payment_method=data.payment_method,
        return_url=data.return_url,
        actor=who.actor,
        now=now,
    )


ROUTES = [pay_again, refresh_payments]
