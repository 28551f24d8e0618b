"""One operation carried to its outcome: claimed, called, recorded.

A claim beyond the first is a doubt: somebody may have called and died before the answer was
written. Then the truth is retrieved first, and the call is repeated only when the provider knows
nothing of it, under the same key, or under a new one when the key is used up.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

from commerce import orders, payments
from commerce.kernel.clock import Clock
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.payments import Claimed, Operation, Payment, PaymentRunning, Told
from commerce.provider import (
    KEY_LIFETIME,
    Authorized,
    Captured,
    Created,
    Gateway,
    Lapsed,
    PaymentOutcome,
    ProviderRefused,
    ProviderUnavailable,
    RefundOutcome,
    Voided,
)
from commerce.settlement.consequences import follow, follow_refund

MAX_REPEATS = 3
"""Attempts under one key. Providers replay a key's first failure, so more would not help."""

Next: TypeAlias = list[UUID]
"""Operations that nobody has begun yet and that follow from what was just recorded."""


async def run(db: Database, gateway: Gateway, operation_id: UUID, *, now: Clock) -> None:
    """Carry one operation, and what follows from it, as far as the provider's answers reach.

    Returns without having called when another is at it or it is done. In doubt the operation is
    put off; `resume` goes on with it. Safe to repeat, and to run twice at once.
    """
    todo = [operation_id]
    seen: set[UUID] = set()
    while todo:
        current = todo.pop(0)
        if current not in seen:
            seen.add(current)
            todo += await _carry_out(db, gateway, current, now)


async def settle_order(db: Database, gateway: Gateway, order_id: UUID, *, now: Clock) -> None:
    """Carry out what waits for an order, until its payments are certain or need the shopper.

    Raises PaymentRunning while a card's answer is still unknown; ask again in a moment.
    """
    async with db.reading() as conn:
        waiting = await payments.waiting(conn, order_id, now=now())
    for operation_id in waiting:
        await run(db, gateway, operation_id, now=now)
    for each in await _unanswered(db, order_id):
        if each.provider_id is not None:
            await _look_quietly(db, gateway, each, now)
    unanswered = await _unanswered(db, order_id)
    if unanswered:
        raise PaymentRunning(payment_id=unanswered[0].id)


async def look(
    db: Database, gateway: Gateway, payment_id: UUID, *, now: Clock
) -> PaymentOutcome | None:
    """Retrieve the truth about a card payment and record it; None where there is none to retrieve.

    For webhooks, and for a shopper who comes back from the bank. Raises ProviderUnavailable.
    """
    async with db.reading() as conn:
        payment = await payments.get(conn, payment_id)
    if payment.provider_id is None:
        return None
    outcome = await gateway.retrieve(payment.provider_id)
    for operation_id in await _record(db, payment, Told(outcome), now):
        await run(db, gateway, operation_id, now=now)
    return outcome


async def look_at_refund(
    db: Database, gateway: Gateway, operation: Operation, *, now: Clock
) -> bool:
    """Retrieve what became of a refund and record it. False: the provider does not know it."""
    async with db.reading() as conn:
        payment = await payments.get(conn, operation.payment_id)
    found = await _find_refund(gateway, payment, operation)
    if found is None:
        return False
    await _record_refund(db, payment, operation, found, now)
    return True


async def _carry_out(db: Database, gateway: Gateway, operation_id: UUID, now: Clock) -> Next:
    claimed = await db.commit(lambda conn: payments.claim(conn, operation_id, now=now()))
    if claimed is None:
        return []
    try:
        if claimed.operation.kind == "refund":
            return await _refund(db, gateway, claimed, now)
        told = await _CALLS[claimed.operation.kind](db, gateway, claimed, now)
    except ProviderUnavailable:
        await db.commit(lambda conn: payments.put_off(conn, claimed.operation, now=now()))
        return []
    if told is None:
        return []
    if isinstance(told, _UsedUp):
        return await _start_over(db, claimed.operation, now)
    return await _record(db, claimed.payment, told, now)


class _UsedUp:
    """The provider knows nothing of the call, and its key must not be used again."""


async def _authorize(
    db: Database, gateway: Gateway, claimed: Claimed, now: Clock
) -> Told | _UsedUp | None:
    payment, operation = claimed.payment, claimed.operation
    provider_id = payment.provider_id
    if claimed.doubtful and provider_id is not None:
        seen = await gateway.retrieve(provider_id)
        # A decline may be a former card's, unless this one has got as far as the bank.
        if payment.state == "requires_action" or isinstance(seen, _FINAL):
            return Told(seen)
    if _used_up(operation, now):
        return _UsedUp()
    if provider_id is None:
        try:
            created = await gateway.create(
                payment_id=payment.id,
                operation_id=operation.id,
                order_id=payment.order_id,
                amount=payment.amount,
            )
        except ProviderRefused as refused:
            return Told(Created("", ""), operation.id, refused.provider_code)
        provider_id = created.provider_id
    known: str = provider_id
    if not await db.commit(lambda conn: payments.may_confirm(conn, claimed, known, now=now())):
        return None
    assert operation.payment_method is not None
    return await _asked(
        gateway,
        known,
        operation,
        gateway.confirm(
            known,
            payment_method=operation.payment_method,
            operation_id=operation.id,
            return_url=payment.return_url,
        ),
    )


