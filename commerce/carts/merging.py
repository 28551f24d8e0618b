"""A guest who signs in takes the cart along: into the shopper's current cart, if there is one.

The rule: lines are joined; of a SKU in both, the larger quantity stays, because the same person has
put it in twice. Store and coupon of the shopper's cart stay, the guest's fill gaps. What the cart
has no room for is saved for later, and the answer says so. The guest's cart ends as `merged`, its
hold is given back, its lines stay in it.

An associate's claim ends with the guest's cart: its code promised that cart and nothing else of the
shopper's. The sale stays the associate's for as long as after any claim that has ended.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import lists
from commerce.carts.rows import (
    COLUMNS,
    MAX_LINES,
    Cart,
    Owner,
    changed,
    live,
    lock_many,
    released,
)
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query
from commerce.pricing import Line
from commerce.states import CART
from commerce.tables import cart
from inventory import reservations

MAX_LIVE = 50
"""Carts that are listed; nobody fills more of them at once."""


class Merged(msgspec.Struct, frozen=True):
    """The cart that the shopper goes on with, and what it had no room for."""

    cart: Cart
    saved_for_later: tuple[Line, ...] = ()


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_LIVE = tuple(sorted(state for state in CART if state not in CART.terminal))

_SERVED = ("claimed_by", "claim_location_id", "claimed_at")
_HOLD = ("state", "demand_id", "held_since", "hold_expires_at")
_TAKEN_IN = (
    "lines",
    "location_id",
    "coupon_code",
    "revision",
    *_SERVED,
    "claim_expires_at",
    *_HOLD,
)

# Two devices that sign in at once must not both find that the shopper has no cart yet.
ONE_AT_A_TIME = Query(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("of", type_=Text()), 1))),
    type(None),
)
OF_PERSON = Query(
    select(*COLUMNS)
    .where(
        cart.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid()))),
        cart.c.state.in_(_LIVE),
    )
    .order_by(cart.c.id.desc())
    .limit(MAX_LIVE),
    Cart,
)
ATTACH = Query(
    update(cart)
    .values(
        shopper_id=bindparam("shopper", type_=Uuid()),
        revision=cart.c.revision + 1,
        updated_at=_NOW,
    )
    .where(cart.c.id == bindparam("of"), cart.c.shopper_id.is_(None), cart.c.state.in_(_LIVE))
    .returning(*COLUMNS),
    Cart,
)
TAKE_IN = Query(
    update(cart)
    .values({name: bindparam(name, type_=cart.c[name].type) for name in _TAKEN_IN})
    .values(updated_at=_NOW)
    .where(cart.c.id == bindparam("of"))
)
END = Query(
    update(cart)
    .values(
        state="merged",
        merged_into=bindparam("into", type_=Uuid()),
        demand_id=null(),
        held_since=null(),
        hold_expires_at=null(),
        claim_expires_at=null(),
        code_digest=null(),
        link_expires_at=null(),
        revision=cart.c.revision + 1,
        updated_at=_NOW,
    )
    .where(cart.c.id == bindparam("of"), cart.c.state.in_(CART.sources("merged")))
)


async def of_person(conn: Connection, person_ids: Sequence[UUID]) -> list[Cart]:
    """A person's carts that still change, newest first: the first is the current one."""
    return await conn.run(OF_PERSON, person_ids=list(person_ids))


