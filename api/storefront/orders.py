"""Orders for shoppers: place one in a single call, see it, call it off."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import HeaderParameter
from litestar.types import ASGIApp

from api.answers import ready
from api.auth import may
from api.contract import answers, claims_itself, raises
from api.once import claim_of
from api.order_desk import CREATED, Answer, Command, OrderDesk
from api.order_views import OrderView, order_view
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.refusals import InvalidRequest
from api.sagas import Begun, Saga, answer_saga
from api.services import Services, services_of
from commerce import customers, orders, settlement
from commerce.access import Principal
from commerce.customers import Contact
from commerce.kernel import ids
from commerce.kernel.errors import InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.orders import (
    CardPayment,
    Order,
    PickupUnavailable,
    Placement,
    PriceChanged,
    StockShort,
)
from commerce.payments import PaymentRunning
from commerce.pricing import (
    MAX_LINE_UNITS,
    MAX_LINES,
    Basket,
    CouponRefused,
    Line,
    UnknownSku,
    UnknownStore,
)
from inventory.stock import LAST_ID

ORDER_TOKEN_LENGTH = 26
PICKUP_CODE_LENGTH = 6
REPLAYED = (b"idempotent-replayed", b"true")
OWNERS_KEYS = ("storefront", "integration")
"""Keys of shops: who calls with them speaks for the shopper."""

Sku = Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["APP-01-01"])]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["Ana Torres"])]
Text200 = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
PaymentMethod = Annotated[
    str, msgspec.Meta(min_length=1, max_length=255, examples=["pm_card_visa"])
]
ReturnUrl = Annotated[str, msgspec.Meta(max_length=2000, pattern="^https?://")]
OrderToken = Annotated[str | None, HeaderParameter(name="Order-Token")]


class NewLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of a SKU."""

    sku: Sku
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINE_UNITS, examples=[2])]


class NewContact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to tell about the order: a name, and a mail address or an international phone number."""

    name: Name
    email: Annotated[str, msgspec.Meta(max_length=254, examples=["ana@example.com"])] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=32, examples=["+525512345678"])] | None = None
    locale: Literal["en", "es"] = "en"


class NewOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order in one call. `total` is what the shopper saw; another total is refused."""

    location_id: UUID
    lines: Annotated[tuple[NewLine, ...], msgspec.Meta(min_length=1, max_length=MAX_LINES)]
    contact: NewContact
    tender: Literal["card", "pay_at_pickup"]
    total: Money
    coupon_code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    payment_method: PaymentMethod | None = None
    return_url: ReturnUrl | None = None


class PlacedOrder(msgspec.Struct, frozen=True):
    """The order, and what only its owner gets: keep the token to see a guest's order again.

    Staff see neither token nor pickup code: the shopper shows the code at the counter.
    """

    order: OrderView
    order_token: str | None
    pickup_code: str | None


class _Placed(msgspec.Struct, frozen=True):
    order: msgspec.Raw
    order_token: str
    pickup_code: str | None


class CancelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the shopper no longer wants it."""

    reason: Text200 = "shopper"


REFUSALS = (
    UnknownStore,
    UnknownSku,
    CouponRefused,
    PriceChanged,
    PickupUnavailable,
    StockShort,
    InvalidField,
)
"""Why an order may not be placed."""


@post(
    "/v1/orders",
    guards=[may("order.place")],
    status_code=201,
    opt=raises(*REFUSALS, PaymentRunning) | answers(PlacedOrder),
)
@claims_itself
async def place_order(request: Request[Any, Any, Any], data: NewOrder) -> ASGIApp:
    """Place an order in one call: lines, contact, store, tender, and the total that was seen.

    Stock is promised, prices are frozen. By card, the answer waits for the authorization: the
    order is `placed`, or it is `pending_payment` with a payment that is `requires_action` (send
    the shopper to its `redirect_url`) or was declined (try another card).
    """
    # The busiest route asks for its parts itself: injecting them costs a task group per request.
    services = services_of(request.scope)
    placement = _placement(data, request.scope["user"])
    command = Command(await claim_of(request), placement, request.scope)
    answer = await services.part(OrderDesk).take(command)
    return _response(answer, services.secret)


@get(
    "/v1/orders/{order_id:uuid}",
    guards=[may("order.read", "order.place")],
    opt=raises(NotFound),
)
async def read_order(
    order_id: UUID,
    reading: Connection,
    who: Principal,
    services: Services,
    order_token: OrderToken = None,
) -> PlacedOrder:
    """An order: its shopper's own, a guest's by its token, any with `order.read`."""
    order = await own_order(reading, order_id, who, order_token, services.secret)
    view = await order_view(reading, order)
    if who.key_kind in OWNERS_KEYS and who.associate_id is None:
        return with_secrets(view, services.secret)
    return PlacedOrder(view, None, None)


@get("/v1/orders", guards=[may("order.read_own")], opt=raises())
async def list_orders(
    reading: Connection, who: Principal, cursor: Cursor = None, limit: PageSize = 50
) -> Page[OrderView]:
    """The signed-in shopper's orders, newest first."""
    found = await orders.of_person(
        reading, who.person_ids, before=decode_id(cursor) or LAST_ID, page=limit + 1
    )
    return page_of(found, limit, view=OrderView.of, key=lambda order: str(order.id))


