"""Operations: what each route takes and answers, and the document that they make together."""

import inspect
import re
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from api.auth import guard_of
from api.contract import ANSWERS, RAISES, TAKES
from api.once import HEADER
from api.openapi.examples import example_of
from api.openapi.parameters import Parameter, parameters_of
from api.openapi.refusals import implied, security
from api.openapi.schemas import Schema, Schemas, first_line
from api.problem_json import CONTENT_TYPE
from api.problems import PROBLEMS
from commerce.kernel.errors import CommerceError
from commerce.kernel.idempotency import MAX_KEY_LENGTH

_TAGS = {
    "Storefront": "Web shops and apps: goods, stores, carts, orders, and the shopper's own things.",
    "Store tablet": "Associates at the counter: pickups, baskets, returns. Needs their session.",
    "Back office": "Keys, people and records of the retailer, and what runs behind it all.",
    "Service": "The product itself: documentation, health, webhooks. Needs no key.",
}
_TAG_OF_PACKAGE = {
    "storefront": "Storefront",
    "store": "Store tablet",
    "backoffice": "Back office",
}
_HEADERS = {
    "X-Request-Id": ("Names this request in our log.", {"type": "string"}),
    "Retry-After": ("Seconds to wait.", {"type": "integer"}),
    "Idempotent-Replayed": ("`true` when this answer was kept.", {"type": "string"}),
    "RateLimit-Limit": ("Requests of this key per minute.", {"type": "integer"}),
    "RateLimit-Remaining": ("What is left of them.", {"type": "integer"}),
    "RateLimit-Reset": ("Seconds until they start anew.", {"type": "integer"}),
}
_SECURITY_SCHEMES: Schema = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "Of a program: a web shop, a server, a tablet, the back office.",
    },
    "session": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of a person who has signed in with that key: a shopper or an associate.",
    },
}
_ABOUT = """One inventory and order service behind web shop, mobile app and store tills.

Send a key as `X-API-Key` with every request, and the session of a shopper or an associate beside
it as `Authorization: Bearer`. Every command (`POST`) that shows an `Idempotency-Key` needs one: a
new one per command, the same one to repeat it. Amounts are integers in minor units. Refusals are
problem documents (RFC 9457) with a stable `code`; their texts follow `Accept-Language` (en, es).
"""


def document(app: Litestar) -> Schema:
    """The whole document, as plain JSON."""
    made: Schema = msgspec.json.decode(msgspec.json.encode(_Document(app).made()))
    return made


def _methods(handler: Any) -> list[str]:
    """What handlers of one address are sorted by: the framework has them in any order."""
    return sorted(handler.http_methods)


