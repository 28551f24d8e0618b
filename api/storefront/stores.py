"""Routes for stores: where they are, when they are open, from when an order could be picked up."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromPath
from msgspec import Meta

from api.auth import may
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode, page_of
from api.services import Services, directory
from commerce import opening_hours, stores
from commerce.access import Principal
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.stores import Address, Store


class StoreView(msgspec.Struct, frozen=True, kw_only=True):
    """A store. Times of day in `opening_hours` are its own; `24:00` is the end of the day."""

    id: UUID
    code: str
    name: str
    address: Address
    phone: str | None
    latitude: float
    longitude: float
    time_zone: str
    opening_hours: dict[str, list[str]]
    open_now: bool
    opens_at: Annotated[
        datetime | None,
        Meta(description="Now while it is open; null when it does not open within three months."),
    ]
    pickup_enabled: bool
    promised_at: Annotated[
        datetime | None,
        Meta(description="From when on an order placed now could be picked up; null: not at all."),
    ]
    price_zone: str
    currency: str
    tax_included: bool

    @classmethod
    def of(cls, store: Store, now: datetime) -> "StoreView":
        """As it is at this moment."""
        return cls(
            id=store.location_id,
            code=store.code,
            name=store.name,
            address=store.address,
            phone=store.phone,
            latitude=store.latitude,
            longitude=store.longitude,
            time_zone=store.time_zone,
            opening_hours=opening_hours.texts(store.opening_hours),
            open_now=opening_hours.is_open(store.opening_hours, store.time_zone, now),
            opens_at=opening_hours.next_opening(store.opening_hours, store.time_zone, now),
            pickup_enabled=store.pickup_enabled,
            promised_at=stores.promise_at(store, now) if store.pickup_enabled else None,
            price_zone=store.price_zone,
            currency=store.currency,
            tax_included=store.tax_included,
        )


async def default_store(services: Services, who: Principal, store_id: UUID | None) -> Store | None:
    """The store that the request names, else the only one of its key. Raises NotFound."""
    if store_id is None and who.location_ids is not None and len(who.location_ids) == 1:
        (store_id,) = who.location_ids
    if store_id is None:
        return None
    picture = await services.part(directory).stores()
    return picture.store(store_id)


@get("/v1/stores", guards=[may("catalog.read")])
async def list_stores(
    reading: Connection, now: datetime, cursor: Cursor = None, limit: PageSize = 50
) -> Page[StoreView]:
    """Stores in the order of their codes."""
    rows = await stores.page(reading, after=decode(cursor) or "", limit=limit + 1)
    return page_of(
        rows, limit, view=lambda store: StoreView.of(store, now), key=lambda store: store.code
    )


@get(
    "/v1/stores/{store_id:uuid}",
    guards=[may("catalog.read")],
    opt=raises(NotFound),
)
async def get_store(reading: Connection, now: datetime, store_id: FromPath[UUID]) -> StoreView:
    """One store."""
    return StoreView.of(await stores.by_id(reading, store_id), now)


ROUTES = [list_stores, get_store]
