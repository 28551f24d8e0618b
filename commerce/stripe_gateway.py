"""Payments at Stripe: the only module that imports the SDK (0.8 s of CPU, so import it lazily).

Every method is one network call and belongs outside of any database transaction. The SDK retries
nothing: the saga decides, by these rules.

    doubt about    settle it by
    create         repeating it with the same operation id while that is younger than KEY_LIFETIME;
                   later, or when the same failure is replayed, by a new operation: an unconfirmed
                   intent holds no money and may be left behind. Stripe's search by metadata is no
                   way out: it lags behind writes, so not finding proves nothing.
    confirm, capture, void     retrieve(provider_id)
    refund         find_refund(provider_id, operation_id): lists are up to date, unlike search

Stripe keeps an idempotency key for at least 24 hours and replays the first answer, a 500 included
(https://docs.stripe.com/api/idempotent_requests); KEY_LIFETIME is in `commerce.provider`.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import httpx
import msgspec
import stripe

from commerce import stripe_objects
from commerce.kernel.money import Money
from commerce.provider import (
    Created,
    PaymentOutcome,
    ProviderEvent,
    ProviderRefused,
    ProviderUnavailable,
    RefundOutcome,
    WebhookRefused,
)
from commerce.stripe_objects import Refusal, to_stripe

# It writes an id file into the home directory and sends the name of the machine with every call.
stripe.enable_telemetry = False

SIGNATURE_TOLERANCE = timedelta(minutes=5)

MAX_REFUND_PAGES = 10


class StripeGateway:
    """Talks to Stripe, or to anything with its wire protocol at `api_base`."""

    def __init__(
        self, *, api_key: str, api_base: str, webhook_secret: str, timeout: float = 20.0
    ) -> None:
        self._webhook_secret = webhook_secret
        self._transport = _Transport(timeout)
        self._stripe = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")},
            http_client=self._transport,
            max_network_retries=0,
        )

    async def close(self) -> None:
        """Close the connections; the gateway is of no use afterwards."""
        await self._transport.close_async()

    async def create(
        self,
        *,
        payment_id: UUID,
        operation_id: UUID,
        order_id: UUID,
        amount: Money,
        method: Literal["card", "card_present"] = "card",
    ) -> Created:
        """Make an unconfirmed payment of this amount; it holds no money and may be repeated."""
        with _asking("create"):
            intent = await self._stripe.v1.payment_intents.create_async(
                {
                    "amount": to_stripe(amount),
                    "currency": amount.currency.lower(),
                    "capture_method": "manual",
                    "allowed_payment_method_types": [method],
                    "metadata": {
                        "payment_id": str(payment_id),
                        "operation_id": str(operation_id),
                        "order_id": str(order_id),
                    },
                },
                {"idempotency_key": str(operation_id)},
            )
        return Created(intent.id, intent.client_secret or "")

    async def confirm(
        self, provider_id: str, *, payment_method: str, operation_id: UUID, return_url: str | None
    ) -> PaymentOutcome:
        """Ask the card. A declined card is an outcome, not an error.

        Without `return_url` the shopper's device authenticates by the client secret.
        """
        asked: stripe.params.PaymentIntentConfirmParams = {
            "payment_method": payment_method,
            "expand": ["latest_charge"],
        }
        if return_url is not None:
            asked["return_url"] = return_url
        with _asking("confirm"):
            try:
                intent = await self._stripe.v1.payment_intents.confirm_async(
                    provider_id,
                    asked,
                    # One operation makes two calls, and a key belongs to one call.
                    {"idempotency_key": f"{operation_id}:confirm"},
                )
            except stripe.CardError as error:
                return stripe_objects.declined(provider_id, _refusal(error))
        return stripe_objects.payment(intent.to_dict())

    async def retrieve(self, provider_id: str) -> PaymentOutcome:
        """The truth about a payment, now."""
        with _asking("retrieve"):
            intent = await self._stripe.v1.payment_intents.retrieve_async(
                provider_id, {"expand": ["latest_charge"]}
            )
        return stripe_objects.payment(intent.to_dict())

    async def capture(
        self, provider_id: str, *, amount: Money, operation_id: UUID
    ) -> PaymentOutcome:
        """Take this much of what is held and release the rest; a payment is captured once."""
        with _asking("capture"):
            intent = await self._stripe.v1.payment_intents.capture_async(
                provider_id,
                {"amount_to_capture": to_stripe(amount), "expand": ["latest_charge"]},
                {"idempotency_key": str(operation_id)},
            )
        return stripe_objects.payment(intent.to_dict())

    async def void(self, provider_id: str, *, operation_id: UUID) -> PaymentOutcome:
        """Give back what is held, or abandon a payment that was never authorized."""
        with _asking("void"):
            intent = await self._stripe.v1.payment_intents.cancel_async(
                provider_id,
                {"cancellation_reason": "requested_by_customer", "expand": ["latest_charge"]},
                {"idempotency_key": str(operation_id)},
            )
        return stripe_objects.payment(intent.to_dict())

    async def refund(
        self, provider_id: str, *, payment_id: UUID, operation_id: UUID, amount: Money
    ) -> RefundOutcome:
        """Send back a part of what was captured; Stripe refuses more than is left."""
        with _asking("refund"):
            refund = await self._stripe.v1.refunds.create_async(
                {
                    "payment_intent": provider_id,
                    "amount": to_stripe(amount),
                    "metadata": {
                        "payment_id": str(payment_id),
                        "operation_id": str(operation_id),
                    },
                },
                {"idempotency_key": str(operation_id)},
            )
        return stripe_objects.refund(refund.to_dict())

    async def refund_status(self, refund_id: str) -> RefundOutcome:
        """What became of a refund whose id is known."""
        with _asking("refund_status"):
            refund = await self._stripe.v1.refunds.retrieve_async(refund_id)
        return stripe_objects.refund(refund.to_dict())

    async def find_refund(self, provider_id: str, *, operation_id: UUID) -> RefundOutcome | None:
        """The refund that this operation made, if it did; for a refund whose answer was lost."""
        after: str | None = None
        for _ in range(MAX_REFUND_PAGES):
            with _asking("find_refund"):
                page = await self._stripe.v1.refunds.list_async(
                    {"payment_intent": provider_id, "limit": 100}
                    if after is None
                    else {"payment_intent": provider_id, "limit": 100, "starting_after": after}
                )
            for refund in page.data:
                if (refund.to_dict()["metadata"] or {}).get("operation_id") == str(operation_id):
                    return stripe_objects.refund(refund.to_dict())
            if not page.has_more:
                return None
            after = page.data[-1].id
        raise ProviderUnavailable(operation="find_refund", reason="too_many_refunds")

    def event(self, body: bytes, signature: str) -> ProviderEvent:
        """Verify a webhook against its signature and tell what it is about.

        Raises WebhookRefused when the signature is wrong or older than SIGNATURE_TOLERANCE.
        """
        try:
            stripe.WebhookSignature.verify_header(
                body, signature, self._webhook_secret, int(SIGNATURE_TOLERANCE.total_seconds())
            )
        except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
            raise WebhookRefused(reason="signature") from error
        try:
            return stripe_objects.event(body)
        except msgspec.DecodeError as error:
            raise WebhookRefused(reason="malformed") from error


class _Transport(stripe.HTTPClient):
    """The SDK's HTTP port on httpx, with one limit on the whole call.

    The SDK's own httpx client bounds each read but not their sum, and hands bytes over in the way
    that httpx deprecates with a warning per call.
    """

    name = "httpx"

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        # A proxy from the environment serves the outside world, not a fake on this machine.
        local = {"all://127.0.0.1": None, "all://localhost": None}
        self._client = httpx.AsyncClient(timeout=timeout, mounts=local)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.request(
                    method, url, headers=headers, content=post_data
                )
        except (httpx.HTTPError, TimeoutError) as error:
            lost = stripe.APIConnectionError(type(error).__name__)  # type: ignore[no-untyped-call]
            raise lost from error
        return response.content, response.status_code, response.headers

    async def close_async(self) -> None:
        await self._client.aclose()


@contextmanager
def _asking(operation: str) -> Iterator[None]:
    """Sort the SDK's errors into a definite no and a doubt; what is unknown is a doubt."""
    try:
        yield
    except (
        stripe.CardError,
        stripe.InvalidRequestError,
        stripe.AuthenticationError,
        stripe.PermissionError,
    ) as error:
        refusal = _refusal(error)
        raise ProviderRefused(
            operation=operation,
            provider_code=refusal.code or refusal.type,
            message=refusal.message or "",
        ) from error
    except stripe.StripeError as error:
        # Connection lost, time out, 429, 5xx, a key still running (409) or used with another body:
        # an earlier call may have acted.
        raise ProviderUnavailable(operation=operation, reason=type(error).__name__) from error


class _ErrorBody(msgspec.Struct):
    error: Refusal


def _refusal(error: stripe.StripeError) -> Refusal:
    try:
        return msgspec.convert(error.json_body, _ErrorBody).error
    except msgspec.ValidationError:
        return Refusal(code=error.code, message=error.user_message)
