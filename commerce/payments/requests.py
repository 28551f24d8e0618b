"""What is asked of payments that exist: another card, capture, void, refund. Only intents.

The caller has locked the order. Whoever asked performs the operations after the commit
(`settlement.run`); the sweep does what is left.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from commerce.kernel import events
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.sql import Connection
from commerce.payments.rows import (
    LOCK_OF_FULFILLMENT,
    LOCK_OF_ORDER,
    Operation,
    Payment,
    add_operations,
    fact,
    intent,
    lock,
    of_order,
    operations_of,
    write,
    write_operation,
)

REFUND_ORDER = ("card", "external_terminal", "cash")
"""Money goes back to cards first: that is where fraud cannot cash it in."""


class AuthorizationLapsed(CommerceError):
    """The card's hold has run out. Take another tender, or ask the shopper for a card again."""

    code = "authorization_lapsed"
    payment_id: UUID
    amount_minor: int


class PaymentRunning(CommerceError):
    """The provider is still being asked about this payment. Ask again in a moment."""

    code = "payment_running"
    payment_id: UUID
    retry_after_seconds: int = 2


class RefundExceedsCapture(CommerceError):
    """More than what this order's payments took and did not give back yet. Nothing was refunded."""

    code = "refund_exceeds_capture"
    order_id: UUID
    requested_minor: int
    refundable_minor: int


class Refundable(msgspec.Struct, frozen=True):
    """What one payment can still give back."""

    payment_id: UUID
    left_minor: int


async def try_card(
    conn: Connection,
    payment_id: UUID,
    *,
    payment_method: str,
    return_url: str | None,
    deadline_at: datetime,
    actor: str,
    now: datetime,
) -> UUID:
    """Ask another card for a payment that nobody has paid yet; returns the operation's id.

    An unfinished authentication of the former card is given up. Raises PaymentRunning while the
    former card's answer is on its way, and WrongState when the payment waits for no card.
    """
    before = await lock(conn, payment_id)
    of_payment = (await operations_of(conn, [before]))[payment_id]
    running = [each for each in of_payment if each.open]
    if not before.waits_for_card or any(each.kind == "void" for each in running):
        raise WrongState(
            kind="payment",
            id=str(payment_id),
            state=before.state,
            allowed=["pending", "requires_action"],
        )
    if running and before.state == "pending":
        raise PaymentRunning(payment_id=payment_id)
    for each in running:
        superseded = msgspec.structs.replace(
            each, state="failed", failure_code="superseded", next_attempt_at=None, updated_at=now
        )
        await write_operation(conn, superseded)
    again = msgspec.structs.replace(
        before,
        state="pending",
        payment_method=payment_method,
        return_url=return_url,
        redirect_url=None,
        decline_code=None,
        deadline_at=deadline_at,
        updated_at=now,
    )
    await write(conn, again, before=before)
    ask = intent(again, "authorize", again.amount_minor, actor=actor, now=now)
    ask = msgspec.structs.replace(ask, payment_method=payment_method)
    await add_operations(conn, [ask])
    return ask.id


async def request_capture(
    conn: Connection, fulfillment_id: UUID, *, amount_minor: int, actor: str, now: datetime
) -> list[UUID]:
    """Ask for this much of the fulfillment's card hold; the rest of the hold is released.

    Nothing to take (0) gives the whole hold back. Returns the operations, none when no card holds
    money for it; repeating it returns the same ones. Raises AuthorizationLapsed when the hold has
    run out. More than is held is a bug of the caller.
    """
    held = [
        each
        for each in await conn.run(LOCK_OF_FULFILLMENT, of_fulfillment=fulfillment_id)
        if each.tender == "card" and each.state in {"authorized", "captured", "lapsed"}
    ]
    known = await operations_of(conn, held)
    asked: list[UUID] = []
    for each in held:
        running = [op for op in known[each.id] if op.kind == "capture" and op.state != "failed"]
        if running:
            asked += [op.id for op in running]
            continue
        too_late = each.capture_before is not None and each.capture_before <= now
        if each.state == "lapsed" or (each.state == "authorized" and too_late):
            raise AuthorizationLapsed(payment_id=each.id, amount_minor=amount_minor)
        assert amount_minor <= each.authorized_minor
        kind = "capture" if amount_minor else "void"
        ask = intent(each, kind, amount_minor or each.authorized_minor, actor=actor, now=now)
        await add_operations(conn, [ask])
        asked.append(ask.id)
    return asked


async def request_voids(
    conn: Connection, order_id: UUID, *, now: datetime, actor: str = "system"
) -> list[UUID]:
    """Ask to give back every hold of an order, and to abandon what waits for a card.

    What never reached the provider fails at once. Repeating it asks for nothing again.
    """
    cards = [
        each
        for each in await conn.run(LOCK_OF_ORDER, of_order=order_id)
        if each.tender == "card" and (each.waits_for_card or each.state == "authorized")
    ]
    known = await operations_of(conn, cards)
    asks: list[Operation] = []
    for each in cards:
        running = [op for op in known[each.id] if op.open]
        if any(op.kind in {"void", "capture"} for op in running):
            continue
        if each.provider_id is None:
            await _abandon(conn, each, running, now)
        else:
            amount_minor = each.authorized_minor or each.amount_minor
            asks.append(intent(each, "void", amount_minor, actor=actor, now=now))
    await add_operations(conn, asks)
    return [ask.id for ask in asks]


