"""Reading: one object, lists, search, and `expand[]`."""

import re
from typing import Annotated

from msgspec import Meta

from api.fake_stripe.payments import Call
from api.fake_stripe.wire import Object, Params, StripeError

Limit = Annotated[int, Meta(ge=1, le=100)]

EXPANDABLE = frozenset(("charge", "latest_charge", "payment_intent", "payment_method"))
MAX_EXPAND_DEPTH = 4


class Retrieve(Params):
    """GET of one object."""


class ListPage(Params):
    """GET of a list, newest first."""

    limit: Limit = 10
    starting_after: str | None = None


class ListOfPayment(ListPage):
    """GET /v1/charges and /v1/refunds."""

    payment_intent: str | None = None


class Search(Params):
    """GET /v1/payment_intents/search."""

    query: str
    limit: Limit = 10


def page(call: Call, params: ListPage, kind: str, url: str) -> Object:
    """One page of the objects of a kind, newest first."""
    of_payment = params.payment_intent if isinstance(params, ListOfPayment) else None
    after = params.starting_after
    found: list[Object] = []
    for thing in call.store.of_kind(kind, of_payment):
        if after is not None:
            after = None if thing["id"] == after else after
        elif len(found) <= params.limit:
            found.append(thing)
        else:
            break
    return {
        "object": "list",
        "data": found[: params.limit],
        "has_more": len(found) > params.limit,
        "url": url,
    }


def search(call: Call, params: Search) -> Object:
    """Payments by status and metadata, joined by AND; Stripe's language has more."""
    wanted: dict[str, str] = {}
    for clause in re.split(r"\s+AND\s+", params.query):
        match = re.fullmatch(
            r"(?:metadata\[['\"](\w+)['\"]\]|(status)):['\"]([^'\"]*)['\"]", clause
        )
        if match is None:
            message = f"This fake cannot search for {clause!r}; use metadata['key']:'value'."
            raise StripeError(400, message, param="query", kept=False)
        wanted[match[1] or match[2]] = match[3]
    found = [
        intent
        for intent in call.store.of_kind("payment_intent")
        if wanted.items() <= {**intent["metadata"], "status": intent["status"]}.items()
    ]
    return {
        "object": "search_result",
        "data": found[: params.limit],
        "has_more": len(found) > params.limit,
        "next_page": None,
        "url": "/v1/payment_intents/search",
    }


def expand(call: Call, thing: Object, paths: list[str]) -> Object:
    """Replace ids by their objects along dotted paths; `data.` goes into each entry of a list."""
    for path in paths:
        names = path.split(".")
        if len(names) > MAX_EXPAND_DEPTH:
            raise _cannot(path)
        _expand(call, thing, names, path)
    return thing


def _expand(call: Call, thing: Object, names: list[str], path: str) -> None:
    name, *rest = names
    if name == "data" and isinstance(thing.get("data"), list):
        for entry in thing["data"]:
            _expand(call, entry, rest, path)
        return
    if name not in EXPANDABLE or name not in thing:
        raise _cannot(path)
    if isinstance(thing[name], str):
        thing[name] = call.store.find(thing[name])
    if rest and thing[name] is not None:
        _expand(call, thing[name], rest, path)


def _cannot(path: str) -> StripeError:
    message = f"This property cannot be expanded ({path})."
    return StripeError(400, message, param="expand", kept=False)
