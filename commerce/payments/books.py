"""Operations carried out: claimed before the call, recorded after it, put off when in doubt.

A claim is a lease in `next_attempt_at`: who dies holding it is replaced when it has run out. Each
verb is one short transaction's worth; the calls are made between them (`commerce.settlement`).
"""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import DateTime, Integer, bindparam, or_, select, update

from commerce.kernel import events, ids
from commerce.kernel.sql import Connection, Query
from commerce.payments import rows
from commerce.payments.outcomes import Decided, Told, decide, decide_refund, decide_refund_refused
from commerce.payments.rows import OPEN_STATES, Operation, Payment
from commerce.provider import RefundOutcome
from commerce.tables import payment, payment_operation

LEASE = timedelta(seconds=75)
"""Longer than the calls of one attempt can take."""

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)

_NOW = bindparam("now", type_=DateTime(timezone=True))

CLAIM = Query(
    update(payment_operation)
    .values(
        attempts=payment_operation.c.attempts + 1,
        next_attempt_at=bindparam("until", type_=DateTime(timezone=True)),
        updated_at=_NOW,
    )
    .where(
        payment_operation.c.id == bindparam("operation_id"),
        payment_operation.c.state.in_(OPEN_STATES),
        or_(payment_operation.c.attempts == 0, payment_operation.c.next_attempt_at <= _NOW),
    )
    .returning(payment_operation),
    Operation,
)
DUE = Query(
    select(payment_operation.c.id)
    .where(payment_operation.c.state.in_(OPEN_STATES), payment_operation.c.next_attempt_at <= _NOW)
    .order_by(payment_operation.c.next_attempt_at)
    .limit(bindparam("page", type_=Integer())),
    UUID,
)
WAITING = Query(
    select(payment_operation.c.id)
    .join(payment, payment.c.id == payment_operation.c.payment_id)
    .where(
        payment.c.order_id == bindparam("of_order"),
        payment_operation.c.state.in_(OPEN_STATES),
        or_(payment_operation.c.attempts == 0, payment_operation.c.next_attempt_at <= _NOW),
    )
    .order_by(payment_operation.c.id),
    UUID,
)
LAPSING = Query(
    select(payment.c.id)
    .where(
        payment.c.state == "authorized",
        payment.c.capture_before <= _NOW,
        payment.c.updated_at <= bindparam("looked_before", type_=DateTime(timezone=True)),
    )
    .order_by(payment.c.capture_before)
    .limit(bindparam("page", type_=Integer())),
    UUID,
)
LOOK_AT_LAPSING_EVERY = timedelta(minutes=10)


class Claimed(Struct, frozen=True):
    """An operation that this caller, and nobody else, now carries out."""

    payment: Payment
    operation: Operation

    @property
    def doubtful(self) -> bool:
        """Whether somebody may have called already: look before you call."""
        return self.operation.attempts > 1


class Change(Struct, frozen=True):
    """A payment before and after an answer was recorded."""

    before: Payment
    after: Payment
    operations: tuple[Operation, ...]

    @property
    def actor(self) -> str:
        """Who asked for what was answered; the provider, where nobody did."""
        return self.operations[0].actor if self.operations else "provider"

    def became(self, state: str) -> bool:
        """Whether it has come into this state now."""
        return self.after.state == state != self.before.state


async def due(conn: Connection, *, now: datetime, limit: int) -> list[UUID]:
    """Operations that nobody carries out at present, the longest waiting first."""
    return await conn.run(DUE, now=now, page=limit)


async def waiting(conn: Connection, order_id: UUID, *, now: datetime) -> list[UUID]:
    """Operations of one order that anybody may carry out now, oldest first."""
    return await conn.run(WAITING, of_order=order_id, now=now)


async def lapsing(conn: Connection, *, now: datetime, limit: int) -> list[UUID]:
    """Payments whose hold should have run out by now; those just looked at are left out."""
    return await conn.run(LAPSING, now=now, looked_before=now - LOOK_AT_LAPSING_EVERY, page=limit)


async def claim(conn: Connection, operation_id: UUID, *, now: datetime) -> Claimed | None:
    """Take an operation for this caller; None: it is done, or another is at it."""
    operation = await conn.first(CLAIM, operation_id=operation_id, until=now + LEASE, now=now)
    if operation is None:
        return None
    return Claimed(await rows.get(conn, operation.payment_id), operation)