async def _capture(
    db: Database, gateway: Gateway, claimed: Claimed, now: Clock
) -> Told | _UsedUp | None:
    del db
    payment, operation = claimed.payment, claimed.operation
    assert payment.provider_id is not None
    if claimed.doubtful:
        seen = await gateway.retrieve(payment.provider_id)
        if not isinstance(seen, Authorized):
            return Told(seen)
        if _used_up(operation, now):
            return _UsedUp()
    amount = Money(operation.amount_minor, payment.currency)
    call = gateway.capture(payment.provider_id, amount=amount, operation_id=operation.id)
    return await _asked(gateway, payment.provider_id, operation, call)


async def _void(
    db: Database, gateway: Gateway, claimed: Claimed, now: Clock
) -> Told | _UsedUp | None:
    del db
    payment, operation = claimed.payment, claimed.operation
    assert payment.provider_id is not None
    if claimed.doubtful:
        seen = await gateway.retrieve(payment.provider_id)
        if isinstance(seen, Voided | Lapsed | Captured):
            return Told(seen)
        if _used_up(operation, now):
            return _UsedUp()
    call = gateway.void(payment.provider_id, operation_id=operation.id)
    return await _asked(gateway, payment.provider_id, operation, call)


async def _refund(db: Database, gateway: Gateway, claimed: Claimed, now: Clock) -> Next:
    payment, operation = claimed.payment, claimed.operation
    assert payment.provider_id is not None
    outcome: RefundOutcome | str | None = None
    if claimed.doubtful:
        outcome = await _find_refund(gateway, payment, operation)
        if outcome is None and _used_up(operation, now):
            return await _start_over(db, operation, now)
    if outcome is None:
        try:
            outcome = await gateway.refund(
                payment.provider_id,
                payment_id=payment.id,
                operation_id=operation.id,
                amount=Money(operation.amount_minor, payment.currency),
            )
        except ProviderRefused as refused:
            outcome = refused.provider_code
    await _record_refund(db, payment, operation, outcome, now)
    return []


_Call: TypeAlias = Callable[[Database, Gateway, Claimed, Clock], Awaitable[Told | _UsedUp | None]]
_CALLS: dict[str, _Call] = {"authorize": _authorize, "capture": _capture, "void": _void}
_FINAL = (Authorized, Captured, Voided, Lapsed)


async def _asked(
    gateway: Gateway, provider_id: str, operation: Operation, call: Awaitable[PaymentOutcome]
) -> Told:
    """The answer to a call; after a refusal, the truth beside it."""
    try:
        return Told(await call, operation.id)
    except ProviderRefused as refused:
        seen = await gateway.retrieve(provider_id)
        return Told(seen, operation.id, refused.provider_code)


async def _find_refund(
    gateway: Gateway, payment: Payment, operation: Operation
) -> RefundOutcome | None:
    if operation.provider_reference is not None:
        return await gateway.refund_status(operation.provider_reference)
    assert payment.provider_id is not None
    return await gateway.find_refund(payment.provider_id, operation_id=operation.id)


def _used_up(operation: Operation, now: Clock) -> bool:
    old = now() - operation.created_at > KEY_LIFETIME
    return old or operation.attempts > MAX_REPEATS


async def _record(db: Database, payment: Payment, told: Told, now: Clock) -> Next:
    moment = now()

    async def work(conn: Connection) -> Next:
        order = await orders.lock(conn, payment.order_id)
        at = order.head.location_id
        change = await payments.record(conn, payment.id, told, location_id=at, now=moment)
        await follow(conn, order, change, now=moment)
        return await payments.waiting(conn, payment.order_id, now=moment)

    return await db.commit(work)


async def _record_refund(
    db: Database, payment: Payment, operation: Operation, outcome: RefundOutcome | str, now: Clock
) -> None:
    moment = now()

    async def work(conn: Connection) -> None:
        order = await orders.lock(conn, payment.order_id)
        at = order.head.location_id
        change = await payments.record_refund(conn, operation, outcome, location_id=at, now=moment)
        await follow_refund(conn, change, now=moment)

    await db.commit(work)


async def _start_over(db: Database, operation: Operation, now: Clock) -> Next:
    again = await db.commit(lambda conn: payments.start_over(conn, operation, now=now()))
    return [] if again is None else [again]


async def _unanswered(db: Database, order_id: UUID) -> list[Payment]:
    """Payments of which nobody knows yet what the card says."""
    async with db.reading() as conn:
        pending = [p for p in await payments.of_order(conn, order_id) if p.state == "pending"]
        operations = await payments.operations_of(conn, pending)
    return [
        each
        for each in pending
        if any(op.open and op.kind == "authorize" for op in operations[each.id])
    ]


async def _look_quietly(db: Database, gateway: Gateway, payment: Payment, now: Clock) -> None:
    try:
        await look(db, gateway, payment.id, now=now)
    except ProviderUnavailable:
        return
