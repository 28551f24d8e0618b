"""Payments: invariant 4, and that each number is what the operations have done.

Refunds, certain or under way, never exceed what was captured, which never exceeds what was
authorized. What is open has somebody who will go on with it, and no money is held for nobody.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import select

from commerce.kernel.auditing import Check, Finding, count_of, parts
from commerce.kernel.sql import Query
from commerce.payments.rows import OPEN_STATES
from commerce.tables import orders, payment, payment_operation

COMPARE = "Compare it with the provider's books: there the money is."
HOLDS_NOTHING = frozenset({"pending", "requires_action", "failed"})
WAITS = frozenset({"pending", "requires_action"})


class OperationBooks(Struct, frozen=True):
    """What was asked of the provider, and what became of it."""

    id: UUID
    kind: str
    state: str
    amount_minor: int
    next_attempt_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN_STATES


class PaymentBooks(Struct, frozen=True):
    """A payment with its operations, and the order that it pays."""

    id: UUID
    tender: str
    state: str
    currency: str
    amount_minor: int
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    number: str
    order_state: str
    order_currency: str
    operations: tuple[OperationBooks, ...]

    @property
    def subject(self) -> str:
        """What people and the database call it."""
        return f"{self.tender} payment {self.id} of order {self.number}"

    def sum_of(self, kind: str, *, open_: bool) -> int:
        """What operations of a kind have moved, or are about to."""
        return sum(
            each.amount_minor
            for each in self.operations
            if each.kind == kind and (each.open if open_ else each.state == "succeeded")
        )


BOOKS = Query(
    select(
        *(payment.c[name] for name in PaymentBooks.__struct_fields__[:8]),
        orders.c.number,
        orders.c.state.label("order_state"),
        orders.c.currency.label("order_currency"),
        parts(
            OperationBooks, payment_operation, payment_operation.c.payment_id == payment.c.id
        ).label("operations"),
    ).join(orders, orders.c.id == payment.c.order_id),
    PaymentBooks,
)


def judge(books: PaymentBooks) -> Iterator[Finding]:
    """Everything about one payment. Pure."""
    for expected, found, remedy in (*_amounts(books), *_states(books), *_nobody(books)):
        yield Finding(books.subject, expected, found, remedy)
    for each in books.operations:
        if each.open != (each.next_attempt_at is not None):
            when = "a time to go on with it" if each.open else "no time to go on with it"
            yield Finding(
                f"{each.kind} {each.id} of {books.subject}",
                f"{when}, because it is {each.state}",
                f"next_attempt_at {each.next_attempt_at}",
                "Set next_attempt_at to now() and the sweep finds out what became of it.",
            )


def _amounts(books: PaymentBooks) -> Iterator[tuple[str, str, str]]:
    under_way = books.sum_of("refund", open_=True)
    if books.refunded_minor + under_way > books.captured_minor:
        yield (
            f"refunds of at most {books.captured_minor}, which was captured",
            f"{books.refunded_minor} refunded and {under_way} on its way",
            COMPARE,
        )
    if books.captured_minor > books.authorized_minor or books.authorized_minor > books.amount_minor:
        yield (
            f"captured <= authorized <= {books.amount_minor}",
            f"captured {books.captured_minor}, authorized {books.authorized_minor}",
            COMPARE,
        )
    refunded = books.sum_of("refund", open_=False)
    if books.refunded_minor != refunded:
        yield (
            f"refunded_minor {refunded}, the sum of its refunds",
            f"refunded_minor {books.refunded_minor}",
            COMPARE,
        )
    captured = books.sum_of("capture", open_=False)
    # A card may have been captured at the provider by hand: then nobody here has asked for it, or
    # for less, and what was too much goes back.
    excess = books.captured_minor - captured
    by_hand = books.tender == "card" and (
        not captured or 0 < excess <= books.refunded_minor + under_way
    )
    if books.captured_minor != captured and not by_hand:
        yield (
            f"captured_minor {captured}, what its capture took",
            f"captured_minor {books.captured_minor}",
            COMPARE,
        )
    if books.currency != books.order_currency:
        yield f"currency {books.order_currency}, its order's", f"{books.currency}", COMPARE


def _states(books: PaymentBooks) -> Iterator[tuple[str, str, str]]:
    if (books.captured_minor > 0) != (books.state == "captured"):
        yield (
            "captured money if and only if it is captured",
            f"state {books.state}, captured_minor {books.captured_minor}",
            COMPARE,
        )
    if (books.authorized_minor == 0) != (books.state in HOLDS_NOTHING):
        yield (
            "authorized money if and only if a card has agreed",
            f"state {books.state}, authorized_minor {books.authorized_minor}",
            COMPARE,
        )


def _nobody(books: PaymentBooks) -> Iterator[tuple[str, str, str]]:
    """Money held, or a card asked, for an order that wants it no more."""
    if any(each.open for each in books.operations):
        return
    held = books.state == "authorized" and books.order_state in {"completed", "cancelled"}
    asked = books.state in WAITS and books.order_state != "pending_payment"
    if held or asked:
        yield (
            f"a void under way, because its order is {books.order_state}",
            f"state {books.state}, and nothing under way",
            "Cancel it at the provider; its webhook brings the answer here.",
        )


CHECKS: tuple[Check[Any], ...] = (
    Check("payments: refunds <= captured <= authorized, as their operations say", BOOKS, judge),
)

COUNTED = (count_of("payments", payment), count_of("payment operations", payment_operation))
