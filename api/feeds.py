"""One reader of the event log per web process feeds all its streams, and what the process keeps.

Each event is looked at once: it goes to the streams of its location, of its aggregate, and to those
that see everything. A stream holds a bounded number of events; whoever reads too slowly is cut and
may resume where it was. Keys and sessions that ended are forgotten here, and stores that changed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import msgspec

from api.doorbell import BROKEN, PATIENCE_SECONDS, listening
from api.log import Log
from api.services import Services, directory
from commerce.kernel import readers
from commerce.kernel.events import Recorded
from commerce.kernel.generations import open_generation
from commerce.kernel.readers import Position, StartOver
from commerce.kernel.sql import Busy, Connection

MAX_WAITING = 1_000
"""Events that a stream may be behind its reader."""

MAX_BEHIND = 100_000
"""Transactions after which it is cheaper to fetch the present state than to go on."""

CALM_SECONDS = 0.02
"""How long commits are gathered before streams are told of them."""

CHANGES_ACCESS = frozenset(
    {
        "key.revoked",
        "key.rotated",
        "session.ended",
        "associate.changed",
        "cart.attached",
        "cart.claimed",
        "cart.released",
        "cart.merged",
        "shopper.merged",
        "shopper.merge_undone",
        "consent.changed",
        "shopper_view.ended",
    }
)
"""After these a key, a session or a person is verified anew: who is named, and `shopper_id`."""

EVERYTHING = None
"""The topic of streams that see all events."""

Topic = UUID | None


class FeedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event: what happened to which aggregate. Fetch the aggregate for its present state."""

    id: UUID
    type: str
    version: int
    aggregate: str
    aggregate_id: UUID
    at: datetime
    payload: dict[str, Any]
    location_id: UUID | None = None
    actor: str | None = None
    """Who did it; only for staff."""


class FeedSignal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `open` and `start_over` carry: nothing. Fetch the present state."""


BLOCKS = (FeedEvent, FeedSignal)
"""What the blocks of a feed carry."""


class Entry:
    """An event on its way to streams. What is written is made once, for whoever needs it."""

    def __init__(self, event: Recorded, position: Position) -> None:
        self.event = event
        self.position = position
        """Behind the event."""

    @cached_property
    def for_staff(self) -> bytes:
        """As staff see it."""
        return self._written(self.event.actor)

    @cached_property
    def for_shoppers(self) -> bytes:
        """Without who did it."""
        return self._written(None)

    def _written(self, actor: str | None) -> bytes:
        of = self.event
        shown = FeedEvent(
            of.id, of.type, of.version, of.aggregate, of.aggregate_id, of.at, of.payload,
            of.location_id, actor,
        )  # fmt: skip
        return block(self.position, of.type, msgspec.json.encode(shown))


def block(position: Position, kind: str, content: bytes) -> bytes:
    """One event of the stream, as the client gets it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        position.cursor().encode(),
        kind.encode(),
        content,
    )


class Stream:
    """What one client is to get next. Filled by the reader, emptied by the client's task."""

    def __init__(
        self, topics: frozenset[Topic], *, types: frozenset[str] | None, subjects: frozenset[UUID]
    ) -> None:
        self.topics = topics
        self.subjects = subjects
        """Key, session and person: when one of them changes, access is to be checked."""
        self.waiting: deque[Entry] = deque()
        self.check_access = False
        self.start_over = False
        self.on_cut: Callable[[], object] = _nothing
        """What ends the client's task when it no longer takes anything."""
        self._types = types
        self._news = asyncio.Event()

    def wants(self, event: Recorded) -> bool:
        """Whether the event is for this client."""
        return (self._types is None or event.type in self._types) and not self.topics.isdisjoint(
            (EVERYTHING, event.location_id, event.aggregate_id)
        )

    def offer(self, entry: Entry) -> None:
        """Put an event into the queue; a client that is too far behind is cut."""
        if self._types is not None and entry.event.type not in self._types:
            return
        if len(self.waiting) >= MAX_WAITING:
            self.on_cut()
            return
        self.waiting.append(entry)
        self._news.set()

    def wake(self) -> None:
        """Something other than an event is to be looked at."""
        self._news.set()

    async def news(self) -> None:
        """Until there is something."""
        await self._news.wait()
        self._news.clear()


