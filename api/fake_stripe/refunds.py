"""Refunds: never more than was captured and has not gone back yet."""

from typing import Literal

import msgspec

from api.fake_stripe import cards
from api.fake_stripe.payments import Amount, Call, Metadata
from api.fake_stripe.store import new_id, timestamp
from api.fake_stripe.wire import Object, Params, StripeError, missing


class CreateRefund(Params):
    """POST /v1/refunds."""

    payment_intent: str | None = None
    charge: str | None = None
    amount: Amount | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None


def create(call: Call, params: CreateRefund) -> Object:
    """Send money back to the card that paid."""
    charge = _charge(call, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = left if params.amount is None else params.amount
    if left == 0:
        raise StripeError(
            400,
            f"Charge {charge['id']} has already been refunded.",
            code="charge_already_refunded",
        )
    if amount > left:
        raise StripeError(
            400,
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    card = cards.BY_FINGERPRINT[_shown(charge)["fingerprint"]]
    refund = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": timestamp(),
        "currency": charge["currency"],
        "metadata": params.metadata,
        "payment_intent": charge["payment_intent"],
        "reason": params.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "pending" if card.refund == "stays_pending" else "succeeded",
        "transfer_reversal": None,
    }
    _count(call, charge, amount)
    call.store.put(refund)
    call.store.book({"id": charge["payment_intent"]}, "refunded", amount, call.key)
    call.store.emit("refund.created", refund)
    call.store.emit("charge.refunded", charge)
    return refund


def settle(call: Call, refund_id: str) -> Object:
    """What the bank answers in the end: a pending refund succeeds, a doomed one fails."""
    refund = call.store.get("refund", refund_id)
    charge = call.store.get("charge", refund["charge"])
    behaviour = cards.BY_FINGERPRINT[_shown(charge)["fingerprint"]].refund
    if behaviour == "stays_pending" and refund["status"] == "pending":
        refund["status"] = "succeeded"
        call.store.emit("refund.updated", refund)
    elif behaviour == "fails_later" and refund["status"] == "succeeded":
        refund |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
        _count(call, charge, -refund["amount"])
        intent = {"id": refund["payment_intent"]}
        call.store.book(intent, "refund_failed", refund["amount"])
        call.store.emit("refund.failed", refund)
    call.store.put(refund)
    return refund


def _charge(call: Call, params: CreateRefund) -> Object:
    if params.charge is not None:
        return call.store.get("charge", params.charge, "charge")
    if params.payment_intent is None:
        message = "One of the following params should be provided: payment_intent or charge."
        raise StripeError(400, message, code="parameter_missing", kept=False)
    intent = call.store.get("payment_intent", params.payment_intent, "payment_intent")
    if intent["status"] != "succeeded":
        raise StripeError(
            400,
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
            payment_intent=intent,
        )
    found = call.store.find(intent["latest_charge"])
    if found is None:
        raise missing("charge", intent["latest_charge"])
    return found


def _count(call: Call, charge: Object, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    call.store.put(charge)


def _shown(charge: Object) -> Object:
    details = charge["payment_method_details"]
    shown: Object = details[details["type"]]
    return shown
