"""What a retailer changes in the middle of the day, through the real verbs."""

from typing import Any

import msgspec

from commerce import catalog, stores
from commerce.importing import CouponRecord, SkuRecord, StoreRecord
from commerce.kernel.sql import Database
from tests.shop import ACTOR, ALWAYS, OPENED_AT, Shop


async def change_sku(db: Database, shop: Shop, index: int = 0, **fields: Any) -> None:
    """A SKU as the shop has it, with other fields."""
    sku = shop.skus[index]
    record = SkuRecord(
        sku=sku.sku, item_code=sku.item_code, item_name=f"Item {sku.item_code}",
        department="Ropa", gtin=sku.gtin,
    )  # fmt: skip
    changed = msgspec.structs.replace(record, **fields)
    async with db.transaction() as conn:
        done = await catalog.upsert_skus(conn, [changed], actor=ACTOR, now=OPENED_AT)
    assert done == [None]


async def switch_pickup_off(db: Database, shop: Shop) -> None:
    """At the first store, which is as it was otherwise."""
    record = StoreRecord(
        location_code=shop.stores[0].code, name="Store 0", street="Av. Madero 1",
        city="Ciudad de México", country="MX", time_zone="America/Mexico_City",
        price_zone=shop.price_zone, tax_zone=shop.tax_zone, pickup_enabled=False,
        mon=ALWAYS, tue=ALWAYS, wed=ALWAYS, thu=ALWAYS, fri=ALWAYS, sat=ALWAYS, sun=ALWAYS,
    )  # fmt: skip
    async with db.transaction() as conn:
        assert await stores.upsert(conn, [record], actor=ACTOR, now=OPENED_AT) == [None]


async def put_coupon(db: Database, code: str, **fields: Any) -> None:
    """A coupon of ten percent, with other fields."""
    record = CouponRecord(code=code, kind="percent", percent_bp=1_000, **fields)
    async with db.transaction() as conn:
        assert await catalog.upsert_coupons(conn, [record]) == [None]
