"""What is sold: items, their sellable variants (SKUs), GTINs and prices per zone, and coupons.

Owns `item`, `sku`, `price` and the definition of `coupon` (its counter belongs to orders). Loading
verbs take the import's records and answer each one: None, or what is wrong with it; good ones are
stored, wrong ones change nothing, repeating is harmless. A SKU without a price in a zone is not
sold there.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commerce.importing import CouponRecord, PriceRecord, SkuRecord
from commerce.kernel import events
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.kernel.upserts import merge
from commerce.stores import Outcome, lock_price_zones, unknown
from commerce.tables import coupon, item, price, price_zone, sku

GTIN_LENGTHS = (8, 12, 13, 14)


class Item(msgspec.Struct, frozen=True):
    """A catalog entry; what is sold are its SKUs."""

    code: str
    name: str
    description: str
    department: str
    brand: str | None
    final_sale: bool
    return_window_days: int


class Sku(msgspec.Struct, frozen=True):
    """A sellable variant. Without a price in the zone asked for it is not sold there."""

    sku: str
    item_code: str
    name: str
    options: dict[str, str]
    gtin: str | None
    active: bool
    amount_minor: int | None


class PriceIn(msgspec.Struct, frozen=True):
    """What a SKU costs in a price zone, in minor units of the zone's currency."""

    price_zone: str
    sku: str
    amount_minor: int
    currency: str


class _Gtin(msgspec.Struct, frozen=True):
    sku: str
    gtin: str


class _Changed(msgspec.Struct, frozen=True):
    sku: str
    item_code: str


class _ChangedPrice(msgspec.Struct, frozen=True):
    price_zone: str
    sku: str


class _Redeemed(msgspec.Struct, frozen=True):
    code: str
    redeemed: int


_ITEMS = rows_of(
    "i",
    code=Text(),
    name=Text(),
    description=Text(),
    department=Text(),
    brand=Text(),
    final_sale=Boolean(),
    return_window_days=Integer(),
)
_SKUS = rows_of(
    "s",
    sku=Text(),
    item_code=Text(),
    name=Text(),
    options=JSONB(),
    gtin=Text(),
    active=Boolean(),
)
_PRICES = rows_of("p", price_zone=Text(), sku=Text(), amount_minor=BigInteger())
_COUPONS = rows_of(
    "c",
    code=Text(),
    kind=Text(),
    percent_bp=Integer(),
    amount_minor=BigInteger(),
    currency=Text(),
    minimum_subtotal_minor=BigInteger(),
    starts_at=DateTime(timezone=True),
    ends_at=DateTime(timezone=True),
    max_redemptions=Integer(),
)
_CODES = bindparam("codes", type_=ARRAY(Text))
_SKUS_WANTED = bindparam("skus", type_=ARRAY(Text))
_ZONE = bindparam("zone", type_=Text())

# Search folds case and Latin accents on both sides. The database's own lower() cannot: its locale
# is C, so that text sorts alike on every machine.
_ACCENTED = "".join(
    letter
    for letter in map(chr, range(0xC0, 0x180))
    if unicodedata.normalize("NFKD", letter)[0].isascii()
)
_PLAIN = "".join(unicodedata.normalize("NFKD", letter)[0] for letter in _ACCENTED)
_FOLD = str.maketrans(_ACCENTED, _PLAIN)

MERGE_ITEMS = Query(merge(item, _ITEMS, key=["code"], returning=[item.c.code]), str)
MERGE_SKUS = Query(merge(sku, _SKUS, key=["sku"], returning=[sku.c.sku, sku.c.item_code]), _Changed)
MERGE_PRICES = Query(
    merge(price, _PRICES, key=["price_zone", "sku"], returning=[price.c.price_zone, price.c.sku]),
    _ChangedPrice,
)
MERGE_COUPONS = Query(merge(coupon, _COUPONS, key=["code"], returning=[coupon.c.code]), str)
GTIN_OWNERS = Query(
    select(sku.c.sku, sku.c.gtin).where(sku.c.gtin == any_(bindparam("gtins", type_=ARRAY(Text)))),
    _Gtin,
)
KNOWN_SKUS = Query(select(sku.c.sku).where(sku.c.sku == any_(_SKUS_WANTED)), str)
LOCK_COUPONS = Query(
    select(coupon.c.code, coupon.c.redeemed)
    .where(coupon.c.code == any_(_CODES))
    .order_by(coupon.c.code)
    .with_for_update(key_share=True),
    _Redeemed,
)


def _skus(condition: ColumnElement[bool]) -> Select[Any]:
    own_price = and_(price.c.sku == sku.c.sku, price.c.price_zone == _ZONE)
    return (
        select(sku, price.c.amount_minor)
        .select_from(sku.outerjoin(price, own_price))
        .where(condition)
        .order_by(sku.c.item_code, sku.c.sku)
    )


