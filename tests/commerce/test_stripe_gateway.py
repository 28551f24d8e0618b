"""The gateway through the real SDK, over real sockets, against the fake Stripe's own books."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from commerce.kernel.ids import uuid7
from commerce.kernel.money import Money
from commerce.provider import (
    Authorized,
    Captured,
    Created,
    Declined,
    Lapsed,
    PaymentOutcome,
    ProviderRefused,
    ProviderUnavailable,
    Refunded,
    RefundFailed,
    RefundPending,
    RequiresAction,
    Voided,
)
from commerce.stripe_gateway import StripeGateway
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, WebhookEndpoint, free_port

RETURN_URL = "http://shop.example/back?order=7"
MXN_1000 = Money(1000, "MXN")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as listening:
        yield listening


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, endpoint: WebhookEndpoint
) -> Iterator[FakeStripeServer]:
    state: Path = tmp_path_factory.mktemp("stripe")
    with FakeStripeServer(state, endpoint.port) as running:
        yield running


@pytest.fixture(scope="module")
async def gateway(server: FakeStripeServer) -> AsyncIterator[StripeGateway]:
    gateway = gateway_to(server.url)
    yield gateway
    await gateway.close()


def gateway_to(url: str, *, api_key: str = "sk_test_ours", timeout: float = 5.0) -> StripeGateway:
    return StripeGateway(
        api_key=api_key, api_base=url, webhook_secret=WEBHOOK_SECRET, timeout=timeout
    )


async def create(gateway: StripeGateway, amount: Money = MXN_1000) -> str:
    created = await gateway.create(
        payment_id=uuid7(), operation_id=uuid7(), order_id=uuid7(), amount=amount
    )
    return created.provider_id


async def confirm(
    gateway: StripeGateway, provider_id: str, card: str = "pm_card_visa"
) -> PaymentOutcome:
    return await gateway.confirm(
        provider_id, payment_method=card, operation_id=uuid7(), return_url=RETURN_URL
    )


async def authorized(gateway: StripeGateway, card: str = "pm_card_visa") -> str:
    provider_id = await create(gateway)
    assert isinstance(await confirm(gateway, provider_id, card), Authorized)
    return provider_id


async def captured(gateway: StripeGateway, card: str = "pm_card_visa") -> str:
    provider_id = await authorized(gateway, card)
    await gateway.capture(provider_id, amount=MXN_1000, operation_id=uuid7())
    return provider_id


async def test_authorize_capture_a_part_and_refund_a_part_of_that(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    payment_id, order_id, operation_id = uuid7(), uuid7(), uuid7()
    created = await gateway.create(
        payment_id=payment_id, operation_id=operation_id, order_id=order_id, amount=MXN_1000
    )
    provider_id = created.provider_id
    assert await gateway.retrieve(provider_id) == created

    held = await confirm(gateway, provider_id)
    assert isinstance(held, Authorized)
    assert (held.amount_minor, held.brand, held.last4) == (1000, "visa", "4242")
    assert held.capture_before is not None
    left = held.capture_before - datetime.now(UTC)
    assert timedelta(days=7, minutes=-1) < left <= timedelta(days=7)
    assert await gateway.retrieve(provider_id) == held

    taken = await gateway.capture(provider_id, amount=Money(700, "MXN"), operation_id=uuid7())
    assert taken == Captured(provider_id, 700)
    refund = await gateway.refund(
        provider_id, payment_id=payment_id, operation_id=uuid7(), amount=Money(300, "MXN")
    )
    assert isinstance(refund, Refunded)
    assert refund.amount_minor == 300
    assert await gateway.refund_status(refund.refund_id) == refund
    assert server.books(provider_id) == {
        "payment_intent": provider_id,
        "status": "succeeded",
        "currency": "mxn",
        "payment_id": str(payment_id),
        "operation_id": str(operation_id),
        "order_id": str(order_id),
        "authorized_minor": 1000,
        "captured_minor": 700,
        "released_minor": 300,
        "voided_minor": 0,
        "lapsed_minor": 0,
        "refunded_minor": 300,
        "refund_failed_minor": 0,
        "held_minor": 0,
        "kept_minor": 400,
    }


@pytest.mark.parametrize(
    ("card", "reason", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ],
)
async def test_a_declined_card_holds_nothing_and_another_card_may_pay(
    gateway: StripeGateway, server: FakeStripeServer, card: str, reason: str, decline_code: str
) -> None:
    provider_id = await create(gateway)
    declined = Declined(provider_id, decline_code, reason)
    assert await confirm(gateway, provider_id, card) == declined
    assert await gateway.retrieve(provider_id) == declined
    assert server.books(provider_id) == {}

    assert isinstance(await confirm(gateway, provider_id), Authorized)
    assert server.books(provider_id)["held_minor"] == 1000


async def test_a_shopper_authenticates_on_the_banks_page(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id = await create(gateway)
    asked = await confirm(gateway, provider_id, "pm_card_threeDSecure2Required")
    assert isinstance(asked, RequiresAction)
    assert await gateway.retrieve(provider_id) == asked
    assert server.books(provider_id) == {}

    assert asked.redirect_url is not None
    page = server.http.get(asked.redirect_url)
    assert "<strong>1000 mxn</strong>" in page.text
    back = server.http.post(asked.redirect_url, data={"outcome": "approve"})
    assert back.status_code == 303
    address = httpx.URL(back.headers["location"])
    assert (address.host, address.params["order"]) == ("shop.example", "7")
    assert address.params["payment_intent"] == provider_id
    assert address.params["redirect_status"] == "succeeded"
    assert isinstance(await gateway.retrieve(provider_id), Authorized)

    server.http.post(asked.redirect_url, data={"outcome": "fail"})
    assert isinstance(await gateway.retrieve(provider_id), Authorized)
    assert server.books(provider_id)["authorized_minor"] == 1000


@pytest.mark.parametrize(
    ("card", "answer", "expected"),
    [
        ("pm_card_authenticationRequired", "fail", "payment_intent_authentication_failure"),
        ("pm_card_threeDSecureRequiredChargeDeclined", "approve", "card_declined"),
    ],
)
async def test_a_failed_authentication_holds_nothing(
    gateway: StripeGateway, server: FakeStripeServer, card: str, answer: str, expected: str
) -> None:
    provider_id = await create(gateway)
    asked = await confirm(gateway, provider_id, card)
    assert isinstance(asked, RequiresAction)
    assert asked.redirect_url is not None
    back = server.http.post(asked.redirect_url, data={"outcome": answer})
    assert httpx.URL(back.headers["location"]).params["redirect_status"] == "failed"
    outcome = await gateway.retrieve(provider_id)
    assert isinstance(outcome, Declined)
    assert outcome.reason == expected
    assert server.books(provider_id) == {}


async def test_a_void_gives_the_hold_back_and_ends_the_payment(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id = await authorized(gateway)
    assert await gateway.void(provider_id, operation_id=uuid7()) == Voided(provider_id)
    books = server.books(provider_id)
    assert (books["voided_minor"], books["held_minor"]) == (1000, 0)

    with pytest.raises(ProviderRefused) as refused:
        await gateway.capture(provider_id, amount=MXN_1000, operation_id=uuid7())
    assert refused.value.provider_code == "payment_intent_unexpected_state"
    assert server.books(provider_id) == books


async def test_an_unconfirmed_payment_is_voided_without_any_entry(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id = await create(gateway)
    assert await gateway.void(provider_id, operation_id=uuid7()) == Voided(provider_id)
    assert server.books(provider_id) == {}


async def test_a_lapsed_hold_is_told_apart_from_a_void(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id = await authorized(gateway)
    server.control(f"payment_intents/{provider_id}/lapse")
    assert await gateway.retrieve(provider_id) == Lapsed(provider_id)
    assert server.books(provider_id)["lapsed_minor"] == 1000


async def test_more_than_is_held_cannot_be_captured(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id = await authorized(gateway)
    with pytest.raises(ProviderRefused) as refused:
        await gateway.capture(provider_id, amount=Money(1001, "MXN"), operation_id=uuid7())
    assert refused.value.provider_code == "amount_too_large"
    assert server.books(provider_id)["held_minor"] == 1000


async def test_more_than_was_captured_cannot_be_refunded(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id, payment_id = await captured(gateway), uuid7()
    refund = Money(600, "MXN")
    await gateway.refund(provider_id, payment_id=payment_id, operation_id=uuid7(), amount=refund)
    with pytest.raises(ProviderRefused, match="greater than unrefunded amount"):
        await gateway.refund(
            provider_id, payment_id=payment_id, operation_id=uuid7(), amount=refund
        )
    rest = Money(400, "MXN")
    await gateway.refund(provider_id, payment_id=payment_id, operation_id=uuid7(), amount=rest)
    with pytest.raises(ProviderRefused) as refused:
        await gateway.refund(provider_id, payment_id=payment_id, operation_id=uuid7(), amount=rest)
    assert refused.value.provider_code == "charge_already_refunded"
    assert server.books(provider_id)["refunded_minor"] == 1000


async def test_refunds_that_wait_and_refunds_that_fail_later(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    waits = await captured(gateway, "pm_card_pendingRefund")
    pending = await gateway.refund(waits, payment_id=uuid7(), operation_id=uuid7(), amount=MXN_1000)
    assert isinstance(pending, RefundPending)
    server.control(f"refunds/{pending.refund_id}/settle")
    assert await gateway.refund_status(pending.refund_id) == Refunded(pending.refund_id, 1000)

    fails = await captured(gateway, "pm_card_refundFail")
    refund = await gateway.refund(fails, payment_id=uuid7(), operation_id=uuid7(), amount=MXN_1000)
    assert isinstance(refund, Refunded)
    server.control(f"refunds/{refund.refund_id}/settle")
    failed = RefundFailed(refund.refund_id, "expired_or_canceled_card")
    assert await gateway.refund_status(refund.refund_id) == failed
    assert server.books(fails)["kept_minor"] == 1000


LOST = ["timeout_before", "timeout_after", "close_before", "close_after"]


@pytest.mark.parametrize("kind", LOST)
async def test_a_lost_capture_is_settled_by_retrieving_and_repeated_without_harm(
    server: FakeStripeServer, kind: str
) -> None:
    gateway = gateway_to(server.url, timeout=0.5)
    provider_id, operation_id = await authorized(gateway), uuid7()
    server.fault("payment_intents.capture", kind)
    with pytest.raises(ProviderUnavailable):
        await gateway.capture(provider_id, amount=MXN_1000, operation_id=operation_id)
    acted = kind.endswith("after")
    assert isinstance(await gateway.retrieve(provider_id), Captured if acted else Authorized)

    again = await gateway.capture(provider_id, amount=MXN_1000, operation_id=operation_id)
    assert again == Captured(provider_id, 1000)
    assert server.books(provider_id)["captured_minor"] == 1000
    await gateway.close()


@pytest.mark.parametrize(
    ("kind", "truth"), [("error_before", Authorized), ("error_after", Captured)]
)
async def test_an_inner_error_is_a_doubt_and_is_replayed_by_its_key(
    gateway: StripeGateway, server: FakeStripeServer, kind: str, truth: type[PaymentOutcome]
) -> None:
    provider_id, operation_id = await authorized(gateway), uuid7()
    server.fault("payment_intents.capture", kind)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await gateway.capture(provider_id, amount=MXN_1000, operation_id=operation_id)
    assert isinstance(await gateway.retrieve(provider_id), truth)


async def test_too_many_requests_is_a_doubt_that_leaves_the_key_free(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id, operation_id = await authorized(gateway), uuid7()
    server.fault("payment_intents.capture", "rate_limit")
    with pytest.raises(ProviderUnavailable) as doubt:
        await gateway.capture(provider_id, amount=MXN_1000, operation_id=operation_id)
    assert doubt.value.reason == "RateLimitError"
    again = await gateway.capture(provider_id, amount=MXN_1000, operation_id=operation_id)
    assert again == Captured(provider_id, 1000)


async def test_a_create_whose_answer_was_lost_is_repeated_by_its_key(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    payment_id, operation_id, order_id = uuid7(), uuid7(), uuid7()

    async def once() -> Created:
        return await gateway.create(
            payment_id=payment_id, operation_id=operation_id, order_id=order_id, amount=MXN_1000
        )

    server.fault("payment_intents.create", "close_after")
    with pytest.raises(ProviderUnavailable):
        await once()
    created = await once()
    found = server.http.get(
        "/v1/payment_intents/search",
        params={"query": f"metadata['payment_id']:'{payment_id}'"},
    ).json()
    assert [intent["id"] for intent in found["data"]] == [created.provider_id]


async def test_a_refund_whose_answer_was_lost_is_found_by_its_operation(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id = await captured(gateway)
    lost, never = uuid7(), uuid7()
    for operation_id, kind in ((lost, "close_after"), (never, "close_before")):
        server.fault("refunds.create", kind)
        with pytest.raises(ProviderUnavailable):
            await gateway.refund(
                provider_id,
                payment_id=uuid7(),
                operation_id=operation_id,
                amount=Money(100, "MXN"),
            )
    found = await gateway.find_refund(provider_id, operation_id=lost)
    assert isinstance(found, Refunded)
    assert found.amount_minor == 100
    assert await gateway.find_refund(provider_id, operation_id=never) is None


async def test_the_oldest_of_many_refunds_is_found_on_the_second_page(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id, oldest = await captured(gateway), uuid7()
    operations: list[UUID] = [oldest, *(uuid7() for _ in range(100))]
    for operation_id in operations:
        await gateway.refund(
            provider_id, payment_id=uuid7(), operation_id=operation_id, amount=Money(1, "MXN")
        )
    assert isinstance(await gateway.find_refund(provider_id, operation_id=oldest), Refunded)
    assert await gateway.find_refund(provider_id, operation_id=uuid7()) is None
    assert server.books(provider_id)["refunded_minor"] == 101


async def test_a_key_used_for_something_else_is_a_doubt(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id, operation_id = await authorized(gateway), uuid7()
    await gateway.capture(provider_id, amount=Money(400, "MXN"), operation_id=operation_id)
    with pytest.raises(ProviderUnavailable) as doubt:
        await gateway.capture(provider_id, amount=Money(500, "MXN"), operation_id=operation_id)
    assert doubt.value.reason == "IdempotencyError"
    assert server.books(provider_id)["captured_minor"] == 400


async def test_the_same_call_twice_at_once_acts_once(
    gateway: StripeGateway, server: FakeStripeServer
) -> None:
    provider_id, operation_id = await authorized(gateway), uuid7()
    server.fault("payment_intents.capture", "delay", seconds=0.5)
    outcomes = await asyncio.gather(
        *(
            gateway.capture(provider_id, amount=MXN_1000, operation_id=operation_id)
            for _ in range(2)
        ),
        return_exceptions=True,
    )
    assert Captured(provider_id, 1000) in outcomes
    assert [type(o) for o in outcomes].count(ProviderUnavailable) == 1
    assert server.books(provider_id)["captured_minor"] == 1000


async def test_a_wrong_key_is_a_definite_no(server: FakeStripeServer) -> None:
    gateway = gateway_to(server.url, api_key="sk_live_never")
    with pytest.raises(ProviderRefused, match="Invalid API Key"):
        await create(gateway)
    await gateway.close()


async def test_an_unknown_payment_is_a_definite_no(gateway: StripeGateway) -> None:
    with pytest.raises(ProviderRefused) as refused:
        await gateway.retrieve("pi_nothing")
    assert refused.value.provider_code == "resource_missing"


async def test_nobody_listening_is_a_doubt() -> None:
    gateway = gateway_to(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ProviderUnavailable) as doubt:
        await gateway.retrieve("pi_nothing")
    assert (doubt.value.operation, doubt.value.reason) == ("retrieve", "APIConnectionError")
    await gateway.close()


async def test_a_webhook_of_the_fake_passes_the_sdks_verification(
    gateway: StripeGateway, endpoint: WebhookEndpoint
) -> None:
    payment_id, operation_id, order_id = uuid7(), uuid7(), uuid7()
    created = await gateway.create(
        payment_id=payment_id, operation_id=operation_id, order_id=order_id, amount=MXN_1000
    )
    await confirm(gateway, created.provider_id)
    deliveries = await asyncio.to_thread(endpoint.wait_for, created.provider_id, 2)
    events = [gateway.event(d.body, d.signature) for d in deliveries]
    assert [event.type for event in events] == [
        "payment_intent.created",
        "payment_intent.amount_capturable_updated",
    ]
    held = events[1]
    assert (held.object_kind, held.provider_id) == ("payment_intent", created.provider_id)
    assert (held.status, held.amount_minor, held.currency) == ("requires_capture", 1000, "MXN")
    assert (held.payment_id, held.operation_id, held.order_id) == (
        payment_id,
        operation_id,
        order_id,
    )


async def test_a_refunds_webhook_names_the_payment_and_the_operation(
    gateway: StripeGateway, endpoint: WebhookEndpoint
) -> None:
    provider_id, payment_id, operation_id = await captured(gateway), uuid7(), uuid7()
    refund = await gateway.refund(
        provider_id, payment_id=payment_id, operation_id=operation_id, amount=Money(250, "MXN")
    )
    [delivery] = await asyncio.to_thread(endpoint.wait_for, refund.refund_id, 1)
    event = gateway.event(delivery.body, delivery.signature)
    assert (event.type, event.object_kind, event.object_id) == (
        "refund.created",
        "refund",
        refund.refund_id,
    )
    assert (event.provider_id, event.payment_id, event.operation_id) == (
        provider_id,
        payment_id,
        operation_id,
    )
    assert (event.status, event.amount_minor) == ("succeeded", 250)
