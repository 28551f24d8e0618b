"""Live feeds as server-sent events: of a store, of an order, of a cart, and of everything.

    id: <cursor>            resume with `Last-Event-ID: <cursor>`, or `?after=<cursor>`
    event: pickup.ready     the type, as in `AUDIENCES`
    data: {...}             a FeedEvent: ids, no personal data; fetch what it names

The first block is `open`: fetch the present state after it, and nothing is missed. `start_over`
says that the cursor is too old, or from before a restore: what happened since is not told; fetch
the present state. Every fifteen seconds an empty block moves the cursor on. An event may come twice
around a reconnect, never not at all. The stream ends when key or session do.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, get
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from api.auth import may
from api.contract import answers, raises
from api.feeds import BLOCKS, EVERYTHING, MAX_BEHIND, Entry, LogReader, Stream, block, entry_of
from api.services import Services
from commerce.access import Principal
from commerce.kernel import readers
from commerce.kernel.readers import Position, StartOver
from commerce.kernel.sql import Busy

PART_EVENTS = 50
"""Events that are sent in one piece. The server pushes back by pieces, whatever their size."""

HEARTBEAT_SECONDS = 15.0
EVENT_STREAM = "text/event-stream"

Audience = Literal["store", "shopper", "cart"]
_BOTH: frozenset[Audience] = frozenset({"store", "shopper"})
_STORE: frozenset[Audience] = frozenset({"store"})
_SHOPPER: frozenset[Audience] = frozenset({"shopper"})
_CART: frozenset[Audience] = frozenset({"cart"})

AUDIENCES: dict[str, frozenset[Audience]] = {
    "cart.changed": _CART,
    "cart.attached": _CART,
    "cart.claimed": _CART,
    "cart.released": _CART,
    "cart.merged": _CART,
    "order.payment_requested": _SHOPPER,
    "order.placed": _BOTH,
    "order.cancelled": _BOTH,
    "order.completed": _BOTH,
    "pickup.requested": _BOTH,
    "pickup.picking": _BOTH,
    "pickup.short_picked": _BOTH,
    "pickup.ready": _BOTH,
    "pickup.at_risk": _STORE,
    "pickup.collected": _BOTH,
    "pickup.cancelled": _BOTH,
    "pickup.expired": _BOTH,
    "payment.requires_action": _SHOPPER,
    "payment.authorized": _SHOPPER,
    "payment.declined": _SHOPPER,
    "payment.captured": _SHOPPER,
    "payment.due": _SHOPPER,
    "payment.refunded": _SHOPPER,
    "return.requested": _BOTH,
    "return.approved": _BOTH,
    "return.rejected": _BOTH,
    "return.cancelled": _BOTH,
    "return.received": _BOTH,
    "return.settled": _BOTH,
    "stock.shortfall": _STORE,
    "store.changed": _STORE,
}
"""Who beside the back office is told of which events. The back office is told of all."""


def types_for(audience: Audience) -> frozenset[str]:
    """The events that concern stores, shoppers, or whoever has a cart open."""
    return frozenset(kind for kind, told in AUDIENCES.items() if audience in told)


After = Annotated[
    str | None,
    QueryParameter(max_length=16_000, description="The last `id` seen; or send `Last-Event-ID`."),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", max_length=16_000, description="The last `id` seen."),
]


def _silently(_: Position) -> bytes:
    """Most streams end without a last word."""
    return b""


class Feed:
    """The answer to one client: an ASGI application, so that it can be cut from outside."""

    def __init__(
        self,
        services: Services,
        request: Request[Any, Any, Any],
        stream: Stream,
        *,
        after: str | None,
        allowed: Callable[[Principal], Awaitable[bool]],
        write: Callable[[Entry], bytes],
        farewell: Callable[[Position], bytes] = _silently,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._services = services
        self._reader = services.part(LogReader)
        self._stream = stream
        self._after = after
        self._allowed = allowed
        self._write = write
        self._farewell = farewell
        self._heartbeat_seconds = heartbeat_seconds
        self._key = request.headers.get("x-api-key", "").encode("latin-1")
        self._authorization = request.headers.get("authorization", "").encode("latin-1")

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send until the client, its access or its patience ends."""
        headers = [
            (b"content-type", EVENT_STREAM.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        with self._reader.feeding(self._stream):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_left(receive))
            self._stream.on_cut = sending.cancel
            try:
                await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.wait([sending, leaving])
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        async for part in self._parts():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _parts(self) -> AsyncGenerator[bytes]:
        """What the client gets, in the order of the log."""
        missed: set[UUID] = set()
        if self._after is None:
            yield block(self._reader.position, "open", b"{}")
        else:
            try:
                async for part in self._missed(Position.parse(self._after), missed):
                    yield part
            except StartOver:
                self._stream.start_over = True
        stream, loop = self._stream, asyncio.get_running_loop()
        check_at = loop.time() + self._heartbeat_seconds
        while True:
            if stream.start_over:
                stream.start_over = False
                yield block(self._reader.position, "start_over", b"{}")
            while stream.waiting:
                count = min(len(stream.waiting), PART_EVENTS)
                entries = [stream.waiting.popleft() for _ in range(count)]
                yield b"".join(self._write(each) for each in entries if each.event.id not in missed)
            if stream.check_access or loop.time() >= check_at:
                stream.check_access = False
                check_at = loop.time() + self._heartbeat_seconds
                if not await self._still_allowed():
                    yield self._farewell(self._reader.position)
                    return
                if not stream.waiting:
                    yield b": heartbeat\nid: %b\n\n" % self._reader.position.cursor().encode()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(check_at):
                    await stream.news()

    async def _missed(self, position: Position, sent: set[UUID]) -> AsyncGenerator[bytes]:
        """What was committed since the client's cursor. Raises StartOver when that is too much.

        The reader feeds the stream meanwhile; what comes both ways is noted in `sent`.
        """
        now = self._reader.position
        if now.transactions - position.transactions > MAX_BEHIND:
            raise StartOver
        caught_up = False
        while not caught_up:
            async with self._services.database.reading() as conn:
                events, after = await readers.read(conn, position)
            wanted = [
                entry_of(each, position, after) for each in events if self._stream.wants(each)
            ]
            sent.update(each.event.id for each in wanted)
            if wanted:
                yield b"".join(self._write(each) for each in wanted)
            caught_up = position.upto is None and len(events) < readers.PAGE
            position = after

    async def _still_allowed(self) -> bool:
        digest = sha256(b"%s\0%s" % (self._key, self._authorization)).digest()
        keyring = self._services.keyring
        who = keyring.kept(digest)
        if who is None:
            who = await keyring.verify(digest, self._key, self._authorization)
        return isinstance(who, Principal) and await self._allowed(who)


async def _left(receive: Receive) -> None:
    """Until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def stream_of(
    topic: UUID | None,
    who: Principal,
    types: frozenset[str] | None,
    subjects: frozenset[UUID] = frozenset(),
) -> Stream:
    """The events of a topic for one client; None: of all topics, of all types.

    `subjects`: what else, beside who it is, decides whether the client may go on.
    """
    return Stream(frozenset({topic}), types=types, subjects=who.subjects | subjects)


@get(
    "/v1/backoffice/feed",
    guards=[may("ops.read")],
    tags=["Back office"],
    opt=answers(BLOCKS, EVENT_STREAM) | raises(Busy),
)
async def follow_everything(
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    after: After = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Follow the whole event log as server-sent events."""
    await services.part(LogReader).started()

    async def allowed(now: Principal) -> bool:
        return "ops.read" in now.permissions

    stream = stream_of(EVERYTHING, who, None)
    return Feed(services, request, stream, after=last_event_id or after, allowed=allowed,
                write=lambda entry: entry.for_staff)  # fmt: skip


@asynccontextmanager
async def _reading(services: Services) -> AsyncGenerator[None]:
    """In every web process: follow the log."""
    task = asyncio.create_task(services.part(LogReader).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


LIFESPAN = _reading
ROUTES = [follow_everything]