@post(
    "/v1/orders/{order_id:uuid}/cancel",
    guards=[may("order.cancel", "order.place")],
    status_code=200,
    opt=raises(NotFound, WrongState) | answers(OrderView),
)
@claims_itself
async def cancel_order(
    order_id: UUID,
    request: Request[Any, Any, Any],
    data: CancelOrder,
    who: Principal,
    now: datetime,
    services: Services,
    order_token: OrderToken = None,
) -> Response[bytes]:
    """Call an order off before it is handed over: stock is free again, nothing is charged."""

    async def begin(conn: Connection) -> Begun:
        await own_order(
            conn, order_id, who, order_token, services.secret, permission="order.cancel"
        )
        order = await orders.cancel(conn, order_id, reason=data.reason, actor=who.actor, now=now)
        return Begun(order_id, waits=order.head.tender == "card")

    async def carry_on(_: UUID) -> None:
        gateway = await services.gateway()
        await settlement.settle_order(services.database, gateway, order_id, now=services.now)

    async def view(conn: Connection, _: UUID) -> OrderView:
        return await order_view(conn, await orders.by_id(conn, order_id))

    return await answer_saga(request, Saga(begin, carry_on, view))


def _placement(data: NewOrder, who: Principal) -> Placement:
    order_id, fulfillment_id = ids.uuid7(), ids.uuid7()
    return Placement(
        order_id=order_id,
        fulfillment_id=fulfillment_id,
        basket=Basket(
            data.location_id,
            tuple([Line(line.sku, line.quantity) for line in data.lines]),
            data.coupon_code,
        ),
        seen=data.total,
        tender=data.tender,
        channel=who.channel,
        key_id=who.key_id,
        actor=who.actor,
        shopper_id=who.shopper_id,
        contact=contact_of(data.contact, who.shopper_id),
        card=card_of(data.tender, data.payment_method, data.return_url),
    )


def card_of(tender: str, payment_method: str | None, return_url: str | None) -> CardPayment | None:
    """The first attempt to pay by card, where the tender is one. Raises InvalidRequest."""
    if tender != "card":
        return None
    if payment_method is None:
        raise InvalidRequest(path="/payment_method", reason="a card needs its payment method")
    return CardPayment(ids.uuid7(), ids.uuid7(), payment_method, return_url)


def contact_of(given: NewContact, shopper_id: UUID | None) -> Contact:
    """A contact in normal form. Raises InvalidField with the path in the body."""
    if given.email is None and given.phone is None:
        raise InvalidField(path="/contact", reason="an email address or a phone number is needed")
    try:
        email = customers.normal_email(given.email) if given.email is not None else None
        phone = customers.normal_phone(given.phone) if given.phone is not None else None
    except InvalidField as wrong:
        raise InvalidField(path=f"/contact{wrong.path}", reason=wrong.reason) from wrong
    return Contact(
        id=ids.uuid7(),
        name=given.name,
        shopper_id=shopper_id,
        email=email,
        phone=phone,
        locale=given.locale,
    )


def _response(answer: Answer, secret: bytes) -> ASGIApp:
    """The stored answer, and the owner's secrets beside it: those are derived, never stored."""
    body = answer.body
    if answer.status == CREATED:
        known = _decode_ids(body)
        token = ids.derived(secret, "order", known.id, ORDER_TOKEN_LENGTH)
        body = _encode(_Placed(msgspec.Raw(body), token, _pickup_code(known, secret)))
    return ready(answer.status, body, *((REPLAYED,) if answer.replayed else ()))


class _Share(msgspec.Struct):
    id: UUID
    kind: str


class _Ids(msgspec.Struct):
    id: UUID
    fulfillments: list[_Share]


_encode = msgspec.json.Encoder().encode
_decode_ids = msgspec.json.Decoder(_Ids).decode


def _pickup_code(order: "_Ids | OrderView", secret: bytes) -> str | None:
    for share in order.fulfillments:
        if share.kind == "pickup":
            return ids.derived(secret, "pickup", share.id, PICKUP_CODE_LENGTH)
    return None


def with_secrets(order: OrderView, secret: bytes) -> PlacedOrder:
    """An order for its owner."""
    return PlacedOrder(
        order,
        ids.derived(secret, "order", order.id, ORDER_TOKEN_LENGTH),
        _pickup_code(order, secret),
    )


async def own_order(
    conn: Connection,
    order_id: UUID,
    who: Principal,
    token: str | None,
    secret: bytes,
    *,
    permission: str = "order.read",
) -> Order:
    """The order, for its owner or a holder of the permission; for anybody else there is none."""
    order = await orders.by_id(conn, order_id)
    if permission in who.permissions and who.sees(order.head.location_id):
        return order
    if order.head.shopper_id in who.person_ids:
        return order
    expected = ids.derived(secret, "order", order_id, ORDER_TOKEN_LENGTH)
    if token is not None and ids.same_code(token, expected):
        return order
    raise NotFound(kind="order", id=str(order_id))


ROUTES = [place_order, read_order, list_orders, cancel_order]
