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
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query
from commerce.pricing import Basket, Line
from commerce.tables import cart

MAX_LINES = 100
"""SKUs in one cart: as many as one question for availability may name."""

TOKEN_LENGTH = 26
MAX_DIGITS = 9


class CartOrdered(CommerceError):
    """The cart has become an order and does not change any more. Make a new one."""

    code = "cart_ordered"
    cart_id: UUID
    order_id: UUID


class CartMerged(CommerceError):
    """The cart has gone into another one at sign-in. Go on with that one."""

    code = "cart_merged"
    cart_id: UUID
    merged_into: UUID


class CartChanged(CommerceError):
    """Somebody else was faster: the cart has another revision. Read it, and decide again."""

    code = "cart_changed"
    cart_id: UUID
    revision: int


class Owner(msgspec.Struct, frozen=True):
    """Who asks for a cart, and by what right.

    A person's ids, or a guest; whether the cart's token came along; the number of a payment link
    of this cart that came along (0: none); the stores where an associate works.
    """

    person_ids: tuple[UUID, ...]
    has_token: bool
    link_number: int = 0
    store_ids: tuple[UUID, ...] = ()

    @property
    def shopper_id(self) -> UUID | None:
        """Whose the things are that this owner makes."""
        return self.person_ids[0] if self.person_ids else None


class Cart(msgspec.Struct, frozen=True):
    """A cart as it stands. `lines`: per SKU its quantity, and the revision that added it.

    `claimed_by` at `claim_location_id` was the last to claim it; the claim lasts until
    `claim_expires_at`, and no longer where that is None.
    """

    id: UUID
    state: str
    revision: int
    shopper_id: UUID | None
    location_id: UUID | None
    coupon_code: str | None
    lines: dict[str, tuple[int, int]]
    demand_id: UUID | None
    held_since: datetime | None
    hold_expires_at: datetime | None
    order_id: UUID | None
    merged_into: UUID | None
    claimed_by: str | None
    claim_location_id: UUID | None
    claimed_at: datetime | None
    claim_expires_at: datetime | None
    link_number: int
    link_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def belongs_to(self, owner: Owner, now: datetime) -> bool:
        """Whether it is the asker's to change.

        A shopper's cart is the shopper's alone, a guest's is whoever's that has the token; and
        while a claim lasts it is also theirs who work at the store that claimed it.
        """
        if owner.store_ids:
            return self.claimed(now) and self.claim_location_id in owner.store_ids
        if self.shopper_id is None:
            return owner.has_token
        return self.shopper_id in owner.person_ids

    def opens_to(self, owner: Owner, now: datetime) -> bool:
        """Whether the asker may see it, check it out and pay: as its own, or by a link."""
        by_link = 0 < owner.link_number == self.link_number and self.linked(now)
        return by_link or self.belongs_to(owner, now)

    def claimed(self, now: datetime) -> bool:
        """Whether an associate has it now."""
        return self.claim_expires_at is not None and self.claim_expires_at > now

    def linked(self, now: datetime) -> bool:
        """Whether there is a payment link that opens it now."""
        return self.link_expires_at is not None and self.link_expires_at > now

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


async def find(conn: Connection, cart_id: UUID, owner: Owner, *, now: datetime) -> Cart:
    """A cart that the asker may see; raises NotFound, also for another's."""
    found = await conn.first(FIND, of=cart_id)
    if found is None or not found.opens_to(owner, now):
        raise NotFound(kind="cart", id=str(cart_id))
    return found


async def lock(conn: Connection, cart_id: UUID, owner: Owner, *, now: datetime) -> Cart:
    """A cart that is the asker's to change, locked; raises NotFound, also for another's."""
    found = await conn.first(LOCK, cart_ids=[cart_id])
    if found is None or not found.belongs_to(owner, now):
        raise NotFound(kind="cart", id=str(cart_id))
    return found


async def lock_live(conn: Connection, cart_id: UUID, owner: Owner, *, now: datetime) -> Cart:
    """As `lock`, and it still changes. Raises NotFound, CartOrdered, CartMerged."""
    return live(await lock(conn, cart_id, owner, now=now))


def live(found: Cart) -> Cart:
    """A cart that still changes. Raises CartOrdered, CartMerged."""
    if found.order_id is not None:
        raise CartOrdered(cart_id=found.id, order_id=found.order_id)
    if found.merged_into is not None:
        raise CartMerged(cart_id=found.id, merged_into=found.merged_into)
    return found


async def lock_many(conn: Connection, cart_ids: Sequence[UUID]) -> dict[UUID, Cart]:
    """Those of the carts that exist, locked in the order of their ids."""
    return {each.id: each for each in await conn.run(LOCK, cart_ids=list(cart_ids))}


def changed(after: Cart, actor: str) -> Event:
    """The fact that a cart is another than before."""
    return Event("cart.changed", "cart", after.id, actor, {"revision": after.revision})


def released(before: Cart, actor: str, reason: str) -> Event:
    """The fact that a claim has ended: by `shopper` or `associate`, `ordered`, `merged`."""
    at = before.claim_location_id
    return Event("cart.released", "cart", before.id, actor, {"reason": reason}, at)


def token(secret: bytes, cart_id: UUID) -> str:
    """What a guest shows for a cart: derived from the installation's secret, stored nowhere."""
    return ids.derived(secret, "cart", cart_id, TOKEN_LENGTH)


def link_token(secret: bytes, cart_id: UUID, number: int) -> str:
    """What a payment link carries: its number, and the proof that we made it. Stored nowhere."""
    return f"{number}-{ids.derived(secret, f'cart_link:{number}', cart_id, TOKEN_LENGTH)}"


def owner_of(
    cart_id: UUID, *, person_ids: tuple[UUID, ...], given_token: str | None, secret: bytes
) -> Owner:
    """Who asks for this cart, by session and token: the cart's own, or that of a link."""
    given = given_token or ""
    has_token = bool(given) and ids.same_code(given, token(secret, cart_id))
    number, _, proof = given.partition("-")
    if not (number.isascii() and number.isdecimal() and len(number) < MAX_DIGITS):
        return Owner(person_ids, has_token)
    expected = link_token(secret, cart_id, int(number)).partition("-")[2]
    link_number = int(number) if ids.same_code(proof, expected) else 0
    return Owner(person_ids, has_token, link_number)
