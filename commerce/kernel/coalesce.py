"""Independent callers share one transaction.

While one batch is in flight, new callers queue; the next batch takes them all. There is no timer,
so a lone caller never waits, and under load a batch of a hundred costs little more than one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import asyncpg

from commerce.kernel.sql import ATTEMPTS, Busy, Connection, Database, LostRace, lost_race

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MAX_ITEMS = 256
MAX_KEYS = 2_000
MAX_QUEUE = 4_096
DATA_ERRORS = ("22", "23")
"""SQLSTATE classes that one bad item causes; the rest of the batch is innocent."""

_TRANSIENT = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
_TRANSIENT_CLASSES = ("08", "53", "55", "57")


class Coalescer(Generic[Item, Outcome]):
    """Runs `work` on batches of items, one batch at a time, each in a transaction of its own.

    `work` returns one outcome per item, in order. An outcome that is an exception is raised at
    its caller. Items must carry ids made beforehand: after a lost commit the batch runs again.
    `weigh` counts the stock keys of an item, so that a batch stays within `MAX_KEYS`.
    """

    def __init__(
        self,
        database: Database,
        work: Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        weigh: Callable[[Item], int],
        writes: bool = True,
    ) -> None:
        self._database = database
        self._work = work
        self._weigh = weigh
        self._open = database.transaction if writes else database.reading
        self._queue: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Callers that wait for the next batch."""
        return len(self._queue)

    async def submit(self, item: Item) -> Outcome:
        """The outcome of this item. Raises `Busy` when too many wait or the database is gone.

        A caller that goes away does not cancel its item: it may already be half way.
        """
        return await asyncio.shield(self.put(item))

    def put(self, item: Item) -> "asyncio.Future[Outcome]":
        """Queue an item; its outcome comes with the future. Wait for it behind a shield."""
        if len(self._queue) >= MAX_QUEUE:
            raise Busy
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._drain())
        return future

    async def close(self) -> None:
        """Wait until everything that was submitted has its outcome."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _drain(self) -> None:
        try:
            while self._queue:
                batch = self._next_batch()
                outcomes = await self._settle([item for item, _ in batch])
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    _resolve(future, outcome)
        finally:
            self._runner = None

    def _next_batch(self) -> list[tuple[Item, "asyncio.Future[Outcome]"]]:
        batch = [self._queue.popleft()]
        keys = self._weigh(batch[0][0])
        while self._queue and len(batch) < MAX_ITEMS:
            keys += self._weigh(self._queue[0][0])
            if keys > MAX_KEYS:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _settle(self, items: Sequence[Item]) -> Sequence[Outcome | Exception]:
        """Run one batch; when the data of an item is at fault, halve until it stands alone."""
        lost_races = faults = 0
        while True:
            try:
                async with self._open() as conn:
                    outcomes = await self._work(conn, items)
                    assert len(outcomes) == len(items), "one outcome per item"
                    return outcomes
            except (LostRace, asyncpg.PostgresError) as error:
                state = getattr(error, "sqlstate", None) or ""
                if lost_race(error) and lost_races < ATTEMPTS:
                    lost_races += 1
                elif state.startswith(_TRANSIENT_CLASSES):
                    faults += 1
                elif state.startswith(DATA_ERRORS) and len(items) > 1:
                    middle = len(items) // 2
                    first = await self._settle(items[:middle])
                    return [*first, *await self._settle(items[middle:])]
                else:
                    return [error] * len(items)
            except _TRANSIENT:
                faults += 1
            except Exception as error:  # noqa: BLE001  a bug of ours: every caller of the batch sees it
                return [error] * len(items)
            if faults > 1:
                return [Busy()] * len(items)
            await asyncio.sleep(0.002 * 2**lost_races)


def _resolve(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # a caller that went away must not leave a warning behind
    else:
        future.set_result(outcome)
