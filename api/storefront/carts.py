"""Carts for shoppers: filled line by line, checked out, turned into one order.

No command here needs an `Idempotency-Key`: each says how the cart shall be, so repeating it is
harmless, and a cart becomes one order however often it is completed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import delete, get, post, put
from litestar.params import HeaderParameter, PathParameter

from api.auth import may
from api.cart_views import CartView, IfMatch, QuotedCart, StartedCart, revision_of
from api.contract import no_key_needed, raises
from api.order_views import OrderView, order_view
from api.services import Services
from api.storefront.orders import (
    NewContact,
    PaymentMethod,
    PlacedOrder,
    ReturnUrl,
    card_of,
    contact_of,
    with_secrets,
)
from commerce import carts, orders, settlement
from commerce.access import Principal
from commerce.availability import TooMany
from commerce.carts import (
    CartChanged,
    CartEmpty,
    CartMerged,
    CartOrdered,
    Checkout,
    CheckoutExpired,
    Completion,
    Owner,
    Quoted,
    StoreNotChosen,
)
from commerce.kernel import ids
from commerce.kernel.coalesce import Coalescer
from commerce.kernel.errors import CommerceError, InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.orders import Order
from commerce.payments import PaymentRunning
from commerce.pricing import MAX_LINE_UNITS, CouponRefused, UnknownSku, UnknownStore

LINES_PER_CART = 20
"""What a cart is taken to have when batches are made; what it really has is read in the batch."""

Sku = Annotated[str, PathParameter(min_length=1, max_length=64)]
CartToken = Annotated[
    str | None, HeaderParameter(name="Cart-Token", description="Opens a guest's cart.")
]


class NewCart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty cart, of the signed-in shopper or of a guest; with a pickup store if it is known."""

    location_id: UUID | None = None


class NewQuantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many units the line shall have; 0 removes it."""

    quantity: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINE_UNITS, examples=[2])]


class CouponChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code as the shopper has it."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["HOLA10"])]


class StoreChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the shopper will pick up."""

    location_id: UUID


class CartOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a checkout ends. `total` is what the shopper saw; another total is refused."""

    contact: NewContact
    tender: Literal["card", "pay_at_pickup"]
    total: Money
    payment_method: PaymentMethod | None = None
    return_url: ReturnUrl | None = None


_REACHING = (NotFound, CartOrdered, CartMerged)
_EDITS = (*_REACHING, CartChanged)


@post("/v1/carts", guards=[may("cart.write")], opt=raises(UnknownStore))
@no_key_needed("an empty cart more costs nothing, and its token must not be kept")
async def create_cart(
    data: NewCart, conn: Connection, who: Principal, services: Services, now: datetime
) -> StartedCart:
    """Start a cart."""
    cart = await carts.create(
        conn,
        cart_id=ids.uuid7(),
        key_id=who.key_id,
        shopper_id=who.shopper_id,
        location_id=data.location_id,
        now=now,
    )
    token = carts.token(services.secret, cart.id) if who.shopper_id is None else None
    return StartedCart(CartView.of(cart, now), token)


@get("/v1/carts/{cart_id:uuid}", guards=[may("cart.write")], opt=raises(NotFound))
async def read_cart(
    cart_id: UUID,
    reading: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
) -> QuotedCart:
    """A cart with live prices and stock; what stands in a line's way is told with the line."""
    owner = cart_owner(cart_id, who, cart_token, services)
    return QuotedCart.of(await carts.read(reading, cart_id, owner, now=now), now)


@put(
    "/v1/carts/{cart_id:uuid}/lines/{sku:str}",
    guards=[may("cart.write")],
    opt=raises(*_EDITS, UnknownSku, TooMany),
)
async def set_cart_line(
    cart_id: UUID,
    sku: Sku,
    data: NewQuantity,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
    if_match: IfMatch = None,
) -> CartView:
    """Set how many units of a SKU the cart has. A cart in checkout is open again, its hold free."""
    owner = cart_owner(cart_id, who, cart_token, services)
    cart = await carts.set_line(
        conn,
        cart_id,
        owner,
        sku=sku,
        quantity=data.quantity,
        actor=who.actor,
        now=now,
        expected=revision_of(if_match),
    )
    return CartView.of(cart, now)


@put(
    "/v1/carts/{cart_id:uuid}/coupon",
    guards=[may("cart.write")],
    opt=raises(*_EDITS, CouponRefused),
)
async def apply_coupon(
    cart_id: UUID,
    data: CouponChoice,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
    if_match: IfMatch = None,
) -> CartView:
    """Use a coupon. Whether this cart is worth enough for it is told when the cart is read."""
    owner = cart_owner(cart_id, who, cart_token, services)
    cart = await carts.apply_coupon(
        conn,
        cart_id,
        owner,
        code=data.code,
        actor=who.actor,
        now=now,
        expected=revision_of(if_match),
    )
    return CartView.of(cart, now)


@delete(
    "/v1/carts/{cart_id:uuid}/coupon",
    guards=[may("cart.write")],
    status_code=200,
    opt=raises(*_EDITS),
)
async def remove_coupon(
    cart_id: UUID,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
    if_match: IfMatch = None,
) -> CartView:
    """Use no coupon."""
    owner = cart_owner(cart_id, who, cart_token, services)
    cart = await carts.remove_coupon(
        conn, cart_id, owner, actor=who.actor, now=now, expected=revision_of(if_match)
    )
    return CartView.of(cart, now)


