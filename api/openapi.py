"""The OpenAPI document, made from what the routes are: their types, guards and declarations.

Types come from msgspec's own JSON schema, so that what is described is what is decoded. Answers of
refusal come from `raises(...)` on the route and from what every route of its kind may refuse, with
the status of `api/problems.py`; each code has a schema with its own fields.
"""

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, ParameterKwarg
from litestar.response import Response
from msgspec.inspect import DateTimeType, Field, Metadata, NoneType, StructType, Type
from msgspec.inspect import UnionType as UnionOfTypes

from api.auth import Guard, guard_of
from api.contract import ANSWERS, RAISES
from api.once import HEADER
from api.problem_json import CONTENT_TYPE
from api.problems import PROBLEMS
from api.refusals import (
    BodyTooLarge,
    IdempotencyKeyMissing,
    InternalError,
    InvalidRequest,
    KeyMissing,
    MalformedBody,
    NothingHere,
    RateLimited,
)
from api.services import DEPENDENCIES
from commerce.access import (
    PERMISSIONS,
    KeyInvalid,
    PermissionDenied,
    SessionInvalid,
    SessionRequired,
)
from commerce.kernel.errors import CommerceError
from commerce.kernel.idempotency import MAX_KEY_LENGTH, KeyReused, KeyRunning
from commerce.kernel.sql import Busy

Schema = dict[str, Any]

