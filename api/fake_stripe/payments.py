"""PaymentIntents and their charges: what Stripe does with a card.

    requires_payment_method -> requires_action | requires_capture | succeeded
    requires_action         -> requires_capture | succeeded | requires_payment_method
    requires_capture        -> succeeded | canceled (by us, or because the hold grew too old)

A declined card leads back to requires_payment_method. A charge is captured once; what was held
beyond the captured amount is released.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.fake_stripe import cards
from api.fake_stripe.cards import TestCard
from api.fake_stripe.store import Store, new_id, timestamp
from api.fake_stripe.wire import Object, Params, StripeError

Amount = Annotated[int, Meta(ge=1, le=99_999_999)]
Metadata = Annotated[dict[str, Annotated[str, Meta(max_length=500)]], Meta(max_length=50)]
MethodType = Literal["card", "card_present"]

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*CONFIRMABLE, "requires_capture", "processing")

MESSAGES = {
    "card_declined": "Your card was declined.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
}


class Call(msgspec.Struct, frozen=True):
    """What a handler may know of its request; `key` is its idempotency key, for the books."""

    store: Store
    base_url: str = ""
    key: str | None = None


class CreateIntent(Params):
    """POST /v1/payment_intents."""

    amount: Amount
    currency: Annotated[str, Meta(pattern="^[a-z]{3}$")]
    allowed_payment_method_types: list[MethodType] = msgspec.field(default_factory=lambda: ["card"])
    capture_method: Literal["automatic", "automatic_async", "manual"] = "automatic_async"
    description: str | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)


class ConfirmIntent(Params):
    """POST /v1/payment_intents/{id}/confirm."""

    payment_method: str | None = None
    return_url: str | None = None


class CaptureIntent(Params):
    """POST /v1/payment_intents/{id}/capture."""

    amount_to_capture: Amount | None = None


class CancelIntent(Params):
    """POST /v1/payment_intents/{id}/cancel."""

    cancellation_reason: (
        Literal["abandoned", "duplicate", "fraudulent", "requested_by_customer"] | None
    ) = None


class CardNumber(msgspec.Struct, forbid_unknown_fields=True):
    """A typed card; Stripe takes raw numbers only of its own test cards here."""

    number: str
    exp_month: int
    exp_year: int
    cvc: str = ""


class CreateMethod(Params):
    """POST /v1/payment_methods."""

    type: Literal["card"]
    card: CardNumber


def create(call: Call, params: CreateIntent) -> Object:
    """A payment that nobody has paid yet."""
    intent_id = new_id("pi")
    intent: Object = {
        "id": intent_id,
        "object": "payment_intent",
        "allowed_payment_method_types": params.allowed_payment_method_types,
        "amount": params.amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "application": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.capture_method,
        "client_secret": new_id(f"{intent_id}_secret"),
        "confirmation_method": "automatic",
        "created": timestamp(),
        "currency": params.currency,
        "customer": None,
        "description": params.description,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": params.metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_types": params.allowed_payment_method_types,
        "payment_record": None,
        "review": None,
        "source": None,
        "status": "requires_payment_method",
    }
    call.store.put(intent)
    call.store.emit("payment_intent.created", intent)
    return intent


def confirm(call: Call, params: ConfirmIntent, intent_id: str) -> Object:
    """Ask the card: it pays, declines, or wants the shopper to authenticate first."""
    intent = call.store.get("payment_intent", intent_id)
    _require(intent, CONFIRMABLE, "confirm", "confirmed")
    given = params.payment_method or intent["payment_method"]
    if given is None:
        raise _unexpected(
            intent, "You cannot confirm this PaymentIntent because it's missing a payment method."
        )
    method = method_named(call.store, given)
    if "card" not in intent["payment_method_types"]:
        raise StripeError(
            400,
            "The provided PaymentMethod (card) is not allowed for this PaymentIntent.",
            code="payment_intent_incompatible_payment_method",
            param="payment_method",
            payment_intent=intent,
        )
    card = cards.BY_FINGERPRINT[method["card"]["fingerprint"]]
    intent |= {"payment_method": method["id"], "last_payment_error": None}
    if card.authenticates:
        return _ask_to_authenticate(call, intent, params.return_url)
    return charge(call, intent, card, method)


def _ask_to_authenticate(call: Call, intent: Object, return_url: str | None) -> Object:
    redirect = {"return_url": return_url, "url": f"{call.base_url}/3ds/{intent['id']}"}
    intent["status"] = "requires_action"
    intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": redirect}
    call.store.put(intent)
    call.store.emit("payment_intent.requires_action", intent)
    return intent


def authenticate(call: Call, intent_id: str, *, approved: bool) -> Object:
    """What follows when the shopper has answered the bank. A second answer changes nothing."""
    intent = call.store.get("payment_intent", intent_id)
    if intent["status"] != "requires_action":
        return intent
    method = call.store.get("payment_method", intent["payment_method"])
    if approved:
        try:
            return charge(call, intent, cards.BY_FINGERPRINT[method["card"]["fingerprint"]], method)
        except StripeError:  # the bank knows the shopper and still says no: a state, not an answer
            return call.store.get("payment_intent", intent_id)
    message = "The provided PaymentMethod has failed authentication."
    _fail(call, intent, method, "payment_intent_authentication_failure", None, message)
    return intent


def charge(call: Call, intent: Object, card: TestCard, method: Object) -> Object:
    """Hold the money on a card, or take it at once. A declined card raises, with the state kept."""
    made = _charge_of(intent, card, method)
    intent |= {"latest_charge": made["id"], "next_action": None, "payment_method": method["id"]}
    if card.error is not None:
        message = MESSAGES[card.error]
        made |= {"status": "failed", "paid": False, "captured": False, "amount_captured": 0}
        made |= {"failure_code": card.error, "failure_message": message}
        call.store.put(made)
        call.store.emit("charge.failed", made)
        raise _fail(call, intent, method, card.error, card.decline_code, message)
    manual = intent["capture_method"] == "manual"
    intent["status"] = "requires_capture" if manual else "succeeded"
    intent["amount_capturable" if manual else "amount_received"] = intent["amount"]
    call.store.put(made)
    call.store.put(intent)
    call.store.book(intent, "authorized", intent["amount"], call.key)
    call.store.emit("charge.succeeded", made)
    if manual:
        call.store.emit("payment_intent.amount_capturable_updated", intent)
    else:
        call.store.book(intent, "captured", intent["amount"], call.key)
        call.store.emit("payment_intent.succeeded", intent)
    return intent


def _fail(
    call: Call, intent: Object, method: Object, code: str, decline_code: str | None, message: str
) -> StripeError:
    fields: Object = {"code": code, "message": message, "payment_method": method}
    if decline_code is not None:
        fields["decline_code"] = decline_code
    if intent["latest_charge"] is not None:
        fields["charge"] = intent["latest_charge"]
    intent["last_payment_error"] = {"type": "card_error", **fields}
    intent |= {"status": "requires_payment_method", "payment_method": None, "next_action": None}
    call.store.put(intent)
    call.store.emit("payment_intent.payment_failed", intent)
    del fields["message"]
    return StripeError(402, message, kind="card_error", payment_intent=intent, **fields)


def _charge_of(intent: Object, card: TestCard, method: Object) -> Object:
    captured = intent["capture_method"] != "manual"
    created = timestamp()
    shown = cards.details(card)
    if method["type"] == "card_present":
        shown |= {"incremental_authorization_supported": False, "overcapture_supported": False}
        shown |= {"read_method": "contactless_emv"}
    if not captured and card.error is None:
        lasts = cards.hold_time(card, present=method["type"] == "card_present")
        shown["capture_before"] = created + int(lasts.total_seconds())
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if captured else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "captured": captured,
        "created": created,
        "currency": intent["currency"],
        "customer": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: shown},
        "refunded": False,
        "review": None,
        "source": None,
        "source_transfer": None,
        "status": "succeeded",
        "transfer": None,
    }


def capture(call: Call, params: CaptureIntent, intent_id: str) -> Object:
    """Take what is held, or a part of it; the rest is released."""
    intent = call.store.get("payment_intent", intent_id)
    _require(intent, ("requires_capture",), "capture", "captured")
    held = intent["amount_capturable"]
    amount = held if params.amount_to_capture is None else params.amount_to_capture
    if amount > held:
        raise StripeError(
            400,
            f"The requested capture amount ({amount}) is greater than the amount you can capture"
            f" for this PaymentIntent ({held}).",
            code="amount_too_large",
            param="amount_to_capture",
            payment_intent=intent,
        )
    made = call.store.get("charge", intent["latest_charge"])
    made |= {"captured": True, "amount_captured": amount}
    intent |= {"status": "succeeded", "amount_capturable": 0, "amount_received": amount}
    call.store.put(made)
    call.store.put(intent)
    call.store.book(intent, "captured", amount, call.key)
    if amount < held:
        call.store.book(intent, "released", held - amount, call.key)
    call.store.emit("charge.captured", made)
    call.store.emit("payment_intent.succeeded", intent)
    return intent


def cancel(call: Call, params: CancelIntent, intent_id: str) -> Object:
    """Give up a payment that is not captured; what it held is free again."""
    intent = call.store.get("payment_intent", intent_id)
    _require(intent, CANCELABLE, "cancel", "canceled")
    return _end(call, intent, "voided", params.cancellation_reason)


def lapse(call: Call, intent_id: str) -> Object:
    """What time does to a hold that nobody captures."""
    intent = call.store.get("payment_intent", intent_id)
    _require(intent, ("requires_capture",), "lapse", "lapsed")
    call.store.emit("charge.expired", call.store.get("charge", intent["latest_charge"]))
    return _end(call, intent, "lapsed", "expired")


def _end(call: Call, intent: Object, entry: str, reason: str | None) -> Object:
    if intent["amount_capturable"]:
        call.store.book(intent, entry, intent["amount_capturable"], call.key)
    intent |= {"status": "canceled", "amount_capturable": 0, "next_action": None}
    intent |= {"canceled_at": timestamp(), "cancellation_reason": reason}
    call.store.put(intent)
    call.store.emit("payment_intent.canceled", intent)
    return intent


def create_method(call: Call, params: CreateMethod) -> Object:
    """A payment method from the number of a test card."""
    card = cards.BY_NUMBER.get(re.sub(r"\D", "", params.card.number))
    if card is None:
        raise StripeError(
            402,
            "Your card number is incorrect. This is a fake: use one of Stripe's test numbers.",
            kind="card_error",
            code="incorrect_number",
            param="number",
        )
    return put_method(call.store, card, "card")


def method_named(store: Store, name: str) -> Object:
    """The payment method of this id; a test name such as pm_card_visa makes a new one."""
    card = cards.BY_NAME.get(name)
    if card is not None:
        return put_method(store, card, "card")
    return store.get("payment_method", name, "payment_method")


def put_method(store: Store, card: TestCard, kind: MethodType) -> Object:
    """Write a payment method for a card, typed or presented."""
    shown: dict[str, Any] = cards.details(card)
    method = {
        "id": new_id("pm"),
        "object": "payment_method",
        "billing_details": dict.fromkeys(("address", "email", "name", "phone", "tax_id")),
        "created": timestamp(),
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": kind,
        kind: shown,
    }
    store.put(method)
    return method


def _require(intent: Object, allowed: tuple[str, ...], verb: str, done: str) -> None:
    if intent["status"] not in allowed:
        raise _unexpected(
            intent,
            f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}."
            f" Only a PaymentIntent with one of the following statuses may be {done}:"
            f" {', '.join(allowed)}.",
        )


def _unexpected(intent: Object, message: str) -> StripeError:
    return StripeError(400, message, code="payment_intent_unexpected_state", payment_intent=intent)
