"""Into checkout and out of it: stock is held for every line of a cart, or given back.

`begin` takes many carts at once and answers each: independent shoppers share a batch
(`commerce.kernel.coalesce`). Locks: carts by id, then stock levels, then reservations.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Uuid, any_, bindparam, null, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import orders, pricing
from commerce.carts.quoting import Quoted, QuotedLine
from commerce.carts.rows import Cart, Owner, changed, live, lock_many, one_per_cart
from commerce.kernel import events
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.orders import ShortLine, StockShort
from commerce.pricing import Terms
from commerce.states import CART
from commerce.tables import cart
from inventory import reservations, stock
from inventory.demands import Demand, HoldExpired, Refused, Want

GUEST_HOLD = timedelta(minutes=10)
SIGNED_IN_HOLD = timedelta(minutes=20)
LONGEST_HOLD = timedelta(hours=1)
"""However busy the shopper is: then the goods are for others, and a new checkout is as good."""


class CartEmpty(CommerceError):
    """There is nothing in the cart that could be bought."""

    code = "cart_empty"
    cart_id: UUID


class StoreNotChosen(CommerceError):
    """The cart has no pickup store yet."""

    code = "store_not_chosen"
    cart_id: UUID


class Checkout(msgspec.Struct, frozen=True):
    """A cart that is to go into checkout. `demand_id` is made beforehand, for a new hold."""

    cart_id: UUID
    owner: Owner
    demand_id: UUID
    actor: str


def hold_until(of: Cart, since: datetime, now: datetime) -> datetime:
    """How long a cart's hold lives that began then and is wanted now."""
    hold = GUEST_HOLD if of.shopper_id is None else SIGNED_IN_HOLD
    return min(now + hold, since + LONGEST_HOLD)


_TIME = DateTime(timezone=True)
_ENTERED = rows_of("e", id=Uuid(), demand_id=Uuid(), held_since=_TIME, hold_expires_at=_TIME)
_NOW = bindparam("now", type_=_TIME)

# A checkout whose hold has died is entered again, with another hold.
ENTER = Query(
    update(cart)
    .values(
        state="checkout",
        demand_id=_ENTERED.c.demand_id,
        held_since=_ENTERED.c.held_since,
        hold_expires_at=_ENTERED.c.hold_expires_at,
        revision=cart.c.revision + 1,
        updated_at=_NOW,
    )
    .where(cart.c.id == _ENTERED.c.id, cart.c.state.in_([*CART.sources("checkout"), "checkout"]))
)
REOPEN = Query(
    update(cart)
    .values(
        state="open",
        demand_id=null(),
        held_since=null(),
        hold_expires_at=null(),
        revision=cart.c.revision + 1,
        updated_at=_NOW,
    )
    .where(
        cart.c.id == any_(bindparam("cart_ids", type_=ARRAY(Uuid))),
        cart.c.state.in_(CART.sources("open")),
    )
)


async def begin(
    conn: Connection, wishes: Sequence[Checkout], *, now: datetime
) -> list[Quoted | CommerceError]:
    """Hold the stock of every line, all or nothing per cart; answers what each cart costs now.

    A guest's hold lives for ten minutes, a shopper's for twenty. Beginning again while it lives
    extends it, up to an hour in all; once it is dead, stock is held anew. Refusals: NotFound,
    CartOrdered, CartMerged, CartEmpty, StoreNotChosen, UnknownSku, CouponRefused,
    PickupUnavailable, StockShort.
    """

    async def work(batch: Sequence[Checkout]) -> list[Quoted | CommerceError]:
        return await _begin(conn, batch, now)

    return await one_per_cart(wishes, work)


async def leave(
    conn: Connection, cart_id: UUID, owner: Owner, *, actor: str, now: datetime
) -> Cart:
    """Give the hold back and open the cart again. Open already: nothing changes.

    Raises NotFound, CartOrdered, CartMerged.
    """
    found = (await lock_many(conn, [cart_id])).get(cart_id)
    if found is None or not found.opens_to(owner, now):
        raise NotFound(kind="cart", id=str(cart_id))
    if live(found).demand_id is None:
        return found
    opened = await reopen(conn, found, actor=actor, now=now)
    await events.record(conn, [changed(opened, actor)], now=now)
    return opened


async def reopen(conn: Connection, locked: Cart, *, actor: str, now: datetime) -> Cart:
    """Take a locked cart out of checkout; stock that it held is free again. Records no event."""
    assert locked.demand_id is not None
    await reservations.release(conn, locked.demand_id, actor=actor, now=now, reason="checkout_left")
    await conn.later(REOPEN, cart_ids=[locked.id], now=now)
    return msgspec.structs.replace(
        locked,
        state="open",
        revision=locked.revision + 1,
        demand_id=None,
        held_since=None,
        hold_expires_at=None,
        updated_at=now,
    )


