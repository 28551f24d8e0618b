"""A small shop with fresh ids, made through the real verbs, for tests of what happens in one."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from commerce import catalog, stores
from commerce.importing import (
    LocationRecord,
    PriceRecord,
    PriceZoneRecord,
    SkuRecord,
    StoreRecord,
    TaxZoneRecord,
    gtin_check_digit,
)
from commerce.kernel.sql import Connection, Database
from inventory import locations, stock
from inventory.stock import Movement

OPENED_AT = datetime(2026, 11, 20, 15, tzinfo=UTC)
ACTOR = "test"
ALWAYS = ("00:00-24:00",)


class ShopStore(msgspec.Struct, frozen=True):
    """A store of the shop."""

    location_id: UUID
    code: str


class ShopSku(msgspec.Struct, frozen=True):
    """A SKU of the shop, an item of its own, and its price in the shop's zone."""

    sku: str
    item_code: str
    gtin: str
    price_minor: int


class Shop(msgspec.Struct, frozen=True):
    """The ids of what was made; `tag` is in every code."""

    tag: str
    stores: list[ShopStore]
    skus: list[ShopSku]
    price_zone: str
    tax_zone: str
    currency: str
    tax_included: bool
    tax_rate_bp: int


async def make_shop(
    db: Database,
    *,
    skus: int = 3,
    stores: int = 2,
    on_hand: int = 10,
    currency: str = "MXN",
    tax_included: bool = True,
    tax_rate_bp: int = 1600,
    pickup_lead_minutes: int = 60,
) -> Shop:
    """Stores in Mexico City that are open all week, each a kilometre north of the one before.

    SKU number i (from 0) costs 100.00 + i * 10.00; every store has `on_hand` of every SKU.
    """
    tag = uuid4().hex[:10]
    codes = [f"S{number}-{tag}" for number in range(stores)]
    goods = [
        ShopSku(f"SKU{i}-{tag}", f"ITEM{i}-{tag}", _gtin(), 10_000 + i * 1_000) for i in range(skus)
    ]
    zone, tax = f"PZ-{tag}", f"TZ-{tag}"
    async with db.transaction() as conn:
        await _zones(conn, PriceZoneRecord(code=zone, currency=currency, tax_included=tax_included),
                     TaxZoneRecord(code=tax, rate_bp=tax_rate_bp))  # fmt: skip
        places = await _stores(conn, codes, zone, tax, pickup_lead_minutes)
        await _goods(conn, goods, zone)
        if on_hand:
            await stock.move(
                conn,
                [
                    Movement(place.location_id, each.sku, "receive", on_hand, ACTOR)
                    for place in places
                    for each in goods
                ],
                now=OPENED_AT,
            )
    return Shop(tag, places, goods, zone, tax, currency, tax_included, tax_rate_bp)


async def _zones(conn: Connection, prices: PriceZoneRecord, taxes: TaxZoneRecord) -> None:
    assert await stores.upsert_price_zones(conn, [prices]) == [None]
    assert await stores.upsert_tax_zones(conn, [taxes]) == [None]


async def _stores(
    conn: Connection, codes: list[str], zone: str, tax: str, lead: int
) -> list[ShopStore]:
    places = [
        LocationRecord(
            code=code, name=f"Store {number}", kind="store",
            latitude=19.4326 + number * 0.009, longitude=-99.1332,
        )
        for number, code in enumerate(codes)
    ]  # fmt: skip
    await locations.upsert(conn, places)
    records = [
        StoreRecord(
            location_code=place.code, name=place.name, street="Av. Madero 1",
            city="Ciudad de México", country="MX", time_zone="America/Mexico_City",
            price_zone=zone, tax_zone=tax, pickup_lead_minutes=lead, mon=ALWAYS, tue=ALWAYS,
            wed=ALWAYS, thu=ALWAYS, fri=ALWAYS, sat=ALWAYS, sun=ALWAYS,
        )
        for place in places
    ]  # fmt: skip
    assert await stores.upsert(conn, records, actor=ACTOR, now=OPENED_AT) == [None] * len(codes)
    found = await stores.by_code(conn, codes)
    return [ShopStore(found[code].location_id, code) for code in codes]


async def _goods(conn: Connection, goods: list[ShopSku], zone: str) -> None:
    records = [
        SkuRecord(
            sku=each.sku, item_code=each.item_code, item_name=f"Item {each.item_code}",
            department="Ropa", gtin=each.gtin,
        )
        for each in goods
    ]  # fmt: skip
    prices = [
        PriceRecord(price_zone=zone, sku=each.sku, amount_minor=each.price_minor) for each in goods
    ]
    loaded = await catalog.upsert_skus(conn, records, actor=ACTOR, now=OPENED_AT)
    priced = await catalog.upsert_prices(conn, prices, actor=ACTOR, now=OPENED_AT)
    assert loaded == priced == [None] * len(goods)


def _gtin() -> str:
    body = f"2{uuid4().int % 10**11:011d}"
    return f"{body}{gtin_check_digit(body)}"
