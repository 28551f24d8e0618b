"""NOTIFY as a doorbell: somebody has committed, so it is worth looking at the event log now.

It carries nothing and may be lost: readers look once a second anyway. It is rung after the commit,
over a connection of its own and at most every ten milliseconds per process, because a NOTIFY inside
the transaction makes commits wait for each other.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from api.log import Log
from commerce.kernel.sql import Connection, prepare_connection

CHANNEL = "mostrador_events"
PAUSE_SECONDS = 0.01
PATIENCE_SECONDS = 1.0
"""How long a reader waits for the bell before it looks by itself, and before it connects again."""

BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a lost or refused connection raises; the last when it is lost between two statements."""

_READING = {
    "application_name": "mostrador-reader",
    "statement_timeout": "60000",
    "plan_cache_mode": "force_generic_plan",
    # A plan that was made while the log was short would read all of it for ever after.
    "enable_seqscan": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


class Doorbell:
    """Rings for one process. `ring` only makes a note, so it may be called after every commit."""

    def __init__(self, dsn: str, log: Log) -> None:
        self._dsn = dsn
        self._log = log
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something has been committed."""
        self._rung.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Inside the block notes become notifications."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                await self._notify()
            except BROKEN as error:
                self._log.fault("doorbell out of order", error)
                await asyncio.sleep(PATIENCE_SECONDS)

    async def _notify(self) -> None:
        await self._rung.wait()
        driver = await asyncpg.connect(self._dsn)
        try:
            while True:
                self._rung.clear()
                await driver.execute(f"NOTIFY {CHANNEL}")
                await asyncio.sleep(PAUSE_SECONDS)
                await self._rung.wait()
        finally:
            driver.terminate()


class Listener:
    """A direct connection for a reader of the log, with an ear at the door."""

    def __init__(self, driver: Any, heard: asyncio.Event) -> None:
        self.conn = Connection(driver)
        self._heard = heard

    async def wait(self, calm_seconds: float) -> None:
        """Until the bell rings, or it is time to look by oneself.

        What commits within `calm_seconds` of the bell is looked at together: a look costs about
        as much as an order, so one for each commit would take the shoppers' processor time.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._heard.wait()
                await asyncio.sleep(calm_seconds)
        self._heard.clear()


@asynccontextmanager
async def listening(dsn: str) -> AsyncGenerator[Listener]:
    """Connect past any pooler; raises one of `BROKEN` when the connection is lost."""
    driver = await asyncpg.connect(dsn, server_settings=_READING, command_timeout=90)
    try:
        await prepare_connection(driver)
        heard = asyncio.Event()
        driver.add_termination_listener(lambda _: heard.set())
        await driver.add_listener(CHANNEL, lambda *_: heard.set())
        yield Listener(driver, heard)
    finally:
        driver.terminate()