async def _begin(
    conn: Connection, wishes: Sequence[Checkout], now: datetime
) -> list[Quoted | CommerceError]:
    found = await lock_many(conn, [each.cart_id for each in wishes])
    checked = {each.cart_id: _enterable(each, found.get(each.cart_id), now) for each in wishes}
    baskets = [each.basket() for each in checked.values() if isinstance(each, Cart)]
    if not baskets:
        return [each for each in checked.values() if isinstance(each, CommerceError)]
    given = await pricing.terms(conn, baskets)
    outcomes = {
        cart_id: _priced(each, given, now) if isinstance(each, Cart) else each
        for cart_id, each in checked.items()
    }
    entering = [
        (wish, quoted.cart)
        for wish, quoted in zip(wishes, outcomes.values(), strict=True)
        if isinstance(quoted, Quoted)
    ]
    held = await _hold(conn, entering, now)
    return [_with_hold(each, held) for each in outcomes.values()]


def _enterable(wish: Checkout, found: Cart | None, now: datetime) -> Cart | CommerceError:
    if found is None or not found.opens_to(wish.owner, now):
        return NotFound(kind="cart", id=str(wish.cart_id))
    try:
        live(found)
    except CommerceError as refusal:
        return refusal
    if not found.lines:
        return CartEmpty(cart_id=found.id)
    if found.location_id is None:
        return StoreNotChosen(cart_id=found.id)
    return found


def _priced(of: Cart, given: Terms, now: datetime) -> Quoted | CommerceError:
    """What the cart costs, if all of it can be bought at its store. Pure."""
    basket = of.basket()
    try:
        quote = pricing.quote(basket, given, now=now)
        promised_at = orders.promise_pickup(given.stores[basket.location_id], now)
    except CommerceError as refusal:
        return refusal
    lines = tuple(QuotedLine(line.sku, line.quantity, line) for line in quote.lines)
    return Quoted(of, lines, quote, promised_at=promised_at)


async def _hold(
    conn: Connection, entering: Sequence[tuple[Checkout, Cart]], now: datetime
) -> dict[UUID, Cart | CommerceError]:
    """Extend the holds that live, hold anew for the others; per cart how it stands, or why not."""
    alive = await _extend(conn, entering, now)
    entered = {
        of.id: _extended(of, now) if of.demand_id in alive else _anew(wish, of, now)
        for wish, of in entering
    }
    demands = {of.id: _demand(wish, of, now) for wish, of in entering if of.demand_id not in alive}
    outcomes = await reservations.hold(conn, [*demands.values()], now=now) if demands else []
    refused: dict[UUID, CommerceError] = {}
    for cart_id, outcome in zip(demands, outcomes, strict=True):
        if isinstance(outcome, Refused):
            refused[cart_id] = short(entered[cart_id], outcome)
        elif isinstance(outcome, HoldExpired):
            refused[cart_id] = outcome
    written = [each for each in entered.values() if each.id not in refused]
    names = ("id", "demand_id", "held_since", "hold_expires_at")
    if written:
        await conn.later(ENTER, now=now, **columns_of(written, *names))
        actors = {wish.cart_id: wish.actor for wish, _ in entering}
        facts = [changed(each, actors[each.id]) for each in written]
        await events.record(conn, facts, now=now)
    return entered | refused


async def _extend(
    conn: Connection, entering: Sequence[tuple[Checkout, Cart]], now: datetime
) -> set[UUID]:
    """The demands that lived, and live longer now. Those of one moment are extended together."""
    by_end: dict[datetime, list[UUID]] = {}
    for _, of in entering:
        if of.demand_id is not None and of.held_since is not None and of.held(now):
            by_end.setdefault(hold_until(of, of.held_since, now), []).append(of.demand_id)
    if by_end:  # levels are locked before reservations, also those of carts that hold anew
        await stock.lock(
            conn, {(of.basket().location_id, sku) for _, of in entering for sku in of.lines}
        )
    alive: set[UUID] = set()
    for until, demand_ids in by_end.items():
        alive |= await reservations.extend(conn, demand_ids, until=until, now=now)
    return alive


def _extended(of: Cart, now: datetime) -> Cart:
    assert of.held_since is not None
    assert of.hold_expires_at is not None
    until = max(of.hold_expires_at, hold_until(of, of.held_since, now))
    return msgspec.structs.replace(
        of, revision=of.revision + 1, hold_expires_at=until, updated_at=now
    )


def _anew(wish: Checkout, of: Cart, now: datetime) -> Cart:
    return msgspec.structs.replace(
        of,
        state="checkout",
        revision=of.revision + 1,
        demand_id=wish.demand_id,
        held_since=now,
        hold_expires_at=hold_until(of, now, now),
        updated_at=now,
    )


def _demand(wish: Checkout, of: Cart, now: datetime) -> Demand:
    basket = of.basket()
    return Demand(
        id=wish.demand_id,
        wants=tuple(Want(basket.location_id, line.sku, line.quantity) for line in basket.lines),
        hold_class="guest" if of.shopper_id is None else "signed_in",
        actor=wish.actor,
        expires_at=hold_until(of, now, now),
        new=True,
    )


def short(of: Cart, refused: Refused) -> StockShort:
    """What a cart's store has too little of."""
    lines = [ShortLine(each.sku, each.requested, each.available) for each in refused.shortages]
    return StockShort(location_id=of.basket().location_id, short=lines)


def _with_hold(
    quoted: Quoted | CommerceError, held: dict[UUID, Cart | CommerceError]
) -> Quoted | CommerceError:
    if isinstance(quoted, CommerceError):
        return quoted
    outcome = held[quoted.cart.id]
    return msgspec.structs.replace(quoted, cart=outcome) if isinstance(outcome, Cart) else outcome