async def may_confirm(
    conn: Connection, claimed: Claimed, provider_id: str, *, now: datetime
) -> bool:
    """Keep what the payment is called at the provider, before any card is asked.

    False: it has been given up meanwhile; what was created there holds no money.
    """
    before = await rows.lock(conn, claimed.payment.id)
    running = [op for op in (await rows.operations_of(conn, [before]))[before.id] if op.open]
    kinds = {op.id: op.kind for op in running}
    if claimed.operation.id not in kinds or "void" in kinds.values():
        return False
    if before.provider_id != provider_id:
        await rows.write(
            conn, replace(before, provider_id=provider_id, updated_at=now), before=before
        )
    return True


async def record(
    conn: Connection, payment_id: UUID, told: Told, *, location_id: UUID, now: datetime
) -> Change:
    """Write what an answer means. Harmless to repeat, in any order; the order is locked."""
    before = await rows.lock(conn, payment_id)
    of_payment = (await rows.operations_of(conn, [before]))[payment_id]
    decided = decide(before, of_payment, told, now=now)
    change = await _write(conn, before, decided, location_id=location_id, now=now)
    if not decided.void or any(op.open and op.kind == "void" for op in of_payment):
        return change
    give_back = rows.intent(before, "void", before.amount_minor, actor="system", now=now)
    await rows.add_operations(conn, [give_back])
    return replace(change, operations=(*change.operations, give_back))


async def record_refund(
    conn: Connection,
    operation: Operation,
    outcome: RefundOutcome | str,
    *,
    location_id: UUID,
    now: datetime,
) -> Change:
    """Write what became of a refund; a string is why the provider refuses to make it."""
    before = await rows.lock(conn, operation.payment_id)
    of_payment = (await rows.operations_of(conn, [before]))[before.id]
    (current,) = (op for op in of_payment if op.id == operation.id)
    if isinstance(outcome, str):
        decided = decide_refund_refused(before, current, outcome, now=now)
    else:
        decided = decide_refund(before, current, outcome, now=now)
    return await _write(conn, before, decided, location_id=location_id, now=now)


async def put_off(conn: Connection, operation: Operation, *, now: datetime) -> None:
    """A doubt: nobody knows yet whether the call acted. Look again, later each time."""
    current = await _locked(conn, operation)
    if current is not None and current.attempts == operation.attempts:
        wait = min(FIRST_WAIT * 2 ** min(operation.attempts - 1, 20), LONGEST_WAIT)
        await rows.write_operation(
            conn, replace(current, state="unknown", next_attempt_at=now + wait, updated_at=now)
        )


async def start_over(conn: Connection, operation: Operation, *, now: datetime) -> UUID | None:
    """The provider knows nothing of this call and its key is used up: make it under a new id.

    None: the operation has been settled meanwhile.
    """
    current = await _locked(conn, operation)
    if current is None:
        return None
    await rows.write_operation(
        conn,
        replace(
            current, state="failed", failure_code="replaced", next_attempt_at=None, updated_at=now
        ),
    )
    again = replace(
        current,
        id=ids.uuid7(),
        state="pending",
        attempts=0,
        next_attempt_at=now,
        created_at=now,
        updated_at=now,
    )
    await rows.add_operations(conn, [again])
    return again.id


async def _locked(conn: Connection, operation: Operation) -> Operation | None:
    """The operation as it stands under its payment's lock; None when it is settled."""
    await rows.lock(conn, operation.payment_id)
    current = await conn.one(rows.OPERATION, operation_id=operation.id)
    return current if current.open else None


async def _write(
    conn: Connection, before: Payment, decided: Decided, *, location_id: UUID, now: datetime
) -> Change:
    # Where nothing is new, at least somebody has looked.
    after = decided.payment if decided.payment is not before else replace(before, updated_at=now)
    await rows.write(conn, after, before=before)
    for operation in decided.operations:
        await rows.write_operation(conn, operation)
    told = [replace(each, location_id=location_id) for each in decided.events]
    await events.record(conn, told, now=now)
    return Change(before, after, decided.operations)
