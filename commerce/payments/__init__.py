"""Payments: what each tender shall pay for a fulfillment, and what has become of the money.

    pending -> requires_action | authorized | failed
    requires_action -> pending (the card said no; another may be tried) | authorized | failed
    authorized -> captured | voided | lapsed

Every call to the provider is an operation: an intent row first, its outcome in a later transaction
(`commerce.settlement` makes the calls). These verbs only write intents and facts, inside the
caller's transaction. Locks: the order first, then its payments by id.
"""

from commerce.payments.books import (
    Change,
    Claimed,
    claim,
    due,
    lapsing,
    may_confirm,
    put_off,
    record,
    record_refund,
    start_over,
    waiting,
)
from commerce.payments.opening import NewPayment, open_many, take
from commerce.payments.outcomes import Told
from commerce.payments.requests import (
    AuthorizationLapsed,
    PaymentRunning,
    Refundable,
    RefundExceedsCapture,
    give_back,
    request_capture,
    request_refunds,
    request_voids,
    spread,
    try_card,
)
from commerce.payments.rows import Operation, Payment, get, lock, of_order, operations_of

__all__ = [
    "AuthorizationLapsed",
    "Change",
    "Claimed",
    "NewPayment",
    "Operation",
    "Payment",
    "PaymentRunning",
    "RefundExceedsCapture",
    "Refundable",
    "Told",
    "claim",
    "due",
    "get",
    "give_back",
    "lapsing",
    "lock",
    "may_confirm",
    "of_order",
    "open_many",
    "operations_of",
    "put_off",
    "record",
    "record_refund",
    "request_capture",
    "request_refunds",
    "request_voids",
    "spread",
    "start_over",
    "take",
    "try_card",
    "waiting",
]
