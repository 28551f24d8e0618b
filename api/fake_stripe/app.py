"""The ASGI application: routes, authentication, idempotency and faults around the handlers."""

import asyncio
import base64
import binascii
import hashlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from api.fake_stripe import pages, reading
from api.fake_stripe.control import Fault, control, take_fault
from api.fake_stripe.payments import Call
from api.fake_stripe.routes import OPERATIONS, ROUTES, Route
from api.fake_stripe.store import Store, new_id
from api.fake_stripe.webhooks import Deliveries
from api.fake_stripe.wire import StripeError, convert, decode
from commerce.kernel import settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 1_000_000
JSON = {"content-type": "application/json"}

log = logging.getLogger(__name__)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Where it remembers (None: in memory only), whom it tells, and which key it asks for."""

    path: Path | None = None
    webhook_url: str = ""
    webhook_secret: str = ""
    api_key: str = ""
    """Empty: any key that begins with sk_test_."""


class Request(msgspec.Struct, frozen=True):
    """What came in, with header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def base_url(self) -> str:
        """Where the client reached us, for links that it follows."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    @property
    def form(self) -> str:
        """The parameters, wherever this method carries them."""
        return self.body.decode("utf-8", "replace") if self.method == "POST" else self.query


class Answer(msgspec.Struct, frozen=True):
    """What goes out."""

    status: int
    body: bytes
    headers: dict[str, str] = msgspec.field(default_factory=JSON.copy)


class Lost(msgspec.Struct, frozen=True):
    """No answer goes out: the client waits for so long in vain, or the connection breaks now."""

    seconds: float = 0.0


class FakeStripe:
    """One instance per process; it is not safe to share its file between processes."""

    def __init__(self, config: Config) -> None:
        self._api_key = config.api_key
        self._store = Store(config.path)
        self._deliveries = Deliveries(self._store, config.webhook_url, config.webhook_secret)
        self._running: set[str] = set()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Before the server stops: do not let it wait for calls that a fault holds."""
        self._ending.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(await _read(scope, receive))
            if isinstance(answer, Lost):
                await self._lose(answer, receive, send)
            else:
                await _send(answer, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        delivering = asyncio.create_task(self._deliveries.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        delivering.cancel()
        with suppress(asyncio.CancelledError):
            await delivering
        self._store.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, request: Request | None) -> Answer | Lost:
        if request is None:
            return _error(StripeError(413, "The body is too large.", kept=False))
        try:
            if request.path.startswith("/_control/"):
                return self._control(request)
            if request.path.startswith("/3ds/"):
                return self._bank(request)
            return await self._api(request)
        except StripeError as error:
            return _error(error)
        except Exception:
            log.exception("a bug of the fake Stripe")
            return _error(StripeError(500, "A bug of the fake; see its log.", kind="api_error"))
        finally:
            self._deliveries.wake()

    async def _lose(self, lost: Lost, receive: Receive, send: Send) -> None:
        """Wait until the client gives up, then end a body before its announced length.

        That is the one way in which ASGI lets an application break its connection.
        """
        waiting = [asyncio.ensure_future(receive()), asyncio.ensure_future(self._ending.wait())]
        await asyncio.wait(waiting, timeout=lost.seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiting:
            waiter.cancel()
        headers = [(b"content-length", b"100"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _control(self, request: Request) -> Answer:
        with self._store.transaction():
            call = Call(self._store, request.base_url)
            done = control(call, request.method, request.path, request.body, OPERATIONS)
        return Answer(200, msgspec.json.encode(done))

    def _bank(self, request: Request) -> Answer:
        call = Call(self._store, request.base_url)
        intent_id = request.path.removeprefix("/3ds/")
        target: str | None = None
        with self._store.transaction():
            if request.method == "POST":
                target = pages.answer(call, intent_id, request.form)
            page = pages.show(call, intent_id).encode()
        if target is not None:
            return Answer(303, b"", {"location": target})
        return Answer(200, page, {"content-type": "text/html; charset=utf-8"})

    async def _api(self, request: Request) -> Answer | Lost:
        route, ids = _find(request)
        self._authenticate(request)
        fault = take_fault(self._store, route.operation)
        kind = fault.kind if fault else ""
        if kind == "rate_limit":
            raise StripeError(429, "Too many requests.", code="rate_limit", kept=False)
        if fault is not None and kind.endswith("_before") and kind != "error_before":
            return _lost(fault)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key in self._running:
            raise _in_use(key)
        if key is not None:
            self._running.add(key)
        try:
            if fault is not None and kind == "delay":
                await asyncio.sleep(fault.seconds)
            answer = self._act(request, route, ids, key, kind)
        finally:
            self._running.discard(key or "")
        return _lost(fault) if fault and kind in {"timeout_after", "close_after"} else answer

    def _authenticate(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            with suppress(binascii.Error, UnicodeDecodeError):
                given = base64.b64decode(given).decode().partition(":")[0]
        if given.startswith("sk_test_") if not self._api_key else given == self._api_key:
            return
        message = "Invalid API Key provided. This fake takes a key that begins with sk_test_."
        raise StripeError(401, message, kept=False)

    def _act(
        self, request: Request, route: Route, ids: tuple[str, ...], key: str | None, fault: str
    ) -> Answer:
        """Replay, or act and remember, in one transaction."""
        name = f"{request.method} {request.path}"
        digest = hashlib.sha256(msgspec.json.encode(sorted(parse_qsl(request.form, True)))).digest()
        with self._store.transaction():
            known = self._store.answer(key) if key else None
            if key and known:
                return _replay(key, name, digest, known)
            try:
                if fault == "error_before":
                    raise _internal()
                call = Call(self._store, request.base_url, key)
                params = convert(decode(request.form), route.params)
                done = route.handler(call, params, *ids)
                answer = Answer(200, msgspec.json.encode(reading.expand(call, done, params.expand)))
            except StripeError as error:
                if not error.kept:
                    raise  # out of the transaction: what failed validation leaves no trace
                answer = _error(error)
            if fault == "error_after":
                answer = _error(_internal())
            if key:
                self._store.remember(key, name, digest, answer.status, answer.body)
        return answer


def application(config: Config | None = None) -> FakeStripe:
    """The application; without a config, as this process's settings say."""
    if config is not None:
        return FakeStripe(config)
    given = settings.load()
    if not given.stripe_webhook_secret:
        raise settings.OperatorError(
            "STRIPE_WEBHOOK_SECRET is empty. Give the fake Stripe and the API the same value,"
            " for example whsec_ and 32 random letters."
        )
    return FakeStripe(
        Config(
            path=given.state_dir / "fake_stripe" / "books.sqlite3",
            webhook_url=f"http://127.0.0.1:{given.port}/v1/webhooks/stripe",
            webhook_secret=given.stripe_webhook_secret,
            api_key=given.stripe_api_key,
        )
    )


def _find(request: Request) -> tuple[Route, tuple[str, ...]]:
    for route in ROUTES:
        match = route.path.fullmatch(request.path)
        if match and route.method == request.method:
            return route, match.groups()
    message = f"Unrecognized request URL ({request.method}: {request.path})."
    raise StripeError(404, message, kept=False)


def _replay(key: str, name: str, digest: bytes, known: tuple[Any, ...]) -> Answer:
    route, request, status, body = known
    if (route, request) != (name, digest):
        what = "parameters" if route == name else f"endpoint ({route})"
        message = f"Keys for idempotent requests can only be used with the same {what} they were"
        message += f" first used with. Try using a key other than '{key}'."
        raise StripeError(400, message, kind="idempotency_error", kept=False)
    return Answer(status, body, {**JSON, "idempotent-replayed": "true"})


def _in_use(key: str | None) -> StripeError:
    return StripeError(
        409,
        f"There is currently another in-progress request using this Idempotent Key: {key}",
        kind="idempotency_error",
        code="idempotency_key_in_use",
        kept=False,
    )


def _internal() -> StripeError:
    return StripeError(500, "An unknown error occurred", kind="api_error")


def _error(error: StripeError) -> Answer:
    return Answer(error.status, msgspec.json.encode(error.body))


def _lost(fault: Fault) -> Lost:
    return Lost(fault.seconds if fault.kind.startswith("timeout") else 0.0)


async def _read(scope: Scope, receive: Receive) -> Request | None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    return Request(
        scope["method"],
        scope["path"],
        scope["query_string"].decode("latin-1"),
        {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        },
        body,
    )


async def _send(answer: Answer, send: Send) -> None:
    headers = {
        **answer.headers,
        "content-length": str(len(answer.body)),
        "request-id": new_id("req"),
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})
