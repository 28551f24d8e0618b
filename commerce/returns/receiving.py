"""Goods come back at a store, any store: they are counted, put where they belong, and refunded.

Only what really came counts: the rest of the return's claim is free again. Units go back from the
first that is not back yet, so that all partial refunds of a line sum to what was paid for it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    insert,
    select,
    update,
)

from commerce import orders, payments, stores
from commerce.access import Principal
from commerce.kernel import events
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.orders import Order
from commerce.returns import policy, reading
from commerce.returns.reading import Disposition, Return, ReturnUnit
from commerce.returns.requesting import (
    approve,
    check_store,
    fact,
    lock,
    move,
    request,
    tell,
)
from commerce.tables import payment_operation, return_line, return_unit
from inventory import stock
from inventory.stock import Movement

SELLABLE = "restock"
DESTROYED = "destroy"
REFUNDABLE_STATES = ("received", "settled")
"""A bank may bounce a refund days after the return was settled with it."""


class ReturnExceedsRequested(CommerceError):
    """More units than this return asked for. Ask for another return of the rest."""

    code = "return_exceeds_requested"
    return_id: UUID
    line_number: int
    received: int
    requested: int


class NothingReceived(CommerceError):
    """No unit came back. Cancel the return if none will."""

    code = "nothing_received"


class Arrival(msgspec.Struct, frozen=True):
    """So many units of an order line that lie on the counter, and what becomes of them."""

    line_number: int
    disposition: Disposition
    quantity: int


class Received(msgspec.Struct, frozen=True):
    """A return after its goods came, and the refunds that `settlement` must carry out."""

    return_: Return
    operations: tuple[UUID, ...]

    @property
    def settled(self) -> bool:
        """Whether all the money has gone back already."""
        return self.return_.head.state == "settled"


_LINES = rows_of("l", line_number=Integer(), received_quantity=Integer(), refund_minor=BigInteger())
_UNITS = rows_of(
    "u", return_id=Uuid(), line_number=Integer(), disposition=Text(), quantity=Integer()
)
_UNIT_COLUMNS = [c for c in _UNITS.c if c.name != "position"]

RECEIVE_LINES = Query(
    update(return_line)
    .values(received_quantity=_LINES.c.received_quantity, refund_minor=_LINES.c.refund_minor)
    .where(
        return_line.c.return_id == bindparam("of", type_=Uuid()),
        return_line.c.line_number == _LINES.c.line_number,
    )
)
ADD_UNITS = Query(
    insert(return_unit).from_select([c.name for c in _UNIT_COLUMNS], select(*_UNIT_COLUMNS))
)
REFUNDED = Query(
    select(cast(func.coalesce(func.sum(payment_operation.c.amount_minor), 0), BigInteger())).where(
        payment_operation.c.return_id == bindparam("of", type_=Uuid()),
        payment_operation.c.kind == "refund",
        payment_operation.c.state == "succeeded",
    ),
    int,
)


async def receive(
    conn: Connection,
    who: Principal,
    return_id: UUID,
    arrivals: Sequence[Arrival],
    *,
    location_id: UUID,
    now: datetime,
) -> Received:
    """Take goods back at a store: approved -> received, stock there, refund of exactly these units.

    Any store may, wherever the return was asked for. A refund that needs no provider is done at
    once, and then so is the return. Raises NotFound, StoreNotAllowed, WrongState (also for a second
    call), NothingReceived, ReturnExceedsRequested, RefundExceedsCapture; then nothing has changed.
    """
    check_store(who, location_id)
    await stores.by_id(conn, location_id)
    known = await reading.by_id(conn, return_id)
    order = await orders.lock(conn, known.head.order_id)
    counted = count(order, await reading.lock(conn, return_id), arrivals)
    received = await move(
        conn,
        counted,
        "received",
        location_id=location_id,
        refund_minor=sum(line.refund_minor for line in counted.lines),
        received_by=who.actor,
        received_at=now,
    )
    await _write(conn, received)
    await stock.move(conn, _movements(received, who.actor), now=now)
    operations = await _refund(conn, received, who, now)
    await tell(
        conn,
        who,
        "return.received",
        received,
        now=now,
        received=sum(unit.quantity for unit in received.units),
        restocked=sum(u.quantity for u in received.units if u.disposition == SELLABLE),
    )
    return Received(await _settle(conn, received, who.actor, now), operations)


async def take_back(
    conn: Connection,
    who: Principal,
    order_id: UUID,
    arrivals: Sequence[Arrival],
    *,
    location_id: UUID,
    reason: str | None,
    now: datetime,
    exception: str | None = None,
) -> Received:
    """A return at the counter in one step: request, approve, receive. Raises what these raise.

    With `exception` the one who takes the goods also approves the closed window, and says why.
    """
    wanted: dict[int, int] = {}
    for each in arrivals:
        wanted[each.line_number] = wanted.get(each.line_number, 0) + each.quantity
    made = await request(
        conn,
        who,
        order_id,
        wanted,
        reason=reason,
        now=now,
        location_id=location_id,
        exception=exception,
    )
    if exception is not None and made.head.state == "requested":
        await approve(conn, who, made.id, why=exception, now=now)
    return await receive(conn, who, made.id, arrivals, location_id=location_id, now=now)


async def refund_again(
    conn: Connection, who: Principal, return_id: UUID, *, now: datetime
) -> Received:
    """Ask once more for what a failed refund still owes. Nothing owed: no operation.

    Raises NotFound, StoreNotAllowed, and WrongState before goods were received.
    """
    taken = await lock(conn, who, return_id)
    if taken.head.state not in REFUNDABLE_STATES:
        raise WrongState(
            kind="return",
            id=str(return_id),
            state=taken.head.state,
            allowed=list(REFUNDABLE_STATES),
        )
    operations = await _refund(conn, taken, who, now)
    if operations:
        await tell(conn, who, "return.refund_repeated", taken, now=now)
    return Received(await _settle(conn, taken, who.actor, now), operations)


async def settle(conn: Connection, return_id: UUID, *, by: str, now: datetime) -> bool:
    """All refunds of a return have succeeded: received -> settled. False: not yet, or already."""
    known = await reading.by_id(conn, return_id)
    await orders.lock(conn, known.head.order_id)
    before = await reading.lock(conn, return_id)
    return (await _settle(conn, before, by, now)).head.state != before.head.state


async def _refund(
    conn: Connection, taken: Return, who: Principal, now: datetime
) -> tuple[UUID, ...]:
    operations = await payments.request_refunds(
        conn,
        taken.head.order_id,
        taken.id,
        amount_minor=taken.head.refund_minor,
        actor=who.actor,
        now=now,
    )
    return tuple(operations)


async def _settle(conn: Connection, received: Return, by: str, now: datetime) -> Return:
    refunded_minor = await conn.one(REFUNDED, of=received.id)
    if received.head.state != "received" or refunded_minor < received.head.refund_minor:
        return received
    settled = await move(conn, received, "settled", closed_at=now)
    await events.record(conn, [fact("return.settled", settled, by)], now=now)
    return settled


def count(order: Order, requested: Return, arrivals: Sequence[Arrival]) -> Return:
    """A return with what came of it and what that is worth. Pure.

    Raises NothingReceived, ReturnExceedsRequested.
    """
    units = _units(requested, arrivals)
    counts = {line.line_number: 0 for line in requested.lines}
    for unit in units:
        counts[unit.line_number] += unit.quantity
    sold = {line.line_number: line for line in order.lines}
    lines = tuple(
        replace(
            line,
            received_quantity=counts[line.line_number],
            refund_minor=policy.refund_minor(
                order,
                sold[line.line_number],
                first=sold[line.line_number].returned_quantity,
                count=counts[line.line_number],
            ),
        )
        for line in requested.lines
    )
    return replace(requested, lines=lines, units=units)


async def _write(conn: Connection, received: Return) -> None:
    await conn.run(
        RECEIVE_LINES,
        of=received.id,
        **columns_of(received.lines, "line_number", "received_quantity", "refund_minor"),
    )
    await conn.run(ADD_UNITS, **columns_of(received.units, *(c.name for c in _UNIT_COLUMNS)))
    counts = {line.line_number: line.received_quantity for line in received.lines}
    await orders.count_returned(conn, received.head.order_id, counts)


def _units(requested: Return, arrivals: Sequence[Arrival]) -> tuple[ReturnUnit, ...]:
    totals: dict[tuple[int, Disposition], int] = {}
    counts: dict[int, int] = {}
    for each in arrivals:
        key = (each.line_number, each.disposition)
        totals[key] = totals.get(key, 0) + each.quantity
        counts[each.line_number] = counts.get(each.line_number, 0) + each.quantity
    if not counts:
        raise NothingReceived
    asked = {line.line_number: line.quantity for line in requested.lines}
    for line_number, quantity in counts.items():
        if quantity > asked.get(line_number, 0):
            raise ReturnExceedsRequested(
                return_id=requested.id,
                line_number=line_number,
                received=quantity,
                requested=asked.get(line_number, 0),
            )
    return tuple(
        ReturnUnit(requested.id, line_number, disposition, quantity)
        for (line_number, disposition), quantity in sorted(totals.items())
    )


def _movements(received: Return, by: str) -> list[Movement]:
    """What came into the store's stock; what is destroyed never did."""
    assert received.head.location_id is not None
    skus = {line.line_number: line.sku for line in received.lines}
    return [
        Movement(
            received.head.location_id,
            skus[unit.line_number],
            "return",
            unit.quantity,
            by,
            reference=received.id,
            unsellable=None if unit.disposition == SELLABLE else unit.disposition,
        )
        for unit in received.units
        if unit.disposition != DESTROYED
    ]
