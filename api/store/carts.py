"""Carts that shoppers have handed over: claimed by code, filled together, until they are released.

Each is reached by those who work at the store that claimed it, for as long as the claim lasts. What
they change is on the staff record.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.params import PathParameter
from litestar.types import ASGIApp

from api.auth import may
from api.cart_feeds import follow
from api.cart_views import CartView, IfMatch, QuotedCart, revision_of
from api.contract import answers, claims_itself, raises
from api.feeds import BLOCKS
from api.sagas import Begun, Saga, answer_saga
from api.services import Services
from api.store.places import store_of
from api.streams import EVENT_STREAM, After, LastEventId
from commerce import carts, orders
from commerce.access import Principal, StoreNotAllowed
from commerce.availability import TooMany
from commerce.carts import (
    CartChanged,
    CartEmpty,
    Checkout,
    Owner,
    StoreNotChosen,
    TooManyTries,
)
from commerce.customers import CodeRefused
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Busy, Connection
from commerce.pricing import MAX_LINE_UNITS, CouponRefused, UnknownSku

OK = 200
CREATED = 201
Sku = Annotated[str, PathParameter(min_length=1, max_length=64)]
REACHING = (NotFound,)
EDITING = (*REACHING, CartChanged)
HOLDING = (UnknownSku, CouponRefused, orders.PickupUnavailable, orders.StockShort)


class CartClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the shopper shows, however it was typed or scanned."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["7K2M-9QRX"])]
    location_id: UUID | None = None


class ClaimedQuantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many units the line shall have; 0 removes it."""

    quantity: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINE_UNITS, examples=[2])]


class ClaimedCoupon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code as the shopper has it."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["HOLA10"])]


class ClaimedCarts(msgspec.Struct, frozen=True):
    """The carts that the store has, the newest claim first."""

    items: list[CartView]


def served_by(who: Principal) -> Owner:
    """By what right an associate asks for a cart: the store's."""
    return Owner((), has_token=False, store_ids=who.location_ids or ())