class LogReader:
    """Follows the log from when it was started, for as long as the process lives."""

    def __init__(self, services: Services) -> None:
        self._dsn = services.settings.direct_url
        self._services = services
        self._log: Log = services.log
        self._position: Position | None = None
        self._started = asyncio.Event()
        self._streams: dict[Topic, set[Stream]] = {}

    @contextmanager
    def feeding(self, stream: Stream) -> Iterator[None]:
        """Inside the block the stream gets what commits."""
        for topic in stream.topics:
            self._streams.setdefault(topic, set()).add(stream)
        try:
            yield
        finally:
            for topic in stream.topics:
                of_topic = self._streams[topic]
                of_topic.discard(stream)
                if not of_topic:
                    del self._streams[topic]

    async def started(self) -> None:
        """Until it reads. Raises Busy when the database does not let it."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS * 2):
                await self._started.wait()
        except TimeoutError:
            raise Busy from None

    @property
    def position(self) -> Position:
        """All that was offered to streams lies before it, and nothing else."""
        assert self._position is not None, "wait until it has started"
        return self._position

    async def run(self) -> None:
        """Read until cancelled; while the database is away, try again."""
        while True:
            try:
                async with listening(self._dsn) as listener:
                    async with listener.conn.driver.transaction():
                        await open_generation(listener.conn, now=self._services.now())
                    while True:
                        await self._read(listener.conn)
                        await listener.wait(CALM_SECONDS)
            except BROKEN as error:
                self._log.fault("the log reader waits for the database", error)
            await asyncio.sleep(PATIENCE_SECONDS)

    async def _read(self, conn: Connection) -> None:
        """All that is new; after a restore, or too far behind, only what comes from now on."""
        now = await readers.latest(conn)
        if self._position is None:
            self._position = now
            self._started.set()
        if now.transactions - self._position.transactions > MAX_BEHIND:
            self._start_over(now)
        full = True
        while full:
            try:
                events, after = await readers.read(conn, self._position)
            except StartOver:
                return self._start_over(await readers.latest(conn))
            full = len(events) == readers.PAGE
            self._pass_on(events, self._position, after)
            self._position = after
        return None

    def _pass_on(self, events: list[Recorded], before: Position, after: Position) -> None:
        for event in events:
            topics: tuple[Topic, ...] = (EVERYTHING, event.location_id, event.aggregate_id)
            found = [of_topic for topic in topics if (of_topic := self._streams.get(topic))]
            if found:
                entry = entry_of(event, before, after)
                for stream in found[0].union(*found[1:]):
                    stream.offer(entry)
            if event.type in CHANGES_ACCESS:
                self._access_changed(event.aggregate_id)
                if (joined := event.payload.get("shopper_id")) is not None:
                    self._access_changed(UUID(joined))
            elif event.type == "store.changed":
                self._services.part(directory).forget()

    def _access_changed(self, subject_id: UUID) -> None:
        self._services.keyring.forget(subject_id)
        for stream in self._all():
            if subject_id in stream.subjects:
                stream.check_access = True
                stream.wake()

    def _start_over(self, now: Position) -> None:
        self._position = now
        for stream in self._all():
            stream.waiting.clear()
            stream.start_over = True
            stream.wake()

    def _all(self) -> set[Stream]:
        return set().union(*self._streams.values())


def entry_of(event: Recorded, before: Position, after: Position) -> Entry:
    """An event of a page that was read between two positions, with the cursor behind it."""
    upto = after.upto or after.seen
    return Entry(event, Position(after.generation, before.seen, upto, event.sequence))


def _nothing() -> None:
    """Nobody reads yet, so nobody is cut."""
