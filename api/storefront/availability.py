"""Routes for availability: what can be picked up where, from when, and why not."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParameter
from litestar.types import ASGIApp, Scope
from msgspec import Meta

from api.answers import encoded
from api.auth import may
from api.contract import answers, no_key_needed, raises
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.services import Services, directory, services_of
from api.storefront.catalog import Code
from api.words import LedgerKind
from commerce import availability, catalog
from commerce.access import Principal, StoreNotAllowed
from commerce.availability import Ask, Pickup, Reason, TooMany
from commerce.directory import Spot, Spots
from commerce.kernel.coalesce import Coalescer
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection
from inventory import availability as stock_availability
from inventory import locations
from inventory.stock import LAST_ID, LedgerRow
from inventory.tables import MAX_UNITS

MAX_RADIUS_KM = 20_100.0
"""Half way round the earth: everywhere."""

Latitude = Annotated[float | None, QueryParameter(ge=-90, le=90)]
Longitude = Annotated[float | None, QueryParameter(ge=-180, le=180)]
RadiusKm = Annotated[float, QueryParameter(gt=0, le=MAX_RADIUS_KM)]
MaxStores = Annotated[
    int, QueryParameter(ge=1, le=availability.MAX_STORES, description="Stores at most.")
]
Skus = Annotated[list[str], QueryParameter(description="Repeat it for several SKUs, at most 100.")]
StoreIds = Annotated[
    list[UUID] | None, QueryParameter(description="Only at these stores, in this order.")
]
REFUSALS = raises(NotFound, InvalidField, TooMany)


class StoreAvailability(msgspec.Struct, frozen=True, gc=False):
    """One SKU at one store: `max(0, on_hand - reserved - safety_stock)` where it can be picked up.

    `reason` says why it is that many. `promised_at` is set when there is something to promise.
    """

    store_id: UUID
    code: str
    name: str
    distance_km: float | None
    available_to_promise: int
    reason: Reason
    on_hand: int
    reserved: int
    safety_stock: int
    promised_at: datetime | None


class SkuAvailability(msgspec.Struct, frozen=True):
    """One SKU at the stores, nearest first."""

    sku: str
    stores: list[StoreAvailability]


class AvailabilityView(msgspec.Struct, frozen=True):
    """What can be picked up where at this moment."""

    as_of: datetime
    skus: list[SkuAvailability]


class BasketLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of one SKU; lines of the same SKU are added up."""

    sku: Annotated[str, Meta(min_length=1, max_length=64, examples=["T100-M"])]
    quantity: Annotated[int, Meta(ge=1, le=MAX_UNITS, examples=[2])]


