"""The log: one JSON line per request and per fault, on standard output, without personal data.

Lines are kept for a moment and written together, because a write per request is a system call per
request. Faults are written at once.
"""

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

import asyncpg
import msgspec

from commerce.kernel.clock import Clock

LEVELS = ("debug", "info", "warning", "error")
_FLUSH_SECONDS = 0.25
_FLUSH_LINES = 500
_encode = msgspec.json.Encoder().encode


_LEVEL_OF_REQUESTS = LEVELS.index("info")


class Access(msgspec.Struct, frozen=True, gc=False, tag_field="message", tag="request"):
    """The line of one request."""

    at: datetime
    method: str
    route: str
    status: int
    ms: float
    request_id: str
    key_id: UUID | None


class Log:
    """Buffered JSON lines."""

    def __init__(self, level: str, now: Clock, out: BinaryIO | None = None) -> None:
        self._least = LEVELS.index(level)
        self._now = now
        self._out = out or sys.stdout.buffer
        self._lines: list[bytes] = []

    def write(self, level: str, message: str, **fields: Any) -> None:
        """Note a line; fields are ids, names and numbers, never what a person typed."""
        if LEVELS.index(level) < self._least:
            return
        self._lines.append(
            _encode({"at": self._now(), "level": level, "message": message, **fields})
        )
        if level == "error" or len(self._lines) >= _FLUSH_LINES:
            self.flush()

    def access(
        self,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        request_id: str,
        key_id: UUID | None,
    ) -> None:
        """Note an answered request: its route's template, never its query or body."""
        if self._least > _LEVEL_OF_REQUESTS:
            return
        line = Access(
            self._now(), method, route, status, round(seconds * 1000, 2), request_id, key_id
        )
        self._lines.append(_encode(line))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()

    def fault(self, message: str, error: BaseException, **fields: Any) -> None:
        """Note an exception: its types and places, not its texts."""
        chain = []
        seen: BaseException | None = error
        while seen is not None:
            chain.append({"type": _name(seen), "places": _places(seen)})
            seen = seen.__cause__ or seen.__context__
        self.write("error", message, error=chain, **fields)

    def flush(self) -> None:
        """Write what has gathered."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._out.write(b"\n".join(lines) + b"\n")
            self._out.flush()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Flush regularly inside the block, and at its end."""
        task = asyncio.create_task(self._flush_regularly())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.flush()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self.flush()


def _name(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, asyncpg.PostgresError):
        return f"{name} {error.sqlstate} {getattr(error, 'constraint_name', None) or ''}".rstrip()
    return name


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
