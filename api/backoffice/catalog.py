"""SKUs, prices and coupons, one by one: the records of import files, as JSON.

What is sent is the whole record; a field that is left out takes its default.
"""

from datetime import datetime
from typing import Any

import msgspec
from litestar import get, put

from api.auth import may
from api.backoffice.records import Code, put_record
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode, page_of
from commerce import catalog, pricing
from commerce.access import Principal
from commerce.catalog import Item, PriceIn, Sku
from commerce.importing import CouponRecord, PriceRecord, SkuRecord
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection
from commerce.pricing import Coupon


class SkuDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A SKU with its item, with all that can be set."""

    sku: str
    item_code: str
    item_name: str
    department: str
    description: str
    brand: str
    final_sale: bool
    return_window_days: int
    variant_name: str
    options: dict[str, str]
    gtin: str | None
    active: bool

    @classmethod
    def of(cls, sku: Sku, item: Item) -> "SkuDetail":
        """As the back office sees it."""
        known: dict[str, Any] = msgspec.structs.asdict(item) | msgspec.structs.asdict(sku)
        known |= {"item_name": item.name, "variant_name": sku.name, "brand": item.brand or ""}
        return cls(**{name: known[name] for name in cls.__struct_fields__})


class Prices(msgspec.Struct, frozen=True):
    """What a SKU costs, zone by zone; a zone without a price does not sell it."""

    items: list[PriceIn]


@get("/v1/backoffice/skus/{sku:str}", guards=[may("catalog.write")], opt=raises(NotFound))
async def get_sku_detail(reading: Connection, sku: Code) -> SkuDetail:
    """One SKU with all that can be set."""
    return await _sku(reading, sku)


@put("/v1/backoffice/skus/{sku:str}", guards=[may("catalog.write")], opt=raises(InvalidField))
async def put_sku(
    sku: Code, data: SkuRecord, conn: Connection, who: Principal, now: datetime
) -> SkuDetail:
    """Make or change a SKU and its item. The fields of the item count for all its SKUs."""
    before = await _sku(conn, sku) if sku in await catalog.known_skus(conn, [sku]) else None
    await put_record(conn, who, "skus", data, address={"sku": sku}, before=before, now=now)
    return await _sku(conn, sku)


@get("/v1/backoffice/skus/{sku:str}/prices", guards=[may("catalog.write")], opt=raises(NotFound))
async def list_prices(reading: Connection, sku: Code) -> Prices:
    """What a SKU costs in every price zone."""
    await catalog.sku_by_code(reading, sku, zone=None)
    return Prices(await catalog.prices_of(reading, sku))


@put(
    "/v1/backoffice/skus/{sku:str}/prices/{price_zone:str}",
    guards=[may("catalog.write")],
    opt=raises(InvalidField),
)
async def put_price(
    sku: Code, price_zone: Code, data: PriceRecord, conn: Connection, who: Principal, now: datetime
) -> PriceIn:
    """Set what a SKU costs in a price zone, from now on."""
    before = await _price(conn, sku, price_zone)
    await put_record(
        conn,
        who,
        "prices",
        data,
        address={"sku": sku, "price_zone": price_zone},
        before=before,
        now=now,
    )
    after = await _price(conn, sku, price_zone)
    assert after is not None
    return after


@get("/v1/backoffice/coupons", guards=[may("catalog.write")])
async def list_coupons(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[Coupon]:
    """Coupons by code, with how often each was redeemed."""
    rows = await pricing.coupons(reading, after=decode(cursor) or "", limit=limit + 1)
    return page_of(rows, limit, view=lambda row: row, key=lambda row: row.code)


@put("/v1/backoffice/coupons/{code:str}", guards=[may("catalog.write")], opt=raises(InvalidField))
async def put_coupon(
    code: Code, data: CouponRecord, conn: Connection, who: Principal, now: datetime
) -> Coupon:
    """Make or change a coupon. What was redeemed stays counted."""
    before = await pricing.coupon_by_code(conn, code)
    await put_record(conn, who, "coupons", data, address={"code": code}, before=before, now=now)
    after = await pricing.coupon_by_code(conn, code)
    assert after is not None
    return after


async def _sku(conn: Connection, code: str) -> SkuDetail:
    sku = await catalog.sku_by_code(conn, code, zone=None)
    return SkuDetail.of(sku, await catalog.item_by_code(conn, sku.item_code))


async def _price(conn: Connection, sku: str, zone: str) -> PriceIn | None:
    found = (each for each in await catalog.prices_of(conn, sku) if each.price_zone == zone)
    return next(found, None)


ROUTES = [
    get_sku_detail,
    put_sku,
    list_prices,
    put_price,
    list_coupons,
    put_coupon,
]
