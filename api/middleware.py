"""Around every request: its id, its principal, its limit, CORS, one log line, one measurement.

One plain ASGI layer, because each layer costs a share of every request. Authentication happens
here and only notes who is calling; the route's guard decides (`api/auth.py`).
"""

from hashlib import sha256
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import Any
from uuid import UUID

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Message, Receive, Scope, Send

from api.limits import Allowance
from api.metrics import Metrics
from api.problem_json import Problem, refusal_of, render
from api.refusals import OriginNotAllowed, RateLimited
from api.services import Services
from commerce.access import Principal
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError

MAX_REQUEST_ID_LENGTH = 64
REFUSED_PER_MINUTE = 600
"""Requests with a bad key that one address may make; each may cost a look-up."""

UNMATCHED = "unmatched"
_ABANDONED = 499
"""The client left before there was an answer."""

_PROCESS = token_hex(8)
_NUMBERS = count()
_NOBODY = UUID(int=0)
_CORS_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_CORS_HEADERS = (
    b"Accept-Language, Authorization, Cart-Token, Content-Type, Idempotency-Key, Last-Event-ID,"
    b" Order-Token, X-API-Key, X-Request-Id"
)
_CORS_EXPOSED = (
    b"Idempotent-Replayed, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After,"
    b" X-Request-Id"
)
_CORS_MAX_AGE = b"600"
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Edge:
    """The application as the server sees it."""

    def __init__(self, app: Litestar, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == ScopeType.HTTP:
            await _Exchange(self, scope, send).run(receive)
        else:
            await self.app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "allowance",
        "edge",
        "headers",
        "origin",
        "request_id",
        "scope",
        "send",
        "services",
        "status",
        "who",
    )

    def __init__(self, edge: Edge, scope: HTTPScope, send: Send) -> None:
        self.edge = edge
        self.scope: Any = scope
        self.send = send
        self.services: Services = edge.app.state.services
        self.headers = dict(scope["headers"])
        self.origin = self.headers.get(b"origin")
        self.request_id = _request_id(self.headers.get(b"x-request-id"))
        self.who: Principal | CommerceError | None = None
        self.allowance: Allowance | None = None
        self.status = 0

    async def run(self, receive: Receive) -> None:
        """Answer, whatever happens, and note it."""
        started = perf_counter()
        scope = self.scope
        scope["request_id"] = self.request_id
        try:
            key = self.headers.get(b"x-api-key")
            refused = await self._admit(key) if key else None
            scope["user"] = self.who
            if refused is not None:
                await self._refuse(refused)
            elif self.origin is not None and self._is_preflight():
                await self._preflight()
            else:
                await self.edge.app(scope, receive, self._answer)
        except BaseException:
            self.status = self.status or _ABANDONED
            raise
        finally:
            self._note(perf_counter() - started)

    async def _admit(self, key: bytes) -> CommerceError | None:
        """Find out who is calling and whether they call too often."""
        authorization = self.headers.get(b"authorization", b"")
        digest = sha256(b"%s\0%s" % (key, authorization)).digest()
        keyring = self.services.keyring
        who = keyring.kept(digest)
        if who is None:
            try:
                who = await keyring.verify(digest, key, authorization)
            except Exception as error:  # noqa: BLE001  nobody can be verified now: say so
                self.services.log.fault("nobody verified", error, request_id=self.request_id)
                return refusal_of(error)
        self.who = who
        if isinstance(who, Principal):
            subject, limit = who.key_id.hex, who.requests_per_minute
        else:
            subject, limit = self._address(), REFUSED_PER_MINUTE
        self.allowance = self.services.limiter.take(subject, limit)
        if self.allowance.allowed:
            return None
        return RateLimited(retry_after_seconds=self.allowance.reset_seconds)

    async def _answer(self, message: Message) -> None:
        """Pass on what the application sends, with our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
            if self.allowance is not None:
                headers += _limit_headers(self.allowance)
            if self.origin is not None and await self._may_read():
                headers += (
                    (b"access-control-allow-origin", self.origin),
                    (b"access-control-expose-headers", _CORS_EXPOSED),
                    (b"vary", b"Origin"),
                )
            message["headers"] = headers
        await self.send(message)

    async def _may_read(self) -> bool:
        """Whether scripts of this origin may read the answer: the key says, or any key."""
        origin = (self.origin or b"").decode("latin-1")
        if isinstance(self.who, Principal):
            return origin in self.who.origins
        try:
            return origin in await self.services.keyring.origins()
        except Exception as error:  # noqa: BLE001  the answer itself matters more than this header
            self.services.log.fault("origins unknown", error, request_id=self.request_id)
            return False

    def _is_preflight(self) -> bool:
        asks = b"access-control-request-method" in self.headers
        return asks and self.scope["method"] == "OPTIONS"

    async def _preflight(self) -> None:
        """A browser asks before it sends a key, so any valid key's origin will do."""
        if not await self._may_read():
            await self._refuse(OriginNotAllowed())
            return
        headers = [
            (b"access-control-allow-methods", _CORS_METHODS),
            (b"access-control-allow-headers", _CORS_HEADERS),
            (b"access-control-max-age", _CORS_MAX_AGE),
        ]
        await self._whole(204, headers, b"")

    async def _refuse(self, error: CommerceError) -> None:
        language = self.headers.get(b"accept-language", b"").decode("latin-1")
        problem: Problem = render(error, language=language, request_id=self.request_id)
        headers = [(k.encode(), v.encode()) for k, v in problem.headers.items()]
        await self._whole(problem.status, headers, problem.body)

    async def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        length = (b"content-length", str(len(body)).encode())
        start: Any = {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, length],
        }
        await self._answer(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def _note(self, seconds: float) -> None:
        scope = self.scope
        method, route = scope["method"], scope.get("path_template") or UNMATCHED
        self.edge.metrics.observe(method, route, self.status, seconds)
        self.services.log.access(
            method=method,
            route=route,
            status=self.status,
            seconds=seconds,
            request_id=self.request_id,
            key_id=self.who.key_id if isinstance(self.who, Principal) else None,
        )

    def _address(self) -> str:
        """A digest, because an address is personal data."""
        client = self.scope.get("client")
        address = client[0] if client else ""
        return ids.derived(self.services.secret, f"address {address}", _NOBODY, 16)


def _request_id(given: bytes | None) -> str:
    """The caller's id where it is one, else a new one."""
    if given is not None and 0 < len(given) <= MAX_REQUEST_ID_LENGTH:
        text = given.decode("latin-1")
        if _ID_CHARACTERS.issuperset(text):
            return text
    return f"{_PROCESS}{next(_NUMBERS):08x}"


def _limit_headers(allowance: Allowance) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"ratelimit-limit", b"%d" % allowance.limit),
        (b"ratelimit-remaining", b"%d" % allowance.remaining),
        (b"ratelimit-reset", b"%d" % allowance.reset_seconds),
    )
