"""How many requests a key, or an address without one, may make in a minute, over all processes.

Each process counts by itself and twice a second trades what it counted against the sum of all, so
a limit is overshot by at most what the processes let through in half a second. When the database
does not answer, each process goes on by its own count.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from sqlalchemy import BigInteger, DateTime, Text, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from api.doorbell import BROKEN
from api.log import Log
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Database, Query, rows_of
from commerce.tables.people import rate_window

WINDOW_SECONDS = 60
TRADE_SECONDS = 0.5
MAX_SUBJECTS = 50_000
_KEPT = timedelta(minutes=5)


class Allowance(NamedTuple):
    """What a subject may still do in this window."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int


class _Total(msgspec.Struct, frozen=True):
    subject: str
    requests: int


class _Count(msgspec.Struct):
    window: int
    shared: int = 0
    """Of all processes, as of the last trade."""
    own: int = 0
    """Of this process since then."""


_NEW = rows_of("n", subject=Text(), requests=BigInteger())
_ADDED = insert(rate_window).from_select(
    ["subject", "window_start", "requests"],
    select(
        _NEW.c.subject, bindparam("window", type_=DateTime(timezone=True)), _NEW.c.requests
    ).order_by(_NEW.c.subject),
)
TRADE = Query(
    _ADDED.on_conflict_do_update(
        index_elements=["subject", "window_start"],
        set_={"requests": rate_window.c.requests + _ADDED.excluded.requests},
    ).returning(rate_window.c.subject, rate_window.c.requests),
    _Total,
)
FORGET = Query(
    delete(rate_window).where(
        rate_window.c.window_start < bindparam("before", type_=DateTime(timezone=True))
    )
)


class Limiter:
    """The counts of one process."""

    def __init__(self, database: Database, now: Clock, log: Log) -> None:
        self._database = database
        self._now = now
        self._log = log
        self._counts: dict[str, _Count] = {}
        self._forgotten = 0

    def take(self, subject: str, limit: int) -> Allowance:
        """Count one request of a subject, unless its limit is reached."""
        seconds = self._now().timestamp()
        window = int(seconds) // WINDOW_SECONDS
        count = self._counts.get(subject)
        if count is None or count.window != window:
            if len(self._counts) >= MAX_SUBJECTS:
                self._counts.pop(next(iter(self._counts)))
            count = self._counts[subject] = _Count(window)
        used = count.shared + count.own
        reset = WINDOW_SECONDS - int(seconds) % WINDOW_SECONDS
        if used >= limit:
            return Allowance(allowed=False, limit=limit, remaining=0, reset_seconds=reset)
        count.own += 1
        return Allowance(allowed=True, limit=limit, remaining=limit - used - 1, reset_seconds=reset)

    async def trade(self) -> None:
        """Tell the table what was counted here, and learn the sum of all processes."""
        window = int(self._now().timestamp()) // WINDOW_SECONDS
        for subject, count in list(self._counts.items()):
            if count.window != window:
                del self._counts[subject]
        counted = {s: c.own for s, c in self._counts.items() if c.own}
        start = datetime.fromtimestamp(window * WINDOW_SECONDS, UTC)
        async with self._database.reading() as conn:
            if counted:
                totals = await conn.run(
                    TRADE, subject=list(counted), requests=list(counted.values()), window=start
                )
                for total in totals:
                    current = self._counts.get(total.subject)
                    if current is not None and current.window == window:
                        current.own -= counted[total.subject]
                        current.shared = total.requests
            if self._forgotten != window:
                self._forgotten = window
                await conn.run(FORGET, before=start - _KEPT)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Trade regularly inside the block."""
        task = asyncio.create_task(self._trade_regularly())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _trade_regularly(self) -> None:
        while True:
            await asyncio.sleep(TRADE_SECONDS)
            try:
                await self.trade()
            except BROKEN as error:
                self._log.fault("rate limits are not shared at the moment", error)
