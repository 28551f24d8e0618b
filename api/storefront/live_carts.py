"""The same cart on every device: listed, followed, taken along at sign-in, handed to an associate.

Nor do these commands need an `Idempotency-Key`: each says how things shall be.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post, put
from litestar.types import ASGIApp

from api.auth import may
from api.cart_feeds import follow
from api.cart_views import CartView, MergedCart
from api.contract import answers, no_key_needed, raises
from api.feeds import BLOCKS
from api.qr import svg_of
from api.services import Services
from api.storefront.carts import CartToken, Sku, cart_owner
from api.streams import EVENT_STREAM, After, LastEventId
from commerce import carts
from commerce.access import Principal
from commerce.availability import TooMany
from commerce.carts import CartMerged, CartOrdered
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Busy, Connection

_REACHING = (NotFound, CartOrdered, CartMerged)


class CodeView(msgspec.Struct, frozen=True):
    """What the shopper shows in the store: to be read out, or as a picture. Shown only here."""

    code: Annotated[str, msgspec.Meta(examples=["7K2M9QRX"])]
    qr_svg: Annotated[str, msgspec.Meta(examples=["<svg ...></svg>"])]
    expires_at: datetime


class Carts(msgspec.Struct, frozen=True):
    """The shopper's carts that still change, newest first: the first is the current one."""

    items: list[CartView]


@get("/v1/carts", guards=[may("cart.read_own")], opt=raises())
async def list_carts(reading: Connection, who: Principal, now: datetime) -> Carts:
    """The signed-in shopper's carts, so that each device goes on with the same one."""
    found = await carts.of_person(reading, who.person_ids)
    return Carts([CartView.of(each, now) for each in found])


@get(
    "/v1/carts/{cart_id:uuid}/feed",
    guards=[may("cart.write")],
    opt=answers(BLOCKS, EVENT_STREAM) | raises(Busy, NotFound),
)
async def follow_cart(
    cart_id: UUID,
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    cart_token: CartToken = None,
    after: After = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Follow a cart as server-sent events: each change names the revision that it made.

    The first event is `open`; fetch the cart then. `start_over` says the same again.
    """
    return await follow(
        cart_id,
        request,
        services,
        who,
        lambda now: cart_owner(cart_id, now, cart_token, services),
        last_event_id or after,
    )


@put(
    "/v1/carts/{cart_id:uuid}/shopper",
    guards=[may("cart.attach_own")],
    opt=raises(NotFound, CartOrdered),
)
async def attach_cart(
    cart_id: UUID,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
) -> MergedCart:
    """Take a guest's cart along after signing in. Then only the shopper's session opens it.

    Into the shopper's current cart, if there is one: lines are joined, of a SKU in both the larger
    quantity stays, and store and coupon of the shopper's cart. What it has no room for is saved
    for later.
    """
    owner = cart_owner(cart_id, who, cart_token, services)
    return MergedCart.of(
        await carts.merge_guest(conn, cart_id, owner, actor=who.actor, now=now), now
    )


@post("/v1/carts/{cart_id:uuid}/code", guards=[may("cart.write")], opt=raises(*_REACHING))
@no_key_needed("each call is another code, and the one before is dead")
async def make_code(
    cart_id: UUID,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
) -> CodeView:
    """A code with which an associate claims this cart: good for ten minutes, once.

    To show it is to hand over the cart, and nothing else of the shopper's.
    """
    owner = cart_owner(cart_id, who, cart_token, services)
    made = await carts.make_code(conn, cart_id, owner, secret=services.secret, now=now)
    return CodeView(made.code, svg_of(made.code), made.expires_at)


@delete(
    "/v1/carts/{cart_id:uuid}/claim",
    guards=[may("cart.write")],
    status_code=200,
    opt=raises(*_REACHING),
)
async def take_cart_back(
    cart_id: UUID,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    cart_token: CartToken = None,
) -> CartView:
    """The associate sees the cart no more. Nobody has claimed it: nothing changes."""
    owner = cart_owner(cart_id, who, cart_token, services)
    return CartView.of(await carts.release(conn, cart_id, owner, actor=who.actor, now=now), now)


@put(
    "/v1/carts/{cart_id:uuid}/saved/{sku:str}",
    guards=[may("list.write_own")],
    opt=raises(NotFound, CartOrdered, TooMany),
)
async def save_for_later(
    cart_id: UUID,
    sku: Sku,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
) -> CartView:
    """Take a line out of the cart and save it for later: `GET /v1/lists` shows it."""
    owner = cart_owner(cart_id, who, None, services)
    saved = await carts.save_for_later(conn, cart_id, owner, sku=sku, actor=who.actor, now=now)
    return CartView.of(saved, now)


ROUTES = [
    list_carts,
    follow_cart,
    attach_cart,
    make_code,
    take_cart_back,
    save_for_later,
]
