"""Stores: locations that people walk into, with address, zones, opening hours and pickup switch.

Owns `price_zone`, `tax_zone` and `store`. A store's id is its location's, its code too. Loading
verbs take the import's records and answer each one: None, or what is wrong with it; good ones are
stored, wrong ones change nothing, repeating is harmless.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Boolean, Integer, Select, Text, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commerce import opening_hours
from commerce.importing import PriceZoneRecord, StoreRecord, TaxZoneRecord
from commerce.kernel import events
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.kernel.upserts import merge
from commerce.opening_hours import Week
from commerce.tables import price_zone, store, tax_zone
from inventory import locations
from inventory.tables import location

Outcome = InvalidField | None
"""What became of one loaded record."""

_MINUTE = timedelta(minutes=1)


class Address(msgspec.Struct, frozen=True):
    """Where the door is. `region` and `postal_code` may be empty."""

    street: str
    city: str
    region: str
    postal_code: str
    country: str


class Store(msgspec.Struct, frozen=True):
    """A store with all that a sale there depends on."""

    location_id: UUID
    code: str
    name: str
    address: Address
    phone: str | None
    latitude: float
    longitude: float
    time_zone: str
    opening_hours: Week
    pickup_enabled: bool
    pickup_lead_minutes: int
    price_zone: str
    currency: str
    tax_included: bool
    tax_zone: str
    tax_rate_bp: int


class PriceZone(msgspec.Struct, frozen=True):
    """Stores that share prices, in one currency."""

    code: str
    currency: str
    tax_included: bool


class TaxZone(msgspec.Struct, frozen=True):
    """Stores that share a tax rate, in basis points."""

    code: str
    rate_bp: int


_PRICE_ZONES = rows_of("z", code=Text(), currency=Text(), tax_included=Boolean())
_TAX_ZONES = rows_of("z", code=Text(), rate_bp=Integer())
_STORES = rows_of(
    "s",
    location_id=Uuid(),
    code=Text(),
    name=Text(),
    address=JSONB(),
    phone=Text(),
    time_zone=Text(),
    price_zone=Text(),
    tax_zone=Text(),
    pickup_enabled=Boolean(),
    pickup_lead_minutes=Integer(),
    opening_hours=JSONB(),
)
_CODES = bindparam("codes", type_=ARRAY(Text))
_AFTER = bindparam("after", type_=Text())
_PAGE = bindparam("page", type_=Integer())


class _Currency(msgspec.Struct, frozen=True):
    code: str
    currency: str


MERGE_PRICE_ZONES = Query(
    merge(price_zone, _PRICE_ZONES, key=["code"], returning=[price_zone.c.code]), str
)
MERGE_TAX_ZONES = Query(merge(tax_zone, _TAX_ZONES, key=["code"], returning=[tax_zone.c.code]), str)
MERGE_STORES = Query(
    merge(store, _STORES, key=["location_id"], returning=[store.c.location_id]), UUID
)
LOCK_PRICE_ZONES = Query(
    select(price_zone.c.code, price_zone.c.currency)
    .where(price_zone.c.code == any_(_CODES))
    .order_by(price_zone.c.code)
    .with_for_update(key_share=True),
    _Currency,
)
PRICE_ZONES = Query(
    select(price_zone).where(price_zone.c.code > _AFTER).order_by(price_zone.c.code).limit(_PAGE),
    PriceZone,
)
TAX_ZONES = Query(
    select(tax_zone).where(tax_zone.c.code > _AFTER).order_by(tax_zone.c.code).limit(_PAGE),
    TaxZone,
)
PRICE_ZONE = Query(select(price_zone).where(price_zone.c.code == bindparam("of")), PriceZone)
TAX_ZONE = Query(select(tax_zone).where(tax_zone.c.code == bindparam("of")), TaxZone)
TAX_ZONE_CODES = Query(select(tax_zone.c.code).where(tax_zone.c.code == any_(_CODES)), str)


def _stores() -> Select[Any]:
    of_store = (c for c in store.c if c.name in Store.__struct_fields__)
    return select(
        *of_store,
        location.c.latitude,
        location.c.longitude,
        price_zone.c.currency,
        price_zone.c.tax_included,
        tax_zone.c.rate_bp.label("tax_rate_bp"),
    ).select_from(
        store.join(location, location.c.id == store.c.location_id)
        .join(price_zone, price_zone.c.code == store.c.price_zone)
        .join(tax_zone, tax_zone.c.code == store.c.tax_zone)
    )


ALL_STORES = Query(_stores(), Store)
STORES_BY_ID = Query(
    _stores().where(store.c.location_id == any_(bindparam("ids", type_=ARRAY(Uuid)))), Store
)
STORES_BY_CODE = Query(_stores().where(store.c.code == any_(_CODES)), Store)
PAGE_OF_STORES = Query(
    _stores().where(store.c.code > _AFTER).order_by(store.c.code).limit(_PAGE),
    Store,
)


async def upsert_price_zones(conn: Connection, records: Sequence[PriceZoneRecord]) -> list[Outcome]:
    """Load price zones. The currency of a zone that exists is fixed: its prices are in it."""
    currencies = await lock_price_zones(conn, [record.code for record in records])
    outcomes: list[Outcome] = []
    good = {}
    for record in records:
        fixed = currencies.setdefault(record.code, record.currency)
        if record.currency != fixed:
            outcomes.append(
                InvalidField(
                    path="/currency",
                    reason=f"prices of zone {record.code} are in {fixed}; "
                    f"make a new zone for {record.currency}",
                )
            )
            continue
        good[record.code] = record
        outcomes.append(None)
    await conn.run(
        MERGE_PRICE_ZONES, **columns_of(list(good.values()), "code", "currency", "tax_included")
    )
    return outcomes


async def lock_price_zones(conn: Connection, codes: Sequence[str]) -> dict[str, str]:
    """Lock the zones that exist, for whoever changes their prices; returns their currencies."""
    found = await conn.run(LOCK_PRICE_ZONES, codes=list(codes))
    return {each.code: each.currency for each in found}


async def upsert_tax_zones(conn: Connection, records: Sequence[TaxZoneRecord]) -> list[Outcome]:
    """Load tax zones. A new rate counts for sales from now on; what is sold keeps its own."""
    last = {record.code: record for record in records}
    await conn.run(MERGE_TAX_ZONES, **columns_of(list(last.values()), "code", "rate_bp"))
    return [None] * len(records)


async def price_zone_by_code(conn: Connection, code: str) -> PriceZone | None:
    """One price zone."""
    return await conn.first(PRICE_ZONE, of=code)


async def tax_zone_by_code(conn: Connection, code: str) -> TaxZone | None:
    """One tax zone."""
    return await conn.first(TAX_ZONE, of=code)


async def price_zones(conn: Connection, *, after: str, limit: int) -> list[PriceZone]:
    """Price zones in the order of their codes, beginning behind `after`."""
    return await conn.run(PRICE_ZONES, after=after, page=limit)


async def tax_zones(conn: Connection, *, after: str, limit: int) -> list[TaxZone]:
    """Tax zones in the order of their codes, beginning behind `after`."""
    return await conn.run(TAX_ZONES, after=after, page=limit)


async def upsert(
    conn: Connection, records: Sequence[StoreRecord], *, actor: str, now: datetime
) -> list[Outcome]:
    """Load stores onto locations of kind `store`. Records `store.changed` once per changed one."""
    places = await locations.by_code(conn, [record.location_code for record in records])
    prices = await conn.run(LOCK_PRICE_ZONES, codes=[record.price_zone for record in records])
    price_zones = {each.code for each in prices}
    tax_zones = set(await conn.run(TAX_ZONE_CODES, codes=[record.tax_zone for record in records]))
    outcomes: list[Outcome] = []
    good = {}
    for record in records:
        place = places.get(record.location_code)
        if place is None:
            outcomes.append(unknown("location_code", record.location_code))
        elif place.kind != "store":
            outcomes.append(
                InvalidField(
                    path="/location_code", reason=f"location {place.code} is a {place.kind}"
                )
            )
        elif record.price_zone not in price_zones:
            outcomes.append(unknown("price_zone", record.price_zone))
        elif record.tax_zone not in tax_zones:
            outcomes.append(unknown("tax_zone", record.tax_zone))
        else:
            outcomes.append(None)
            good[place.id] = record
    changed = await _merge(conn, good)
    facts = [
        Event(
            "store.changed",
            "store",
            id_,
            actor,
            {"store": good[id_].location_code},
            location_id=id_,
        )
        for id_ in sorted(changed)
    ]
    await events.record(conn, facts, now=now)
    return outcomes


def unknown(field: str, code: str) -> InvalidField:
    """The refusal of a record that names what does not exist."""
    return InvalidField(path=f"/{field}", reason=f"{field} {code} does not exist; load it first")


async def _merge(conn: Connection, good: dict[UUID, StoreRecord]) -> list[UUID]:
    records = list(good.values())
    plain = ("name", "phone", "time_zone", "price_zone", "tax_zone")
    switches = ("pickup_enabled", "pickup_lead_minutes")
    return await conn.run(
        MERGE_STORES,
        location_id=list(good),
        code=[record.location_code for record in records],
        address=[
            {field: getattr(record, field) for field in Address.__struct_fields__}
            for record in records
        ],
        opening_hours=[record.opening_minutes() for record in records],
        **columns_of(records, *plain, *switches),
    )


async def everywhere(conn: Connection) -> list[Store]:
    """All stores."""
    return await conn.run(ALL_STORES)


async def by_ids(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, Store]:
    """Those of the stores that exist."""
    return {each.location_id: each for each in await conn.run(STORES_BY_ID, ids=list(ids))}


async def by_id(conn: Connection, id_: UUID) -> Store:
    """One store. Raises NotFound."""
    found = await conn.first(STORES_BY_ID, ids=[id_])
    if found is None:
        raise NotFound(kind="store", id=str(id_))
    return found


async def by_code(conn: Connection, codes: Sequence[str]) -> dict[str, Store]:
    """Those of the codes that are stores."""
    return {each.code: each for each in await conn.run(STORES_BY_CODE, codes=list(codes))}


async def page(conn: Connection, *, after: str, limit: int) -> list[Store]:
    """Stores in the order of their codes, beginning behind `after`."""
    return await conn.run(PAGE_OF_STORES, after=after, page=limit)


def promise_at(of: Store, now: datetime) -> datetime | None:
    """From when on an order placed now can be picked up: a moment at which the store is open.

    The lead time runs only while the store is open, and begins with the next whole minute. None
    for a store that never opens, or not long enough within three months. DST-safe.
    """
    lead = of.pickup_lead_minutes * _MINUTE
    return opening_hours.after_open_time(of.opening_hours, of.time_zone, next_minute(now), lead)


def next_minute(now: datetime) -> datetime:
    """The whole minute that begins now or next."""
    minute = now.replace(second=0, microsecond=0)
    return minute if minute == now else minute + _MINUTE
