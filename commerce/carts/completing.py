"""A checkout becomes an order, which takes its hold over. Many at once, each with its outcome."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Boolean, DateTime, Uuid, bindparam, case, null, update

from commerce import orders
from commerce.carts.checkout import REOPEN
from commerce.carts.rows import Cart, Owner, changed, lock_many, one_per_cart, released
from commerce.customers import Contact
from commerce.kernel import events
from commerce.kernel.errors import CommerceError, NotFound, WrongState
from commerce.kernel.events import Event
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.orders import Attribution, CardPayment, Numbers, Order, Placement
from commerce.pricing import Line
from commerce.states import CART
from commerce.tables import cart
from inventory.demands import HoldExpired

ATTRIBUTED_FOR = timedelta(hours=24)
"""How long after its claim a sale is still whose claim it was."""


class CheckoutExpired(CommerceError):
    """The checkout took too long: these lines are held no more. The cart is open again."""

    code = "checkout_expired"
    cart_id: UUID
    expired_at: datetime
    lines: list[Line]


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A cart that is to become an order. All ids are made beforehand; `seen` as in `Placement`."""

    cart_id: UUID
    owner: Owner
    order_id: UUID
    fulfillment_id: UUID
    contact: Contact
    tender: Literal["card", "pay_at_pickup"]
    seen: Money
    channel: str
    key_id: UUID
    actor: str
    card: CardPayment | None = None


_ORDERED = rows_of("o", id=Uuid(), order_id=Uuid(), keeps_link=Boolean())

# A payment link ends with the order, or it would open whatever somebody else has bought; who paid
# by it may still ask again what became of that.
ORDER = Query(
    update(cart)
    .values(
        state="ordered",
        order_id=_ORDERED.c.order_id,
        demand_id=null(),
        held_since=null(),
        hold_expires_at=null(),
        claim_expires_at=null(),
        code_digest=null(),
        link_expires_at=case((_ORDERED.c.keeps_link, cart.c.link_expires_at)),
        revision=cart.c.revision + 1,
        updated_at=bindparam("now", type_=DateTime(timezone=True)),
    )
    .where(cart.c.id == _ORDERED.c.id, cart.c.state.in_(CART.sources("ordered")))
)


async def complete(
    conn: Connection, completions: Sequence[Completion], *, numbers: Numbers, now: datetime
) -> list[Order | CommerceError]:
    """Turn checkouts into orders. Safe to repeat: the cart is what makes it happen once.

    A cart that is ordered already answers with its order as it stands. When the hold has died,
    the cart is open again: CheckoutExpired. Other refusals leave it in checkout: NotFound,
    WrongState (not in checkout), and those of `orders.place`.
    """

    async def work(batch: Sequence[Completion]) -> list[Order | CommerceError]:
        return await _complete(conn, batch, numbers, now)

    return await one_per_cart(completions, work)


async def _complete(
    conn: Connection, completions: Sequence[Completion], numbers: Numbers, now: datetime
) -> list[Order | CommerceError]:
    found = await lock_many(conn, [each.cart_id for each in completions])
    decided = [_decide(each, found.get(each.cart_id), now) for each in completions]
    placements = [each for each in decided if isinstance(each, Placement)]
    placed = await orders.place(conn, placements, numbers=numbers, now=now)
    made = dict(zip([each.order_id for each in placements], placed, strict=True))
    known = [each for each in decided if isinstance(each, UUID)]
    done = await orders.by_ids(conn, known) if known else {}
    outcomes: list[Order | CommerceError] = []
    for completion, each in zip(completions, decided, strict=True):
        outcome = (
            made[each.order_id] if isinstance(each, Placement)
            else done[each] if isinstance(each, UUID)
            else each
        )  # fmt: skip
        if isinstance(outcome, HoldExpired):
            outcome = _expired(found[completion.cart_id])
        outcomes.append(outcome)
    await _write(conn, completions, outcomes, found, now)
    return outcomes


def _decide(
    completion: Completion, found: Cart | None, now: datetime
) -> Placement | UUID | CommerceError:
    """What to do: place an order, answer with the one that there is, or refuse. Pure."""
    if found is None or not found.opens_to(completion.owner, now):
        return NotFound(kind="cart", id=str(completion.cart_id))
    if found.order_id is not None:
        return found.order_id
    if found.demand_id is None:
        return WrongState(kind="cart", id=str(found.id), state=found.state, allowed=["checkout"])
    if not found.held(now):
        return HoldExpired(demand_id=found.demand_id)
    return Placement(
        order_id=completion.order_id,
        fulfillment_id=completion.fulfillment_id,
        basket=found.basket(),
        seen=completion.seen,
        tender=completion.tender,
        channel=completion.channel,
        key_id=completion.key_id,
        actor=completion.actor,
        shopper_id=completion.owner.shopper_id or found.shopper_id,
        contact=completion.contact,
        cart_id=found.id,
        demand_id=found.demand_id,
        card=completion.card,
        attribution=attribution_of(found, now),
        also=ordered_facts(found, completion.actor, now),
    )


def attribution_of(found: Cart, now: datetime) -> Attribution | None:
    """Who is to be attributed with a sale of this cart now: who claimed it in these days. Pure.

    Also after the claim has ended: served in the store, the shopper buys at home in the evening,
    or pays by the link tomorrow.
    """
    if found.claimed_by is None or found.claimed_at is None or found.claim_location_id is None:
        return None
    if found.linked(now) or now < found.claimed_at + ATTRIBUTED_FOR:
        return Attribution(found.claimed_by, found.claim_location_id)
    return None


def ordered_facts(before: Cart, actor: str, now: datetime) -> tuple[Event, ...]:
    """The events of a cart that becomes an order, which ends a claim. Pure."""
    payload = {"revision": before.revision + 1}
    facts = (Event("cart.changed", "cart", before.id, actor, payload),)
    return facts + ((released(before, actor, "ordered"),) if before.claimed(now) else ())


def _expired(found: Cart) -> CheckoutExpired:
    assert found.hold_expires_at is not None
    return CheckoutExpired(
        cart_id=found.id, expired_at=found.hold_expires_at, lines=list(found.wanted)
    )


async def _write(
    conn: Connection,
    completions: Sequence[Completion],
    outcomes: Sequence[Order | CommerceError],
    found: Mapping[UUID, Cart],
    now: datetime,
) -> None:
    pairs = list(zip(completions, outcomes, strict=True))
    new = {c.cart_id: c for c, o in pairs if isinstance(o, Order) and o.id == c.order_id}
    dead = {c.cart_id: c.actor for c, o in pairs if isinstance(o, CheckoutExpired)}
    if new:
        by_link = [not found[each].belongs_to(c.owner, now) for each, c in new.items()]
        order_ids = [each.order_id for each in new.values()]
        await conn.later(ORDER, id=list(new), order_id=order_ids, keeps_link=by_link, now=now)
    if dead:
        await conn.later(REOPEN, cart_ids=list(dead), now=now)
        opened = [
            msgspec.structs.replace(found[each], revision=found[each].revision + 1) for each in dead
        ]
        facts = [changed(each, dead[each.id]) for each in opened]
        await events.record(conn, facts, now=now)