class _Document:
    """One document in the making."""

    def __init__(self, app: Litestar) -> None:
        self._routes = [
            (route.path, handler)
            for route in sorted(app.routes, key=lambda route: route.path)
            for handler in sorted(getattr(route, "route_handlers", ()), key=_methods)
            if isinstance(handler, HTTPRouteHandler) and handler.http_methods != {"OPTIONS"}
        ]
        self._schemas = Schemas()
        self._shown: list[tuple[Schema, str, bool]] = []
        """What gets an example, the name of its field, and whether clients send it."""

    def made(self) -> Schema:
        """Everything put together."""
        paths: dict[str, Schema] = {}
        for path, handler in self._routes:
            template = re.sub(r"\{(\w+):\w+\}", r"{\1}", path)
            for method in sorted(handler.http_methods):
                operation = self._operation(handler, path)
                paths.setdefault(template, {})[method.lower()] = operation
        schemas = self._schemas.fill()
        for shown, name, sent in self._shown:
            shown["example"] = example_of(shown["schema"], schemas, name=name, sent=sent)
        for operations in paths.values():
            for operation in operations.values():
                _describe(operation, schemas)
        return {
            "openapi": "3.1.0",
            "info": {"title": "Mostrador", "version": "1.0.0", "description": _ABOUT},
            "servers": [{"url": "/"}],
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "headers": {
                    name: {"description": text, "schema": schema}
                    for name, (text, schema) in _HEADERS.items()
                },
                "securitySchemes": _SECURITY_SCHEMES,
            },
        }

    def _operation(self, handler: HTTPRouteHandler, path: str) -> Schema:
        hints = get_type_hints(handler.fn, include_extras=True)
        guard = guard_of(handler)
        taken = parameters_of(handler, hints, path)
        refused = [*handler.opt.get(RAISES, ()), *implied(handler, hints, guard, taken)]
        summary, _, rest = (inspect.getdoc(handler.fn) or "").partition("\n")
        parameters = [self._parameter(each) for each in taken]
        if getattr(handler.fn, "takes_effect_once", False):
            parameters.append(_IDEMPOTENCY_KEY)
        operation: Schema = {
            "operationId": handler.fn.__name__,
            "summary": summary.rstrip("."),
            "tags": [_tag(handler)],
            "security": security(guard),
            "parameters": parameters,
            "responses": _together(self._answers(handler, hints), self._refusals(refused)),
        }
        if rest.strip():
            operation["description"] = rest.strip()
        if guard.permissions:
            operation["x-permission"] = list(guard.permissions)
        if "data" in hints:
            content = self._content(hints["data"], sent=True)
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": content},
            }
        if TAKES in handler.opt:
            operation["requestBody"] = {
                "required": True,
                "content": {
                    media_type: {"schema": {"type": "string"}, "example": example}
                    for media_type, example in handler.opt[TAKES].items()
                },
            }
        return operation

    def _parameter(self, taken: Parameter) -> Schema:
        parameter: Schema = {
            "name": taken.name,
            "in": taken.place,
            "schema": self._schemas.of(taken.kind),
            "required": taken.required,
        }
        if taken.description:
            parameter["description"] = taken.description
        if taken.required:
            self._shown.append((parameter, taken.name, True))
        return parameter

    def _content(
        self, kind: Any, media_type: str = "application/json", *, sent: bool = False
    ) -> Schema:
        content: Schema = {"schema": self._schemas.of(kind)}
        if media_type == "text/event-stream":
            content["schema"] = _block(content["schema"])
        self._shown.append((content, "", sent))
        return content

    def _answers(self, handler: HTTPRouteHandler, hints: dict[str, Any]) -> Schema:
        kind, media_type, more = handler.opt.get(ANSWERS) or (
            _answer_of(hints["return"]),
            "application/json",
            (),
        )
        answer: Schema = {"headers": _headers("X-Request-Id")}
        if kind is not type(None):
            answer["content"] = {media_type: self._content(kind, media_type)}
        if guard_of(handler).permissions:
            answer["headers"] |= _headers("RateLimit-Limit", "RateLimit-Remaining")
        if getattr(handler.fn, "takes_effect_once", False):
            answer["headers"] |= _headers("Idempotent-Replayed")
        return {str(status): answer for status in (handler.status_code, *more)}

    def _refusals(self, errors: Sequence[type[CommerceError]]) -> Schema:
        by_status: dict[int, dict[str, type[CommerceError]]] = {}
        for error in errors:
            assert error in PROBLEMS, f"{error} needs a row in api/problems.py"
            by_status.setdefault(PROBLEMS[error].status, {}).setdefault(error.code, error)
        return {
            str(status): self._refusal(list(by_status[status].values()))
            for status in sorted(by_status)
        }

    def _refusal(self, errors: Sequence[type[CommerceError]]) -> Schema:
        references = {error.code: self._schemas.problem(error) for error in errors}
        schema: Schema = {"$ref": next(iter(references.values()))}
        if len(references) > 1:
            schema = {
                "oneOf": [{"$ref": reference} for reference in references.values()],
                "discriminator": {"propertyName": "code", "mapping": references},
            }
        headers = _headers("X-Request-Id")
        if any("retry_after_seconds" in error._fields for error in errors):
            headers |= _headers("Retry-After")
        return {
            "description": "\n".join(f"- `{error.code}`: {first_line(error)}" for error in errors),
            "headers": headers,
            "content": {CONTENT_TYPE: {"schema": schema}},
        }


_IDEMPOTENCY_KEY: Schema = {
    "name": HEADER,
    "in": "header",
    "required": True,
    "description": "New for each command, the same when it is repeated. Kept for 48 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    "example": "order-2026-11-21-0001",
}


def _block(carried: Schema) -> Schema:
    """One block of a stream of server-sent events, as OpenAPI 3.2 describes them."""
    words = {"type": "string"}
    carried = {**words, "contentMediaType": "application/json", "contentSchema": carried}
    return {
        "type": "object",
        "properties": {"id": words, "event": words, "data": carried},
        "required": ["id"],
    }


def _answer_of(returned: Any) -> Any:
    """What a route that returns this answers."""
    return get_args(returned)[0] if get_origin(returned) is Response else returned


def _together(answers: Schema, refusals: Schema) -> Schema:
    """Answers and refusals; a status that is both has the contents of both."""
    both = {
        status: answers[status]
        | {"content": answers[status]["content"] | refusals[status]["content"]}
        for status in answers.keys() & refusals.keys()
    }
    return answers | refusals | both


def _describe(operation: Schema, schemas: dict[str, Schema]) -> None:
    """Say of each answer what it is: the first words about its schema."""
    for answer in operation["responses"].values():
        if "description" not in answer:
            content: Schema = next(iter(answer.get("content", {}).values()), {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            about = schemas.get(name, {}).get("description", "Done.")
            answer["description"] = about.partition("\n")[0]


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _tag(handler: HTTPRouteHandler) -> str:
    """Whom the route is for: what it says itself, else those of its package."""
    own = sorted(handler.tags or ())
    package = handler.fn.__module__.split(".")[1]
    return own[0] if own else _TAG_OF_PACKAGE.get(package, "Service")
