"""A bell for readers of the event log in other processes: something was committed, come and look.

It carries nothing and may be lost; readers also look once a second. It rings after the commit
(inside the transaction NOTIFY serialises commits), and at most every 10 ms per process.
"""

import asyncio

import asyncpg
from sqlalchemy import func, select

from api.log import Log
from commerce.kernel.sql import Database, Query

CHANNEL = "mostrador_event"
PAUSE_SECONDS = 0.01

RING = Query(select(func.pg_notify(CHANNEL, "")), type(None))


class Doorbell:
    """The bell of one process."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log
        self._ringing: asyncio.Task[None] | None = None
        self._again = False

    def ring(self) -> None:
        """Soon. Calls that come while it rings are answered by one more ring."""
        if self._ringing is not None:
            self._again = True
            return
        self._ringing = asyncio.create_task(self._ring())

    async def close(self) -> None:
        """Wait for what was asked for."""
        if self._ringing is not None:
            await self._ringing

    async def _ring(self) -> None:
        try:
            while True:
                self._again = False
                try:
                    async with self._database.reading() as conn:
                        await conn.run(RING)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    self._log.fault("the doorbell did not ring", error)
                await asyncio.sleep(PAUSE_SECONDS)
                if not self._again:
                    return
        finally:
            self._ringing = None
