"""Placing orders: the hottest verb. One batch costs about as many statements as one order.

    terms -> price (pure) -> hold stock -> write -> events

Every placement has an outcome of its own: the order, or the refusal, which leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Insert,
    Integer,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from commerce import customers, payments, pricing, stores
from commerce.customers import Contact
from commerce.kernel import events
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.events import Event
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query, records, records_of
from commerce.orders.numbers import Numbers
from commerce.orders.reading import Fulfillment, Head, Order, OrderLine
from commerce.payments import NewPayment
from commerce.pricing import Basket, CouponRefused, Quote, Terms
from commerce.stores import Store
from commerce.tables import fulfillment, order_line, orders
from inventory import reservations
from inventory.demands import Demand, HoldClass, HoldExpired, Refused, Want

PAYMENT_WINDOW = timedelta(minutes=30)
"""How long an order by card holds its stock while the shopper pays."""

Tender: TypeAlias = Literal["card", "cash", "external_terminal", "pay_at_pickup"]


class CardPayment(msgspec.Struct, frozen=True):
    """Ids made for the first attempt to pay by card, and what the card is called there."""

    payment_id: UUID
    operation_id: UUID
    payment_method: str
    return_url: str | None = None


class Attribution(msgspec.Struct, frozen=True):
    """Who served the shopper, and at which store: whose sale it is, wherever the goods are."""

    actor: str
    location_id: UUID


class Placement(msgspec.Struct, frozen=True):
    """One order to be. All ids are made beforehand, so a repeated batch writes the same rows.

    `seen` is the total that the shopper saw. `demand_id` names a hold that exists (a checkout's,
    a till basket's), which the order takes over; without it stock is held anew. `also` are facts
    that are recorded with the order's own.
    """

    order_id: UUID
    fulfillment_id: UUID
    basket: Basket
    seen: Money
    tender: Tender
    channel: str
    key_id: UUID
    actor: str
    kind: Literal["pickup", "carry_out"] = "pickup"
    shopper_id: UUID | None = None
    contact: Contact | None = None
    cart_id: UUID | None = None
    demand_id: UUID | None = None
    card: CardPayment | None = None
    attribution: Attribution | None = None
    also: tuple[Event, ...] = ()

    @property
    def demand(self) -> UUID:
        """The demand that its reservations stand under."""
        return self.demand_id or self.fulfillment_id

    @property
    def waits_for_payment(self) -> bool:
        """Whether it is placed only when the card has been authorized."""
        return self.tender == "card"


class PriceChanged(CommerceError):
    """The shopper saw another total. Show the new one and ask again."""

    code = "price_changed"
    seen: Money
    total: Money


class PickupUnavailable(CommerceError):
    """The store does not hand out orders (now): switched off, or it never opens."""

    code = "pickup_unavailable"
    location_id: UUID
    reason: Literal["pickup_disabled", "store_closed"]


class ShortLine(msgspec.Struct, frozen=True):
    """A SKU of which the location has too few."""

    sku: str
    requested: int
    available: int


class StockShort(CommerceError):
    """The location cannot promise every line; nothing of the order is held."""

    code = "stock_short"
    location_id: UUID
    short: list[ShortLine]


class _Ready(msgspec.Struct, frozen=True):
    placement: Placement
    quote: Quote
    promised_at: datetime | None


_HEADS = records_of(
    "new_orders",
    id=Uuid(), number=Text(), state=Text(), channel=Text(), key_id=Uuid(), shopper_id=Uuid(),
    contact_id=Uuid(), cart_id=Uuid(), location_id=Uuid(), currency=Text(), tax_included=Boolean(),
    subtotal_minor=BigInteger(), discount_minor=BigInteger(), tax_minor=BigInteger(),
    total_minor=BigInteger(), coupon_code=Text(), tender=Text(), attributed_to=Text(),
    attributed_location_id=Uuid(), created_at=DateTime(timezone=True),
    placed_at=DateTime(timezone=True),
)  # fmt: skip
_LINES = records_of(
    "new_lines",
    order_id=Uuid(), line_number=Integer(), fulfillment_id=Uuid(), sku=Text(), name=Text(),
    quantity=Integer(), unit_price_minor=BigInteger(), discount_minor=BigInteger(),
    tax_rate_bp=Integer(), tax_minor=BigInteger(), total_minor=BigInteger(), units=JSONB(),
    final_sale=Boolean(), return_window_days=Integer(),
)  # fmt: skip
_FULFILLMENTS = records_of(
    "new_fulfillments",
    id=Uuid(), order_id=Uuid(), location_id=Uuid(), demand_id=Uuid(), kind=Text(), state=Text(),
    promised_at=DateTime(timezone=True), requested_at=DateTime(timezone=True),
)  # fmt: skip


def _insert(table: Table, rows: TableValuedAlias) -> Insert:
    return insert(table).from_select([column.name for column in rows.c], select(*rows.c))


WRITE_ORDERS = Query(_insert(orders, _HEADS))
WRITE_LINES = Query(_insert(order_line, _LINES))
WRITE_FULFILLMENTS = Query(_insert(fulfillment, _FULFILLMENTS))


async def place(
    conn: Connection, placements: Sequence[Placement], *, numbers: Numbers, now: datetime
) -> list[Order | CommerceError]:
    """Place many orders, first come, first served; per placement the order or why not.

    Refusals: UnknownStore, UnknownSku, CouponRefused, PriceChanged, InvalidField (a card that has
    nothing to pay), PickupUnavailable, StockShort, HoldExpired. Not to be repeated after its
    commit: idempotency keys stand before it.
    """
    if not placements:
        return []
    given = await pricing.terms(conn, [each.basket for each in placements])
    decided = [*_decide(placements, given, now)]
    ready = [each for each in decided if isinstance(each, _Ready)]
    refused = await _hold(conn, ready, now)
    accepted = [each for each in ready if each.placement.order_id not in refused]
    outcomes: dict[UUID, Order | CommerceError] = {
        each.order_id: outcome
        for each, outcome in zip(placements, decided, strict=True)
        if isinstance(outcome, CommerceError)
    }
    outcomes |= refused
    outcomes |= await _write(conn, accepted, numbers, now)
    late = _next_in_line(placements, outcomes)
    placed_late = await place(conn, late, numbers=numbers, now=now)
    outcomes |= {each.order_id: new for each, new in zip(late, placed_late, strict=True)}
    return [outcomes[each.order_id] for each in placements]


def _next_in_line(
    placements: Sequence[Placement], outcomes: Mapping[UUID, Order | CommerceError]
) -> list[Placement]:
    """Who gets the uses of a coupon that orders before them in the batch did not take after all."""
    freed = {
        each.basket.coupon_code
        for each in placements
        if isinstance(outcomes[each.order_id], StockShort | HoldExpired)
    }
    return [
        each
        for each in placements
        if isinstance(refusal := outcomes[each.order_id], CouponRefused)
        and refusal.reason == "used_up"
        and refusal.coupon_code in freed
    ]


def _decide(
    placements: Sequence[Placement], given: Terms, now: datetime
) -> list[_Ready | CommerceError]:
    """Price and check every placement; uses of a coupon within the batch count too. Pure."""
    used: dict[str, int] = {}
    outcomes: list[_Ready | CommerceError] = []
    for each in placements:
        code = each.basket.coupon_code or ""
        try:
            quote = pricing.quote(each.basket, given, now=now, used=used.get(code, 0))
            _check_payable(each, quote)
            promised_at = _promise(each, given, now)
        except CommerceError as refusal:
            outcomes.append(refusal)
            continue
        if code:
            used[code] = used.get(code, 0) + 1
        outcomes.append(_Ready(each, quote, promised_at))
    return outcomes


def _check_payable(placement: Placement, quote: Quote) -> None:
    total = Money(quote.total_minor, quote.currency)
    if placement.seen != total:
        raise PriceChanged(seen=placement.seen, total=total)
    if placement.waits_for_payment and not quote.total_minor:
        raise InvalidField(path="/tender", reason="there is nothing to pay; use pay_at_pickup")


def _promise(placement: Placement, given: Terms, now: datetime) -> datetime | None:
    if placement.kind != "pickup":
        return None
    return promise_pickup(given.stores[placement.basket.location_id], now)


def promise_pickup(at: Store, now: datetime) -> datetime:
    """From when on an order placed now can be picked up there. Raises PickupUnavailable. Pure."""
    if not at.pickup_enabled:
        raise PickupUnavailable(location_id=at.location_id, reason="pickup_disabled")
    promised_at = stores.promise_at(at, now)
    if promised_at is None:
        raise PickupUnavailable(location_id=at.location_id, reason="store_closed")
    return promised_at


async def _hold(
    conn: Connection, ready: Sequence[_Ready], now: datetime
) -> dict[UUID, CommerceError]:
    """Promise the stock of every placement; who is refused, and why."""
    new = [each for each in ready if each.placement.demand_id is None]
    demands = [_demand(each, now) for each in new]
    outcomes = await reservations.hold(conn, demands, now=now) if demands else []
    refused: dict[UUID, CommerceError] = {}
    for each, outcome in zip(new, outcomes, strict=True):
        if isinstance(outcome, Refused):
            short = [ShortLine(s.sku, s.requested, s.available) for s in outcome.shortages]
            refused[each.placement.order_id] = StockShort(
                location_id=each.placement.basket.location_id, short=short
            )
        elif isinstance(outcome, HoldExpired):
            refused[each.placement.order_id] = outcome
    taken = [each for each in ready if each.placement.demand_id is not None]
    alive = await _take_over(conn, taken, now)
    for each in taken:
        if each.placement.demand not in alive:
            refused[each.placement.order_id] = HoldExpired(demand_id=each.placement.demand)
    return refused


async def _take_over(conn: Connection, taken: Sequence[_Ready], now: datetime) -> set[UUID]:
    """Holds that existed before: those that wait for a payment live on, the others are for good.

    Returns those that still live. The counters do not change, so the levels need no lock.
    """
    waiting = [each.placement.demand for each in taken if each.placement.waits_for_payment]
    extended = await reservations.extend(conn, waiting, until=now + PAYMENT_WINDOW, now=now)
    paid = {
        each.placement.demand: each.promised_at
        for each in taken
        if not each.placement.waits_for_payment
    }
    return extended | await reservations.commit(conn, paid, now=now)


def _demand(ready: _Ready, now: datetime) -> Demand:
    placement = ready.placement
    at = placement.basket.location_id
    waits = placement.waits_for_payment
    hold_class: HoldClass = "order"
    if waits:
        hold_class = "signed_in" if placement.shopper_id else "guest"
    return Demand(
        id=placement.demand,
        wants=tuple(Want(at, line.sku, line.quantity) for line in placement.basket.lines),
        hold_class=hold_class,
        actor=placement.actor,
        expires_at=now + PAYMENT_WINDOW if waits else None,
        promised_at=ready.promised_at,
        new=placement.demand_id is None,
    )


async def _write(
    conn: Connection, accepted: Sequence[_Ready], numbers: Numbers, now: datetime
) -> dict[UUID, Order]:
    if not accepted:
        return {}
    drawn = await numbers.take(conn, len(accepted))
    made = [_order(each, number, now) for each, number in zip(accepted, drawn, strict=True)]
    contacts = [each.placement.contact for each in accepted if each.placement.contact]
    await customers.add_contacts(conn, contacts)
    await conn.later(WRITE_ORDERS, new_orders=records([order.head for order in made]))
    await conn.later(WRITE_LINES, new_lines=records([each for o in made for each in o.lines]))
    await conn.later(
        WRITE_FULFILLMENTS, new_fulfillments=records([o.fulfillments[0] for o in made])
    )
    await payments.open_many(
        conn, [_payment(e, now) for e in accepted if e.placement.card], now=now
    )
    await pricing.redeem(conn, _uses(accepted))
    facts = [
        fact
        for each, order in zip(accepted, made, strict=True)
        for fact in (*_facts(each, order), *each.placement.also)
    ]
    await events.record(conn, facts, now=now)
    return {order.id: order for order in made}


def _order(ready: _Ready, number: str, now: datetime) -> Order:
    placement, quote = ready.placement, ready.quote
    waits, by = placement.waits_for_payment, placement.attribution
    placed_at = None if waits else now
    head = Head(
        id=placement.order_id,
        number=number,
        state="pending_payment" if waits else "placed",
        channel=placement.channel,
        key_id=placement.key_id,
        shopper_id=placement.shopper_id,
        contact_id=placement.contact.id if placement.contact else None,
        cart_id=placement.cart_id,
        location_id=placement.basket.location_id,
        currency=quote.currency,
        tax_included=quote.tax_included,
        subtotal_minor=quote.subtotal_minor,
        discount_minor=quote.discount_minor,
        tax_minor=quote.tax_minor,
        total_minor=quote.total_minor,
        coupon_code=quote.coupon_code,
        tender=placement.tender,
        attributed_to=by.actor if by else None,
        attributed_location_id=by.location_id if by else None,
        cancel_reason=None,
        created_at=now,
        placed_at=placed_at,
        closed_at=None,
    )
    lines = tuple(
        OrderLine(
            order_id=placement.order_id,
            line_number=line_number,
            fulfillment_id=placement.fulfillment_id,
            **msgspec.structs.asdict(line),
        )
        for line_number, line in enumerate(quote.lines, start=1)
    )
    share = Fulfillment(
        id=placement.fulfillment_id,
        order_id=placement.order_id,
        location_id=head.location_id,
        demand_id=placement.demand,
        kind=placement.kind,
        state="requested" if placement.kind == "pickup" else "collected",
        promised_at=ready.promised_at,
        requested_at=placed_at,
    )
    return Order(head, lines, (share,))


def _payment(ready: _Ready, now: datetime) -> NewPayment:
    placement, card = ready.placement, ready.placement.card
    assert card is not None
    return NewPayment(
        payment_id=card.payment_id,
        operation_id=card.operation_id,
        order_id=placement.order_id,
        fulfillment_id=placement.fulfillment_id,
        tender="card",
        amount_minor=ready.quote.total_minor,
        currency=ready.quote.currency,
        payment_method=card.payment_method,
        return_url=card.return_url,
        deadline_at=now + PAYMENT_WINDOW,
        actor=placement.actor,
    )


def _uses(accepted: Sequence[_Ready]) -> dict[str, int]:
    uses: dict[str, int] = {}
    for each in accepted:
        if each.quote.coupon_limited:
            code = each.quote.coupon_code or ""
            uses[code] = uses.get(code, 0) + 1
    return uses


def _facts(ready: _Ready, order: Order) -> list[Event]:
    actor, at, share = ready.placement.actor, order.head.location_id, order.fulfillments[0]
    if ready.placement.waits_for_payment:
        return [Event("order.payment_requested", "order", order.id, actor, {}, at)]
    return placed_facts(order, share, actor)


def placed_facts(order: Order, share: Fulfillment, actor: str) -> list[Event]:
    """The events of an order that is placed now."""
    at = order.head.location_id
    total = {"total_minor": order.head.total_minor, "currency": order.head.currency}
    facts = [
        Event("order.placed", "order", order.id, actor, {"channel": order.head.channel} | total, at)
    ]
    if share.kind == "pickup":
        facts.append(
            Event("pickup.requested", "order", order.id, actor, {"fulfillment_id": share.id}, at)
        )
    return facts