async def give_back(
    conn: Connection, order_id: UUID, *, now: datetime, actor: str = "system"
) -> None:
    """Ask to give back all that an order's cards hold, and what they have paid already.

    A card may have been captured by hand at the provider. Repeating it asks for nothing again.
    """
    await request_voids(conn, order_id, actor=actor, now=now)
    paid = await of_order(conn, order_id)
    taken = [each for each in paid if each.tender == "card" and each.state == "captured"]
    known = await operations_of(conn, taken)
    left = sum(left_minor(each, known[each.id]) for each in taken)
    if left:
        await request_refunds(conn, order_id, None, amount_minor=left, actor=actor, now=now)


async def request_refunds(
    conn: Connection,
    order_id: UUID,
    return_id: UUID | None,
    *,
    amount_minor: int,
    actor: str,
    now: datetime,
) -> list[UUID]:
    """Ask to give back so much of what the order's payments took, for a return or as a courtesy.

    Spills to the next tender when one is not enough; cash and external terminals are facts at once.
    For one return, only what has not been asked for yet is asked: repeat it after a failed refund.
    Returns the new operations. Raises RefundExceedsCapture, and then nothing is refunded.
    """
    taken = [
        each
        for each in await conn.run(LOCK_OF_ORDER, of_order=order_id)
        if each.state == "captured"
    ]
    taken.sort(key=lambda each: (REFUND_ORDER.index(each.tender), each.id))
    known = await operations_of(conn, taken)
    refunds = [op for of in known.values() for op in of if op.kind == "refund"]
    if return_id is not None:
        amount_minor -= sum(
            op.amount_minor for op in refunds if op.return_id == return_id and op.state != "failed"
        )
    left = [Refundable(each.id, left_minor(each, known[each.id])) for each in taken]
    shares = spread(amount_minor, left)
    if shares is None:
        raise RefundExceedsCapture(
            order_id=order_id,
            requested_minor=amount_minor,
            refundable_minor=sum(each.left_minor for each in left),
        )
    by_id = {each.id: each for each in taken}
    asks = [
        msgspec.structs.replace(
            intent(by_id[payment_id], "refund", share, actor=actor, now=now), return_id=return_id
        )
        for payment_id, share in shares
    ]
    asks = [ask if by_id[ask.payment_id].tender == "card" else _at_once(ask) for ask in asks]
    await add_operations(conn, asks)
    await _give_back(conn, by_id, [ask for ask in asks if not ask.open], now)
    return [ask.id for ask in asks]


def left_minor(payment: Payment, operations: Sequence[Operation]) -> int:
    """What a payment can still give back: captured, less refunds that are certain or under way."""
    under_way = sum(op.amount_minor for op in operations if op.kind == "refund" and op.open)
    return payment.captured_minor - payment.refunded_minor - under_way


def spread(amount_minor: int, sources: Sequence[Refundable]) -> list[tuple[UUID, int]] | None:
    """So much of each source, in their order, until the amount is reached; None: it is too much."""
    shares: list[tuple[UUID, int]] = []
    for source in sources:
        share = min(amount_minor, source.left_minor)
        if share > 0:
            shares.append((source.payment_id, share))
            amount_minor -= share
    return None if amount_minor > 0 else shares


def _at_once(ask: Operation) -> Operation:
    return msgspec.structs.replace(ask, state="succeeded", next_attempt_at=None)


async def _give_back(
    conn: Connection, payments: dict[UUID, Payment], done: Sequence[Operation], now: datetime
) -> None:
    facts = []
    for each in done:
        before = payments[each.payment_id]
        refunded_minor = before.refunded_minor + each.amount_minor
        after = msgspec.structs.replace(before, refunded_minor=refunded_minor, updated_at=now)
        await write(conn, after, before=before)
        facts.append(
            fact(
                after,
                "payment.refunded",
                each.actor,
                operation_id=each.id,
                return_id=each.return_id,
                amount_minor=each.amount_minor,
            )
        )
    await events.record(conn, facts, now=now)


async def _abandon(
    conn: Connection, before: Payment, running: Sequence[Operation], now: datetime
) -> None:
    """Nothing is at the provider, or only something unconfirmed that holds no money."""
    for each in running:
        given_up = msgspec.structs.replace(
            each, state="failed", failure_code="voided", next_attempt_at=None, updated_at=now
        )
        await write_operation(conn, given_up)
    after = msgspec.structs.replace(before, state="failed", updated_at=now)
    await write(conn, after, before=before)
