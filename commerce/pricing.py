"""What a basket costs: prices of a zone, one coupon, tax included or added. Frozen per unit.

`terms` reads what a batch of baskets depends on in three statements; `quote` is pure. A line's
discount is its share of the coupon by value, its tax is rounded once per line, and both are split
over its units so that nothing is lost. Whoever refunds reads that snapshot and nothing else.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Text, Uuid, any_, bindparam, func, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import stores
from commerce.kernel import money
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, LostRace, Query, rows_of
from commerce.stores import Store
from commerce.tables import coupon, item, price, sku, store

MAX_LINES = 200
MAX_LINE_UNITS = 10_000
MAX_USES = 2**31 - 1

Unit = tuple[int, int, int]
"""A run of equal units within a line: how many, the discount of each, the tax of each."""


class UnknownSku(CommerceError):
    """There is no such SKU, or it is not sold any more, or not in this price zone."""

    code = "unknown_sku"
    sku: str
    path: str


class UnknownStore(CommerceError):
    """There is no such store."""

    code = "unknown_store"
    location_id: UUID


class CouponRefused(CommerceError):
    """The coupon cannot be used for this basket now; `reason` says why."""

    code = "coupon_refused"
    coupon_code: str
    reason: Literal["unknown", "not_started", "ended", "used_up", "other_currency", "below_minimum"]
    minimum_subtotal_minor: int = 0


class Offer(msgspec.Struct, frozen=True):
    """A SKU as it is sold in one price zone now."""

    price_zone: str
    sku: str
    name: str
    amount_minor: int
    final_sale: bool
    return_window_days: int


class Coupon(msgspec.Struct, frozen=True):
    """A coupon's rule and how often it was used."""

    code: str
    kind: str
    percent_bp: int | None
    amount_minor: int | None
    currency: str | None
    minimum_subtotal_minor: int
    starts_at: datetime | None
    ends_at: datetime | None
    max_redemptions: int | None
    redeemed: int


class Line(msgspec.Struct, frozen=True):
    """So many units of a SKU, as a shopper asks for them."""

    sku: str
    quantity: int


class Basket(msgspec.Struct, frozen=True):
    """What is to be priced: lines at a store, with a coupon or without."""

    location_id: UUID
    lines: tuple[Line, ...]
    coupon_code: str | None = None


class PricedLine(msgspec.Struct, frozen=True):
    """A line with its money. `total_minor` is what the shopper pays for it, tax and all."""

    sku: str
    name: str
    quantity: int
    unit_price_minor: int
    discount_minor: int
    tax_rate_bp: int
    tax_minor: int
    total_minor: int
    units: tuple[Unit, ...]
    final_sale: bool
    return_window_days: int


class Quote(msgspec.Struct, frozen=True):
    """A priced basket. `total = subtotal - discount`, plus the tax where prices do not hold it."""

    currency: str
    tax_included: bool
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int
    coupon_code: str | None
    coupon_limited: bool
    lines: tuple[PricedLine, ...]


class Terms(msgspec.Struct, frozen=True):
    """All that the prices of a batch of baskets depend on, as it stands in this transaction."""

    stores: dict[UUID, Store]
    offers: dict[tuple[str, str], Offer]
    coupons: dict[str, Coupon]


_WANTED = rows_of("w", location_id=Uuid(), sku=Text())
_CODES = bindparam("codes", type_=ARRAY(Text))
_USES = rows_of("u", code=Text(), uses=Integer())

