"""What the gateway believes of a webhook's body, and how it counts money; no server needed."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import stripe

from commerce.kernel.money import Money
from commerce.provider import ProviderRefused, WebhookRefused
from commerce.stripe_gateway import StripeGateway
from commerce.stripe_objects import from_stripe, to_stripe

SECRET = "whsec_reading"


@pytest.fixture
async def gateway() -> AsyncIterator[StripeGateway]:
    gateway = StripeGateway(
        api_key="sk_test_1", api_base="http://127.0.0.1:1", webhook_secret=SECRET
    )
    yield gateway
    await gateway.close()


def body(**thing: Any) -> bytes:
    event = {
        "id": "evt_1",
        "type": "some.type",
        "created": 1_790_000_000,
        "data": {"object": thing},
    }
    return msgspec.json.encode(event)


def signed(payload: bytes, *, secret: str = SECRET, age: int = 0) -> str:
    at = int(time.time()) - age
    header = stripe.WebhookSignature.generate_signature_header(payload.decode(), secret, at)
    assert isinstance(header, str)
    return header


async def test_a_payments_event_is_read(gateway: StripeGateway) -> None:
    payload = body(object="payment_intent", id="pi_1", status="canceled", amount=5, currency="jpy")
    event = gateway.event(payload, signed(payload))
    assert (event.id, event.type) == ("evt_1", "some.type")
    assert event.created == datetime.fromtimestamp(1_790_000_000, UTC)
    assert (event.object_id, event.provider_id, event.status) == ("pi_1", "pi_1", "canceled")
    assert (event.amount_minor, event.currency, event.payment_id) == (5, "JPY", None)


async def test_an_event_of_another_kind_is_named_and_not_interpreted(
    gateway: StripeGateway,
) -> None:
    payload = body(object="payout", id="po_1", status={"not": "a word"}, amount="many")
    event = gateway.event(payload, signed(payload))
    assert (event.object_kind, event.object_id) == ("payout", "po_1")
    assert (event.provider_id, event.status, event.amount_minor) == (None, None, None)


async def test_somebody_elses_metadata_and_currency_are_left_alone(gateway: StripeGateway) -> None:
    payload = body(
        object="charge",
        id="ch_1",
        payment_intent="pi_9",
        amount=7,
        currency="zzz",
        metadata={"payment_id": "4711", "order_id": ""},
    )
    event = gateway.event(payload, signed(payload))
    assert (event.provider_id, event.amount_minor) == ("pi_9", None)
    assert (event.payment_id, event.order_id) == (None, None)


@pytest.mark.parametrize(
    ("secret", "age"), [("whsec_other", 0), (SECRET, 301)], ids=["wrong secret", "stale"]
)
async def test_a_wrong_or_stale_signature_is_refused(
    gateway: StripeGateway, secret: str, age: int
) -> None:
    payload = body(object="payment_intent", id="pi_1")
    with pytest.raises(WebhookRefused) as refused:
        gateway.event(payload, signed(payload, secret=secret, age=age))
    assert refused.value.reason == "signature"


@pytest.mark.parametrize("header", ["", "v1=", "t=now,v1=00", "t=1"])
async def test_a_header_that_is_no_signature_is_refused(
    gateway: StripeGateway, header: str
) -> None:
    with pytest.raises(WebhookRefused) as refused:
        gateway.event(body(object="payment_intent", id="pi_1"), header)
    assert refused.value.reason == "signature"


async def test_a_changed_body_is_refused(gateway: StripeGateway) -> None:
    payload = body(object="payment_intent", id="pi_1", amount=1, currency="mxn")
    with pytest.raises(WebhookRefused) as refused:
        gateway.event(payload.replace(b'"amount":1', b'"amount":9'), signed(payload))
    assert refused.value.reason == "signature"


async def test_bytes_that_are_no_text_are_refused(gateway: StripeGateway) -> None:
    with pytest.raises(WebhookRefused) as refused:
        gateway.event(b"\xff\xfe", "t=1,v1=00")
    assert refused.value.reason == "signature"


@pytest.mark.parametrize("payload", [b"not json", b"[]", b'{"id": "evt_1"}'])
async def test_a_signed_body_that_is_no_event_is_refused(
    gateway: StripeGateway, payload: bytes
) -> None:
    with pytest.raises(WebhookRefused) as refused:
        gateway.event(payload, signed(payload))
    assert refused.value.reason == "malformed"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "at_stripe"),
    [
        (12900, "MXN", 12900),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (1500, "MGA", 15),
        (5120, "KWD", 5120),
    ],
)
def test_amounts_are_counted_as_stripe_counts_them(
    amount_minor: int, currency: str, at_stripe: int
) -> None:
    assert to_stripe(Money(amount_minor, currency)) == at_stripe
    assert from_stripe(at_stripe, currency) == amount_minor


@pytest.mark.parametrize(("amount_minor", "currency"), [(1550, "MGA"), (5124, "KWD")])
def test_a_fraction_that_stripe_cannot_charge_is_refused(amount_minor: int, currency: str) -> None:
    with pytest.raises(ProviderRefused) as refused:
        to_stripe(Money(amount_minor, currency))
    assert refused.value.provider_code == "amount_too_fine"