async def merge_guest(
    conn: Connection, cart_id: UUID, owner: Owner, *, actor: str, now: datetime
) -> Merged:
    """Take a guest's cart along after signing in; its token opens it no longer.

    `owner` has both, the person's ids and the cart's token. Without a current cart it becomes the
    shopper's as it is, also in checkout. Safe to repeat: it answers the cart that there is by then.
    Raises NotFound, CartOrdered.
    """
    assert owner.shopper_id is not None, "only who has signed in takes a cart along"
    await conn.run(ONE_AT_A_TIME, of=str(owner.shopper_id))
    others = await of_person(conn, owner.person_ids)
    current_id = next((each.id for each in others if each.id != cart_id), None)
    wanted = [cart_id] if current_id is None else [cart_id, current_id]
    found = await lock_many(conn, wanted)
    guest = found.get(cart_id)
    if guest is None or not guest.belongs_to(owner, now):
        raise NotFound(kind="cart", id=str(cart_id))
    if guest.merged_into is not None:
        return await _merged_before(conn, guest, owner, now)
    if guest.shopper_id is not None:
        return Merged(guest)
    live(guest)
    current = found.get(current_id) if current_id is not None else None
    if current is None or current.state in CART.terminal:  # it was bought at this moment
        return Merged(await _attach(conn, guest, owner.shopper_id, actor, now))
    return await _join(conn, guest, current, actor, now)


async def _merged_before(conn: Connection, guest: Cart, owner: Owner, now: datetime) -> Merged:
    assert guest.merged_into is not None
    into = (await lock_many(conn, [guest.merged_into])).get(guest.merged_into)
    if into is None or not into.belongs_to(owner, now):
        raise NotFound(kind="cart", id=str(guest.id))
    return Merged(into)


async def _attach(
    conn: Connection, guest: Cart, shopper_id: UUID, actor: str, now: datetime
) -> Cart:
    attached = await conn.one(ATTACH, of=guest.id, shopper=shopper_id, now=now)
    told = [Event("cart.attached", "cart", guest.id, actor), changed(attached, actor)]
    await events.record(conn, told, now=now)
    return attached


async def _join(conn: Connection, guest: Cart, current: Cart, actor: str, now: datetime) -> Merged:
    after, left_out = joined(current, guest, now)
    holds = {guest.demand_id, current.demand_id} - {after.demand_id, None}
    await reservations.release_many(
        conn, [each for each in holds if each], actor=actor, now=now, reason="cart_merged"
    )
    written = {name: getattr(after, name) for name in _TAKEN_IN}
    await conn.run(TAKE_IN, of=after.id, now=now, **written)
    await conn.run(END, of=guest.id, into=after.id, now=now)
    if left_out:
        assert after.shopper_id is not None
        await lists.save(conn, after.shopper_id, left_out, now=now, bounded=False)
    facts = [
        Event("cart.merged", "cart", guest.id, actor, {"into": after.id}),
        changed(after, actor),
    ]
    if guest.claimed(now):
        facts.append(released(guest, actor, "merged"))
    await events.record(conn, facts, now=now)
    return Merged(after, left_out)


def joined(current: Cart, guest: Cart, now: datetime) -> tuple[Cart, tuple[Line, ...]]:
    """The shopper's cart after taking the guest's in, and the lines it has no room for. Pure.

    It leaves checkout if that changes what would be bought.
    """
    lines = dict(current.lines)
    left_out: list[Line] = []
    added = 0
    for line in guest.wanted:
        if line.sku in lines:
            quantity, since = lines[line.sku]
            lines[line.sku] = (max(quantity, line.quantity), since)
        elif len(lines) < MAX_LINES:
            lines[line.sku] = (line.quantity, current.revision + added)
            added += 1
        else:
            left_out.append(line)
    after = msgspec.structs.replace(
        current,
        lines=lines,
        location_id=current.location_id or guest.location_id,
        coupon_code=current.coupon_code or guest.coupon_code,
    )
    if after != current:
        after = msgspec.structs.replace(
            after, state="open", demand_id=None, held_since=None, hold_expires_at=None
        )
    if guest.claimed(now) and not current.claimed(now):
        served = {name: getattr(guest, name) for name in _SERVED}
        after = msgspec.structs.replace(after, **served, claim_expires_at=None)
    revision = current.revision + max(1, added)
    return msgspec.structs.replace(after, revision=revision, updated_at=now), tuple(left_out)