# One look-up per line, whatever the statistics say: prices may be loaded faster than they learn.
_OFFER = (
    select(
        price.c.price_zone,
        price.c.sku,
        sku.c.name,
        price.c.amount_minor,
        item.c.final_sale,
        item.c.return_window_days,
    )
    .select_from(
        store.join(price, price.c.price_zone == store.c.price_zone)
        .join(sku, sku.c.sku == price.c.sku)
        .join(item, item.c.code == sku.c.item_code)
    )
    .where(store.c.location_id == _WANTED.c.location_id, price.c.sku == _WANTED.c.sku, sku.c.active)
    .limit(1)
    .lateral()
)
OFFERS = Query(select(_OFFER).select_from(_WANTED.join(_OFFER, true())), Offer)
COUPONS = Query(select(coupon).where(coupon.c.code == any_(_CODES)), Coupon)
PAGE_OF_COUPONS = Query(
    select(coupon)
    .where(coupon.c.code > bindparam("after", type_=Text()))
    .order_by(coupon.c.code)
    .limit(bindparam("page", type_=Integer())),
    Coupon,
)
USE_COUPONS = Query(
    update(coupon)
    .values(redeemed=coupon.c.redeemed + _USES.c.uses)
    .where(
        coupon.c.code == _USES.c.code,
        coupon.c.redeemed + _USES.c.uses <= func.coalesce(coupon.c.max_redemptions, MAX_USES),
    )
    .returning(coupon.c.code),
    str,
)


GIVE_BACK = Query(
    update(coupon)
    .values(redeemed=coupon.c.redeemed - 1)
    .where(
        coupon.c.code == bindparam("of"),
        coupon.c.max_redemptions.is_not(None),
        coupon.c.redeemed > 0,
    )
)


async def terms(conn: Connection, baskets: Sequence[Basket]) -> Terms:
    """Read stores, prices and coupons of many baskets: one round trip."""
    wanted = {(basket.location_id, line.sku) for basket in baskets for line in basket.lines}
    codes = {basket.coupon_code for basket in baskets if basket.coupon_code}
    found, offers, coupons = await conn.gather(
        (stores.STORES_BY_ID, {"ids": list({basket.location_id for basket in baskets})}),
        (OFFERS, {"location_id": [key[0] for key in wanted], "sku": [key[1] for key in wanted]}),
        (COUPONS, {"codes": list(codes)}),
    )
    return Terms(
        {each.location_id: each for each in found},
        {(each.price_zone, each.sku): each for each in offers},
        {each.code: each for each in coupons},
    )


def quote(basket: Basket, given: Terms, *, now: datetime, used: int = 0) -> Quote:
    """Price one basket. Pure. `used`: uses of its coupon that are not in the counter yet.

    Raises UnknownStore, UnknownSku (with the path of the line) or CouponRefused.
    """
    at = given.stores.get(basket.location_id)
    if at is None:
        raise UnknownStore(location_id=basket.location_id)
    offers = []
    for index, line in enumerate(basket.lines):
        offer = given.offers.get((at.price_zone, line.sku))
        if offer is None:
            raise UnknownSku(sku=line.sku, path=f"/lines/{index}/sku")
        offers.append(offer)
    gross = [o.amount_minor * line.quantity for o, line in zip(offers, basket.lines, strict=True)]
    subtotal = sum(gross)
    discount = 0
    if basket.coupon_code is not None:
        discount = _discount(
            basket.coupon_code, given.coupons, at.currency, subtotal, used=used, now=now
        )
    shares = money.allocate(discount, gross)
    lines = tuple(
        _price_line(line.quantity, offer, share, at)
        for line, offer, share in zip(basket.lines, offers, shares, strict=True)
    )
    return Quote(
        currency=at.currency,
        tax_included=at.tax_included,
        subtotal_minor=subtotal,
        discount_minor=discount,
        tax_minor=sum(line.tax_minor for line in lines),
        total_minor=sum(line.total_minor for line in lines),
        coupon_code=basket.coupon_code,
        coupon_limited=basket.coupon_code is not None
        and given.coupons[basket.coupon_code].max_redemptions is not None,
        lines=lines,
    )


async def coupons(conn: Connection, *, after: str, limit: int) -> list[Coupon]:
    """Coupons in the order of their codes, beginning behind `after`."""
    return await conn.run(PAGE_OF_COUPONS, after=after, page=limit)


async def coupon_by_code(conn: Connection, code: str) -> Coupon | None:
    """One coupon."""
    return await conn.first(COUPONS, codes=[code])


