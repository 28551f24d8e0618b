"""The control path, `/_control`: faults on demand, the passing of time, and the books.

POST   /_control/faults                        {"operation", "kind", "times", "seconds"}
GET, DELETE /_control/faults
POST   /_control/payment_intents/{id}/lapse    the hold grows too old
POST   /_control/refunds/{id}/settle           the bank answers in the end
GET    /_control/books                         totals per payment, by our metadata
GET    /_control/journal                       the books' entries, in order
GET, POST /_control/webhooks                   {"held", "reversed", "duplicates"}
POST   /_control/events/{id}/resend            deliver once more
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from api.fake_stripe import payments, refunds
from api.fake_stripe.payments import Call
from api.fake_stripe.store import Store
from api.fake_stripe.webhooks import SETTINGS
from api.fake_stripe.wire import Object, StripeError

T = TypeVar("T")

FaultKind = Literal[
    "timeout_before",
    "timeout_after",
    "close_before",
    "close_after",
    "error_before",
    "error_after",
    "rate_limit",
    "delay",
]

ENTRIES = ("authorized", "captured", "released", "voided", "lapsed", "refunded", "refund_failed")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the next calls of an operation go wrong; `*` is every operation.

    `before` and `after` say whether the call has acted when it is lost. An `error` is a 500, which
    the idempotency key remembers, as at Stripe. `delay` keeps the key busy and then acts.
    """

    operation: str
    kind: FaultKind
    times: Annotated[int, Meta(ge=1)] = 1
    seconds: Annotated[float, Meta(gt=0, le=600)] = 60.0


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """How webhooks are delivered; what is absent stays as it is."""

    held: bool | None = None
    reversed: bool | None = None
    duplicates: Annotated[int, Meta(ge=0, le=10)] | None = None


def take_fault(store: Store, operation: str) -> Fault | None:
    """The fault that this call runs into, used up once."""
    rows = store.run(
        "SELECT place, operation, kind, times, seconds FROM fault"
        " WHERE times > 0 AND operation IN (?, '*') ORDER BY place LIMIT 1",
        operation,
    )
    if not rows:
        return None
    place, *fields = rows[0]
    store.run("UPDATE fault SET times = times - 1 WHERE place = ?", place)
    return Fault(*fields)


def control(call: Call, method: str, path: str, body: bytes, operations: frozenset[str]) -> Object:
    """Answer a request to the control path. Raises StripeError for one that makes no sense."""
    store = call.store
    action = re.fullmatch(
        r"/_control/(?:payment_intents|refunds|events)/(\w+)/(lapse|settle|resend)", path
    )
    answer: Object
    match method, path:
        case "POST", "/_control/faults":
            answer = _add_fault(store, _parsed(body, Fault), operations)
        case "GET", "/_control/faults":
            answer = {"faults": _named(store, "fault", Fault.__struct_fields__)}
        case "DELETE", "/_control/faults":
            store.run("DELETE FROM fault")
            answer = {"faults": []}
        case "GET", "/_control/books":
            answer = {"payment_intents": books(store)}
        case "GET", "/_control/journal":
            fields = ("at", "payment_intent", "kind", "amount", "operation_id")
            answer = {"journal": _named(store, "journal", fields)}
        case "POST", "/_control/webhooks":
            answer = _switch(store, _parsed(body, Switches))
        case "GET", "/_control/webhooks":
            answer = _webhooks(store)
        case "POST", _ if action is not None:
            answer = _act(call, action[2], action[1])
        case _:
            raise StripeError(404, f"There is no {method} {path}", kept=False)
    return answer


def books(store: Store) -> list[Object]:
    """What happened to the money of each payment, oldest first. Amounts as Stripe counts them.

    `held_minor` is still on the card's hold; `kept_minor` is what the merchant has in the end.
    """
    totals: dict[str, dict[str, int]] = {}
    for intent_id, kind, amount in store.run(
        "SELECT payment_intent, kind, sum(amount) FROM journal GROUP BY 1, 2 ORDER BY min(place)"
    ):
        totals.setdefault(intent_id, dict.fromkeys(ENTRIES, 0))[kind] = amount
    found: list[Object] = []
    for intent_id, sums in totals.items():
        intent = store.get("payment_intent", intent_id)
        ended = sums["captured"] + sums["released"] + sums["voided"] + sums["lapsed"]
        found.append(
            {
                "payment_intent": intent_id,
                "status": intent["status"],
                "currency": intent["currency"],
                **{
                    name: intent["metadata"].get(name)
                    for name in ("payment_id", "operation_id", "order_id")
                },
                **{f"{kind}_minor": sums[kind] for kind in ENTRIES},
                "held_minor": sums["authorized"] - ended,
                "kept_minor": sums["captured"] - sums["refunded"] + sums["refund_failed"],
            }
        )
    return found


def _add_fault(store: Store, fault: Fault, operations: frozenset[str]) -> Object:
    if fault.operation not in operations | {"*"}:
        message = f"No operation {fault.operation}; there are {', '.join(sorted(operations))}."
        raise StripeError(400, message, param="operation", kept=False)
    store.run(
        "INSERT INTO fault (operation, kind, times, seconds) VALUES (?, ?, ?, ?)",
        *msgspec.structs.astuple(fault),
    )
    return msgspec.structs.asdict(fault)


def _act(call: Call, action: str, object_id: str) -> Object:
    if action == "lapse":
        return payments.lapse(call, object_id)
    if action == "settle":
        return refunds.settle(call, object_id)
    event = call.store.get("event", object_id)
    call.store.run("INSERT INTO delivery (event_id, due_at) VALUES (?, 0)", object_id)
    return event


def _switch(store: Store, switches: Switches) -> Object:
    for name, value in msgspec.structs.asdict(switches).items():
        if value is not None:
            store.run("INSERT OR REPLACE INTO setting VALUES (?, ?)", name, int(value))
    return _webhooks(store)


def _webhooks(store: Store) -> Object:
    waiting = store.run("SELECT count(*) FROM delivery WHERE due_at >= 0")
    settings = {name: store.setting(name) for name in SETTINGS}
    fields = ("event_id", "attempts", "status")
    return {
        **settings,
        "waiting": waiting[0][0],
        "deliveries": _named(store, "delivery", fields),
    }


def _named(store: Store, table: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    statement = f"SELECT {', '.join(fields)} FROM {table} ORDER BY place"  # noqa: S608 - constants
    return [dict(zip(fields, row, strict=True)) for row in store.run(statement)]


def _parsed(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise StripeError(400, str(error), kept=False) from error