def _page_of_items(condition: ColumnElement[bool]) -> Select[Any]:
    on_sale = exists().where(sku.c.item_code == item.c.code, sku.c.active)
    return (
        select(item)
        .where(condition, on_sale, item.c.code > bindparam("after", type_=Text()))
        .order_by(item.c.code)
        .limit(bindparam("page", type_=Integer()))
    )


def _contains_words() -> ColumnElement[bool]:
    text = func.concat_ws(" ", item.c.code, item.c.name, item.c.brand, item.c.description)
    folded = func.lower(func.translate(text, _ACCENTED, _PLAIN))
    return folded.like(func.all(bindparam("patterns", type_=ARRAY(Text))))


_OF_DEPARTMENT = item.c.department == bindparam("department", type_=Text())

SKUS = Query(_skus(sku.c.sku == any_(_SKUS_WANTED)), Sku)
SKUS_BY_GTIN = Query(_skus(sku.c.gtin == any_(bindparam("gtins", type_=ARRAY(Text)))), Sku)
SKUS_OF_ITEMS = Query(_skus(sku.c.item_code == any_(_CODES)), Sku)
ITEMS_BY_CODE = Query(select(item).where(item.c.code == any_(_CODES)), Item)
ITEMS = Query(_page_of_items(true()), Item)
ITEMS_OF_DEPARTMENT = Query(_page_of_items(_OF_DEPARTMENT), Item)
ITEMS_FOUND = Query(_page_of_items(_contains_words()), Item)
ITEMS_FOUND_IN_DEPARTMENT = Query(_page_of_items(and_(_OF_DEPARTMENT, _contains_words())), Item)


PRICES_OF = Query(
    select(price, price_zone.c.currency)
    .join(price_zone, price_zone.c.code == price.c.price_zone)
    .where(price.c.sku == bindparam("of"))
    .order_by(price.c.price_zone),
    PriceIn,
)


async def upsert_skus(
    conn: Connection, records: Sequence[SkuRecord], *, actor: str, now: datetime
) -> list[Outcome]:
    """Load SKUs with their items; of several lines of one item or SKU the last counts.

    A GTIN belongs to one SKU, in whatever length it is written. Records `catalog.changed` once per
    item that changed, naming its changed SKUs.
    """
    owners = await _gtin_owners(conn, [record.gtin for record in records if record.gtin])
    outcomes: list[Outcome] = []
    good = {}
    for record in records:
        owner = owners.setdefault(_full(record.gtin), record.sku) if record.gtin else record.sku
        if owner != record.sku:
            outcomes.append(
                InvalidField(path="/gtin", reason=f"GTIN {record.gtin} belongs to SKU {owner}")
            )
            continue
        good[record.sku] = record
        outcomes.append(None)
    skus = list(good.values())
    changed_items = await _merge_items(conn, skus)
    changed_skus = await conn.run(
        MERGE_SKUS,
        name=[record.variant_name for record in skus],
        **columns_of(skus, "sku", "item_code", "options", "gtin", "active"),
    )
    skus_of: dict[str, list[str]] = {code: [] for code in changed_items}
    for each in changed_skus:
        skus_of.setdefault(each.item_code, []).append(each.sku)
    facts = [
        Event("catalog.changed", "item", aggregate_id("item", code), actor,
              {"item": code, "skus": sorted(skus_of[code])})
        for code in sorted(skus_of)
    ]  # fmt: skip
    await events.record(conn, facts, now=now)
    return outcomes


async def _merge_items(conn: Connection, records: Sequence[SkuRecord]) -> list[str]:
    items = list({record.item_code: record for record in records}.values())
    same = ("description", "department", "final_sale", "return_window_days")
    return await conn.run(
        MERGE_ITEMS,
        code=[record.item_code for record in items],
        name=[record.item_name for record in items],
        brand=[record.brand or None for record in items],
        **columns_of(items, *same),
    )


async def _gtin_owners(conn: Connection, gtins: Sequence[str]) -> dict[str, str]:
    wanted = sorted({form for gtin in gtins for form in _forms(gtin)})
    return {_full(each.gtin): each.sku for each in await conn.run(GTIN_OWNERS, gtins=wanted)}


def _full(gtin: str) -> str:
    return gtin.zfill(GTIN_LENGTHS[-1])


def _forms(gtin: str) -> list[str]:
    """The same GTIN in every length that can hold it: a scanner adds or drops leading zeros."""
    digits = gtin.lstrip("0")
    return [digits.zfill(length) for length in GTIN_LENGTHS if len(digits) <= length]


