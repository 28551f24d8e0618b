"""Which of Stripe's endpoints there are: address, parameters, handler, and its name for faults."""

import re
from collections.abc import Callable
from functools import partial

import msgspec

from api.fake_stripe import payments, reading, refunds, terminal
from api.fake_stripe.payments import Call
from api.fake_stripe.wire import Object, Params

Handler = Callable[..., Object]
"""Called with the call, the parameters and the ids of the path."""


class Route(msgspec.Struct, frozen=True):
    """One endpoint. `operation` is what faults call it."""

    operation: str
    method: str
    path: re.Pattern[str]
    params: type[Params]
    handler: Handler


def _route(operation: str, endpoint: str, params: type[Params], handler: Handler) -> Route:
    method, path = endpoint.split()
    pattern = re.compile("/v1" + path.replace("{id}", r"(\w+)"))
    return Route(operation, method, pattern, params, handler)


def _one(operation: str, endpoint: str, kind: str) -> Route:
    def handler(call: Call, params: Params, object_id: str) -> Object:
        del params
        return call.store.get(kind, object_id)

    return _route(operation, endpoint, reading.Retrieve, handler)


def _many(operation: str, path: str, kind: str, params: type[reading.ListPage]) -> Route:
    handler = partial(reading.page, kind=kind, url=f"/v1{path}")
    return _route(operation, f"GET {path}", params, handler)


INTENTS = (
    _route(
        "payment_intents.create", "POST /payment_intents", payments.CreateIntent, payments.create
    ),
    _many("payment_intents.list", "/payment_intents", "payment_intent", reading.ListPage),
    _route("payment_intents.search", "GET /payment_intents/search", reading.Search, reading.search),
    _one("payment_intents.retrieve", "GET /payment_intents/{id}", "payment_intent"),
    _route(
        "payment_intents.confirm",
        "POST /payment_intents/{id}/confirm",
        payments.ConfirmIntent,
        payments.confirm,
    ),
    _route(
        "payment_intents.capture",
        "POST /payment_intents/{id}/capture",
        payments.CaptureIntent,
        payments.capture,
    ),
    _route(
        "payment_intents.cancel",
        "POST /payment_intents/{id}/cancel",
        payments.CancelIntent,
        payments.cancel,
    ),
)
MONEY = (
    _route(
        "payment_methods.create",
        "POST /payment_methods",
        payments.CreateMethod,
        payments.create_method,
    ),
    _one("payment_methods.retrieve", "GET /payment_methods/{id}", "payment_method"),
    _many("charges.list", "/charges", "charge", reading.ListOfPayment),
    _one("charges.retrieve", "GET /charges/{id}", "charge"),
    _route("refunds.create", "POST /refunds", refunds.CreateRefund, refunds.create),
    _many("refunds.list", "/refunds", "refund", reading.ListOfPayment),
    _one("refunds.retrieve", "GET /refunds/{id}", "refund"),
    _many("events.list", "/events", "event", reading.ListPage),
    _one("events.retrieve", "GET /events/{id}", "event"),
)
READERS = (
    _route("readers.create", "POST /terminal/readers", terminal.CreateReader, terminal.create),
    _one("readers.retrieve", "GET /terminal/readers/{id}", terminal.KIND),
    _route(
        "readers.process_payment_intent",
        "POST /terminal/readers/{id}/process_payment_intent",
        terminal.ProcessIntent,
        terminal.process,
    ),
    _route(
        "readers.cancel_action",
        "POST /terminal/readers/{id}/cancel_action",
        terminal.CancelAction,
        terminal.cancel,
    ),
    _route(
        "readers.present_payment_method",
        "POST /test_helpers/terminal/readers/{id}/present_payment_method",
        terminal.PresentMethod,
        terminal.present,
    ),
)
ROUTES = INTENTS + MONEY + READERS
OPERATIONS = frozenset(route.operation for route in ROUTES)
