"""Locations, zones and stores, one by one: the records of import files, as JSON.

What is sent is the whole record; a field that is left out takes its default.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import get, put

from api.auth import may
from api.backoffice.records import Code, put_record
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode, page_of
from api.words import LocationKind
from commerce import opening_hours, stores
from commerce.access import Principal
from commerce.importing import LocationRecord, PriceZoneRecord, StoreRecord, TaxZoneRecord
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection
from commerce.stores import PriceZone, Store, TaxZone
from inventory import locations
from inventory.locations import Location


class LocationView(msgspec.Struct, frozen=True):
    """A place that holds stock."""

    id: UUID
    code: str
    name: str
    kind: LocationKind
    latitude: float
    longitude: float

    @classmethod
    def of(cls, location: Location) -> "LocationView":
        """As the back office sees it."""
        return msgspec.convert(location, cls, from_attributes=True)


class StoreDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A store with all that can be set. Opening hours by weekday, in its own time."""

    location_id: UUID
    location_code: str
    name: str
    street: str
    city: str
    region: str
    postal_code: str
    country: str
    phone: str | None
    time_zone: str
    price_zone: str
    tax_zone: str
    pickup_enabled: bool
    pickup_lead_minutes: int
    mon: list[str]
    tue: list[str]
    wed: list[str]
    thu: list[str]
    fri: list[str]
    sat: list[str]
    sun: list[str]

    @classmethod
    def of(cls, store: Store) -> "StoreDetail":
        """As the back office sees it."""
        known: dict[str, Any] = msgspec.structs.asdict(store)
        known |= msgspec.structs.asdict(store.address) | opening_hours.texts(store.opening_hours)
        known["location_code"] = store.code
        return cls(**{name: known[name] for name in cls.__struct_fields__})


@get("/v1/backoffice/locations", guards=[may("store.write")])
async def list_locations(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[LocationView]:
    """Locations by code: stores, warehouses and the others."""
    rows = await locations.page(reading, after=decode(cursor) or "", limit=limit + 1)
    return page_of(rows, limit, view=LocationView.of, key=lambda row: row.code)


@put("/v1/backoffice/locations/{code:str}", guards=[may("store.write")], opt=raises(InvalidField))
async def put_location(
    code: Code, data: LocationRecord, conn: Connection, who: Principal, now: datetime
) -> LocationView:
    """Make or change a location."""
    before = (await locations.by_code(conn, [code])).get(code)
    await put_record(conn, who, "locations", data, address={"code": code}, before=before, now=now)
    return LocationView.of((await locations.by_code(conn, [code]))[code])


@get("/v1/backoffice/price-zones", guards=[may("store.write")])
async def list_price_zones(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[PriceZone]:
    """Price zones by code."""
    rows = await stores.price_zones(reading, after=decode(cursor) or "", limit=limit + 1)
    return page_of(rows, limit, view=lambda row: row, key=lambda row: row.code)


@put("/v1/backoffice/price-zones/{code:str}", guards=[may("store.write")], opt=raises(InvalidField))
async def put_price_zone(
    code: Code, data: PriceZoneRecord, conn: Connection, who: Principal, now: datetime
) -> PriceZone:
    """Make a price zone, or change whether its prices include tax. Its currency is fixed."""
    before = await stores.price_zone_by_code(conn, code)
    await put_record(conn, who, "price_zones", data, address={"code": code}, before=before, now=now)
    return PriceZone(data.code, data.currency, data.tax_included)


@get("/v1/backoffice/tax-zones", guards=[may("store.write")])
async def list_tax_zones(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[TaxZone]:
    """Tax zones by code."""
    rows = await stores.tax_zones(reading, after=decode(cursor) or "", limit=limit + 1)
    return page_of(rows, limit, view=lambda row: row, key=lambda row: row.code)


@put("/v1/backoffice/tax-zones/{code:str}", guards=[may("store.write")], opt=raises(InvalidField))
async def put_tax_zone(
    code: Code, data: TaxZoneRecord, conn: Connection, who: Principal, now: datetime
) -> TaxZone:
    """Make or change a tax zone. A new rate counts for sales from now on."""
    before = await stores.tax_zone_by_code(conn, code)
    await put_record(conn, who, "tax_zones", data, address={"code": code}, before=before, now=now)
    return TaxZone(data.code, data.rate_bp)


@get("/v1/backoffice/stores", guards=[may("store.write")])
async def list_store_details(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[StoreDetail]:
    """Stores by code, with all that can be set."""
    rows = await stores.page(reading, after=decode(cursor) or "", limit=limit + 1)
    return page_of(rows, limit, view=StoreDetail.of, key=lambda row: row.code)


@get("/v1/backoffice/stores/{code:str}", guards=[may("store.write")], opt=raises(NotFound))
async def get_store_detail(reading: Connection, code: Code) -> StoreDetail:
    """One store with all that can be set."""
    return StoreDetail.of(await _store(reading, code))


@put("/v1/backoffice/stores/{code:str}", guards=[may("store.write")], opt=raises(InvalidField))
async def put_store(
    code: Code, data: StoreRecord, conn: Connection, who: Principal, now: datetime
) -> StoreDetail:
    """Make a store of a location, or change it: address, zones, hours, the pickup switch."""
    found = (await stores.by_code(conn, [code])).get(code)
    before = StoreDetail.of(found) if found is not None else None
    await put_record(
        conn, who, "stores", data, address={"location_code": code}, before=before, now=now
    )
    return StoreDetail.of(await _store(conn, code))


async def _store(conn: Connection, code: str) -> Store:
    found = (await stores.by_code(conn, [code])).get(code)
    if found is None:
        raise NotFound(kind="store", id=code)
    return found


ROUTES = [
    list_locations,
    put_location,
    list_price_zones,
    put_price_zone,
    list_tax_zones,
    put_tax_zone,
    list_store_details,
    get_store_detail,
    put_store,
]
