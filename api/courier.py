"""Sends messages beside all other work: nobody waits for a carrier, and no carrier for another."""

import asyncio

from api.log import Log
from commerce import messages
from commerce.consents import MessageChannel
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Database
from commerce.messages import Carriers, Links

CLOSE_SECONDS = 1.0
_Lane = MessageChannel | None
"""A channel that somebody carries; None is for all that nobody does."""


class Courier:
    """One per event loop that does background work. Each channel has one task at a time."""

    def __init__(
        self, database: Database, carriers: Carriers, links: Links, log: Log, now: Clock
    ) -> None:
        self.carriers = carriers
        self._database = database
        self._links = links
        self._log = log
        self._now = now
        self._lanes: tuple[_Lane, ...] = (None, *carriers)
        self._called: set[_Lane] = set()
        self._running: dict[_Lane, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Something may be due. Returns at once."""
        for lane in self._lanes:
            self._called.add(lane)
            if lane not in self._running:
                self._running[lane] = asyncio.create_task(self._run(lane))

    async def idle(self) -> None:
        """Wait until what was due has been tried."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def close(self) -> None:
        """Give what is under way a moment. What it leaves is sent again by the next process."""
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, lane: _Lane) -> None:
        try:
            while lane in self._called:
                self._called.discard(lane)
                await self._send(lane)
        except Exception as error:  # noqa: BLE001  the sweep wakes it again
            self._log.fault("messages wait", error, channel=lane)
        finally:
            del self._running[lane]

    async def _send(self, lane: _Lane) -> None:
        if lane is None:
            await messages.keep_uncarried(self._database, self.carriers, now=self._now)
        else:
            carrier = self.carriers[lane]
            await messages.send(self._database, lane, carrier, self._links, now=self._now)
