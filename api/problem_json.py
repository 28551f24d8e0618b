"""Problem documents (RFC 9457): from any exception to status, headers and body.

What a verb refuses becomes its row of `api/problems.py`. What the framework or the database raises
becomes one of our own refusals first. Everything else is `internal_error`, logged with the places
it went through but not with its message, which may hold a person's data.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import asyncpg
import msgspec
from litestar.exceptions import HTTPException, ValidationException

from api.doorbell import BROKEN
from api.problems import PROBLEMS
from api.refusals import (
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NothingHere,
)
from commerce.importing import Refused
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.sql import SERIALIZATION_FAILURES, Busy, LostRace

Language = Literal["en", "es"]

CONTENT_TYPE = "application/problem+json"
MAX_BODY_BYTES = 1_048_576
RESERVED = ("type", "title", "status", "code", "detail", "path", "request_id")
"""Names that a document gives itself; an error's own fields may only share `path`."""

_HUNG_UP = "client disconnected prematurely"
"""How the framework says, as a fault of the server, that the connection closed within a body."""

_BUSY_CLASSES = ("08", "53", "55", "57")
_NUL_REFUSED = ("22021", "22P05")
_encode = msgspec.json.Encoder().encode


class Problem(NamedTuple):
    """A refusal as it goes over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


def render(error: CommerceError, *, language: str, request_id: str) -> Problem:
    """The document of a refusal, in the first language of Accept-Language that we speak."""
    row = PROBLEMS[type(error)]
    title, detail = getattr(row, spoken(language))
    fields = error.fields()
    document: dict[str, Any] = {
        "type": f"/docs#{error.code}",
        "title": title,
        "status": row.status,
        "code": error.code,
        "detail": told(detail, fields),
        "request_id": request_id,
        **fields,
    }
    headers = {"content-type": CONTENT_TYPE}
    if "retry_after_seconds" in fields:
        headers["retry-after"] = str(fields["retry_after_seconds"])
    if row.status == 401:  # noqa: PLR2004
        headers["www-authenticate"] = "Bearer"
    return Problem(row.status, headers, _encode(document))


def told(detail: str, fields: dict[str, Any]) -> str:
    """The sentence with the values in it, as people write lists and times."""
    return detail.format_map({name: _said(value) for name, value in fields.items()})


def _said(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return value


def refusal_of(error: BaseException) -> CommerceError:
    """What to tell the client about any exception."""
    if isinstance(error, ExceptionGroup) and error.__cause__ is not None:
        error = error.__cause__  # a dependency failed to clean up after the cause
    refusal: CommerceError = InternalError()
    if isinstance(error, CommerceError) and type(error) in PROBLEMS:
        refusal = error
    elif isinstance(error, msgspec.DecodeError):
        refusal = _body_refusal(error)
    elif isinstance(error, HTTPException) and error.detail == _HUNG_UP:
        refusal = MalformedBody(reason="it ends before it is complete")
    elif isinstance(error, HTTPException):
        refusal = _framework_refusal(error)
    elif isinstance(error, asyncpg.PostgresError):
        refusal = _database_refusal(error.sqlstate or "")
    elif isinstance(error, LostRace) or (
        isinstance(error, BROKEN) and not isinstance(error, ValueError)
    ):
        refusal = Busy()
    return refusal


def _body_refusal(error: msgspec.DecodeError) -> CommerceError:
    """Not JSON; JSON that the route does not take; or a record that breaks a rule of its own."""
    if isinstance(error.__cause__, Refused):
        return InvalidField(path=f"/{error.__cause__.field}", reason=error.__cause__.message)
    if isinstance(error, msgspec.ValidationError):
        return invalid_body(str(error))
    return MalformedBody(reason=str(error).rstrip("."))


def invalid_body(message: str) -> InvalidRequest:
    """msgspec's "Expected `int`, got `str` - at `$.lines[0].quantity`" as a path and a reason."""
    reason, _, place = message.partition(" - at `$")
    pointer = re.sub(r"\[\.\.\.\]", "", place.rstrip("`"))
    pointer = re.sub(r"\[(\d+)\]", r"/\1", pointer).replace(".", "/")
    named = re.search(r"(?:missing required|contains unknown) field `(.+)`", reason)
    if named is not None:
        pointer += f"/{named.group(1)}"
    return InvalidRequest(path=pointer or "/", reason=reason.replace("`", ""))


@lru_cache(maxsize=1_000)
def spoken(accept_language: str) -> Language:
    """`en` or `es`, by the weights of an Accept-Language header; English when it names neither."""
    wanted: list[tuple[float, Language]] = [(0.0, "en")]
    for part in accept_language.lower().split(","):
        tag, _, weight = part.partition(";q=")
        name = tag.strip().partition("-")[0]
        with suppress(ValueError):
            if name == "en":
                wanted.append((float(weight or 1), "en"))
            elif name == "es":
                wanted.append((float(weight or 1), "es"))
    return max(wanted, key=lambda pair: pair[0])[1]


def _invalid_parameter(error: ValidationException) -> InvalidRequest:
    """Litestar's list of what is wrong with parameters; the first is told."""
    wrong = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    name = wrong.get("key", "")
    if name == "data":
        return InvalidRequest(path="/", reason="A JSON body is required")
    reason = wrong.get("message", "Not valid").replace("`", "")
    places = {"query": f"?{name}", "path": f"{{{name}}}"}
    source = wrong.get("source", "")
    path = places.get(getattr(source, "value", source), name)
    return InvalidRequest(path=path, reason=reason.rstrip("."))


def _framework_refusal(error: HTTPException) -> CommerceError:
    if isinstance(error, ValidationException):
        return _invalid_parameter(error)
    if error.status_code == 404:  # noqa: PLR2004
        return NothingHere()
    if error.status_code == 405:  # noqa: PLR2004
        return MethodNotAllowed()
    if error.status_code == 413:  # noqa: PLR2004
        return BodyTooLarge(limit_bytes=MAX_BODY_BYTES)
    if 400 <= error.status_code < 500:  # noqa: PLR2004
        return InvalidRequest(path="", reason=error.detail.replace("`", "").rstrip("."))
    return InternalError()


def _database_refusal(state: str) -> CommerceError:
    if state in SERIALIZATION_FAILURES or state.startswith(_BUSY_CLASSES):
        return Busy()
    if state in _NUL_REFUSED:
        return InvalidRequest(path="", reason="Text may not hold the NUL character")
    return InternalError()
