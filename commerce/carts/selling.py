"""A claimed cart is sold in the store: carried out at once, or left for a pickup."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from commerce import access, fulfillment, orders
from commerce.access import Principal
from commerce.carts.checkout import CartEmpty, StoreNotChosen
from commerce.carts.completing import ORDER, attribution_of, ordered_facts
from commerce.carts.rows import Cart, Owner, lock_live
from commerce.customers import Contact
from commerce.fulfillment import CounterTender, ExternalTerminal
from commerce.kernel.errors import CommerceError
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.orders import Numbers, Order, Placement, Tender
from inventory import stock


class CartElsewhere(CommerceError):
    """The goods of this cart are at another store. Choose your own store for it first."""

    code = "cart_elsewhere"
    cart_id: UUID
    location_id: UUID


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """How a cart is sold. All ids are made beforehand; `seen` is the total the shopper was told.

    `carry_out`: paid by `tender`, and the goods leave. `pickup`: the shopper comes back for them,
    and pays then; `contact` is who is told.
    """

    order_id: UUID
    fulfillment_id: UUID
    kind: Literal["carry_out", "pickup"]
    seen: Money
    tender: CounterTender | None
    contact: Contact | None


class Sold(msgspec.Struct, frozen=True):
    """The order that a cart has become, and the change to give."""

    order: Order
    change: Money


async def sell(
    conn: Connection, who: Principal, cart_id: UUID, owner: Owner, sale: Sale, *,
    numbers: Numbers, now: datetime,
) -> Sold:  # fmt: skip
    """A claimed cart becomes an order at the till; the sale is the associate's who claimed it.

    What the cart holds is taken over; what it does not hold is taken now. Raises NotFound,
    CartOrdered, CartEmpty, StoreNotChosen, CartElsewhere; StockShort, PriceChanged, CouponRefused,
    UnknownSku, PickupUnavailable; TenderRequired, TenderedTooLittle. Whatever is
    refused changes nothing.
    """
    before = await lock_live(conn, cart_id, owner, now=now)
    if not before.lines:
        raise CartEmpty(cart_id=cart_id)
    if before.location_id is None:
        raise StoreNotChosen(cart_id=cart_id)
    if sale.kind == "carry_out" and not who.sees(before.location_id):
        raise CartElsewhere(cart_id=cart_id, location_id=before.location_id)
    # Before the reservations, which the order takes over; what is carried out leaves the levels.
    await stock.lock(conn, {(before.location_id, sku) for sku in before.lines})
    placement = _placement(before, who, sale, now)
    (placed,) = await orders.place(conn, [placement], numbers=numbers, now=now)
    if isinstance(placed, CommerceError):
        raise placed
    await conn.later(ORDER, id=[cart_id], order_id=[placed.id], keeps_link=[False], now=now)
    await access.record_staff(
        conn,
        who,
        action="cart.sold",
        subject=f"order:{placed.id}",
        changes={"tender": placement.tender, "total_minor": sale.seen.amount_minor},
        now=now,
    )
    change = Money(0, sale.seen.currency)
    if sale.kind == "carry_out":
        change = await fulfillment.carry_out(conn, who, placed, sale.tender, now=now)
    return Sold(await orders.by_id(conn, placed.id), change)


def _placement(of: Cart, who: Principal, sale: Sale, now: datetime) -> Placement:
    tender: Tender = "pay_at_pickup"
    if sale.kind == "carry_out":
        tender = "external_terminal" if isinstance(sale.tender, ExternalTerminal) else "cash"
    return Placement(
        order_id=sale.order_id,
        fulfillment_id=sale.fulfillment_id,
        basket=of.basket(),
        seen=sale.seen,
        tender=tender,
        channel=who.channel,
        key_id=who.key_id,
        actor=who.actor,
        kind=sale.kind,
        shopper_id=of.shopper_id,
        contact=sale.contact,
        cart_id=of.id,
        demand_id=of.demand_id if of.held(now) else None,
        attribution=attribution_of(of, now),
        also=ordered_facts(of, who.actor, now),
    )