async def upsert_prices(
    conn: Connection, records: Sequence[PriceRecord], *, actor: str, now: datetime
) -> list[Outcome]:
    """Load prices; the last of several for one zone and SKU counts.

    Records `price.changed` once per zone, naming the SKUs whose price changed.
    """
    zones = await lock_price_zones(conn, [record.price_zone for record in records])
    known = await known_skus(conn, (record.sku for record in records))
    outcomes: list[Outcome] = []
    good = {}
    for record in records:
        if record.price_zone not in zones:
            outcomes.append(unknown("price_zone", record.price_zone))
        elif record.sku not in known:
            outcomes.append(unknown("sku", record.sku))
        else:
            outcomes.append(None)
            good[record.price_zone, record.sku] = record
    changed: dict[str, list[str]] = {}
    columns = columns_of(list(good.values()), "price_zone", "sku", "amount_minor")
    for each in await conn.run(MERGE_PRICES, **columns):
        changed.setdefault(each.price_zone, []).append(each.sku)
    facts = [
        Event("price.changed", "price_zone", aggregate_id("price_zone", zone), actor,
              {"price_zone": zone, "skus": sorted(changed[zone])})
        for zone in sorted(changed)
    ]  # fmt: skip
    await events.record(conn, facts, now=now)
    return outcomes


def aggregate_id(kind: str, code: str) -> UUID:
    """The id under which a thing that has only a code stands in the event log."""
    return uuid5(NAMESPACE_URL, f"mostrador:{kind}:{code}")


async def upsert_coupons(conn: Connection, records: Sequence[CouponRecord]) -> list[Outcome]:
    """Load coupons; what was redeemed stays counted, and a limit cannot fall below it."""
    locked = await conn.run(LOCK_COUPONS, codes=[record.code for record in records])
    redeemed = {each.code: each.redeemed for each in locked}
    outcomes: list[Outcome] = []
    good = {}
    for record in records:
        used = redeemed.get(record.code, 0)
        if record.max_redemptions is not None and record.max_redemptions < used:
            outcomes.append(
                InvalidField(
                    path="/max_redemptions", reason=f"it was already redeemed {used} times"
                )
            )
            continue
        good[record.code] = record
        outcomes.append(None)
    columns = [column.name for column in _COUPONS.c if column.name != "position"]
    await conn.run(MERGE_COUPONS, **columns_of(list(good.values()), *columns))
    return outcomes


async def items(
    conn: Connection, *, department: str | None, search: str | None, after: str, limit: int
) -> list[Item]:
    """Items with something active to sell, in the order of their codes, beginning behind `after`.

    `search` finds items whose code, name, brand or description contains each of its words, in any
    case, with or without accents.
    """
    values: dict[str, Any] = {"after": after, "page": limit}
    if department is not None:
        values["department"] = department
    if search is None:
        return await conn.run(ITEMS if department is None else ITEMS_OF_DEPARTMENT, **values)
    values["patterns"] = [f"%{_escape(word)}%" for word in _fold(search).split()]
    return await conn.run(
        ITEMS_FOUND if department is None else ITEMS_FOUND_IN_DEPARTMENT, **values
    )


def _fold(text: str) -> str:
    """For comparing: lower case, Latin letters without their accents."""
    return unicodedata.normalize("NFC", text).translate(_FOLD).lower()


def _escape(word: str) -> str:
    return word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


async def item_by_code(conn: Connection, code: str) -> Item:
    """One item. Raises NotFound."""
    found = await conn.first(ITEMS_BY_CODE, codes=[code])
    if found is None:
        raise NotFound(kind="item", id=code)
    return found


async def skus_of(
    conn: Connection, item_codes: Sequence[str], *, zone: str | None
) -> dict[str, list[Sku]]:
    """The SKUs of items, each item's in order, with their prices in the zone if one is given."""
    found: dict[str, list[Sku]] = {code: [] for code in item_codes}
    for each in await conn.run(SKUS_OF_ITEMS, codes=list(item_codes), zone=zone):
        found[each.item_code].append(each)
    return found


async def prices_of(conn: Connection, sku: str) -> list[PriceIn]:
    """The prices of a SKU in every zone that sells it, by the zones' codes."""
    return await conn.run(PRICES_OF, of=sku)


async def known_skus(conn: Connection, skus: Iterable[str]) -> set[str]:
    """Those of the codes that are SKUs, sold or not."""
    return set(await conn.run(KNOWN_SKUS, skus=list(set(skus))))


async def sku_by_code(conn: Connection, code: str, *, zone: str | None) -> Sku:
    """One SKU. Raises NotFound."""
    found = await conn.first(SKUS, skus=[code], zone=zone)
    if found is None:
        raise NotFound(kind="sku", id=code)
    return found


async def sku_by_gtin(conn: Connection, gtin: str, *, zone: str | None) -> Sku:
    """The SKU with this GTIN, in whatever length it was scanned. Raises NotFound."""
    found = await conn.first(SKUS_BY_GTIN, gtins=_forms(gtin), zone=zone)
    if found is None:
        raise NotFound(kind="gtin", id=gtin)
    return found
