"""How a return begins, and how it ends before goods came: requested, approved, rejected, cancelled.

The policy decides at once. What it refuses stays out, except a closed window when somebody asks for
an exception: then the return waits as `requested` for a person to approve or reject it.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import access, orders, stores
from commerce.access import Principal, StoreNotAllowed
from commerce.kernel import events, ids
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.orders import Order
from commerce.returns import policy, reading
from commerce.returns.policy import Eligibility
from commerce.returns.reading import Head, Return, ReturnLine
from commerce.states import RETURN
from commerce.stores import Store
from commerce.tables import return_, return_line

_TIME = DateTime(timezone=True)
_NEW = (
    *("id", "order_id", "location_id", "state", "reason", "refund_minor", "currency"),
    *("requested_by", "requested_at"),
)
_MUTABLE = (
    *("state", "location_id", "refund_minor", "received_by", "received_at", "rejection"),
    "closed_at",
)
_LINES = rows_of(
    "l",
    return_id=Uuid(),
    line_number=Integer(),
    order_id=Uuid(),
    sku=Text(),
    quantity=Integer(),
    refund_minor=BigInteger(),
)
_LINE_COLUMNS = [c for c in _LINES.c if c.name != "position"]

ADD = Query(
    insert(return_).values(
        {name: bindparam(f"new_{name}", type_=return_.c[name].type) for name in _NEW}
    )
)
ADD_LINES = Query(
    insert(return_line).from_select([c.name for c in _LINE_COLUMNS], select(*_LINE_COLUMNS))
)
MOVE = Query(
    update(return_)
    .values({name: bindparam(f"new_{name}", type_=return_.c[name].type) for name in _MUTABLE})
    .where(
        return_.c.id == bindparam("of"),
        return_.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
    )
    .returning(return_.c.id),
    UUID,
)


async def eligibility(conn: Connection, order: Order, *, now: datetime) -> list[Eligibility]:
    """What may come back of each line of an order now, until when, for how much; or why not."""
    claimed = await reading.claimed(conn, order.id)
    return policy.decide(order, claimed, await _places(conn, order), now=now)


async def request(
    conn: Connection,
    who: Principal,
    order_id: UUID,
    wanted: Mapping[int, int],
    *,
    reason: str | None,
    now: datetime,
    location_id: UUID | None = None,
    exception: str | None = None,
) -> Return:
    """Ask to bring units back, by line number; the policy approves at once or refuses.

    A shopper finds only own orders. `exception` says why a closed window should not count; where
    it has closed, the return waits until somebody has approved it. Not safe to repeat. Raises
    NotFound, StoreNotAllowed, OrderNotCompleted, FinalSale, ReturnExceedsBought,
    ReturnWindowClosed.
    """
    order = await orders.lock(conn, order_id)
    if who.shopper_id is not None and order.head.shopper_id not in who.person_ids:
        raise NotFound(kind="order", id=str(order_id))
    check_store(who, location_id)
    claimed = await reading.claimed(conn, order_id)
    places = await _places(conn, order)
    policy.check(order, wanted, claimed)
    late = policy.closed_window(order, wanted, places, now=now)
    if late is not None and exception is None:
        raise late
    made = _return(order, wanted, claimed, reason, who.actor, location_id, now)
    await conn.run(ADD, **{f"new_{name}": getattr(made.head, name) for name in _NEW})
    await conn.run(ADD_LINES, **columns_of(made.lines, *(c.name for c in _LINE_COLUMNS)))
    await tell(conn, who, "return.requested", made, now=now, why=exception)
    if late is not None:
        return made
    made = await move(conn, made, "approved")
    await events.record(conn, [fact("return.approved", made, who.actor)], now=now)
    return made


async def approve(
    conn: Connection, who: Principal, return_id: UUID, *, why: str, now: datetime
) -> Return:
    """Allow the exception that a return asks for: requested -> approved.

    Needs the permission `return.approve_exception`. Raises WrongState.
    """
    who.require("return.approve_exception")
    approved = await move(conn, await lock(conn, who, return_id), "approved")
    await tell(conn, who, "return.approved", approved, now=now, why=why)
    return approved


async def reject(
    conn: Connection, who: Principal, return_id: UUID, *, why: str, now: datetime
) -> Return:
    """Refuse the exception, and say why: requested -> rejected.

    Needs the permission `return.approve_exception`. Raises WrongState.
    """
    who.require("return.approve_exception")
    before = await lock(conn, who, return_id)
    rejected = await move(conn, before, "rejected", rejection=why, closed_at=now)
    await tell(conn, who, "return.rejected", rejected, now=now, why=why)
    return rejected


async def cancel(conn: Connection, who: Principal, return_id: UUID, *, now: datetime) -> Return:
    """Nothing will come back; the units are free for another return. Cancelled already: as it is.

    Raises NotFound, StoreNotAllowed, and WrongState once goods were received.
    """
    before = await lock(conn, who, return_id)
    if before.head.state == "cancelled":
        return before
    cancelled = await move(conn, before, "cancelled", closed_at=now)
    await tell(conn, who, "return.cancelled", cancelled, now=now)
    return cancelled


def check_store(who: Principal, location_id: UUID | None) -> None:
    """Refuse what belongs to a store that is not theirs. Raises StoreNotAllowed."""
    if location_id is not None and not who.sees(location_id):
        raise StoreNotAllowed(location_id=location_id)


async def lock(conn: Connection, who: Principal, return_id: UUID) -> Return:
    """Lock a return's order, then the return, for whoever may change it.

    A shopper's own, or one of their store, or one that has no store yet. Raises NotFound,
    StoreNotAllowed.
    """
    known = await reading.by_id(conn, return_id)
    order = await orders.lock(conn, known.head.order_id)
    if who.shopper_id is not None and order.head.shopper_id not in who.person_ids:
        raise NotFound(kind="return", id=str(return_id))
    locked = await reading.lock(conn, return_id)
    check_store(who, locked.head.location_id)
    return locked


async def move(conn: Connection, before: Return, target: str, **changes: object) -> Return:
    """Write a locked return in its new state. Raises WrongState when it cannot go there."""
    head = replace(before.head, state=target, **changes)
    moved = await conn.run(
        MOVE,
        of=before.id,
        sources=RETURN.sources(target),
        **{f"new_{name}": getattr(head, name) for name in _MUTABLE},
    )
    if not moved:
        raise WrongState(
            kind="return",
            id=str(before.id),
            state=before.head.state,
            allowed=RETURN.sources(target),
        )
    return replace(before, head=head)


async def tell(
    conn: Connection,
    who: Principal,
    kind: str,
    about: Return,
    *,
    now: datetime,
    why: str | None = None,
    **more: object,
) -> None:
    """Record what somebody did to a return; what staff did and why, on the staff record too."""
    if who.shopper_id is None:
        await access.record_staff(
            conn,
            who,
            action=kind,
            subject=f"return:{about.id}",
            changes={"why": why, **more} if why else more,
            now=now,
            location_id=about.head.location_id,
        )
    await events.record(conn, [fact(kind, about, who.actor, **more)], now=now)


def fact(kind: str, about: Return, actor: str, **more: object) -> Event:
    """What happened to a return, on its order's timeline: ids, counts and amounts only."""
    payload = {
        "return_id": about.id,
        "quantity": sum(line.quantity for line in about.lines),
        "refund_minor": about.head.refund_minor,
        "currency": about.head.currency,
        **more,
    }
    return Event(kind, "order", about.head.order_id, actor, payload, about.head.location_id)


async def _places(conn: Connection, order: Order) -> dict[UUID, Store]:
    """The stores that handed an order over: their time zones decide about its windows."""
    return await stores.by_ids(conn, list({share.location_id for share in order.fulfillments}))


def _return(
    order: Order,
    wanted: Mapping[int, int],
    claimed: Mapping[int, int],
    reason: str | None,
    by: str,
    location_id: UUID | None,
    now: datetime,
) -> Return:
    return_id = ids.uuid7()
    lines = tuple(
        ReturnLine(
            return_id=return_id,
            line_number=line.line_number,
            order_id=order.id,
            sku=line.sku,
            quantity=wanted[line.line_number],
            received_quantity=0,
            refund_minor=policy.refund_minor(
                order,
                line,
                first=line.returned_quantity + claimed.get(line.line_number, 0),
                count=wanted[line.line_number],
            ),
        )
        for line in order.lines
        if line.line_number in wanted
    )
    head = Head(
        id=return_id,
        order_id=order.id,
        location_id=location_id,
        state="requested",
        reason=reason,
        refund_minor=sum(line.refund_minor for line in lines),
        currency=order.head.currency,
        requested_by=by,
        requested_at=now,
    )
    return Return(head, lines)
