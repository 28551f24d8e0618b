"""What any route of its kind may refuse, beside what the route itself declares."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from litestar.handlers import HTTPRouteHandler

from api.auth import Guard
from api.openapi.parameters import Parameter
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
from commerce.access import (
    KeyInvalid,
    PermissionDenied,
    Principal,
    SessionInvalid,
    SessionRequired,
    permissions_of,
)
from commerce.kernel.errors import CommerceError
from commerce.kernel.idempotency import KeyReused, KeyRunning
from commerce.kernel.sql import Busy

Schema = dict[str, Any]

_KEYS = ("storefront", "integration", "tablet", "backoffice")
_SIGNED_IN = (
    ("storefront", "shopper"),
    ("integration", "shopper"),
    ("tablet", "associate"),
    ("tablet", "manager"),
)
_SOME_ID = UUID(int=0)


def implied(
    handler: HTTPRouteHandler,
    hints: dict[str, Any],
    guard: Guard,
    parameters: Sequence[Parameter],
) -> Iterator[type[CommerceError]]:
    """The refusals of every route that asks for as much as this one."""
    if guard.permissions:
        yield from (KeyMissing, KeyInvalid, SessionInvalid)
        yield from sorted(_turned_away(guard), key=lambda refusal: refusal.code)
    if any(each.makes_addresses for each in parameters):
        yield NothingHere
    if any(each.may_be_invalid for each in parameters):
        yield InvalidRequest
    if "data" in hints:
        yield from (MalformedBody, InvalidRequest, BodyTooLarge)
    if getattr(handler.fn, "takes_effect_once", False):
        yield from (IdempotencyKeyMissing, InvalidRequest, BodyTooLarge, KeyReused, KeyRunning)
    yield from (RateLimited, InternalError, Busy)


def security(guard: Guard) -> list[Schema]:
    """The key alone where it is enough, and with a session where somebody may have signed in."""
    if not guard.permissions:
        return []
    ways: list[Schema] = []
    if any(_refusal(guard, kind) is None for kind in _KEYS):
        ways.append({"key": []})
    if any(_refusal(guard, *holders) is None for holders in _SIGNED_IN):
        ways.append({"key": [], "session": []})
    return ways


def _turned_away(guard: Guard) -> set[type[CommerceError]]:
    """What the guard says to those whom it does not let pass."""
    callers = (*((kind,) for kind in _KEYS), *_SIGNED_IN)
    return {found for each in callers if (found := _refusal(guard, *each)) is not None}


def _refusal(guard: Guard, kind: str, *signed_in: str) -> type[CommerceError] | None:
    who = Principal(
        key_id=_SOME_ID,
        key_kind=kind,
        channel="web",
        permissions=permissions_of(kind, *signed_in),
        session_id=_SOME_ID if signed_in else None,
    )
    try:
        guard.admit(who)
    except (SessionRequired, PermissionDenied) as refused:
        return type(refused)
    return None
