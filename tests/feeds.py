"""A client of live feeds that reads the application in this process block by block."""

import asyncio
from typing import Any, Self, cast
from urllib.parse import urlencode

import msgspec
from litestar.types import HTTPScope, Message

from api.middleware import Edge
from tests.answered import Listener

SECONDS = 10


class Block(msgspec.Struct, frozen=True):
    """One block of the stream; a heartbeat has no kind."""

    id: str
    kind: str
    data: dict[str, Any]


class FeedClient:
    """One open stream. Leaving the block closes the connection."""

    def __init__(self, edge: Edge, path: str, headers: dict[str, str], **query: str) -> None:
        self._edge = edge
        scope: Any = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
            "query_string": urlencode(query).encode(), "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip
        self._scope = cast("HTTPScope", scope)
        self._left = asyncio.Event()
        self._asked = False
        self._bytes = b""
        self._news = asyncio.Event()
        self.reads = asyncio.Event()
        """Clear it, and the client takes nothing any more."""
        self.reads.set()
        self.status = 0
        self.ended = False
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(
            Listener(self._edge)(self._scope, self._receive, self._send)
        )
        async with asyncio.timeout(SECONDS):
            while not self.status:
                await self._wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left.set()
        self.reads.set()
        assert self.task is not None
        async with asyncio.timeout(SECONDS):
            await asyncio.wait([self.task])

    async def next(self, *, seconds: float = SECONDS) -> Block:
        """The next block. Fails when the stream ends instead."""
        async with asyncio.timeout(seconds):
            while b"\n\n" not in self._bytes:
                assert not self.ended, "the stream has ended"
                await self._wait()
        text, _, self._bytes = self._bytes.partition(b"\n\n")
        lines = [line.partition(": ") for line in text.decode().splitlines() if line[0] != ":"]
        fields = {name: value for name, _, value in lines}
        data = msgspec.json.decode(fields.get("data", "{}"))
        return Block(fields["id"], fields.get("event", ""), data)

    async def types(self, count: int, *, of: str = "") -> list[str]:
        """The types of the next events, those that begin so."""
        found: list[str] = []
        while len(found) < count:
            kind = (await self.next()).kind
            found += [kind] if kind.startswith(of) else []
        return found

    async def until(self, kind: str) -> Block:
        """The next block of this kind; those before it are in `passed`."""
        self.passed: list[str] = []
        while (found := await self.next()).kind != kind:
            self.passed.append(found.kind)
        return found

    async def end(self) -> None:
        """Until the server ends the stream."""
        async with asyncio.timeout(SECONDS):
            while not self.ended:
                await self._wait()

    def body(self) -> bytes:
        """What has come and was not read yet."""
        return self._bytes

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            await self.reads.wait()
            self._bytes += message["body"]
            self.ended = not message["more_body"]
        self._news.set()