_NOT_PARAMETERS = {*DEPENDENCIES, "data", "request", "scope", "state", "return"}
_PEOPLE = {"shopper", "associate", "manager"}
_BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
_TAGS = {
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
_ABOUT = """One inventory and order service behind web shop, mobile app and store tills.

Send a key as `X-API-Key` with every request, and the session of a shopper or an associate beside
it as `Authorization: Bearer`. Every command (`POST`) that shows an `Idempotency-Key` needs one: a
new one per command, the same one to repeat it. Amounts are integers in minor units. Refusals are
problem documents (RFC 9457) with a stable `code`; their texts follow `Accept-Language` (en, es).
"""


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused (RFC 9457). `code` is stable; the texts are for people."""

    type: Annotated[str, msgspec.Meta(examples=["/docs#not_found"])]
    title: Annotated[str, msgspec.Meta(examples=["Not found"])]
    status: Annotated[int, msgspec.Meta(ge=400, le=599, examples=[404])]
    code: Annotated[str, msgspec.Meta(examples=["not_found"])]
    detail: str
    request_id: str


def document(app: Litestar) -> Schema:
    """The whole document, as plain JSON."""
    made: Schema = msgspec.json.decode(msgspec.json.encode(_Document(app).made()))
    return made


class _Document:
    """One document in the making. Schemas are slots, filled together once every type is known."""

    def __init__(self, app: Litestar) -> None:
        self._routes = [
            (route.path, handler)
            for route in sorted(app.routes, key=lambda route: route.path)
            for handler in getattr(route, "route_handlers", ())
            if isinstance(handler, HTTPRouteHandler) and handler.http_methods != {"OPTIONS"}
        ]
        self._names = Counter(handler.fn.__name__ for _, handler in self._routes)
        self._slots: list[tuple[Schema, Any]] = []
        self._problems: dict[str, Schema] = {}

    def made(self) -> Schema:
        """Everything put together."""
        paths: dict[str, Schema] = {}
        for path, handler in self._routes:
            template = re.sub(r"\{(\w+):\w+\}", r"{\1}", path)
            for method in sorted(handler.http_methods):
                operation = self._operation(handler, template)
                paths.setdefault(template, {})[method.lower()] = operation
        self._schema(Problem)
        schemas, components = msgspec.json.schema_components(
            [kind for _, kind in self._slots], ref_template="#/components/schemas/{name}"
        )
        for (slot, _), schema in zip(self._slots, schemas, strict=True):
            slot.update(schema)
        _name_moments([kind for _, kind in self._slots], components)
        return {
            "openapi": "3.1.0",
            "info": {"title": "Mostrador", "version": "1.0.0", "description": _ABOUT},
            "servers": [{"url": "/"}],
            "tags": [{"name": name} for name in (*_TAGS.values(), "Service")],
            "paths": paths,
            "components": {
                "schemas": components | self._problems,
                "headers": {
                    name: {"description": text, "schema": schema}
                    for name, (text, schema) in _HEADERS.items()
                },
                "securitySchemes": {
                    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    "session": {"type": "http", "scheme": "bearer"},
                },
            },
        }

    def _schema(self, kind: Any) -> Schema:
        slot: Schema = {}
        self._slots.append((slot, kind))
        return slot

    def _operation(self, handler: HTTPRouteHandler, path: str) -> Schema:
        hints = get_type_hints(handler.fn, include_extras=True)
        guard = guard_of(handler)
        summary, _, rest = (inspect.getdoc(handler.fn) or "").partition("\n")
        once = getattr(handler.fn, "takes_effect_once", False)
        parameters = self._parameters(handler, hints, path)
        operation: Schema = {
            "operationId": self._operation_id(handler),
            "summary": summary.rstrip("."),
            "tags": [_tag(handler)],
            "security": _security(guard.permissions),
            "parameters": [*parameters, _IDEMPOTENCY_KEY] if once else parameters,
            "responses": self._answers(handler, hints) | self._refusals(handler, hints, guard),
        }
        if rest.strip():
            operation["description"] = rest.strip()
        if guard.permissions:
            operation["x-permission"] = list(guard.permissions)
        if "data" in hints:
            content = {"application/json": {"schema": self._schema(hints["data"])}}
            operation["requestBody"] = {"required": True, "content": content}
        return operation

    def _operation_id(self, handler: HTTPRouteHandler) -> str:
        name = handler.operation_id if isinstance(handler.operation_id, str) else ""
        plain: str = handler.fn.__name__
        if name or self._names[plain] == 1:
            return name or plain
        return f"{plain}_{handler.fn.__module__.split('.')[1]}"

    def _parameters(
        self, handler: HTTPRouteHandler, hints: dict[str, Any], path: str
    ) -> list[Schema]:
        defaults = inspect.signature(handler.fn).parameters
        parameters = []
        for name, hint in hints.items():
            if name in _NOT_PARAMETERS:
                continue
            kind, given = _parameter(hint)
            place, called = "query", name
            if f"{{{name}}}" in path:
                place = "path"
            elif given is not None and given.name:
                called = given.name
            if isinstance(given, HeaderParameter):
                place = "header"
            schema = self._schema(kind)
            default = defaults[name].default
            parameter: Schema = {"name": called, "in": place, "schema": schema}
            parameter["required"] = default is inspect.Parameter.empty
            if given is not None and given.description:
                parameter["description"] = given.description
            parameters.append(parameter)
        return parameters

    def _answers(self, handler: HTTPRouteHandler, hints: dict[str, Any]) -> Schema:
        declared = handler.opt.get(ANSWERS)
        kind, media_type = declared or (hints["return"], "application/json")
        if declared is None and get_origin(kind) is not None:
            kind = get_args(kind)[0] if get_origin(kind) is Response else kind
        answer: Schema = {"description": "Done.", "headers": _headers("X-Request-Id")}
        if kind is not type(None):
            answer["content"] = {media_type: {"schema": self._schema(kind)}}
        if getattr(handler.fn, "takes_effect_once", False):
            answer["headers"] |= _headers("Idempotent-Replayed")
        return {str(handler.status_code): answer}

    def _refusals(self, handler: HTTPRouteHandler, hints: dict[str, Any], guard: Guard) -> Schema:
        errors = [*handler.opt.get(RAISES, ()), *_implied(handler, hints, guard)]
        by_status: dict[int, list[type[CommerceError]]] = {}
        for error in errors:
            assert error in PROBLEMS, f"{error} needs a row in api/problems.py"
            same = by_status.setdefault(PROBLEMS[error].status, [])
            if error.code not in {each.code for each in same}:
                same.append(error)
        return {str(status): self._refusal(by_status[status]) for status in sorted(by_status)}

    def _refusal(self, errors: Sequence[type[CommerceError]]) -> Schema:
        references = {error.code: self._problem(error) for error in errors}
        schema: Schema = {"$ref": next(iter(references.values()))}
        if len(references) > 1:
            schema = {
                "oneOf": [{"$ref": reference} for reference in references.values()],
                "discriminator": {"propertyName": "code", "mapping": references},
            }
        lines = [f"- `{error.code}`: {_first_line(error)}" for error in errors]
        headers = _headers("X-Request-Id")
        if any("retry_after_seconds" in error._fields for error in errors):
            headers |= _headers("Retry-After")
        return {
            "description": "\n".join(lines),
            "headers": headers,
            "content": {CONTENT_TYPE: {"schema": schema}},
        }

    def _problem(self, error: type[CommerceError]) -> str:
        """The schema of one code, with the fields that are its own."""
        name = "".join(part.title() for part in error.code.split("_")) + "Problem"
        if name not in self._problems:
            hints = get_type_hints(error, include_extras=True)
            own = {field: self._schema(hints[field]) for field in error._fields}
            row = PROBLEMS[error]
            self._problems[name] = {
                "title": name,
                "description": _first_line(error),
                "allOf": [
                    {"$ref": "#/components/schemas/Problem"},
                    {
                        "type": "object",
                        "properties": {
                            "status": {"const": row.status},
                            "code": {"const": error.code},
                            **own,
                        },
                        "required": ["status", "code", *own],
                    },
                ],
            }
        return f"#/components/schemas/{name}"


_IDEMPOTENCY_KEY: Schema = {
    "name": HEADER,
    "in": "header",
    "required": True,
    "description": "New for each command, the same when it is repeated. Kept for 48 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    "example": "order-2026-11-21-0001",
}


def _implied(
    handler: HTTPRouteHandler, hints: dict[str, Any], guard: Guard
) -> Iterable[type[CommerceError]]:
    """What any route of this kind may refuse."""
    if guard.permissions:
        yield from (KeyMissing, KeyInvalid, SessionInvalid, PermissionDenied, RateLimited)
        if any(_PEOPLE & set(PERMISSIONS[name]) for name in guard.permissions):
            yield SessionRequired
    if hints.keys() - _NOT_PARAMETERS:
        yield from (InvalidRequest, NothingHere)
    if "data" in hints:
        yield from (MalformedBody, InvalidRequest, BodyTooLarge)
    if getattr(handler.fn, "takes_effect_once", False):
        yield from (IdempotencyKeyMissing, InvalidRequest, KeyReused, KeyRunning)
    yield from (InternalError, Busy)


def _security(permissions: tuple[str, ...]) -> list[Schema]:
    """The key alone where a kind of key holds one of these, and the session where a person does."""
    if not permissions:
        return []
    holders = {holder for name in permissions for holder in (*PERMISSIONS[name], "backoffice")}
    ways: list[Schema] = [{"key": []}] if holders - _PEOPLE else []
    return [*ways, {"key": [], "session": []}] if holders & _PEOPLE else ways


def _parameter(hint: Any) -> tuple[Any, ParameterKwarg | None]:
    """A parameter's type as msgspec reads it, and Litestar's own description of it."""
    if get_origin(hint) is not Annotated:
        return hint, None
    base, *notes = get_args(hint)
    given = next((note for note in notes if isinstance(note, ParameterKwarg)), None)
    if given is None:
        return hint, None
    bounds = {name: getattr(given, name) for name in _BOUNDS if getattr(given, name) is not None}
    if not bounds:
        return base, given
    members = get_args(base) if isinstance(base, UnionType) else (base,)
    bounded = [m if m is type(None) else Annotated[m, msgspec.Meta(**bounds)] for m in members]
    return Union[tuple(bounded)], given  # noqa: UP007  built at run time


def _name_moments(kinds: Sequence[Any], components: dict[str, Schema]) -> None:
    """Give times their format. msgspec leaves it out where a type allows naive ones; we write none.

    Fields are found by the title of their Struct.
    """
    moments: set[tuple[str, str]] = set()
    seen: set[int] = set()
    queue: list[Any] = list(msgspec.inspect.multi_type_info(kinds))
    while queue:
        found = queue.pop()
        if id(found) in seen or not isinstance(found, (Type, Field)):
            continue
        seen.add(id(found))
        if isinstance(found, StructType):
            moments |= {
                (found.cls.__name__, field.encode_name)
                for field in found.fields
                if isinstance(_without_none(field.type), DateTimeType)
            }
        for name in found.__struct_fields__:
            value = getattr(found, name)
            queue.extend(value if isinstance(value, tuple) else [value])
    for schema in components.values():
        for name, part in schema.get("properties", {}).items():
            if (schema["title"].partition("[")[0], name) in moments:
                for each in (part, *part.get("anyOf", ())):
                    if each.get("type") == "string":
                        each["format"] = "date-time"


def _without_none(kind: Type) -> Type:
    if isinstance(kind, Metadata):
        return _without_none(kind.type)
    if isinstance(kind, UnionOfTypes) and kind.includes_none:
        return next(each for each in kind.types if not isinstance(each, NoneType))
    return kind


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _first_line(error: type[CommerceError]) -> str:
    return (inspect.getdoc(error) or "").partition("\n")[0]


def _tag(handler: HTTPRouteHandler) -> str:
    package = handler.fn.__module__.split(".")[1]
    return _TAGS.get(package, "Service")
