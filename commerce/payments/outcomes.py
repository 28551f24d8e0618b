"""What the provider's answers mean for a payment and its operations. The decision is pure.

An answer is the truth about the whole payment at the provider, so each of its open operations is
decided by it, whoever asked. Repeating an answer changes nothing; one that comes late, or twice, or
by webhook before the call returns, is harmless.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from commerce.kernel.events import Event
from commerce.payments.rows import Operation, Payment, fact
from commerce.provider import (
    Authorized,
    Captured,
    Declined,
    Lapsed,
    PaymentOutcome,
    Refunded,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    RequiresAction,
    Voided,
)

LOOK_AGAIN = timedelta(minutes=2)
"""While the shopper talks to the bank; a webhook or the shopper's return tells earlier."""

LOOK_AGAIN_AT_REFUND = timedelta(hours=1)
"""While the bank has not taken a refund yet; a webhook tells earlier."""


class Decided(Struct, frozen=True):
    """A payment after an answer, the operations that changed, and what is to be told."""

    payment: Payment
    operations: tuple[Operation, ...] = ()
    events: tuple[Event, ...] = ()
    void: bool = False
    """Money is held for a payment that had been given up: give it back."""


class Told(Struct, frozen=True):
    """An answer and how it was come by.

    `asked` is the operation whose call was answered; without it somebody looked. `refusal` is the
    provider's reason for refusing that call, where it did.
    """

    outcome: PaymentOutcome
    asked: UUID | None = None
    refusal: str | None = None


def decide(
    payment: Payment, operations: Sequence[Operation], told: Told, *, now: datetime
) -> Decided:
    """What becomes of a card payment. `operations` are all of its operations."""
    running = [each for each in operations if each.open and each.kind != "refund"]
    match told.outcome:
        case Authorized():
            decided = _authorized(payment, running, told.outcome, now)
        case RequiresAction() if not told.refusal:
            decided = _requires_action(payment, running, told.outcome, told, now)
        case Declined() if not told.refusal:
            decided = _declined(payment, running, told.outcome, told, now)
        case Captured():
            decided = _captured(payment, running, told.outcome, now)
        case Voided() | Lapsed():
            decided = _ended(payment, running, told.outcome, now)
        case _:
            decided = Decided(payment)
    return _refused(decided, running, told, now) if told.refusal else decided


def decide_refund(
    payment: Payment, operation: Operation, outcome: RefundOutcome, *, now: datetime
) -> Decided:
    """What becomes of a refund. One that was sent may still bounce, days later."""
    match outcome:
        case Refunded() if operation.open:
            done = _closed(operation, "succeeded", now, reference=outcome.refund_id)
            return Decided(_refunds(payment, done.amount_minor, now), (done,),
                           (_told(payment, "payment.refunded", done),))  # fmt: skip
        case RefundPending() if operation.open:
            waits = replace(
                operation,
                state="pending",
                provider_reference=outcome.refund_id,
                next_attempt_at=now + LOOK_AGAIN_AT_REFUND,
                updated_at=now,
            )
            return Decided(payment, (waits,))
        case RefundFailed() if operation.state != "failed":
            bounced = operation.amount_minor if operation.state == "succeeded" else 0
            done = _closed(operation, "failed", now, outcome.reason, reference=outcome.refund_id)
            return Decided(_refunds(payment, -bounced, now), (done,),
                           (_told(payment, "payment.refund_failed", done),))  # fmt: skip
        case _:
            return Decided(payment)


def decide_refund_refused(
    payment: Payment, operation: Operation, reason: str, *, now: datetime
) -> Decided:
    """The provider will not make this refund at all."""
    if not operation.open:
        return Decided(payment)
    done = _closed(operation, "failed", now, reason)
    return Decided(payment, (done,), (_told(payment, "payment.refund_failed", done),))


def _authorized(
    payment: Payment, running: Sequence[Operation], outcome: Authorized, now: datetime
) -> Decided:
    done = tuple(_closed(op, "succeeded", now) for op in running if op.kind == "authorize")
    if payment.state == "failed":
        return Decided(payment, done, void=True)
    if not payment.waits_for_card:
        return Decided(payment, done)
    after = replace(
        payment,
        state="authorized",
        authorized_minor=outcome.amount_minor,
        capture_before=outcome.capture_before,
        card_brand=outcome.brand,
        card_last4=outcome.last4,
        card_fingerprint=outcome.card_fingerprint,
        redirect_url=None,
        decline_code=None,
        updated_at=now,
    )
    actor = done[0].actor if done else "provider"
    told = fact(after, "payment.authorized", actor, amount_minor=after.authorized_minor)
    return Decided(after, done, (told,))


def _requires_action(
    payment: Payment,
    running: Sequence[Operation],
    outcome: RequiresAction,
    told: Told,
    now: datetime,
) -> Decided:
    # Seen without having asked, it may be what a former card wanted.
    mine = [op for op in running if op.kind == "authorize" and op.id == told.asked]
    if payment.state != "pending" or not mine:
        return Decided(payment)
    after = replace(
        payment, state="requires_action", redirect_url=outcome.redirect_url, updated_at=now
    )
    waits = replace(mine[0], state="pending", next_attempt_at=now + LOOK_AGAIN, updated_at=now)
    asks = fact(after, "payment.requires_action", waits.actor, amount_minor=after.amount_minor)
    return Decided(after, (waits,), (asks,))


