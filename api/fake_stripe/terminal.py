"""Terminal readers, driven by the server, and the hand of a test shopper."""

from typing import Literal

import msgspec

from api.fake_stripe import cards, payments
from api.fake_stripe.payments import Call
from api.fake_stripe.store import new_id
from api.fake_stripe.wire import Object, Params, StripeError

KIND = "terminal.reader"


class CreateReader(Params):
    """POST /v1/terminal/readers."""

    registration_code: str
    label: str = ""
    location: str | None = None


class ProcessIntent(Params):
    """POST /v1/terminal/readers/{id}/process_payment_intent."""

    payment_intent: str


class CancelAction(Params):
    """POST /v1/terminal/readers/{id}/cancel_action."""


class PresentedCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The card that the test shopper holds against the reader."""

    number: str = "4242424242424242"


class PresentMethod(Params):
    """POST /v1/test_helpers/terminal/readers/{id}/present_payment_method."""

    type: Literal["card_present"] = "card_present"
    card_present: PresentedCard = PresentedCard()


def create(call: Call, params: CreateReader) -> Object:
    """Register a simulated reader."""
    reader_id = new_id("tmr")
    reader: Object = {
        "id": reader_id,
        "object": KIND,
        "action": None,
        "device_type": "simulated_wisepos_e",
        "label": params.label or reader_id,
        "livemode": False,
        "location": params.location,
        "metadata": {},
        "serial_number": reader_id.removeprefix("tmr_"),
        "status": "online",
    }
    call.store.put(reader)
    return reader


def process(call: Call, params: ProcessIntent, reader_id: str) -> Object:
    """Show a payment on the reader and wait for a card."""
    reader = call.store.get(KIND, reader_id, "reader")
    if _busy(reader):
        raise StripeError(400, "Reader is currently busy.", code="terminal_reader_busy")
    intent = call.store.get("payment_intent", params.payment_intent, "payment_intent")
    if "card_present" not in intent["payment_method_types"]:
        message = "This PaymentIntent does not allow card_present payment methods."
        raise StripeError(400, message, code="payment_intent_incompatible_payment_method")
    if intent["status"] not in payments.CONFIRMABLE:
        message = f"This PaymentIntent has a status of {intent['status']}."
        raise StripeError(400, message, code="intent_invalid_state")
    return _act(call, reader, intent["id"], "in_progress")


def cancel(call: Call, params: CancelAction, reader_id: str) -> Object:
    """Stop waiting for a card."""
    del params
    reader = call.store.get(KIND, reader_id, "reader")
    reader["action"] = None
    call.store.put(reader)
    return reader


def present(call: Call, params: PresentMethod, reader_id: str) -> Object:
    """A card is held against the reader. A declined one is the reader's failure, not the call's."""
    reader = call.store.get(KIND, reader_id, "reader")
    if not _busy(reader):
        message = "The reader is not waiting for a payment method."
        raise StripeError(400, message, code="terminal_reader_timeout")
    card = cards.BY_NUMBER.get(params.card_present.number)
    if card is None:
        message = "Use one of Stripe's test numbers."
        raise StripeError(400, message, code="incorrect_number", param="card_present[number]")
    intent_id = reader["action"]["process_payment_intent"]["payment_intent"]
    intent = call.store.get("payment_intent", intent_id)
    method = payments.put_method(call.store, card, "card_present")
    try:
        payments.charge(call, intent, card, method)
    except StripeError as error:
        code = error.body["error"]["code"]
        return _act(call, reader, intent_id, "failed", code=code, message=str(error))
    return _act(call, reader, intent_id, "succeeded")


def _busy(reader: Object) -> bool:
    return reader["action"] is not None and reader["action"]["status"] == "in_progress"


def _act(
    call: Call,
    reader: Object,
    intent_id: str,
    status: str,
    code: str | None = None,
    message: str | None = None,
) -> Object:
    reader["action"] = {
        "failure_code": code,
        "failure_message": message,
        "process_payment_intent": {"payment_intent": intent_id},
        "status": status,
        "type": "process_payment_intent",
    }
    call.store.put(reader)
    if status != "in_progress":
        call.store.emit(f"terminal.reader.action_{status}", reader)
    return reader
