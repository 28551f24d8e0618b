"""Routes for the catalog: items, SKUs, GTINs, each with prices of a store's zone."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import PathParameter, QueryParameter

from api.auth import may
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode, page_of
from api.services import Services
from api.storefront.stores import default_store
from commerce import catalog
from commerce.access import Principal
from commerce.catalog import Item, Sku
from commerce.kernel.errors import NotFound
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.stores import Store

AtStore = Annotated[
    UUID | None,
    QueryParameter(
        description="Prices are those of this store's zone; without it, of the key's own store."
    ),
]
Department = Annotated[str | None, QueryParameter(max_length=120)]
Search = Annotated[
    str | None,
    QueryParameter(
        max_length=200,
        description="Words that code, name, brand or description contain, accents or not.",
    ),
]
Code = Annotated[str, PathParameter(min_length=1, max_length=64)]
Gtin = Annotated[
    str,
    PathParameter(
        pattern="^([0-9]{8}|[0-9]{12,14})$", description="A GTIN of 8, 12, 13 or 14 digits."
    ),
]


class PriceView(msgspec.Struct, frozen=True):
    """What one unit costs in a price zone, before discounts."""

    amount: Money
    tax_included: bool
    price_zone: str


class SkuView(msgspec.Struct, frozen=True):
    """A sellable variant. `price` is null where it is not sold, or when no store is known."""

    sku: str
    item_code: str
    name: str
    options: dict[str, str]
    gtin: str | None
    active: bool
    price: PriceView | None

    @classmethod
    def of(cls, sku: Sku, store: Store | None) -> "SkuView":
        """With its price at a store."""
        price = None
        if store is not None and sku.amount_minor is not None:
            amount = Money(sku.amount_minor, store.currency)
            price = PriceView(amount, store.tax_included, store.price_zone)
        return cls(sku.sku, sku.item_code, sku.name, sku.options, sku.gtin, sku.active, price)


class ItemView(msgspec.Struct, frozen=True):
    """A catalog entry with its variants."""

    code: str
    name: str
    description: str
    department: str
    brand: str | None
    final_sale: bool
    return_window_days: int
    skus: list[SkuView]

    @classmethod
    def of(cls, item: Item, skus: Sequence[Sku], store: Store | None) -> "ItemView":
        """With the prices at a store."""
        views = [SkuView.of(sku, store) for sku in skus]
        return cls(**msgspec.structs.asdict(item), skus=views)


@get("/v1/items", guards=[may("catalog.read")], opt=raises(NotFound))
async def list_items(
    services: Services,
    reading: Connection,
    who: Principal,
    *,
    store_id: AtStore = None,
    department: Department = None,
    search: Search = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[ItemView]:
    """Items that are on sale, in the order of their codes, with their active SKUs."""
    store = await default_store(services, who, store_id)
    rows = await catalog.items(
        reading,
        department=department,
        search=search,
        after=decode(cursor) or "",
        limit=limit + 1,
    )
    skus = await catalog.skus_of(reading, [item.code for item in rows], zone=_zone(store))

    def view(item: Item) -> ItemView:
        return ItemView.of(item, [sku for sku in skus[item.code] if sku.active], store)

    return page_of(rows, limit, view=view, key=lambda item: item.code)


@get(
    "/v1/items/{code:str}",
    guards=[may("catalog.read")],
    opt=raises(NotFound),
)
async def get_item(
    services: Services,
    reading: Connection,
    who: Principal,
    code: Code,
    store_id: AtStore = None,
) -> ItemView:
    """One item with all its SKUs, also those that are no longer sold."""
    store = await default_store(services, who, store_id)
    item = await catalog.item_by_code(reading, code)
    skus = await catalog.skus_of(reading, [code], zone=_zone(store))
    return ItemView.of(item, skus[code], store)


@get("/v1/skus/{sku:str}", guards=[may("catalog.read")], opt=raises(NotFound))
async def get_sku(
    services: Services,
    reading: Connection,
    who: Principal,
    sku: Code,
    store_id: AtStore = None,
) -> SkuView:
    """One SKU."""
    store = await default_store(services, who, store_id)
    return SkuView.of(await catalog.sku_by_code(reading, sku, zone=_zone(store)), store)


@get(
    "/v1/gtins/{gtin:str}",
    guards=[may("catalog.read")],
    opt=raises(NotFound),
)
async def get_sku_by_gtin(
    services: Services,
    reading: Connection,
    who: Principal,
    gtin: Gtin,
    store_id: AtStore = None,
) -> SkuView:
    """The SKU with this GTIN, in whatever length it was scanned."""
    store = await default_store(services, who, store_id)
    return SkuView.of(await catalog.sku_by_gtin(reading, gtin, zone=_zone(store)), store)


def _zone(store: Store | None) -> str | None:
    return None if store is None else store.price_zone


ROUTES = [list_items, get_item, get_sku, get_sku_by_gtin]
