"""The fake against the SDK's annotations, which Stripe generates from its own description.

Every field that the fake emits exists at Stripe and is there when Stripe promises it, every closed
set of words holds, and every parameter that the fake takes exists. Since the fake refuses unknown
parameters, this covers what the gateway sends, too.
"""

from collections.abc import Iterator
from types import NoneType
from typing import Any, Union, get_args, get_origin

import pytest
import stripe
import stripe.params.terminal
import stripe.params.test_helpers.terminal
import stripe.terminal

from api.fake_stripe import payments, reading, refunds, terminal
from api.fake_stripe.routes import ROUTES
from tests.stripe_server import FakeStripeServer, WebhookEndpoint

INTENTS = "/v1/payment_intents"
Details = stripe.Charge.PaymentMethodDetails
Thing = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with (
        WebhookEndpoint() as endpoint,
        FakeStripeServer(tmp_path_factory.mktemp("stripe"), endpoint.port) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def things(server: FakeStripeServer) -> dict[str, list[Thing]]:
    """Objects of every kind in every state that the fake can bring them to."""
    form = [("amount", 1000), ("currency", "mxn"), ("capture_method", "manual")]
    cards = {
        "pm_card_visa": "capture",
        "pm_card_amex": "cancel",
        "pm_card_refundFail": "capture",
        "pm_card_mastercard": "",
        "pm_card_chargeDeclined": "",
        "pm_card_authenticationRequired": "",
    }
    for card, then in cards.items():
        intent_id = server.post(INTENTS, form).json()["id"]
        server.post(f"{INTENTS}/{intent_id}/confirm", [("payment_method", card)])
        if then:
            server.post(f"{INTENTS}/{intent_id}/{then}", [])
        if then == "capture":
            refund = server.post("/v1/refunds", [("payment_intent", intent_id)]).json()
            server.control(f"refunds/{refund['id']}/settle")
    reader = server.post("/v1/terminal/readers", [("registration_code", "simulated-wpe")]).json()
    present = [*form, ("allowed_payment_method_types[]", "card_present")]
    intent_id = server.post(INTENTS, present).json()["id"]
    process = f"/v1/terminal/readers/{reader['id']}/process_payment_intent"
    server.post(process, [("payment_intent", intent_id)])
    hand = f"/v1/test_helpers/terminal/readers/{reader['id']}/present_payment_method"
    found: dict[str, list[Thing]] = {"terminal.reader": [reader, server.post(hand, []).json()]}
    for kind in ("payment_intents", "charges", "refunds", "events"):
        for thing in server.http.get(f"/v1/{kind}", params={"limit": 100}).json()["data"]:
            found.setdefault(thing["object"], []).append(thing)
    for charge in found["charge"]:
        method = server.http.get(f"/v1/payment_methods/{charge['payment_method']}").json()
        found.setdefault("payment_method", []).append(method)
    return found


KINDS: dict[str, tuple[type[Any], int]] = {
    "payment_intent": (stripe.PaymentIntent, 7),
    "charge": (stripe.Charge, 6),
    "refund": (stripe.Refund, 2),
    "event": (stripe.Event, 20),
    "payment_method": (stripe.PaymentMethod, 6),
    "terminal.reader": (stripe.terminal.Reader, 2),
}


NESTED: dict[tuple[str, str], type[Any]] = {
    ("charge", "card"): Details.Card,
    ("charge", "card_present"): Details.CardPresent,
    ("payment_method", "card"): stripe.PaymentMethod.Card,
    ("payment_method", "card_present"): stripe.PaymentMethod.CardPresent,
}


@pytest.mark.parametrize("kind", KINDS)
def test_objects_have_stripes_fields_and_words(things: dict[str, list[Thing]], kind: str) -> None:
    described, at_least = KINDS[kind]
    assert len(things[kind]) >= at_least
    for thing in things[kind]:
        check(thing, described)


def test_every_status_of_a_manual_payment_is_among_them(things: dict[str, list[Thing]]) -> None:
    assert {intent["status"] for intent in things["payment_intent"]} == {
        "succeeded",
        "canceled",
        "requires_capture",
        "requires_payment_method",
        "requires_action",
    }


def test_nested_objects_have_stripes_fields(things: dict[str, list[Thing]]) -> None:
    assert {method["type"] for method in things["payment_method"]} == {"card", "card_present"}
    for charge in things["charge"]:
        details = charge["payment_method_details"]
        check(details[details["type"]], NESTED["charge", details["type"]])
    for method in things["payment_method"]:
        check(method[method["type"]], NESTED["payment_method", method["type"]])
    errors = [i["last_payment_error"] for i in things["payment_intent"] if i["last_payment_error"]]
    assert len(errors) == 1
    check(errors[0], stripe.PaymentIntent.LastPaymentError)
    actions = [i["next_action"] for i in things["payment_intent"] if i["next_action"]]
    assert len(actions) == 1
    check(actions[0], stripe.PaymentIntent.NextAction)
    check(actions[0]["redirect_to_url"], stripe.PaymentIntent.NextAction.RedirectToUrl)
    check(things["terminal.reader"][1]["action"], stripe.terminal.Reader.Action)


PARAMETERS: dict[type[Any], type[Any]] = {
    payments.CreateIntent: stripe.params.PaymentIntentCreateParams,
    payments.ConfirmIntent: stripe.params.PaymentIntentConfirmParams,
    payments.CaptureIntent: stripe.params.PaymentIntentCaptureParams,
    payments.CancelIntent: stripe.params.PaymentIntentCancelParams,
    payments.CreateMethod: stripe.params.PaymentMethodCreateParams,
    payments.CardNumber: stripe.params.PaymentMethodCreateParamsCard,
    refunds.CreateRefund: stripe.params.RefundCreateParams,
    reading.Retrieve: stripe.params.PaymentIntentRetrieveParams,
    reading.ListPage: stripe.params.PaymentIntentListParams,
    reading.ListOfPayment: stripe.params.RefundListParams,
    reading.Search: stripe.params.PaymentIntentSearchParams,
    terminal.CreateReader: stripe.params.terminal.ReaderCreateParams,
    terminal.ProcessIntent: stripe.params.terminal.ReaderProcessPaymentIntentParams,
    terminal.CancelAction: stripe.params.terminal.ReaderCancelActionParams,
    terminal.PresentMethod: (stripe.params.test_helpers.terminal.ReaderPresentPaymentMethodParams),
}


@pytest.mark.parametrize("ours", PARAMETERS, ids=lambda ours: ours.__name__)
def test_parameters_are_stripes(ours: type[Any]) -> None:
    assert set(ours.__struct_fields__) <= set(PARAMETERS[ours].__annotations__)


def test_every_route_has_its_parameters_checked() -> None:
    assert {route.params for route in ROUTES} <= set(PARAMETERS)


def check(thing: Thing, described: type[Any]) -> None:
    """Compare one object with the SDK's class of it."""
    fields = {n: a for n, a in described.__annotations__.items() if n != "OBJECT_NAME"}
    assert set(thing) <= set(fields), f"{described.__qualname__} has no {set(thing) - set(fields)}"
    for name, annotation in fields.items():
        options = get_args(annotation) if get_origin(annotation) is Union else (annotation,)
        if thing.get(name) is None:
            assert NoneType in options, f"{described.__qualname__}.{name} is missing"
            continue
        words = [word for option in options for word in get_args(option) if isinstance(word, str)]
        if words and isinstance(thing[name], str):
            assert thing[name] in words, f"{described.__qualname__}.{name} = {thing[name]}"
        if options == (int,):
            assert type(thing[name]) is int, f"{described.__qualname__}.{name}"
