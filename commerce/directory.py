"""The stores as one process sees them, a few seconds old at most: where they are, when they open.

Stores change rarely and are looked at in every request for availability. `forget` is called when a
`store.changed` event arrives; whatever happens, nothing older than `MAX_AGE_SECONDS` is used.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from commerce import stores
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Database
from commerce.stores import Store
from inventory.locations import distance_km, point

MAX_AGE_SECONDS = 5.0
MAX_VIEWS = 1_024
"""Places from which stores were looked at within a minute, that are kept."""

Refusal: TypeAlias = Literal["pickup_disabled", "store_closed"]
"""Why a store hands nothing over; `store_closed` is one that never opens."""


class Spot(msgspec.Struct, frozen=True, gc=False):
    """A store as seen by one shopper: how far away, from when an order is ready, or why never."""

    store: Store
    distance_km: float | None
    promised_at: datetime | None
    refusal: Refusal | None


class Spots(msgspec.Struct, frozen=True):
    """Stores in the order in which they are shown."""

    spots: list[Spot]
    location_ids: list[UUID]


class Picture:
    """All stores at one moment.

    What is seen from a place is kept for the minute: somebody who browses asks from there again.
    """

    def __init__(self, found: Sequence[Store]) -> None:
        self._places = [
            (each, point(each.latitude, each.longitude))
            for each in sorted(found, key=lambda store: store.code)
        ]
        self._by_id = {each.location_id: each for each in found}
        self._minute: datetime | None = None
        self._promises: dict[UUID, datetime | None] = {}
        self._views: dict[tuple[float, float, float, int], Spots] = {}

    def nearest(
        self, latitude: float, longitude: float, *, radius_km: float, limit: int, now: datetime
    ) -> Spots:
        """The stores within the radius, nearest first; those equally far by code."""
        self._turn_to(now)
        view = (latitude, longitude, radius_km, limit)
        known = self._views.get(view)
        if known is None:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            here = point(latitude, longitude)
            far = [(distance_km(here, there), i) for i, (_, there) in enumerate(self._places)]
            far.sort()
            near = [(round(km, 3), self._places[i][0]) for km, i in far[:limit] if km <= radius_km]
            known = self._views[view] = self._spots(near)
        return known

    def first(self, limit: int, *, now: datetime) -> Spots:
        """Stores in the order of their codes, for who does not say where they are."""
        self._turn_to(now)
        return self._spots([(None, store) for store, _ in self._places[:limit]])

    def chosen(self, ids: Sequence[UUID], *, now: datetime) -> Spots:
        """These stores, in this order. Raises NotFound."""
        self._turn_to(now)
        return self._spots([(None, self.store(id_)) for id_ in ids])

    def knows(self, id_: UUID) -> bool:
        """Whether there is such a store."""
        return id_ in self._by_id

    def store(self, id_: UUID) -> Store:
        """One store. Raises NotFound."""
        found = self._by_id.get(id_)
        if found is None:
            raise NotFound(kind="store", id=str(id_))
        return found

    def _turn_to(self, now: datetime) -> None:
        """Promises move on by whole minutes; those of the last one are thrown away."""
        minute = stores.next_minute(now)
        if minute != self._minute:
            self._minute, self._promises, self._views = minute, {}, {}

    def _spots(self, found: Iterable[tuple[float | None, Store]]) -> Spots:
        spots = [
            Spot(store, distance, promised_at, _refusal(store, promised_at))
            for distance, store in found
            for promised_at in (self._promise(store),)
        ]
        return Spots(spots, [spot.store.location_id for spot in spots])

    def _promise(self, store: Store) -> datetime | None:
        if store.location_id not in self._promises:
            assert self._minute is not None
            self._promises[store.location_id] = stores.promise_at(store, self._minute)
        return self._promises[store.location_id]


def _refusal(store: Store, promised_at: datetime | None) -> Refusal | None:
    if not store.pickup_enabled:
        return "pickup_disabled"
    return "store_closed" if promised_at is None else None


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
