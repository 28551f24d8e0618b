"""Answers of hot routes, straight to bytes: the framework's response costs more than encoding."""

from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

FIRST_REFUSAL = 400
_encode = msgspec.json.Encoder().encode


def encoded(answer: msgspec.Struct) -> ASGIApp:
    """This answer as JSON, with status 200. The route says what it is by `opt=answers(...)`."""
    return ready(200, _encode(answer))


def ready(status: int, body: bytes, *more: tuple[bytes, bytes]) -> ASGIApp:
    """An answer that stands already: JSON, or a problem document from 400 on; `more` headers."""
    media_type = b"application/json" if status < FIRST_REFUSAL else b"application/problem+json"
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *more]

    async def send_it(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        start: Any = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return send_it
