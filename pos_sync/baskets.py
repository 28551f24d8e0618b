"""Baskets of a till: what stands on a counter is held, so that the web cannot sell it meanwhile.

    open -> sold | released

Each scan is a line with a hold of its own, of the class `counter`, for ten minutes; every scan and
removal gives all living holds ten minutes more. A dead hold stays dead and its line says so; it can
be held again if nobody else was promised the goods by then. A sale takes the holds over: order,
payment and goods in one transaction. Locks: the basket, the order, stock levels, reservations.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, Uuid, any_, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commerce import access, catalog, fulfillment, orders, pricing, stores
from commerce.access import Principal, StoreNotAllowed, in_scope
from commerce.catalog import GTIN_LENGTHS, Sku
from commerce.fulfillment import CounterTender, ExternalTerminal
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query
from commerce.orders import Numbers, Order, Placement, ShortLine, StockShort
from commerce.pricing import MAX_LINES, Line, Quote, UnknownSku
from commerce.states import BASKET
from inventory import reservations
from inventory.demands import Demand, Refused, Want
from pos_sync.tables import basket

HELD_FOR = timedelta(minutes=10)


class BasketLine(msgspec.Struct, frozen=True):
    """One scan, and the demand that its units are held under."""

    line_number: int
    sku: str
    quantity: int
    demand_id: UUID


class Basket(msgspec.Struct, frozen=True):
    """A basket as it is stored."""

    id: UUID
    location_id: UUID
    state: str
    lines: tuple[BasketLine, ...]
    order_id: UUID | None


class Standing(msgspec.Struct, frozen=True):
    """A basket with what it costs now, and until when each line is held; None: not any more."""

    basket: Basket
    held_until: tuple[datetime | None, ...]
    quote: Quote


class Sold(msgspec.Struct, frozen=True):
    """The order that a basket has become, and the change to give."""

    order: Order
    change: Money


class HoldsLost(CommerceError):
    """Holds of these lines have run out. Hold again, or remove the lines."""

    code = "basket_holds_lost"
    basket_id: UUID
    line_numbers: list[int]


class BasketFull(CommerceError):
    """No basket has more lines than an order can have."""

    code = "basket_full"
    maximum: int = MAX_LINES


class _Found(msgspec.Struct, frozen=True):
    id: UUID
    location_id: UUID
    state: str
    lines: tuple[BasketLine, ...]
    order_id: UUID | None
    mine: bool


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_FOUND = select(
    *(basket.c[name] for name in Basket.__struct_fields__),
    in_scope(basket.c.location_id).label("mine"),
).where(basket.c.id == bindparam("of"))

OPEN = Query(
    insert(basket).values(
        id=bindparam("new_id", type_=Uuid()),
        location_id=bindparam("at", type_=Uuid()),
        state=BASKET.initial,
        opened_by=bindparam("by", type_=Text()),
        created_at=_NOW,
        updated_at=_NOW,
    )
)
BY_ID = Query(_FOUND, _Found)
LOCK = Query(_FOUND.with_for_update(key_share=True), _Found)
WRITE_LINES = Query(
    update(basket)
    .where(basket.c.id == bindparam("of"))
    .values(lines=bindparam("new_lines", type_=JSONB()), updated_at=_NOW)
)
CLOSE = Query(
    update(basket)
    .where(
        basket.c.id == bindparam("of"),
        basket.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
    )
    .values(
        state=bindparam("target", type_=Text()),
        order_id=bindparam("as_order", type_=Uuid()),
        updated_at=_NOW,
    )
    .returning(basket.c.id),
    UUID,
)


async def open_basket(
    conn: Connection, who: Principal, basket_id: UUID, location_id: UUID, *, now: datetime
) -> Standing:
    """An empty basket at a store. Raises StoreNotAllowed."""
    if not who.sees(location_id):
        raise StoreNotAllowed(location_id=location_id)
    await conn.run(OPEN, new_id=basket_id, at=location_id, by=who.actor, now=now)
    opened = Basket(basket_id, location_id, BASKET.initial, (), None)
    return await _standing(conn, opened, None, now)


async def scan(
    conn: Connection,
    who: Principal,
    basket_id: UUID,
    *,
    barcode: str,
    quantity: int,
    now: datetime,
) -> Standing:
    """Put units of what a barcode (or a SKU) names into the basket, and hold them.

    Raises NotFound, UnknownSku when it is not sold here, StockShort, BasketFull.
    """
    before = await _lock_open(conn, who, basket_id)
    if len(before.lines) >= MAX_LINES:
        raise BasketFull
    found = await _scanned(conn, before.location_id, barcode)
    line = BasketLine(
        max((each.line_number for each in before.lines), default=0) + 1,
        found.sku,
        quantity,
        ids.uuid7(),
    )
    await _hold(conn, who, before.location_id, [line], now)
    await _extend(conn, before.lines, now)
    after = await _write_lines(conn, before, (*before.lines, line), now)
    return await _standing(conn, after, None, now)


async def remove(
    conn: Connection, who: Principal, basket_id: UUID, line_number: int, *, now: datetime
) -> None:
    """Take a line out and give its units back. Raises NotFound."""
    before = await _lock_open(conn, who, basket_id)
    kept = tuple(each for each in before.lines if each.line_number != line_number)
    (*gone,) = (each for each in before.lines if each.line_number == line_number)
    if not gone:
        raise NotFound(kind="basket_line", id=str(line_number))
    await reservations.release(
        conn, gone[0].demand_id, actor=who.actor, now=now, reason="basket_line_removed"
    )
    await _extend(conn, kept, now)
    await _write_lines(conn, before, kept, now)


async def hold_again(
    conn: Connection, who: Principal, basket_id: UUID, *, now: datetime
) -> Standing:
    """Hold the lines anew whose holds have run out. Raises StockShort, and then nothing changes."""
    before = await _lock_open(conn, who, basket_id)
    alive = {
        each.demand_id
        for each in await reservations.of_demands(conn, [line.demand_id for line in before.lines])
        if each.alive(now)
    }
    lines = tuple(
        line if line.demand_id in alive else msgspec.structs.replace(line, demand_id=ids.uuid7())
        for line in before.lines
    )
    dead = [line for line in lines if line.demand_id not in alive]
    await _hold(conn, who, before.location_id, dead, now)
    await _extend(conn, before.lines, now)
    after = await _write_lines(conn, before, lines, now)
    return await _standing(conn, after, None, now)


async def read(
    conn: Connection, who: Principal, basket_id: UUID, *, coupon_code: str | None, now: datetime
) -> Standing:
    """What stands on the counter and what it costs with this coupon. Raises CouponRefused."""
    found = await _find(conn, BY_ID, who, basket_id)
    return await _standing(conn, found, coupon_code, now)


async def release(conn: Connection, who: Principal, basket_id: UUID, *, now: datetime) -> None:
    """Give everything back: open -> released. Repeating it changes nothing. Raises WrongState."""
    before = await _find(conn, LOCK, who, basket_id)
    if before.state == "released":
        return
    await _close(conn, before, "released", None, now)
    await reservations.release_many(
        conn,
        [line.demand_id for line in before.lines],
        actor=who.actor,
        now=now,
        reason="basket_released",
    )


async def sell(
    conn: Connection,
    who: Principal,
    basket_id: UUID,
    *,
    order_id: UUID,
    fulfillment_id: UUID,
    seen: Money,
    coupon_code: str | None,
    tender: CounterTender | None,
    numbers: Numbers,
    now: datetime,
) -> Sold:
    """The basket becomes an order, paid and carried out of the store, all at once: open -> sold.

    `seen` is the total that the shopper was told. Raises HoldsLost, PriceChanged, CouponRefused,
    UnknownSku; TenderRequired, TenderedTooLittle; WrongState. Whatever is refused changes nothing.
    """
    before = await _lock_open(conn, who, basket_id)
    if not before.lines:
        raise InvalidField(path="/lines", reason="the basket is empty")
    demands = [line.demand_id for line in before.lines]
    dead = await reservations.gather(conn, demands, into=fulfillment_id, actor=who.actor, now=now)
    if dead:
        lost = [line.line_number for line in before.lines if line.demand_id in dead]
        raise HoldsLost(basket_id=basket_id, line_numbers=lost)
    placement = Placement(
        order_id=order_id,
        fulfillment_id=fulfillment_id,
        basket=_priced(before, coupon_code),
        seen=seen,
        tender="external_terminal" if isinstance(tender, ExternalTerminal) else "cash",
        channel="store",
        key_id=who.key_id,
        actor=who.actor,
        kind="carry_out",
        demand_id=fulfillment_id,
    )
    (placed,) = await orders.place(conn, [placement], numbers=numbers, now=now)
    if isinstance(placed, CommerceError):
        raise placed
    await _close(conn, before, "sold", order_id, now)
    await access.record_staff(
        conn,
        who,
        action="basket.sold",
        subject=f"order:{order_id}",
        changes={"tender": placement.tender, "total_minor": seen.amount_minor},
        now=now,
        location_id=before.location_id,
    )
    change = await fulfillment.carry_out(conn, who, placed, tender, now=now)
    return Sold(await orders.by_id(conn, order_id), change)


async def _find(conn: Connection, query: Query[_Found], who: Principal, basket_id: UUID) -> Basket:
    found = await conn.first(query, of=basket_id, scope=who.scope)
    if found is None:
        raise NotFound(kind="basket", id=str(basket_id))
    if not found.mine:
        raise StoreNotAllowed(location_id=found.location_id)
    return Basket(found.id, found.location_id, found.state, found.lines, found.order_id)


async def _lock_open(conn: Connection, who: Principal, basket_id: UUID) -> Basket:
    locked = await _find(conn, LOCK, who, basket_id)
    if locked.state != "open":
        raise _wrong_state(locked)
    return locked


async def _close(
    conn: Connection, before: Basket, target: str, order_id: UUID | None, now: datetime
) -> None:
    closed = await conn.run(
        CLOSE,
        of=before.id,
        target=target,
        sources=BASKET.sources(target),
        as_order=order_id,
        now=now,
    )
    if not closed:
        raise _wrong_state(before)


def _wrong_state(found: Basket) -> WrongState:
    return WrongState(kind="basket", id=str(found.id), state=found.state, allowed=["open"])


async def _scanned(conn: Connection, location_id: UUID, barcode: str) -> Sku:
    """What a scanner or an associate has read: a GTIN first, else one of our own SKUs."""
    at = await stores.by_id(conn, location_id)
    found: Sku | None = None
    if barcode.isdecimal() and len(barcode) in GTIN_LENGTHS:
        try:
            found = await catalog.sku_by_gtin(conn, barcode, zone=at.price_zone)
        except NotFound:
            found = None
    if found is None:
        found = await catalog.sku_by_code(conn, barcode, zone=at.price_zone)
    if not found.active or found.amount_minor is None:
        raise UnknownSku(sku=found.sku, path="/barcode")
    return found


async def _hold(
    conn: Connection, who: Principal, at: UUID, lines: Sequence[BasketLine], now: datetime
) -> None:
    demands = [
        Demand(
            line.demand_id,
            (Want(at, line.sku, line.quantity),),
            "counter",
            who.actor,
            expires_at=now + HELD_FOR,
        )
        for line in lines
    ]
    outcomes = await reservations.hold(conn, demands, now=now)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    if refused:
        short = [
            ShortLine(each.sku, each.requested, each.available)
            for outcome in refused
            for each in outcome.shortages
        ]
        raise StockShort(location_id=at, short=short)


async def _extend(conn: Connection, lines: Sequence[BasketLine], now: datetime) -> None:
    demands = [line.demand_id for line in lines]
    await reservations.extend(conn, demands, until=now + HELD_FOR, now=now)


async def _write_lines(
    conn: Connection, before: Basket, lines: tuple[BasketLine, ...], now: datetime
) -> Basket:
    await conn.run(WRITE_LINES, of=before.id, new_lines=lines, now=now)
    return msgspec.structs.replace(before, lines=lines)


def _priced(of: Basket, coupon_code: str | None) -> pricing.Basket:
    lines = tuple(Line(line.sku, line.quantity) for line in of.lines)
    return pricing.Basket(of.location_id, lines, coupon_code)


async def _standing(
    conn: Connection, of: Basket, coupon_code: str | None, now: datetime
) -> Standing:
    held = {
        each.demand_id: each.expires_at
        for each in await reservations.of_demands(conn, [line.demand_id for line in of.lines])
        if each.alive(now)
    }
    wanted = _priced(of, coupon_code)
    given = await pricing.terms(conn, [wanted])
    return Standing(
        of,
        tuple(held.get(line.demand_id) for line in of.lines),
        pricing.quote(wanted, given, now=now),
    )
