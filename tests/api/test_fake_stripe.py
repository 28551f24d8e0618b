"""The fake Stripe by its wire: keys, refusals, lists, readers, webhooks, and what a kill leaves."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from commerce.kernel.ids import uuid7
from tests.stripe_server import FakeStripeServer, WebhookEndpoint

INTENTS = "/v1/payment_intents"
MANUAL = [("amount", 1000), ("currency", "mxn"), ("capture_method", "manual")]
VISA = [("payment_method", "pm_card_visa")]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as listening:
        yield listening


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, endpoint: WebhookEndpoint
) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), endpoint.port) as running:
        yield running


def key() -> str:
    return str(uuid7())


def created(server: FakeStripeServer, *more: tuple[str, Any]) -> dict[str, Any]:
    return done(server.post(INTENTS, [*MANUAL, *more]))


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def authorized(server: FakeStripeServer) -> str:
    intent_id: str = created(server)["id"]
    done(server.post(f"{INTENTS}/{intent_id}/confirm", VISA))
    return intent_id


def test_the_same_key_and_body_get_the_first_answer_again(server: FakeStripeServer) -> None:
    once = key()
    first = server.post(INTENTS, MANUAL, once)
    again = server.post(INTENTS, list(reversed(MANUAL)), once)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content


def test_a_decline_is_replayed_with_its_status(server: FakeStripeServer) -> None:
    intent_id, once = created(server)["id"], key()
    card = [("payment_method", "pm_card_chargeDeclined")]
    first = server.post(f"{INTENTS}/{intent_id}/confirm", card, once)
    again = server.post(f"{INTENTS}/{intent_id}/confirm", card, once)
    assert refused(first, 402)["decline_code"] == "generic_decline"
    assert (again.status_code, again.content) == (402, first.content)
    charges = server.http.get("/v1/charges", params={"payment_intent": intent_id}).json()
    assert [charge["status"] for charge in charges["data"]] == ["failed"]


def test_a_key_is_for_one_body_and_one_endpoint(server: FakeStripeServer) -> None:
    once = key()
    intent_id = done(server.post(INTENTS, MANUAL, once))["id"]
    other_body = server.post(INTENTS, [("amount", 999), *MANUAL[1:]], once)
    assert refused(other_body, 400)["type"] == "idempotency_error"
    other_endpoint = server.post(f"{INTENTS}/{intent_id}/cancel", [], once)
    assert refused(other_endpoint, 400)["type"] == "idempotency_error"
    assert server.http.get(f"{INTENTS}/{intent_id}").json()["status"] == "requires_payment_method"


def test_a_request_that_failed_validation_leaves_its_key_free(server: FakeStripeServer) -> None:
    once = key()
    refused(server.post(INTENTS, [("amount", "much"), *MANUAL[1:]], once), 400)
    done(server.post(INTENTS, MANUAL, once))


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ([*MANUAL, ("colour", "red")], "parameter_unknown", "colour"),
        ([*MANUAL, ("confirm", "true")], "parameter_unknown", "confirm"),
        (MANUAL[1:], "parameter_missing", "amount"),
        ([("amount", "ten"), *MANUAL[1:]], "parameter_invalid_integer", "amount"),
        ([("amount", -1), *MANUAL[1:]], "parameter_invalid_integer", "amount"),
        ([*MANUAL[:2], ("capture_method", "later")], "parameter_invalid", "capture_method"),
        ([*MANUAL, ("expand[]", "wallet")], None, "expand"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    server: FakeStripeServer, form: list[tuple[str, Any]], code: str | None, param: str
) -> None:
    before = len(server.http.get(INTENTS, params={"limit": 100}).json()["data"])
    error = refused(server.post(INTENTS, form), 400)
    assert (error.get("code"), error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error"
    assert len(server.http.get(INTENTS, params={"limit": 100}).json()["data"]) == before


def test_an_unknown_address_and_an_unknown_object_are_404(server: FakeStripeServer) -> None:
    assert "Unrecognized request URL" in refused(server.http.get("/v1/customers"), 404)["message"]
    missing = refused(server.http.get(f"{INTENTS}/pi_no"), 404)
    assert missing["code"] == "resource_missing"
    refund = refused(server.post("/v1/refunds", [("payment_intent", "pi_no")]), 404)
    assert refund["param"] == "payment_intent"


def test_no_key_and_a_live_key_are_refused(server: FakeStripeServer) -> None:
    for headers in ({}, {"Authorization": "Bearer sk_live_1"}):
        answer = httpx.get(server.url + INTENTS, headers=headers, trust_env=False)
        assert "Invalid API Key" in refused(answer, 401)["message"]


def test_a_body_beyond_the_limit_is_refused(server: FakeStripeServer) -> None:
    answer = server.http.post(INTENTS, content=b"a" * 1_000_001)
    assert answer.status_code == 413


def test_lists_page_from_the_newest_and_search_finds_by_metadata(server: FakeStripeServer) -> None:
    order = key()
    ids = [created(server, ("metadata[order_id]", order))["id"] for _ in range(3)]
    newest = server.http.get(INTENTS, params={"limit": 2}).json()
    assert [intent["id"] for intent in newest["data"]] == [ids[2], ids[1]]
    assert newest["has_more"] is True
    rest = {"limit": 1, "starting_after": ids[1]}
    assert server.http.get(INTENTS, params=rest).json()["data"][0]["id"] == ids[0]

    server.post(f"{INTENTS}/{ids[0]}/cancel", [])
    query = f"metadata['order_id']:'{order}' AND status:'canceled'"
    found = server.http.get(f"{INTENTS}/search", params={"query": query}).json()
    assert [intent["id"] for intent in found["data"]] == [ids[0]]


def test_metadata_with_a_number_as_its_name_stays_a_mapping(server: FakeStripeServer) -> None:
    assert created(server, ("metadata[0]", "zero"))["metadata"] == {"0": "zero"}


def test_expand_replaces_ids_by_objects_also_in_lists(server: FakeStripeServer) -> None:
    intent_id = authorized(server)
    plain = server.http.get(f"{INTENTS}/{intent_id}").json()
    params = {"expand[]": "latest_charge.payment_method"}
    charge = server.http.get(f"{INTENTS}/{intent_id}", params=params).json()["latest_charge"]
    assert charge["id"] == plain["latest_charge"]
    assert charge["payment_method"]["card"]["last4"] == "4242"
    listed = server.http.get(INTENTS, params={"limit": 1, "expand[]": "data.latest_charge"}).json()
    assert listed["data"][0]["latest_charge"]["id"] == charge["id"]


def test_a_typed_test_card_becomes_a_payment_method(server: FakeStripeServer) -> None:
    card = [("type", "card"), ("card[exp_month]", 1), ("card[exp_year]", 2034)]
    number = ("card[number]", "4000 0000 0000 9995")
    method = done(server.post("/v1/payment_methods", [*card, number]))
    intent_id = created(server)["id"]
    answer = server.post(f"{INTENTS}/{intent_id}/confirm", [("payment_method", method["id"])])
    assert refused(answer, 402)["decline_code"] == "insufficient_funds"
    wrong = server.post("/v1/payment_methods", [*card, ("card[number]", "1234")])
    assert refused(wrong, 402)["code"] == "incorrect_number"


def test_an_automatic_payment_is_captured_at_once(server: FakeStripeServer) -> None:
    intent_id = done(server.post(INTENTS, MANUAL[:2]))["id"]
    paid = done(server.post(f"{INTENTS}/{intent_id}/confirm", VISA))
    assert (paid["status"], paid["amount_received"]) == ("succeeded", 1000)
    assert server.books(intent_id)["kept_minor"] == 1000


def test_a_card_present_payment_goes_through_a_reader(
    server: FakeStripeServer, endpoint: WebhookEndpoint
) -> None:
    reader = done(server.post("/v1/terminal/readers", [("registration_code", "simulated-wpe")]))
    intent_id = created(server, ("allowed_payment_method_types[]", "card_present"))["id"]
    typed = server.post(f"{INTENTS}/{intent_id}/confirm", VISA)
    assert refused(typed, 400)["code"] == "payment_intent_incompatible_payment_method"

    at_reader = f"/v1/terminal/readers/{reader['id']}"
    hand = f"/v1/test_helpers/terminal/readers/{reader['id']}/present_payment_method"
    assert refused(server.post(hand, []), 400)["code"] == "terminal_reader_timeout"
    process = [("payment_intent", intent_id)]
    waiting = done(server.post(f"{at_reader}/process_payment_intent", process))
    assert waiting["action"]["status"] == "in_progress"
    busy = server.post(f"{at_reader}/process_payment_intent", process)
    assert refused(busy, 400)["code"] == "terminal_reader_busy"

    declined = done(server.post(hand, [("card_present[number]", "4000000000000002")]))
    assert declined["action"]["failure_code"] == "card_declined"
    assert server.books(intent_id) == {}

    done(server.post(f"{at_reader}/process_payment_intent", process))
    assert done(server.post(hand, []))["action"]["status"] == "succeeded"
    params = {"expand[]": "latest_charge"}
    intent = server.http.get(f"{INTENTS}/{intent_id}", params=params).json()
    assert intent["status"] == "requires_capture"
    card = intent["latest_charge"]["payment_method_details"]["card_present"]
    assert card["capture_before"] - intent["latest_charge"]["created"] == 5 * 86_400
    told = endpoint.wait_for(reader["id"], 2)
    assert [d.event["type"] for d in told] == [
        "terminal.reader.action_failed",
        "terminal.reader.action_succeeded",
    ]


def test_a_card_payment_cannot_go_through_a_reader_and_a_reader_can_stop_waiting(
    server: FakeStripeServer,
) -> None:
    reader = done(server.post("/v1/terminal/readers", [("registration_code", "simulated-wpe")]))
    at_reader = f"/v1/terminal/readers/{reader['id']}"
    card = [("payment_intent", created(server)["id"])]
    answer = server.post(f"{at_reader}/process_payment_intent", card)
    assert refused(answer, 400)["code"] == "payment_intent_incompatible_payment_method"
    present = created(server, ("allowed_payment_method_types[]", "card_present"))["id"]
    server.post(f"{at_reader}/process_payment_intent", [("payment_intent", present)])
    assert done(server.post(f"{at_reader}/cancel_action", []))["action"] is None
    assert server.http.get(at_reader).json()["action"] is None


def test_a_fault_for_an_unknown_operation_names_the_known_ones(server: FakeStripeServer) -> None:
    fault = {"operation": "capture", "kind": "delay"}
    error = refused(server.http.post("/_control/faults", json=fault), 400)
    assert "payment_intents.capture" in error["message"]
    assert server.http.get("/_control/faults").json()["faults"] == []


def test_a_failed_delivery_is_repeated_with_a_fresh_signature(
    server: FakeStripeServer, endpoint: WebhookEndpoint
) -> None:
    server.wait_until_delivered()  # what earlier tests caused would use up these answers
    endpoint.answers += [500, 503]
    intent_id = created(server)["id"]
    deliveries = endpoint.wait_for(intent_id, 3)
    assert [d.answered for d in deliveries] == [500, 503, 200]
    assert len({d.body for d in deliveries}) == 1
    assert len({d.signature for d in deliveries}) > 1


def test_webhooks_come_late_twice_and_backwards_on_demand(
    server: FakeStripeServer, endpoint: WebhookEndpoint
) -> None:
    server.control("webhooks", held=True, reversed=True, duplicates=1)
    intent_id = created(server)["id"]
    server.post(f"{INTENTS}/{intent_id}/cancel", [])
    assert endpoint.about(intent_id) == []
    server.control("webhooks", held=False)
    types = [d.event["type"] for d in endpoint.wait_for(intent_id, 4)]
    assert types == ["payment_intent.canceled"] * 2 + ["payment_intent.created"] * 2
    assert len({d.event["id"] for d in endpoint.about(intent_id)}) == 2
    server.control("webhooks", reversed=False, duplicates=0)

    server.control(f"events/{endpoint.about(intent_id)[0].event['id']}/resend")
    assert len(endpoint.wait_for(intent_id, 5)) == 5


def test_a_kill_keeps_books_payments_keys_and_waiting_webhooks(
    tmp_path: Path, endpoint: WebhookEndpoint
) -> None:
    with FakeStripeServer(tmp_path, endpoint.port) as server:
        server.control("webhooks", held=True)
        intent_id, once = authorized(server), key()
        form = [("amount_to_capture", 600)]
        first = done(server.post(f"{INTENTS}/{intent_id}/capture", form, once))
        before = server.books(intent_id)
        assert (before["captured_minor"], before["released_minor"]) == (600, 400)
        server.kill()
        server.start()
        assert server.books(intent_id) == before
        again = server.post(f"{INTENTS}/{intent_id}/capture", form, once)
        assert (again.headers["idempotent-replayed"], again.json()) == ("true", first)
        journal = server.http.get("/_control/journal").json()["journal"]
        assert [(e["kind"], e["amount"], e["operation_id"] == once) for e in journal] == [
            ("authorized", 1000, False),
            ("captured", 600, True),
            ("released", 400, True),
        ]
        assert endpoint.about(intent_id) == []
        server.control("webhooks", held=False)
        assert [d.event["type"] for d in endpoint.wait_for(intent_id, 3)] == [
            "payment_intent.created",
            "payment_intent.amount_capturable_updated",
            "payment_intent.succeeded",
        ]


def test_a_stop_does_not_wait_for_a_call_that_a_fault_holds(
    tmp_path: Path, endpoint: WebhookEndpoint
) -> None:
    with FakeStripeServer(tmp_path, endpoint.port) as server, ThreadPoolExecutor(1) as pool:
        server.fault("payment_intents.create", "timeout_after", seconds=50)
        held = pool.submit(server.post, INTENTS, MANUAL)
        while server.http.get("/_control/faults").json()["faults"][0]["times"]:
            time.sleep(0.02)
        assert server.terminate(seconds=5) == 0
        with pytest.raises(httpx.RemoteProtocolError):
            held.result()
