"""One request to the application in this process, byte for byte; of a stream, the first part."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from tests.answered import Listener

SECONDS = 20.0
_STREAM = (b"content-type", b"text/event-stream")


class Answer(NamedTuple):
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, list[str]]
    content: bytes

    @property
    def code(self) -> str:
        """That of a refusal, else empty."""
        if self.headers.get("content-type") != ["application/problem+json"]:
            return ""
        return str(msgspec.json.decode(self.content)["code"])


async def send(
    app: Any, method: str, url: str, headers: dict[str, str | bytes], body: bytes = b""
) -> Answer:
    """Ask, and wait for the answer to end; leave a stream after its first part."""
    parts = urlsplit(url)
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": method, "path": unquote(parts.path), "raw_path": parts.path.encode(),
        "root_path": "", "query_string": parts.query.encode(), "client": ("127.0.0.1", 1),
        "server": ("mostrador", 80),
        "headers": [(_bytes(name).lower(), _bytes(value)) for name, value in headers.items()],
    }  # fmt: skip
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])
    left = asyncio.Event()
    status, came, content = 0, [], b""

    async def receive() -> Any:
        for message in asked:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def take(message: Any) -> None:
        nonlocal status, came, content
        if message["type"] == "http.response.start":
            status, came = message["status"], message["headers"]
        elif message["type"] == "http.response.body":
            content += message.get("body", b"")
            if _STREAM in came:
                left.set()

    async with asyncio.timeout(SECONDS):
        await Listener(app)(scope, receive, take)
    named: dict[str, list[str]] = {}
    for name, value in came:
        named.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return Answer(status, named, content)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
