"""Goods change hands: a pickup against its code, and what is carried out of the store at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, any_, bindparam, case, null, or_, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import access, orders, payments
from commerce.access import Principal
from commerce.fulfillment import tenders
from commerce.fulfillment.reading import BY_ID, Pickup, by_id, due_of, find, refusal
from commerce.fulfillment.tenders import CounterTender, TenderRequired
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.events import Event
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query
from commerce.orders import Fulfillment, Order, OrderLine
from commerce.states import PICKUP
from commerce.tables import fulfillment
from inventory import reservations

CODE_LENGTH = 6
CODE_TRIES = 5
CODE_LOCKED_FOR = timedelta(minutes=15)


class PickupCodeWrong(CommerceError):
    """This is not the code of this pickup. Ask the shopper for it again."""

    code = "pickup_code_wrong"
    tries_left: int


class PickupCodeLocked(CommerceError):
    """Five wrong codes: no more tries for a while, unless a manager decides."""

    code = "pickup_code_locked"
    until: datetime


class HandedOver(msgspec.Struct, frozen=True):
    """What was given and how it is paid; `change` goes back to the shopper.

    `operations` are to be carried out after the commit; the order is completed by the last of them,
    and at once where there are none.
    """

    pickup: Pickup
    change: Money
    operations: list[UUID]


class _Tries(msgspec.Struct, frozen=True):
    code_tries: int
    code_locked_until: datetime | None


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_OF = fulfillment.c.id == bindparam("of")
_UNLOCKED = or_(fulfillment.c.code_locked_until.is_(None), fulfillment.c.code_locked_until <= _NOW)
# A lock that has run out starts the count again.
_TRIES = case((fulfillment.c.code_locked_until.is_(None), fulfillment.c.code_tries + 1), else_=1)

COUNT_TRY = Query(
    update(fulfillment)
    .where(_OF, fulfillment.c.state == "ready", _UNLOCKED)
    .values(
        code_tries=_TRIES,
        code_locked_until=case(
            (_TRIES >= CODE_TRIES, bindparam("locked_until", type_=_TIME)), else_=null()
        ),
    )
    .returning(fulfillment.c.code_tries, fulfillment.c.code_locked_until),
    _Tries,
)
_COLLECT = (
    update(fulfillment)
    .values(
        state="collected",
        closed_at=_NOW,
        handed_over_by=bindparam("by", type_=Text()),
        expires_at=null(),
    )
    .where(_OF, fulfillment.c.state == any_(bindparam("sources", type_=ARRAY(Text))))
    .returning(fulfillment.c.id)
)
COLLECT = Query(_COLLECT.where(_UNLOCKED), UUID)
COLLECT_BY_OVERRIDE = Query(_COLLECT, UUID)
CARRIED_OUT = Query(
    update(fulfillment)
    .values(closed_at=_NOW, handed_over_by=bindparam("by", type_=Text()))
    .where(_OF, fulfillment.c.kind == "carry_out", fulfillment.c.closed_at.is_(None))
    .returning(fulfillment.c.id),
    UUID,
)


def pickup_code(secret: bytes, pickup_id: UUID) -> str:
    """What the shopper shows at the counter, from the installation's secret. Never stored."""
    return ids.derived(secret, "pickup", pickup_id, CODE_LENGTH)


async def hand_over(
    conn: Connection,
    who: Principal,
    pickup_id: UUID,
    *,
    secret: bytes,
    code: str | None,
    override_reason: str | None,
    tender: CounterTender | None,
    now: datetime,
) -> HandedOver | PickupCodeWrong | PickupCodeLocked:
    """Give the goods to the person who shows the code: ready -> collected.

    A wrong code is *returned*, not raised, because its try must be committed; whoever gives an
    `override_reason` needs the permission `pickup.override`, and no code. A card is captured for
    what was not cancelled; `tender` pays otherwise, and instead of a card, whose hold is then given
    back. Raises AlreadyCollected, WrongState, PickupCodeLocked; AuthorizationLapsed and
    TenderRequired when nothing pays; TenderedTooLittle. Of two at once exactly one succeeds.
    """
    found = await find(conn, who, pickup_id)
    if override_reason is not None:
        who.require("pickup.override")
    order = await orders.lock(conn, found.order_id)
    (share,) = (each for each in order.fulfillments if each.id == pickup_id)
    if override_reason is None and not ids.same_code(code or "", pickup_code(secret, pickup_id)):
        return await _count_try(conn, pickup_id, now)
    await _collect(conn, who, pickup_id, override=override_reason is not None, now=now)
    lines = [line for line in order.lines if line.fulfillment_id == pickup_id]
    due = due_of(lines, order.head.currency, tax_included=order.head.tax_included)
    by_card = order.head.tender == "card" and tender is None and due.amount_minor > 0
    operations = []
    if by_card:
        operations = await payments.request_capture(
            conn, pickup_id, amount_minor=due.amount_minor, actor=who.actor, now=now
        )
        if not operations:
            raise TenderRequired(due=due)
    else:
        tender = tenders.check(tender, due)
        if order.head.tender == "card":
            await payments.give_back(conn, order.id, actor=who.actor, now=now)
    await _goods_leave(conn, order, share, lines, who, now)
    change = Money(0, due.currency)
    if tender is not None:
        change = await _take(conn, tender, share, due, who, now)
    paid_by = order.head.tender if by_card else _kind(tender)
    await _record(conn, who, share, due, paid_by, override_reason, now)
    if not by_card:
        await orders.complete(conn, order.id, actor=who.actor, now=now)
    return HandedOver(await by_id(conn, pickup_id), change, operations)


