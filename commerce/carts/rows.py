"""Rows of carts: whose they are, how they are found and locked."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.pricing import Basket, Line
from commerce.tables import cart

MAX_LINES = 100
"""SKUs in one cart: as many as one question for availability may name."""

TOKEN_LENGTH = 26


class CartOrdered(CommerceError):
    """The cart has become an order and does not change any more. Make a new one."""

    code = "cart_ordered"
    cart_id: UUID
    order_id: UUID


class Owner(msgspec.Struct, frozen=True):
    """Who asks for a cart: a shopper or a guest, and whether the cart's token came along."""

    shopper_id: UUID | None
    has_token: bool


class Cart(msgspec.Struct, frozen=True):
    """A cart as it stands. `lines`: per SKU its quantity, and the version that added it."""

    id: UUID
    state: str
    version: int
    shopper_id: UUID | None
    location_id: UUID | None
    coupon_code: str | None
    lines: dict[str, tuple[int, int]]
    demand_id: UUID | None
    held_since: datetime | None
    hold_expires_at: datetime | None
    order_id: UUID | None
    created_at: datetime
    updated_at: datetime

    def belongs_to(self, owner: Owner) -> bool:
        """A shopper's cart is the shopper's alone; a guest's is whoever's that has the token."""
        if self.shopper_id is None:
            return owner.has_token
        return self.shopper_id == owner.shopper_id

    def held(self, now: datetime) -> bool:
        """Whether a checkout is under way that still holds its stock."""
        return self.hold_expires_at is not None and self.hold_expires_at > now

    @property
    def wanted(self) -> tuple[Line, ...]:
        """The lines, SKUs in the order in which they came."""
        added = sorted(self.lines.items(), key=lambda line: line[1][1])
        return tuple(Line(sku, quantity) for sku, (quantity, _) in added)

    def basket(self) -> Basket:
        """What is to be priced. Only a cart with a store has it."""
        assert self.location_id is not None
        return Basket(self.location_id, self.wanted, self.coupon_code)


class OfCart(Protocol):
    """Something that is to be done to one cart."""

    @property
    def cart_id(self) -> UUID:
        """The cart's id."""


Item = TypeVar("Item", bound=OfCart)
Outcome = TypeVar("Outcome")

COLUMNS = [cart.c[name] for name in Cart.__struct_fields__]
_IDS = bindparam("cart_ids", type_=ARRAY(Uuid))

FIND = Query(select(*COLUMNS).where(cart.c.id == bindparam("of")), Cart)
LOCK = Query(
    select(*COLUMNS)
    .where(cart.c.id == any_(_IDS))
    .order_by(cart.c.id)
    .with_for_update(key_share=True),
    Cart,
)


async def one_per_cart(
    items: Sequence[Item], work: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]]
) -> list[Outcome]:
    """Work on a batch in which a cart may come twice: the later one sees what the first did."""
    outcomes: dict[int, Outcome] = {}
    left = list(enumerate(items))
    while left:
        batch: dict[UUID, tuple[int, Item]] = {}
        for position, item in left:
            batch.setdefault(item.cart_id, (position, item))
        answers = await work([item for _, item in batch.values()])
        for (position, _), answer in zip(batch.values(), answers, strict=True):
            outcomes[position] = answer
        left = [each for each in left if each[0] not in outcomes]
    return [outcomes[position] for position in range(len(items))]


async def find(conn: Connection, cart_id: UUID, owner: Owner) -> Cart:
    """A cart of this owner; raises NotFound, also for another's."""
    found = await conn.run(FIND, of=cart_id)
    return _own(cart_id, found, owner)


async def lock(conn: Connection, cart_id: UUID, owner: Owner) -> Cart:
    """A cart of this owner, locked; raises NotFound, also for another's."""
    found = await conn.run(LOCK, cart_ids=[cart_id])
    return _own(cart_id, found, owner)


async def lock_many(conn: Connection, cart_ids: Sequence[UUID]) -> dict[UUID, Cart]:
    """Those of the carts that exist, locked in the order of their ids."""
    return {each.id: each for each in await conn.run(LOCK, cart_ids=list(cart_ids))}


def _own(cart_id: UUID, found: Sequence[Cart], owner: Owner) -> Cart:
    if not found or not found[0].belongs_to(owner):
        raise NotFound(kind="cart", id=str(cart_id))
    return found[0]


def token(secret: bytes, cart_id: UUID) -> str:
    """What a guest shows for a cart: derived from the installation's secret, stored nowhere."""
    return ids.derived(secret, "cart", cart_id, TOKEN_LENGTH)


def owner_of(
    cart_id: UUID, *, shopper_id: UUID | None, given_token: str | None, secret: bytes
) -> Owner:
    """Who asks for this cart, by session and token."""
    has_token = given_token is not None and ids.same_code(given_token, token(secret, cart_id))
    return Owner(shopper_id, has_token)
