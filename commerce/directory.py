"""The stores as one process sees them, a few seconds old at most: where they are, when they open.

Stores change rarely and are looked at in every request for availability. `forget` is called when a
`store.changed` event arrives; whatever happens, nothing older than `MAX_AGE_SECONDS` is used.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from commerce import stores
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Database
from commerce.stores import Store
from inventory.locations import distance_km, point

MAX_AGE_SECONDS = 5.0


class Spot(msgspec.Struct, frozen=True, gc=False):
    """A store as seen by one shopper: how far away, and from when an order is ready."""

    store: Store
    distance_km: float | None
    promised_at: datetime | None


class Picture:
    """All stores at one moment."""

    def __init__(self, found: Sequence[Store]) -> None:
        self._places = [
            (each, point(each.latitude, each.longitude))
            for each in sorted(found, key=lambda store: store.code)
        ]
        self._by_id = {each.location_id: each for each in found}
        self._minute: datetime | None = None
        self._promises: dict[UUID, datetime | None] = {}

    def nearest(
        self, latitude: float, longitude: float, *, radius_km: float, limit: int, now: datetime
    ) -> list[Spot]:
        """The stores within the radius, nearest first; those equally far by code."""
        here = point(latitude, longitude)
        far = [(distance_km(here, there), index) for index, (_, there) in enumerate(self._places)]
        far.sort()
        near = [(distance, self._places[index][0]) for distance, index in far[:limit]]
        return self._spots([each for each in near if each[0] <= radius_km], now)

    def first(self, limit: int, *, now: datetime) -> list[Spot]:
        """Stores in the order of their codes, for who does not say where they are."""
        return self._spots([(None, store) for store, _ in self._places[:limit]], now)

    def store(self, id_: UUID) -> Store:
        """One store. Raises NotFound."""
        found = self._by_id.get(id_)
        if found is None:
            raise NotFound(kind="store", id=str(id_))
        return found

    def chosen(self, ids: Sequence[UUID], *, now: datetime) -> list[Spot]:
        """These stores, in this order. Raises NotFound."""
        return self._spots([(None, self.store(id_)) for id_ in ids], now)

    def _spots(self, found: Iterable[tuple[float | None, Store]], now: datetime) -> list[Spot]:
        """Promises move on by whole minutes, so each is worked out once per store and minute."""
        minute = stores.next_minute(now)
        if minute != self._minute:
            self._minute, self._promises = minute, {}
        promises = self._promises
        spots = []
        for distance, store in found:
            if store.location_id not in promises:
                promises[store.location_id] = stores.promise_at(store, minute)
            shown = None if distance is None else round(distance, 3)
            spots.append(Spot(store, shown, promises[store.location_id]))
        return spots


class Directory:
    """The present picture of this process, loaded when it is needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._picture: Picture | None = None
        self._loaded_at = 0.0
        self._loading = asyncio.Lock()

    async def stores(self) -> Picture:
        """All stores, as they were at most five seconds ago."""
        if self._fresh() is None:
            async with self._loading:
                if self._fresh() is None:
                    await self._load()
        assert self._picture is not None
        return self._picture

    def forget(self) -> None:
        """Load anew at the next look: some store has changed."""
        self._picture = None

    def _fresh(self) -> Picture | None:
        age = asyncio.get_running_loop().time() - self._loaded_at
        return self._picture if age < MAX_AGE_SECONDS else None

    async def _load(self) -> None:
        started_at = asyncio.get_running_loop().time()
        async with self._database.reading() as conn:
            self._picture = Picture(await stores.everywhere(conn))
        self._loaded_at = started_at
