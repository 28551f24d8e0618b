"""Routes whose commands take effect once per `Idempotency-Key`.

    @post("/v1/pickups/{pickup_id:uuid}/hand-over", guards=[may("pickup.hand_over")])
    @once
    async def hand_over(
        pickup_id: UUID, data: HandOver, conn: Connection, who: Principal, now: datetime
    ) -> PickupView:

The route reads as without it: `conn` is still the transaction of the request. Around it, `once`
claims the key, keeps the answer in the same transaction, and repeats the whole when the database
lost a race (so a route does nothing that cannot be undone, and calls nobody outside). A refusal of
the verb undoes what the verb did and is kept as the answer; a request that never was a command
(400, 401, 403, 429) and a fault of ours (5xx) are not kept. A repeated key gets the first answer,
byte for byte, with `Idempotent-Replayed: true`.

The key belongs to the principal and the route; the same key with another address or body is
refused. A route that answers through a batch or a saga uses `claim_of` and keeps its own answer.
"""

import hashlib
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.types import Scope

from api.problem_json import CONTENT_TYPE, render
from api.refusals import IdempotencyKeyMissing, InvalidRequest
from api.services import services_of
from commerce.access import Principal
from commerce.kernel import idempotency
from commerce.kernel.errors import CommerceError
from commerce.kernel.idempotency import MAX_KEY_LENGTH, Answer, Claim, KeyRunning, Stored
from commerce.kernel.sql import Connection

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
_NOT_COMMANDS = frozenset({400, 401, 403, 429})
_SERVER_FAULT = 500
_encode = msgspec.json.Encoder().encode

Route = TypeVar("Route", bound=Callable[..., Awaitable[Any]])


def once(route: Route) -> Route:
    """Make a route with `conn` take effect once per key. Goes below the route's decorator."""
    signature = inspect.signature(route, eval_str=True)
    assert "conn" in signature.parameters, f"{route} has no transaction"
    own_request = "request" in signature.parameters

    @wraps(route)
    async def answered_once(request: Request[Any, Any, Any], **given: Any) -> Response[bytes]:
        if own_request:
            given["request"] = request
        return await _answer(request, route, given)

    parameters = [p for p in signature.parameters.values() if p.name not in {"conn", "request"}]
    asked = inspect.Parameter(
        "request", inspect.Parameter.KEYWORD_ONLY, annotation=Request[Any, Any, Any]
    )
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    answered: Any = answered_once
    del answered.__wrapped__
    answered.__signature__ = signature.replace(parameters=[*keywords, asked])
    answered.__annotations__ = {p.name: p.annotation for p in (*keywords, asked)} | {
        "return": signature.return_annotation
    }
    answered.takes_effect_once = True
    result: Route = answered
    return result


async def claim_of(request: Request[Any, Any, Any]) -> Claim:
    """What this request claims. Raises `IdempotencyKeyMissing`, `InvalidRequest`."""
    key = request.headers.get(HEADER)
    if not key:
        raise IdempotencyKeyMissing
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidRequest(path=HEADER, reason=f"At most {MAX_KEY_LENGTH} characters")
    scope: Any = request.scope
    who: Principal = scope["user"]
    address = f"{scope['method']} {scope['path']}?".encode() + scope["query_string"]
    body_hash = hashlib.sha256(address + b"\0" + await request.body()).digest()
    return Claim(who.id, f"{scope['method']} {scope['path_template']}", key, body_hash)


def kept(error: CommerceError, scope: Scope) -> tuple[int, bytes] | None:
    """A refusal as the answer that is kept; None when it is not to be kept.

    One that says when to come back is no answer: the same key shall succeed then.
    """
    problem = rendered(error, scope)
    if problem[0] in _NOT_COMMANDS or problem[0] >= _SERVER_FAULT:
        return None
    if "retry_after_seconds" in error.fields():
        return None
    return problem


def rendered(error: CommerceError, scope: Scope) -> tuple[int, bytes]:
    """Status and document of a refusal of this request."""
    given: Any = scope
    language = dict(given["headers"]).get(b"accept-language", b"").decode("latin-1")
    problem = render(error, language=language, request_id=given["request_id"])
    return problem.status, problem.body


def response(status: int, body: bytes, *, replayed: bool = False) -> Response[bytes]:
    """An answer that stands already, as it goes over the wire."""
    media_type = CONTENT_TYPE if status >= 400 else "application/json"  # noqa: PLR2004
    headers = dict(REPLAYED) if replayed else {}
    return Response(body, status_code=status, media_type=media_type, headers=headers)


async def _answer(
    request: Request[Any, Any, Any], route: Callable[..., Awaitable[Any]], given: dict[str, Any]
) -> Response[bytes]:
    services = services_of(request.scope)
    claim = await claim_of(request)
    status = request.route_handler.status_code

    async def work(conn: Connection) -> Answer | Stored:
        (found,) = await idempotency.claim(conn, [claim])
        if isinstance(found, CommerceError):
            raise found
        if found is not None:
            return found
        try:
            async with conn.savepoint():
                answer = Answer(claim, status, _encode(await route(conn=conn, **given)))
        except CommerceError as refused:
            problem = kept(refused, request.scope)
            if problem is None:
                raise
            answer = Answer(claim, *problem)
        await idempotency.store(conn, [answer], now=services.now())
        return answer

    answer = await services.commit(work)
    if isinstance(answer, Stored):
        if answer.status is None or answer.answer is None:
            raise KeyRunning
        return response(answer.status, answer.answer, replayed=True)
    assert answer.status is not None and answer.body is not None  # noqa: PT018
    return response(answer.status, answer.body)