class Basket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines, and where to look for a store: near a point, among named stores, or anywhere."""

    lines: Annotated[list[BasketLine], Meta(min_length=1, max_length=1_000)]
    latitude: Annotated[float, Meta(ge=-90, le=90, examples=[19.4326])] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180, examples=[-99.1332])] | None = None
    radius_km: Annotated[float, Meta(gt=0, le=MAX_RADIUS_KM, examples=[25.0])] = MAX_RADIUS_KM
    limit: Annotated[int, Meta(ge=1, le=availability.MAX_STORES)] = 20
    store_ids: Annotated[list[UUID], Meta(max_length=1_000)] = []


class LineAtStore(msgspec.Struct, frozen=True, gc=False):
    """One SKU of the basket at one store."""

    sku: str
    quantity: int
    available_to_promise: int
    reason: Reason


class BasketAtStore(msgspec.Struct, frozen=True):
    """Whether one store has enough of every line, and from when on they are ready there."""

    store_id: UUID
    code: str
    name: str
    distance_km: float | None
    serves_all: bool
    promised_at: datetime | None
    lines: list[LineAtStore]


class StoresForBasket(msgspec.Struct, frozen=True):
    """The stores, nearest first."""

    as_of: datetime
    stores: list[BasketAtStore]


class ExplainedEntry(msgspec.Struct, frozen=True):
    """One change of the counters."""

    at: datetime
    kind: LedgerKind
    on_hand_delta: int
    reserved_delta: int
    unsellable_delta: int
    reason: str | None
    actor: str
    reference: UUID | None

    @classmethod
    def of(cls, row: LedgerRow) -> "ExplainedEntry":
        """The row without what the page already says."""
        names = cls.__struct_fields__
        return cls(**{name: getattr(row, name) for name in names})


class StockExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """`available_to_promise`, its parts, and a page of the ledger that they are the sum of.

    The ledger's `reserved` is higher by `expired`: holds that ran out and are not yet cleared away.
    """

    location_id: UUID
    sku: str
    available_to_promise: int
    reason: stock_availability.Reason
    on_hand: int
    reserved: int
    safety_stock: int
    expired: int
    entries: Page[ExplainedEntry]


def questions(services: Services) -> Coalescer[Ask, list[list[Pickup]]]:
    """Concurrent requests of this process share their queries."""
    return Coalescer(services.database, availability.answer, weigh=availability.weigh, writes=False)


@get(
    "/v1/availability",
    guards=[may("availability.read")],
    opt=REFUSALS | answers(AvailabilityView),
)
async def get_availability(
    scope: Scope,
    *,
    sku: Skus,
    latitude: Latitude = None,
    longitude: Longitude = None,
    radius_km: RadiusKm = MAX_RADIUS_KM,
    limit: MaxStores = 20,
    store_id: StoreIds = None,
) -> ASGIApp:
    """Some SKUs at the stores near a point, nearest first, or at the stores that are named."""
    # A hot route: it takes no dependencies and answers in bytes, which the framework makes dear.
    services = services_of(scope)
    now = services.now()
    at = await _spots(
        services, now, latitude, longitude, radius_km=radius_km, limit=limit, store_ids=store_id
    )
    asked = availability.ask(sku, at, now=now)
    found = await services.part(questions).submit(asked)
    skus = [
        SkuAvailability(code, _at_stores(at.spots, of_sku))
        for code, of_sku in zip(asked.skus, found, strict=True)
    ]
    return encoded(AvailabilityView(now, skus))


@post(
    "/v1/availability",
    guards=[may("availability.read")],
    status_code=200,
    opt=REFUSALS,
)
@no_key_needed("it reads")
async def find_stores_for_basket(
    data: Basket, services: Services, now: datetime
) -> StoresForBasket:
    """Which stores can serve every line of a basket. Changes nothing and holds nothing."""
    wanted: dict[str, int] = {}
    for line in data.lines:
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    at = await _spots(
        services,
        now,
        data.latitude,
        data.longitude,
        radius_km=data.radius_km,
        limit=data.limit,
        store_ids=data.store_ids,
    )
    asked = availability.ask(list(wanted), at, now=now)
    found = await services.part(questions).submit(asked)
    serves = availability.serves(list(wanted.values()), found)
    at_stores = zip(at.spots, serves, zip(*found, strict=True), strict=True)
    return StoresForBasket(now, [_basket(spot, able, wanted, row) for spot, able, row in at_stores])


@get(
    "/v1/locations/{location_id:uuid}/stock/{sku:str}",
    guards=[may("stock.read")],
    tags=["Store tablet"],
    opt=raises(NotFound, StoreNotAllowed),
)
async def explain_stock(
    location_id: FromPath[UUID],
    sku: Code,
    *,
    reading: Connection,
    who: Principal,
    now: datetime,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> StockExplanation:
    """Why this many units of a SKU can be promised at a location, with the ledger, newest first."""
    if not who.sees(location_id):
        raise StoreNotAllowed(location_id=location_id)
    await locations.by_id(reading, location_id)
    await catalog.sku_by_code(reading, sku, zone=None)
    found = await stock_availability.explain(
        reading, (location_id, sku), now=now, before=decode_id(cursor) or LAST_ID, page=limit + 1
    )
    entries = page_of(found.entries, limit, view=ExplainedEntry.of, key=lambda entry: str(entry.id))
    number = found.availability
    return StockExplanation(
        location_id=location_id,
        sku=sku,
        available_to_promise=number.available_to_promise,
        reason=number.reason,
        on_hand=number.on_hand,
        reserved=number.reserved,
        safety_stock=number.safety_stock,
        expired=found.expired,
        entries=entries,
    )


async def _spots(
    services: Services,
    now: datetime,
    latitude: float | None,
    longitude: float | None,
    *,
    radius_km: float,
    limit: int,
    store_ids: list[UUID] | None,
) -> Spots:
    picture = await services.part(directory).stores()
    if store_ids:
        return picture.chosen(list(dict.fromkeys(store_ids)), now=now)
    if latitude is not None and longitude is not None:
        return picture.nearest(latitude, longitude, radius_km=radius_km, limit=limit, now=now)
    if latitude is None and longitude is None:
        return picture.first(limit, now=now)
    missing = "latitude" if latitude is None else "longitude"
    raise InvalidField(path=f"/{missing}", reason="latitude and longitude go together")


def _at_stores(spots: Sequence[Spot], pickups: Sequence[Pickup]) -> list[StoreAvailability]:
    return [
        StoreAvailability(
            spot.store.location_id,
            spot.store.code,
            spot.store.name,
            spot.distance_km,
            pickup.available_to_promise,
            pickup.reason,
            pickup.on_hand,
            pickup.reserved,
            pickup.safety_stock,
            spot.promised_at if pickup.available_to_promise else None,
        )
        for spot, pickup in zip(spots, pickups, strict=True)
    ]


def _basket(
    spot: Spot, serves_all: bool, wanted: dict[str, int], row: tuple[Pickup, ...]
) -> BasketAtStore:
    lines = [
        LineAtStore(sku, quantity, pickup.available_to_promise, pickup.reason)
        for (sku, quantity), pickup in zip(wanted.items(), row, strict=True)
    ]
    store = spot.store
    promised_at = spot.promised_at if serves_all else None
    return BasketAtStore(
        store.location_id, store.code, store.name, spot.distance_km, serves_all, promised_at, lines
    )


ROUTES = [get_availability, find_stores_for_basket, explain_stock]