def _declined(
    payment: Payment,
    running: Sequence[Operation],
    outcome: Declined,
    told: Told,
    now: datetime,
) -> Decided:
    # Seen without having asked, it may be the answer to a former card: only a payment whose own
    # question has been answered already can have been declined since.
    mine = [op for op in running if op.kind == "authorize"]
    answered = bool(mine) and (told.asked == mine[0].id or payment.state == "requires_action")
    if not answered or not payment.waits_for_card:
        return Decided(payment)
    code = outcome.decline_code or outcome.reason
    after = replace(payment, state="pending", redirect_url=None, decline_code=code, updated_at=now)
    done = tuple(_closed(op, "failed", now, code) for op in mine)
    declined = fact(after, "payment.declined", mine[0].actor, operation_id=mine[0].id, code=code)
    return Decided(after, done, (declined,))


def _captured(
    payment: Payment, running: Sequence[Operation], outcome: Captured, now: datetime
) -> Decided:
    held: Payment = payment
    told: tuple[Event, ...] = ()
    if payment.waits_for_card:  # taken by hand at the provider before we saw the authorization
        seen = Authorized(outcome.provider_id, outcome.amount_minor, None, None, None, None)
        decided = _authorized(payment, running, seen, now)
        held, told = decided.payment, decided.events
    done = tuple(_closed_by_capture(op, outcome.amount_minor, now) for op in running)
    due = [
        fact
        for op in done
        if op.kind == "capture" and op.state == "failed"
        for fact in _capture_failed(payment, op)
    ]
    if held.state != "authorized":
        return Decided(payment, done, tuple(due))
    after = replace(held, state="captured", captured_minor=outcome.amount_minor, updated_at=now)
    actor = next((op.actor for op in running if op.kind == "capture"), "provider")
    captured = fact(after, "payment.captured", actor, amount_minor=after.captured_minor)
    return Decided(after, done, (*told, captured, *due))


def _closed_by_capture(operation: Operation, captured_minor: int, now: datetime) -> Operation:
    """An operation after a capture, which may have been made by hand, of another amount."""
    if operation.kind == "void":
        return _closed(operation, "failed", now, "captured")
    if operation.kind == "capture" and captured_minor < operation.amount_minor:
        return _closed(operation, "failed", now, "captured_less")
    return _closed(operation, "succeeded", now)


def _ended(
    payment: Payment, running: Sequence[Operation], outcome: Voided | Lapsed, now: datetime
) -> Decided:
    name = "lapsed" if isinstance(outcome, Lapsed) else "voided"
    done: list[Operation] = []
    told: list[Event] = []
    after = payment
    if payment.waits_for_card:
        after = replace(payment, state="failed", redirect_url=None, updated_at=now)
    elif payment.state == "authorized":
        after = replace(payment, state=name, updated_at=now)
    if after is not payment:
        actor = next((op.actor for op in running if op.kind == "void"), "provider")
        told.append(fact(after, f"payment.{name}", actor, amount_minor=payment.authorized_minor))
    for op in running:
        if op.kind == "void":
            done.append(_closed(op, "succeeded", now))
        else:
            done.append(_closed(op, "failed", now, name))
        if op.kind == "capture":
            told += _capture_failed(after, done[-1])
    return Decided(after, tuple(done), tuple(told))


def _refused(decided: Decided, running: Sequence[Operation], told: Told, now: datetime) -> Decided:
    """The call was refused and the truth does not explain it away: the operation has failed."""
    settled = {op.id for op in decided.operations if not op.open}
    for op in running:
        if op.id != told.asked or op.id in settled:
            continue
        failed = _closed(op, "failed", now, told.refusal)
        events = [*decided.events]
        payment = decided.payment
        if op.kind == "capture":
            events += _capture_failed(payment, failed)
        elif op.kind == "authorize" and payment.waits_for_card:
            payment = replace(
                payment, state="pending", decline_code=told.refusal, redirect_url=None,
                updated_at=now,
            )  # fmt: skip
            events.append(
                fact(payment, "payment.declined", op.actor, operation_id=op.id, code=told.refusal)
            )
        return Decided(payment, (*decided.operations, failed), tuple(events))
    return decided


def _capture_failed(payment: Payment, failed: Operation) -> list[Event]:
    return [
        _told(payment, "payment.capture_failed", failed),
        _told(payment, "payment.due", failed),
    ]


def _told(payment: Payment, kind: str, about: Operation) -> Event:
    more: dict[str, object] = {"operation_id": about.id, "amount_minor": about.amount_minor}
    if about.return_id is not None:
        more["return_id"] = about.return_id
    if about.failure_code is not None:
        more["code"] = about.failure_code
    return fact(payment, kind, about.actor, **more)


def _refunds(payment: Payment, amount_minor: int, now: datetime) -> Payment:
    return replace(payment, refunded_minor=payment.refunded_minor + amount_minor, updated_at=now)


def _closed(
    operation: Operation,
    state: str,
    now: datetime,
    code: str | None = None,
    *,
    reference: str | None = None,
) -> Operation:
    return replace(
        operation,
        state=state,
        failure_code=code,
        next_attempt_at=None,
        provider_reference=reference or operation.provider_reference,
        updated_at=now,
    )
