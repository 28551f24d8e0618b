"""The test cards of https://docs.stripe.com/testing and what they do.

Each is known by its payment method name and by its number. A card fingerprint is the same for the
same number, as at Stripe.
"""

import hashlib
from datetime import timedelta
from typing import Literal

import msgspec

from api.fake_stripe.wire import Object

RefundBehaviour = Literal["succeeds", "stays_pending", "fails_later"]


class TestCard(msgspec.Struct, frozen=True, kw_only=True):
    """One test card. `error` and `decline_code` are Stripe's words; no error: the card pays."""

    number: str
    names: tuple[str, ...]
    brand: str = "visa"
    error: str | None = None
    decline_code: str | None = None
    authenticates: bool = False
    refund: RefundBehaviour = "succeeds"

    @property
    def fingerprint(self) -> str:
        """Tells that two payments used the same card without telling which."""
        return hashlib.sha256(self.number.encode()).hexdigest()[:16]


def _declined(number: str, names: str, code: str, *, error: str = "card_declined") -> TestCard:
    return TestCard(number=number, names=tuple(names.split()), error=error, decline_code=code)


CARDS = (
    TestCard(number="4242424242424242", names=("pm_card_visa",)),
    TestCard(number="4000056655665556", names=("pm_card_visa_debit",)),
    TestCard(number="5555555555554444", names=("pm_card_mastercard",), brand="mastercard"),
    TestCard(number="378282246310005", names=("pm_card_amex",), brand="amex"),
    TestCard(number="6011111111111117", names=("pm_card_discover",), brand="discover"),
    TestCard(number="4000004840008001", names=("pm_card_mx",)),
    _declined(
        "4000000000000002",
        "pm_card_chargeDeclined pm_card_visa_chargeDeclined",
        "generic_decline",
    ),
    _declined(
        "4000000000009995",
        "pm_card_chargeDeclinedInsufficientFunds pm_card_visa_chargeDeclinedInsufficientFunds",
        "insufficient_funds",
    ),
    _declined("4000000000009987", "pm_card_visa_chargeDeclinedLostCard", "lost_card"),
    _declined("4000000000009979", "pm_card_visa_chargeDeclinedStolenCard", "stolen_card"),
    _declined(
        "4000000000000069",
        "pm_card_chargeDeclinedExpiredCard",
        "expired_card",
        error="expired_card",
    ),
    _declined(
        "4000000000000127",
        "pm_card_chargeDeclinedIncorrectCvc",
        "incorrect_cvc",
        error="incorrect_cvc",
    ),
    _declined(
        "4000000000000119",
        "pm_card_chargeDeclinedProcessingError",
        "processing_error",
        error="processing_error",
    ),
    TestCard(
        number="4000000000003220", names=("pm_card_threeDSecure2Required",), authenticates=True
    ),
    TestCard(
        number="4000002760003184", names=("pm_card_authenticationRequired",), authenticates=True
    ),
    TestCard(
        number="4000008400001629",
        names=("pm_card_threeDSecureRequiredChargeDeclined",),
        error="card_declined",
        decline_code="generic_decline",
        authenticates=True,
    ),
    TestCard(
        number="4000008260003178",
        names=("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",),
        error="card_declined",
        decline_code="insufficient_funds",
        authenticates=True,
    ),
    TestCard(number="4000000000007726", names=("pm_card_pendingRefund",), refund="stays_pending"),
    TestCard(number="4000000000005126", names=("pm_card_refundFail",), refund="fails_later"),
)

BY_NAME = {name: card for card in CARDS for name in card.names}
BY_NUMBER = {card.number: card for card in CARDS}
BY_FINGERPRINT = {card.fingerprint: card for card in CARDS}


def hold_time(card: TestCard, *, present: bool) -> timedelta:
    """How long an authorization lasts (https://docs.stripe.com/payments/extended-authorization)."""
    if not present:
        return timedelta(days=7)
    return timedelta(days=5) if card.brand == "visa" else timedelta(days=2)


def details(card: TestCard) -> Object:
    """The fields that every rendering of a card shares."""
    return {
        "brand": card.brand,
        "country": "MX" if "pm_card_mx" in card.names else "US",
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": card.fingerprint,
        "funding": "debit" if "pm_card_visa_debit" in card.names else "credit",
        "last4": card.number[-4:],
    }
