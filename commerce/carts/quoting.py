"""What a cart costs now, and per line what stands in its way. Nothing is frozen or promised."""

from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from commerce import availability, pricing, stores
from commerce.availability import Pickup, Reason
from commerce.carts.rows import Cart, Owner, find
from commerce.directory import Picture
from commerce.kernel.sql import Connection
from commerce.pricing import Basket, CouponRefused, PricedLine, Quote, Terms
from commerce.states import CART
from commerce.stores import Store

Problem: TypeAlias = Reason | Literal["stock_short"]
"""Why a line cannot be promised. `stock_short`: there are some, but fewer than wanted."""


class QuotedLine(msgspec.Struct, frozen=True):
    """A line of a cart. Without a store there is no price, where it is not sold neither.

    `available_to_promise` is None while nothing was asked: no store, or the line is held.
    """

    sku: str
    quantity: int
    priced: PricedLine | None = None
    available_to_promise: int | None = None
    problem: Problem | None = None


class Quoted(msgspec.Struct, frozen=True):
    """A cart with what it costs now; lines that are not sold at its store are left out of the sum.

    `coupon_refused` says why the coupon takes nothing off. `promised_at` is from when on an order
    placed now could be picked up; None when it could not.
    """

    cart: Cart
    lines: tuple[QuotedLine, ...]
    quote: Quote | None = None
    coupon_refused: CouponRefused | None = None
    promised_at: datetime | None = None


async def read(conn: Connection, cart_id: UUID, owner: Owner, *, now: datetime) -> Quoted:
    """A cart with a live quote. Raises NotFound, also for another's cart."""
    found = await find(conn, cart_id, owner, now=now)
    if found.location_id is None or found.state in CART.terminal:
        return _bare(found)
    basket = found.basket()
    given = await pricing.terms(conn, [basket])
    at = given.stores[found.location_id]
    stock = {} if found.held(now) else await _stock(conn, basket, at, now)
    return _quoted(found, given, stock, now=now)


def _bare(of: Cart) -> Quoted:
    """A cart without prices: it has no store yet, or its order has frozen them."""
    return Quoted(of, tuple(QuotedLine(line.sku, line.quantity) for line in of.wanted))


def _quoted(of: Cart, given: Terms, stock: dict[str, Pickup], *, now: datetime) -> Quoted:
    """A cart at its store, priced by these terms; SKUs that are not in `stock` are not judged."""
    basket = of.basket()
    at = given.stores[basket.location_id]
    sold = tuple(line for line in basket.lines if (at.price_zone, line.sku) in given.offers)
    quote, refused = _quote(msgspec.structs.replace(basket, lines=sold), given, now)
    priced = {line.sku: line for line in quote.lines}
    lines = tuple(
        _line(line.sku, line.quantity, priced.get(line.sku), stock.get(line.sku))
        for line in basket.lines
    )
    promised_at = stores.promise_at(at, now) if at.pickup_enabled else None
    return Quoted(of, lines, quote, refused, promised_at)


async def _stock(conn: Connection, basket: Basket, at: Store, now: datetime) -> dict[str, Pickup]:
    skus = [line.sku for line in basket.lines]
    here = Picture([at]).chosen([at.location_id], now=now)
    (found,) = await availability.answer(conn, [availability.ask(skus, here, now=now)])
    assert isinstance(found, list), "a cart holds only SKUs that exist, and they stay"
    return {sku: at_store for sku, (at_store,) in zip(skus, found, strict=True)}


def _quote(basket: Basket, given: Terms, now: datetime) -> tuple[Quote, CouponRefused | None]:
    try:
        return pricing.quote(basket, given, now=now), None
    except CouponRefused as refused:
        plain = msgspec.structs.replace(basket, coupon_code=None)
        return pricing.quote(plain, given, now=now), refused


def _line(sku: str, quantity: int, priced: PricedLine | None, stock: Pickup | None) -> QuotedLine:
    problem: Problem | None = None if priced is not None else "not_sold_here"
    if stock is None:
        return QuotedLine(sku, quantity, priced, None, problem)
    available = stock.available_to_promise
    if available < quantity:
        problem = "stock_short" if available else stock.reason
    return QuotedLine(sku, quantity, priced, available, problem)