async def carry_out(
    conn: Connection, who: Principal, order: Order, tender: CounterTender | None, *, now: datetime
) -> Money:
    """Complete an order whose goods leave at once, from a till: pay, and off they go.

    The order was placed in this transaction, with a carry_out fulfillment. Returns the change.
    Raises TenderRequired, TenderedTooLittle, InvalidField.
    """
    (share,) = order.fulfillments
    due = due_of(order.lines, order.head.currency, tax_included=order.head.tax_included)
    tender = tenders.check(tender, due)
    closed = await conn.run(CARRIED_OUT, of=share.id, by=who.actor, now=now)
    assert closed, "only the goods of a till leave without a pickup"
    await _goods_leave(conn, order, share, order.lines, who, now)
    change = Money(0, due.currency)
    if tender is not None:
        change = await _take(conn, tender, share, due, who, now)
    await orders.complete(conn, order.id, actor=who.actor, now=now)
    return change


async def _collect(
    conn: Connection, who: Principal, pickup_id: UUID, *, override: bool, now: datetime
) -> None:
    given = {"of": pickup_id, "sources": PICKUP.sources("collected"), "by": who.actor, "now": now}
    if not await conn.run(COLLECT_BY_OVERRIDE if override else COLLECT, **given):
        raise await _refusal(conn, pickup_id, now)


async def _count_try(
    conn: Connection, pickup_id: UUID, now: datetime
) -> PickupCodeWrong | PickupCodeLocked:
    counted = await conn.first(COUNT_TRY, of=pickup_id, now=now, locked_until=now + CODE_LOCKED_FOR)
    if counted is None:
        raise await _refusal(conn, pickup_id, now)
    if counted.code_locked_until is not None:
        return PickupCodeLocked(until=counted.code_locked_until)
    return PickupCodeWrong(tries_left=CODE_TRIES - counted.code_tries)


async def _refusal(conn: Connection, pickup_id: UUID, now: datetime) -> CommerceError:
    head = await conn.one(BY_ID, of=pickup_id)
    until = head.code_locked_until
    if head.state == "ready" and until is not None and until > now:
        return PickupCodeLocked(until=until)
    return await refusal(conn, pickup_id, "collected")


async def _goods_leave(
    conn: Connection,
    order: Order,
    share: Fulfillment,
    lines: Sequence[OrderLine],
    who: Principal,
    now: datetime,
) -> None:
    units = {line.line_number: line.quantity - line.cancelled_quantity for line in lines}
    left = await reservations.fulfill(conn, share.demand_id, actor=who.actor, now=now)
    assert sum(each.quantity for each in left) == sum(units.values()), "goods without a promise"
    await orders.count_fulfilled(conn, order.id, units)


async def _take(
    conn: Connection,
    tender: CounterTender,
    share: Fulfillment,
    due: Money,
    who: Principal,
    now: datetime,
) -> Money:
    return await tenders.take(
        conn,
        tender,
        order_id=share.order_id,
        fulfillment_id=share.id,
        due=due,
        actor=who.actor,
        now=now,
    )


async def _record(
    conn: Connection,
    who: Principal,
    share: Fulfillment,
    due: Money,
    paid_by: str | None,
    override_reason: str | None,
    now: datetime,
) -> None:
    changes = {"tender": paid_by, "due_minor": due.amount_minor, "currency": due.currency}
    override = {} if override_reason is None else {"override_reason": override_reason}
    await access.record_staff(
        conn,
        who,
        action="pickup.collected",
        subject=f"pickup:{share.id}",
        changes=changes | override,
        now=now,
        location_id=share.location_id,
    )
    payload = {"fulfillment_id": share.id, "override": override_reason is not None, **changes}
    fact = Event("pickup.collected", "order", share.order_id, who.actor, payload, share.location_id)
    await events.record(conn, [fact], now=now)


def _kind(tender: CounterTender | None) -> str | None:
    if tender is None:
        return None
    return "cash" if isinstance(tender, tenders.Cash) else "external_terminal"
