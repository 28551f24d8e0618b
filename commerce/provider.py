"""The words that payments and their provider exchange: outcomes, events, and two ways to fail.

`commerce/stripe_gateway.py` speaks them; whoever only reads outcomes imports this module and does
not pay for the provider's SDK. Amounts are minor units by ISO 4217, whatever the provider counts.
"""

from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from commerce.kernel.errors import CommerceError
from commerce.kernel.money import Money

KEY_LIFETIME = timedelta(hours=20)
"""How long a call may be repeated by its key, with a margin below what Stripe promises."""


class ProviderUnavailable(CommerceError):
    """A doubt: the call may have acted or not. Settle it by retrieving, never by guessing."""

    code = "provider_unavailable"
    operation: str
    reason: str


class ProviderRefused(CommerceError):
    """A definite no: this call changed nothing. `provider_code` is the provider's own word."""

    code = "provider_refused"
    operation: str
    provider_code: str
    message: str


class WebhookRefused(CommerceError):
    """Not from the provider, too old, or not an event. Nothing of the body may be believed."""

    code = "webhook_refused"
    reason: Literal["signature", "malformed"]


class Outcome(msgspec.Struct, frozen=True):
    """Base of what a payment at the provider can turn out to be."""

    provider_id: str


class Created(Outcome, frozen=True):
    """It exists and holds no money; `client_secret` lets the shopper's device confirm it."""

    client_secret: str


class RequiresAction(Outcome, frozen=True):
    """The shopper must authenticate (3-D Secure), at `redirect_url` or by the client secret."""

    client_secret: str
    redirect_url: str | None


class Processing(Outcome, frozen=True):
    """The provider has not decided yet; a webhook follows."""


class Authorized(Outcome, frozen=True):
    """The amount is held on the card until `capture_before`, the only safe source of that time."""

    amount_minor: int
    capture_before: datetime | None
    card_fingerprint: str | None
    brand: str | None
    last4: str | None


class Declined(Outcome, frozen=True):
    """The card said no. The same payment may be confirmed again with another card."""

    decline_code: str | None
    reason: str


class Captured(Outcome, frozen=True):
    """The money is taken; what was held beyond it is released."""

    amount_minor: int


class Voided(Outcome, frozen=True):
    """Cancelled by us; nothing is held."""


class Lapsed(Outcome, frozen=True):
    """Cancelled by the provider, because the hold grew too old; nothing is held."""


PaymentOutcome = (
    Created | RequiresAction | Processing | Authorized | Declined | Captured | Voided | Lapsed
)


class Refunded(msgspec.Struct, frozen=True):
    """The money is on its way back to the card."""

    refund_id: str
    amount_minor: int


class RefundPending(msgspec.Struct, frozen=True):
    """Accepted, not yet sent; a webhook follows."""

    refund_id: str
    amount_minor: int


class RefundFailed(msgspec.Struct, frozen=True):
    """The provider could not send it; the money is still ours."""

    refund_id: str
    reason: str


RefundOutcome = Refunded | RefundPending | RefundFailed


class ProviderEvent(msgspec.Struct, frozen=True):
    """What a webhook told, without its body: ids, state, amount. Order and number of times: any.

    `provider_id` is the payment that it is about, `object_id` the thing that changed; its kind is
    payment_intent, charge, refund or one that we do not use. Our ids are None in foreign payments.
    """

    id: str
    type: str
    created: datetime
    object_kind: str
    object_id: str
    provider_id: str | None
    status: str | None
    amount_minor: int | None
    currency: str | None
    payment_id: UUID | None
    operation_id: UUID | None
    order_id: UUID | None


class Gateway(Protocol):
    """What sagas ask of a provider: one network call each, never inside a transaction.

    Each raises ProviderRefused when it is certain that nothing was done, and ProviderUnavailable
    in doubt. A call is repeated under its operation's id.
    """

    async def create(
        self, *, payment_id: UUID, operation_id: UUID, order_id: UUID, amount: Money
    ) -> Created:
        """Make an unconfirmed payment; it holds no money."""
        ...

    async def confirm(
        self, provider_id: str, *, payment_method: str, operation_id: UUID, return_url: str | None
    ) -> PaymentOutcome:
        """Ask the card."""
        ...

    async def retrieve(self, provider_id: str) -> PaymentOutcome:
        """The truth about a payment, now."""
        ...

    async def capture(
        self, provider_id: str, *, amount: Money, operation_id: UUID
    ) -> PaymentOutcome:
        """Take this much of what is held and release the rest."""
        ...

    async def void(self, provider_id: str, *, operation_id: UUID) -> PaymentOutcome:
        """Give back what is held, or abandon what was never authorized."""
        ...

    async def refund(
        self, provider_id: str, *, payment_id: UUID, operation_id: UUID, amount: Money
    ) -> RefundOutcome:
        """Send back a part of what was captured."""
        ...

    async def refund_status(self, refund_id: str) -> RefundOutcome:
        """What became of a refund whose id is known."""
        ...

    async def find_refund(self, provider_id: str, *, operation_id: UUID) -> RefundOutcome | None:
        """The refund that this operation made, if it did."""
        ...

    def event(self, body: bytes, signature: str) -> ProviderEvent:
        """Verify a webhook and tell what it is about. Raises WebhookRefused."""
        ...
