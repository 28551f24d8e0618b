"""Stripe's objects read into our words, and our amounts into Stripe's. Pure: no SDK, no network.

Stripe counts in its own exponents (https://docs.stripe.com/currencies, "zero-decimal",
"three-decimal" and "special cases"). They differ from ISO 4217 for MGA (Stripe none, ISO two) and
for ISK and UGX (Stripe two, always 00; ISO none). Three-decimal amounts must end in 0.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from commerce.kernel.money import Money, exponent
from commerce.provider import (
    Authorized,
    Captured,
    Created,
    Declined,
    Lapsed,
    PaymentOutcome,
    Processing,
    ProviderEvent,
    ProviderRefused,
    Refunded,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    RequiresAction,
    Voided,
)

DIGITS = dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF"), 0)
DIGITS |= dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0)
DIGITS |= dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3)
"""Stripe's digits after the decimal point, where they are not two."""

_OUR_VOIDS = frozenset((None, "requested_by_customer", "duplicate", "fraudulent", "abandoned"))


def to_stripe(amount: Money) -> int:
    """Our minor units in Stripe's. Raises ProviderRefused for what Stripe cannot express."""
    digits = DIGITS.get(amount.currency, 2)
    value, rest = divmod(amount.amount_minor * _power(digits), _power(exponent(amount.currency)))
    if rest or value % _power(max(0, digits - 2)):
        raise ProviderRefused(
            operation="convert",
            provider_code="amount_too_fine",
            message=f"Stripe cannot charge {amount.amount_minor} minor units of {amount.currency}",
        )
    return value


def from_stripe(value: int, currency: str) -> int:
    """Stripe's amount in our minor units. Exact, since Stripe enforces the 00 of ISK and UGX."""
    return value * _power(exponent(currency)) // _power(DIGITS.get(currency, 2))


def _power(digits: int) -> int:
    return int(10**digits)


class Refusal(msgspec.Struct):
    """Stripe's error object, in an error answer or in a payment's last error."""

    type: str = "unknown"
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None


class _Card(msgspec.Struct):
    brand: str | None = None
    last4: str | None = None
    fingerprint: str | None = None
    capture_before: int | None = None


class _MethodDetails(msgspec.Struct):
    card: _Card | None = None
    card_present: _Card | None = None


class _Charge(msgspec.Struct):
    payment_method_details: _MethodDetails | None = None


class _Redirect(msgspec.Struct):
    url: str | None = None


class _NextAction(msgspec.Struct):
    redirect_to_url: _Redirect | None = None


class _Intent(msgspec.Struct):
    id: str
    status: str
    currency: str
    amount_capturable: int
    amount_received: int
    client_secret: str | None = None
    cancellation_reason: str | None = None
    latest_charge: _Charge | str | None = None
    last_payment_error: Refusal | None = None
    next_action: _NextAction | None = None


class _Refund(msgspec.Struct):
    id: str
    amount: int
    currency: str
    status: str | None = None
    failure_reason: str | None = None


class _EventObject(msgspec.Struct):
    id: str
    status: str | None = None
    amount: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class _EventData(msgspec.Struct):
    object: dict[str, Any]


class _Event(msgspec.Struct):
    id: str
    type: str
    created: int
    data: _EventData


_EVENT = msgspec.json.Decoder(_Event)


def payment(intent: Mapping[str, Any]) -> PaymentOutcome:
    """The outcome that a PaymentIntent with its expanded charge shows.

    By https://docs.stripe.com/payments/paymentintents/lifecycle.
    """
    it = msgspec.convert(intent, _Intent)
    currency = it.currency.upper()
    outcome: PaymentOutcome
    match it.status:
        case "requires_capture":
            outcome = _authorized(it, currency)
        case "succeeded":
            outcome = Captured(it.id, from_stripe(it.amount_received, currency))
        case "requires_action":
            redirect = it.next_action.redirect_to_url if it.next_action else None
            url = redirect.url if redirect else None
            outcome = RequiresAction(it.id, it.client_secret or "", url)
        case "canceled" if it.cancellation_reason in _OUR_VOIDS:
            outcome = Voided(it.id)
        case "canceled":
            outcome = Lapsed(it.id)
        case "requires_payment_method" if it.last_payment_error:
            outcome = declined(it.id, it.last_payment_error)
        case "requires_payment_method" | "requires_confirmation":
            outcome = Created(it.id, it.client_secret or "")
        case _:
            outcome = Processing(it.id)
    return outcome


def _authorized(it: _Intent, currency: str) -> Authorized:
    charge = it.latest_charge if isinstance(it.latest_charge, _Charge) else _Charge()
    details = charge.payment_method_details or _MethodDetails()
    card = details.card or details.card_present or _Card()
    return Authorized(
        it.id,
        amount_minor=from_stripe(it.amount_capturable, currency),
        capture_before=_time(card.capture_before) if card.capture_before else None,
        card_fingerprint=card.fingerprint,
        brand=card.brand,
        last4=card.last4,
    )


def declined(provider_id: str, refusal: Refusal) -> Declined:
    """What the card's no means; `reason` is the code, `decline_code` the issuer's own."""
    return Declined(provider_id, refusal.decline_code, refusal.code or refusal.type)


def refund(found: Mapping[str, Any]) -> RefundOutcome:
    """The outcome that a Refund shows. `requires_action` is a wait, too."""
    it = msgspec.convert(found, _Refund)
    amount_minor = from_stripe(it.amount, it.currency.upper())
    match it.status:
        case "succeeded":
            return Refunded(it.id, amount_minor)
        case "failed" | "canceled":
            return RefundFailed(it.id, it.failure_reason or it.status)
        case _:
            return RefundPending(it.id, amount_minor)


def event(body: bytes) -> ProviderEvent:
    """What a webhook's body says. Raises msgspec.DecodeError when it is not an event.

    An account sends events about many kinds of objects; of those that are no payment, charge or
    refund only kind and id are read.
    """
    told = _EVENT.decode(body)
    kind = str(told.data.object.get("object", ""))
    if kind in ("payment_intent", "charge", "refund"):
        it = msgspec.convert(told.data.object, _EventObject)
    else:
        it = _EventObject(id=str(told.data.object.get("id", "")))
    metadata = it.metadata or {}
    currency = it.currency.upper() if it.currency else None
    return ProviderEvent(
        id=told.id,
        type=told.type,
        created=_time(told.created),
        object_kind=kind,
        object_id=it.id,
        provider_id=it.id if kind == "payment_intent" else it.payment_intent,
        status=it.status,
        amount_minor=_known_amount(it.amount, currency),
        currency=currency,
        payment_id=_uuid(metadata.get("payment_id")),
        operation_id=_uuid(metadata.get("operation_id")),
        order_id=_uuid(metadata.get("order_id")),
    )


def _known_amount(value: int | None, currency: str | None) -> int | None:
    if value is None or currency is None:
        return None
    try:
        return from_stripe(value, currency)
    except ValueError:  # somebody else's payment in something that ISO does not list
        return None


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