@put(
    "/v1/carts/{cart_id:uuid}/store",
    guards=[may("cart.write")],
    opt=raises(*_EDITS, UnknownStore),
)
async def choose_store(
    cart_id: UUID,
    data: StoreChoice,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
    if_match: IfMatch = None,
) -> CartView:
    """Choose the pickup store, whose prices and stock count."""
    owner = cart_owner(cart_id, who, cart_token, services)
    cart = await carts.choose_store(
        conn,
        cart_id,
        owner,
        location_id=data.location_id,
        actor=who.actor,
        now=now,
        expected=revision_of(if_match),
    )
    return CartView.of(cart, now)


@put(
    "/v1/carts/{cart_id:uuid}/checkout",
    guards=[may("cart.write")],
    opt=raises(
        *_REACHING,
        *(CartEmpty, StoreNotChosen, UnknownSku, CouponRefused),
        *(orders.PickupUnavailable, orders.StockShort),
    ),
)
async def begin_checkout(
    cart_id: UUID,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
) -> QuotedCart:
    """Hold the stock of every line, for ten minutes, or for twenty when signed in.

    Repeat it while the shopper is busy and the hold lives on, an hour at most. Once it has run
    out, repeating it holds anew, if there is enough left.
    """
    owner = cart_owner(cart_id, who, cart_token, services)
    wish = Checkout(cart_id, owner, ids.uuid7(), who.actor)
    return QuotedCart.of(await services.part(_checkouts).submit(wish), now)


@delete(
    "/v1/carts/{cart_id:uuid}/checkout",
    guards=[may("cart.write")],
    status_code=200,
    opt=raises(*_REACHING),
)
async def leave_checkout(
    cart_id: UUID,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
) -> CartView:
    """Give the held stock back and go on shopping."""
    owner = cart_owner(cart_id, who, cart_token, services)
    return CartView.of(await carts.leave(conn, cart_id, owner, actor=who.actor, now=now), now)


@put(
    "/v1/carts/{cart_id:uuid}/order",
    guards=[may("order.place")],
    opt=raises(
        *(NotFound, WrongState, CheckoutExpired, PaymentRunning, InvalidField),
        *(UnknownSku, CouponRefused, orders.PriceChanged, orders.PickupUnavailable),
    ),
)
async def complete_cart(
    cart_id: UUID,
    data: CartOrder,
    who: Principal,
    services: Services,
    cart_token: CartToken = None,
) -> PlacedOrder:
    """Turn a cart in checkout into its order. Repeated, it answers with that order as it stands.

    By card, the answer waits for the authorization, as in `POST /v1/orders`; when that is still
    unknown (`payment_running`), repeat the request. Another card is tried at the order.
    """
    completion = _completion(cart_id, data, who, cart_owner(cart_id, who, cart_token, services))
    order = await services.part(_completions).submit(completion)
    services.doorbell.ring()
    if order.head.tender != "card":
        return with_secrets(OrderView.of(order), services.secret)
    if order.head.state == "pending_payment":
        gateway = await services.gateway()
        await settlement.settle_order(services.database, gateway, order.id, now=services.now)
    async with services.database.reading() as conn:
        view = await order_view(conn, await orders.by_id(conn, order.id))
    return with_secrets(view, services.secret)


def cart_owner(cart_id: UUID, who: Principal, token: str | None, services: Services) -> Owner:
    """By what right somebody asks for this cart: session, token, or a payment link's."""
    return carts.owner_of(
        cart_id, person_ids=who.person_ids, given_token=token, secret=services.secret
    )


def _completion(cart_id: UUID, data: CartOrder, who: Principal, owner: Owner) -> Completion:
    return Completion(
        cart_id=cart_id,
        owner=owner,
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        contact=contact_of(data.contact, who.shopper_id),
        tender=data.tender,
        seen=data.total,
        channel=who.channel,
        key_id=who.key_id,
        actor=who.actor,
        card=card_of(data.tender, data.payment_method, data.return_url),
    )


def _checkouts(services: Services) -> Coalescer[Checkout, Quoted]:
    """Where carts of this process enter checkout."""

    async def work(conn: Connection, batch: Sequence[Checkout]) -> list[Quoted | CommerceError]:
        return await carts.begin(conn, batch, now=services.now())

    return Coalescer(services.database, work, weigh=lambda _: LINES_PER_CART)


def _completions(services: Services) -> Coalescer[Completion, Order]:
    """Where carts of this process become orders."""

    async def work(conn: Connection, batch: Sequence[Completion]) -> list[Order | CommerceError]:
        return await carts.complete(conn, batch, numbers=services.numbers, now=services.now())

    return Coalescer(services.database, work, weigh=lambda _: LINES_PER_CART)


ROUTES = [
    create_cart,
    read_cart,
    set_cart_line,
    apply_coupon,
    remove_coupon,
    choose_store,
    begin_checkout,
    leave_checkout,
    complete_cart,
]