@post(
    "/v1/store/cart-claims",
    guards=[may("cart.serve")],
    status_code=CREATED,
    opt=raises(CodeRefused, TooManyTries, StoreNotAllowed) | answers(CartView),
)
@claims_itself
async def claim_cart(
    request: Request[Any, Any, Any],
    data: CartClaim,
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """Take over a cart whose shopper shows its code. The shopper goes on editing it too.

    A code that is wrong, used up, too old or another retailer's: the answer is the same.
    """
    at = store_of(who, data.location_id)

    async def begin(conn: Connection) -> Begun | CommerceError:
        claimed = await carts.claim(
            conn, who, code=data.code, location_id=at, secret=services.secret, now=now
        )
        if isinstance(claimed, CommerceError):
            return claimed
        return Begun(claimed.id, waits=False)

    async def carry_on(_: UUID) -> None:
        """Nobody outside is asked."""

    async def view(conn: Connection, cart_id: UUID) -> CartView:
        return CartView.of(await carts.find(conn, cart_id, served_by(who), now=now), now)

    return await answer_saga(request, Saga(begin, carry_on, view))


@get("/v1/store/carts", guards=[may("cart.serve")], opt=raises())
async def list_claimed_carts(reading: Connection, who: Principal, now: datetime) -> ClaimedCarts:
    """The carts that the own store has claimed and not released."""
    found = await carts.claimed_at(reading, who, now=now)
    return ClaimedCarts([CartView.of(each, now) for each in found])


@get("/v1/store/carts/{cart_id:uuid}", guards=[may("cart.serve")], opt=raises(NotFound))
async def read_claimed_cart(
    cart_id: UUID, reading: Connection, who: Principal, now: datetime
) -> QuotedCart:
    """A claimed cart with live prices and stock. Of the shopper it tells nothing."""
    return QuotedCart.of(await carts.read(reading, cart_id, served_by(who), now=now), now)


@get(
    "/v1/store/carts/{cart_id:uuid}/feed",
    guards=[may("cart.serve")],
    opt=answers(BLOCKS, EVENT_STREAM) | raises(Busy, NotFound),
)
async def follow_claimed_cart(
    cart_id: UUID,
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    after: After = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Follow a claimed cart as server-sent events, until the claim ends.

    The first event is `open`; fetch the cart then. `start_over` says the same again.
    """
    return await follow(cart_id, request, services, who, served_by, last_event_id or after)


@put(
    "/v1/store/carts/{cart_id:uuid}/lines/{sku:str}",
    guards=[may("cart.serve")],
    opt=raises(*EDITING, UnknownSku, TooMany),
)
async def set_claimed_line(
    cart_id: UUID,
    sku: Sku,
    data: ClaimedQuantity,
    conn: Connection,
    who: Principal,
    now: datetime,
    if_match: IfMatch = None,
) -> CartView:
    """Set how many units of a SKU the cart has. A cart in checkout is open again, its hold free."""
    await carts.on_record(
        conn, who, cart_id, "cart.line_set", {"sku": sku, "quantity": data.quantity}, now
    )
    cart = await carts.set_line(
        conn,
        cart_id,
        served_by(who),
        sku=sku,
        quantity=data.quantity,
        actor=who.actor,
        now=now,
        expected=revision_of(if_match),
    )
    return CartView.of(cart, now)


@put(
    "/v1/store/carts/{cart_id:uuid}/coupon",
    guards=[may("cart.serve")],
    opt=raises(*EDITING, CouponRefused),
)
async def apply_claimed_coupon(
    cart_id: UUID,
    data: ClaimedCoupon,
    conn: Connection,
    who: Principal,
    now: datetime,
    if_match: IfMatch = None,
) -> CartView:
    """Use a coupon. Whether this cart is worth enough for it is told when the cart is read."""
    await carts.on_record(conn, who, cart_id, "cart.coupon_set", {"code": data.code}, now)
    cart = await carts.apply_coupon(
        conn,
        cart_id,
        served_by(who),
        code=data.code,
        actor=who.actor,
        now=now,
        expected=revision_of(if_match),
    )
    return CartView.of(cart, now)


@delete(
    "/v1/store/carts/{cart_id:uuid}/coupon",
    guards=[may("cart.serve")],
    status_code=OK,
    opt=raises(*EDITING),
)
async def remove_claimed_coupon(
    cart_id: UUID, conn: Connection, who: Principal, now: datetime, if_match: IfMatch = None
) -> CartView:
    """Use no coupon."""
    await carts.on_record(conn, who, cart_id, "cart.coupon_set", {"code": None}, now)
    cart = await carts.remove_coupon(
        conn, cart_id, served_by(who), actor=who.actor, now=now, expected=revision_of(if_match)
    )
    return CartView.of(cart, now)


@put(
    "/v1/store/carts/{cart_id:uuid}/store",
    guards=[may("cart.serve")],
    opt=raises(*REACHING, *HOLDING),
)
async def bring_here(cart_id: UUID, conn: Connection, who: Principal, now: datetime) -> CartView:
    """Choose the own store for the cart. What a checkout holds moves along, all of it or nothing.

    If the own store has too little, everything stays held where it is.
    """
    at = store_of(who, None)
    await carts.on_record(conn, who, cart_id, "cart.store_chosen", {"location_id": at}, now)
    moved = await carts.move(
        conn,
        cart_id,
        served_by(who),
        location_id=at,
        demand_id=ids.uuid7(),
        actor=who.actor,
        now=now,
    )
    return CartView.of(moved, now)


@put(
    "/v1/store/carts/{cart_id:uuid}/checkout",
    guards=[may("cart.serve")],
    opt=raises(*REACHING, CartEmpty, StoreNotChosen, *HOLDING),
)
async def begin_claimed_checkout(
    cart_id: UUID, conn: Connection, who: Principal, now: datetime
) -> QuotedCart:
    """Hold the stock of every line, as the shopper's own checkout does."""
    await carts.on_record(conn, who, cart_id, "cart.checkout_begun", {}, now)
    wish = Checkout(cart_id, served_by(who), ids.uuid7(), who.actor)
    (outcome,) = await carts.begin(conn, [wish], now=now)
    if isinstance(outcome, CommerceError):
        raise outcome
    return QuotedCart.of(outcome, now)


@delete(
    "/v1/store/carts/{cart_id:uuid}/claim",
    guards=[may("cart.serve")],
    status_code=OK,
    opt=raises(*REACHING),
)
async def release_cart(cart_id: UUID, conn: Connection, who: Principal, now: datetime) -> CartView:
    """Give the cart back to its shopper alone. From then on it is not found here any more."""
    await carts.on_record(conn, who, cart_id, "cart.released", {}, now)
    released = await carts.release(conn, cart_id, served_by(who), actor=who.actor, now=now)
    return CartView.of(released, now)


ROUTES = [
    claim_cart,
    list_claimed_carts,
    read_claimed_cart,
    follow_claimed_cart,
    set_claimed_line,
    apply_claimed_coupon,
    remove_claimed_coupon,
    bring_here,
    begin_claimed_checkout,
    release_cart,
]