async def check_coupon(conn: Connection, code: str, *, now: datetime) -> None:
    """Refuse a coupon that no basket could use now. Raises CouponRefused."""
    found = {each.code: each for each in await conn.run(COUPONS, codes=[code])}
    _usable(code, found, used=0, now=now)


async def redeem(conn: Connection, uses: dict[str, int]) -> None:
    """Count uses of coupons that have a limit.

    Raises LostRace when another transaction took the last use since `terms` was read: repeated,
    the quote is refused as used up.
    """
    if not uses:
        return
    codes = sorted(uses)
    counted = await conn.run(USE_COUPONS, code=codes, uses=[uses[code] for code in codes])
    if len(counted) < len(codes):
        raise LostRace


async def give_back(conn: Connection, code: str) -> None:
    """A cancelled order returns its use of a coupon that has a limit."""
    await conn.run(GIVE_BACK, of=code)


def refund_of(units: Sequence[Unit], unit_price_minor: int, *, tax_included: bool,
              first: int, count: int) -> int:  # fmt: skip
    """What the shopper paid for `count` units of a line, beginning with unit `first` (from 0)."""
    total, position = 0, 0
    for run, discount_minor, tax_minor in units:
        covered = max(0, min(position + run, first + count) - max(position, first))
        paid = unit_price_minor - discount_minor + (0 if tax_included else tax_minor)
        total += covered * paid
        position += run
    return total


def _discount(
    code: str, coupons: dict[str, Coupon], currency: str, subtotal: int, *, used: int, now: datetime
) -> int:
    found = _usable(code, coupons, used=used, now=now)
    if found.currency is not None and found.currency != currency:
        raise CouponRefused(coupon_code=code, reason="other_currency")
    if subtotal < found.minimum_subtotal_minor:
        raise CouponRefused(
            coupon_code=code,
            reason="below_minimum",
            minimum_subtotal_minor=found.minimum_subtotal_minor,
        )
    if found.percent_bp is not None:
        return money.percentage(subtotal, found.percent_bp)
    assert found.amount_minor is not None
    return min(found.amount_minor, subtotal)


def _usable(code: str, coupons: dict[str, Coupon], *, used: int, now: datetime) -> Coupon:
    found = coupons.get(code)
    if found is None:
        raise CouponRefused(coupon_code=code, reason="unknown")
    if found.starts_at is not None and now < found.starts_at:
        raise CouponRefused(coupon_code=code, reason="not_started")
    if found.ends_at is not None and now >= found.ends_at:
        raise CouponRefused(coupon_code=code, reason="ended")
    if found.max_redemptions is not None and found.redeemed + used >= found.max_redemptions:
        raise CouponRefused(coupon_code=code, reason="used_up")
    return found


def _price_line(quantity: int, offer: Offer, discount: int, at: Store) -> PricedLine:
    net = offer.amount_minor * quantity - discount
    rate = at.tax_rate_bp
    tax = money.tax_included(net, rate) if at.tax_included else money.tax_added(net, rate)
    return PricedLine(
        sku=offer.sku,
        name=offer.name,
        quantity=quantity,
        unit_price_minor=offer.amount_minor,
        discount_minor=discount,
        tax_rate_bp=rate,
        tax_minor=tax,
        total_minor=net if at.tax_included else net + tax,
        units=split_units(quantity, discount, tax),
        final_sale=offer.final_sale,
        return_window_days=offer.return_window_days,
    )


def split_units(quantity: int, discount_minor: int, tax_minor: int) -> tuple[Unit, ...]:
    """A line's discount and tax over its units, as runs of equal ones; sums are exact.

    The odd minor units go to the first units of the line.
    """
    discount, more_discounted = divmod(discount_minor, quantity)
    tax, more_taxed = divmod(tax_minor, quantity)
    bounds = sorted({0, more_discounted, more_taxed, quantity})
    return tuple(
        (end - start, discount + (start < more_discounted), tax + (start < more_taxed))
        for start, end in pairwise(bounds)
    )
