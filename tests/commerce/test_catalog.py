"""Loading and finding what is sold."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import catalog
from commerce.importing import CouponRecord, PriceRecord, SkuRecord, gtin_check_digit
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Database
from tests.shop import make_shop

NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)


def gtin12() -> str:
    body = f"{uuid4().int % 10**11:011d}"
    return f"{body}{gtin_check_digit(body)}"


def variant(tag: str, size: str = "M", **changes: object) -> SkuRecord:
    plain = SkuRecord(
        sku=f"T-{tag}-{size}",
        item_code=f"T-{tag}",
        item_name="Playera",
        department=f"Ropa {tag}",
        description="Algodón peinado",
        brand="Casa",
        variant_name=size,
        options={"size": size},
    )
    return msgspec.structs.replace(plain, **changes)


async def load(conn: Connection, *records: SkuRecord) -> list[str | None]:
    outcomes = await catalog.upsert_skus(conn, records, actor="ana", now=NOW)
    return [f"{each.path} {each.reason}" if each else None for each in outcomes]


async def history(conn: Connection, kind: str, code: str) -> list[tuple[str, list[str]]]:
    found: UUID = catalog.aggregate_id(kind, code)
    return [(each.type, each.payload["skus"]) for each in await events.timeline(conn, found)]


async def names_found(conn: Connection, search: str | None, department: str | None) -> list[str]:
    found = await catalog.items(conn, department=department, search=search, after="", limit=1000)
    return [each.name for each in found]


async def test_skus_are_found_with_their_item(db: Database) -> None:
    tag, gtin = uuid4().hex[:10], gtin12()
    async with db.transaction() as conn:
        assert await load(
            conn, variant(tag, "M", gtin=gtin), variant(tag, "L", final_sale=True)
        ) == [None, None]
        item = await catalog.item_by_code(conn, f"T-{tag}")
        of_item = await catalog.skus_of(conn, [f"T-{tag}"], zone=None)
    assert msgspec.structs.astuple(item) == (
        f"T-{tag}", "Playera", "Algodón peinado", f"Ropa {tag}", "Casa", True, 30,
    )  # fmt: skip
    assert of_item == {
        f"T-{tag}": [
            catalog.Sku(f"T-{tag}-L", f"T-{tag}", "L", {"size": "L"}, None, True, None),
            catalog.Sku(f"T-{tag}-M", f"T-{tag}", "M", {"size": "M"}, gtin, True, None),
        ]
    }


async def test_loading_again_records_only_what_changed(db: Database) -> None:
    tag = uuid4().hex[:10]
    async with db.transaction() as conn:
        await load(conn, variant(tag, "M"), variant(tag, "L"))
        await load(conn, variant(tag, "M"), variant(tag, "L"))
        await load(conn, variant(tag, "M", active=False), variant(tag, "L"))
        await load(conn, variant(tag, "L", department="Hogar"))
        assert await history(conn, "item", f"T-{tag}") == [
            ("catalog.changed", [f"T-{tag}-L", f"T-{tag}-M"]),
            ("catalog.changed", [f"T-{tag}-M"]),
            ("catalog.changed", []),
        ]


async def test_gtin_of_another_sku_is_refused_in_any_length(db: Database) -> None:
    tag, gtin, other = uuid4().hex[:10], gtin12(), gtin12()
    async with db.transaction() as conn:
        await load(conn, variant(tag, "M", gtin=gtin))
        assert await load(
            conn,
            variant(tag, "L", gtin=f"0{gtin}"),
            variant(tag, "S", gtin=other),
            variant(tag, "XS", gtin=f"00{other}"),
            variant(tag, "M", gtin=f"0{gtin}"),
        ) == [
            f"/gtin GTIN 0{gtin} belongs to SKU T-{tag}-M",
            None,
            f"/gtin GTIN 00{other} belongs to SKU T-{tag}-S",
            None,
        ]
        stored = await catalog.skus_of(conn, [f"T-{tag}"], zone=None)
    assert [(each.sku, each.gtin) for each in stored[f"T-{tag}"]] == [
        (f"T-{tag}-M", f"0{gtin}"),
        (f"T-{tag}-S", other),
    ]


async def test_scanned_gtin_finds_its_sku_with_or_without_leading_zeros(db: Database) -> None:
    tag, gtin = uuid4().hex[:10], gtin12()
    async with db.transaction() as conn:
        await load(conn, variant(tag, "M", gtin=gtin))
        found = [
            (await catalog.sku_by_gtin(conn, form, zone=None)).sku
            for form in (gtin, f"0{gtin}", f"00{gtin}")
        ]
        with pytest.raises(NotFound) as refused:
            await catalog.sku_by_gtin(conn, gtin12(), zone=None)
    assert found == [f"T-{tag}-M"] * 3
    assert refused.value.kind == "gtin"


async def test_prices_belong_to_their_zone(db: Database) -> None:
    here = await make_shop(db, skus=2, stores=1, on_hand=0)
    there = await make_shop(db, skus=1, stores=1, on_hand=0, currency="USD")
    ours = here.skus[0].sku
    abroad = PriceRecord(price_zone=there.price_zone, sku=ours, amount_minor=599)
    async with db.transaction() as conn:
        assert await catalog.upsert_prices(conn, [abroad], actor="ana", now=NOW) == [None]
        other = here.skus[1].sku
        at_home = await catalog.sku_by_code(conn, ours, zone=here.price_zone)
        priced = await catalog.sku_by_code(conn, ours, zone=there.price_zone)
        unpriced = await catalog.sku_by_code(conn, other, zone=there.price_zone)
    assert at_home.amount_minor == 10_000
    assert (priced.amount_minor, unpriced.amount_minor) == (599, None)


async def test_price_of_an_unknown_zone_or_sku_is_refused(db: Database) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=0)
    zone, code = shop.price_zone, shop.skus[0].sku
    async with db.transaction() as conn:
        outcomes = await catalog.upsert_prices(
            conn,
            [
                PriceRecord(price_zone="nowhere", sku=code, amount_minor=1),
                PriceRecord(price_zone=zone, sku="nothing", amount_minor=1),
                PriceRecord(price_zone=zone, sku=code, amount_minor=1),
                PriceRecord(price_zone=zone, sku=code, amount_minor=2),
            ],
            actor="ana",
            now=NOW,
        )
        assert (await catalog.sku_by_code(conn, code, zone=zone)).amount_minor == 2
        assert await history(conn, "price_zone", zone) == [
            ("price.changed", [code]),
            ("price.changed", [code]),
        ]
    assert [each and each.path for each in outcomes] == ["/price_zone", "/sku", None, None]


async def test_search_ignores_case_and_accents_and_wants_every_word(db: Database) -> None:
    tag = uuid4().hex[:10]
    department = f"Ropa {tag}"
    async with db.transaction() as conn:
        await load(
            conn,
            variant(tag, "M", item_name="ÁRBOL de Navidad"),
            variant(f"{tag}x", "M", item_name="Esfera 100% vidrio", department=department,
                    description="", brand=""),
        )  # fmt: skip
        found = {
            words: await names_found(conn, words, department)
            for words in ("arbol", "Árbol ALGODON", "árbol vidrio", "100%", "0_v", tag, "%", " ")
        }
        everywhere = await names_found(conn, f"arbol {tag}", None)
    tree, ball = "ÁRBOL de Navidad", "Esfera 100% vidrio"
    assert found == {
        "arbol": [tree],
        "Árbol ALGODON": [tree],
        "árbol vidrio": [],
        "100%": [ball],
        "0_v": [],
        tag: [tree, ball],
        "%": [ball],
        " ": [tree, ball],
    }
    assert everywhere == [tree]


async def test_list_is_in_pages_and_leaves_out_what_is_not_on_sale(db: Database) -> None:
    tag = uuid4().hex[:10]
    department = f"Ropa {tag}"
    async with db.transaction() as conn:
        await load(
            conn,
            *(variant(f"{tag}{i}", department=department) for i in range(4)),
            variant(f"{tag}2", department=department, active=False),
        )
        first = await catalog.items(conn, department=department, search=None, after="", limit=2)
        rest = await catalog.items(
            conn, department=department, search=None, after=first[-1].code, limit=2
        )
        unfiltered = await catalog.items(
            conn, department=None, search=None, after=f"T-{tag}", limit=1
        )
    assert [each.code for each in first] == [f"T-{tag}0", f"T-{tag}1"]
    assert [each.code for each in rest] == [f"T-{tag}3"]
    assert unfiltered == first[:1]


async def test_what_does_not_exist_is_not_found(db: Database) -> None:
    async with db.reading() as conn:
        with pytest.raises(NotFound) as no_item:
            await catalog.item_by_code(conn, "nothing")
        with pytest.raises(NotFound) as no_sku:
            await catalog.sku_by_code(conn, "nothing", zone=None)
    assert (no_item.value.kind, no_sku.value.kind) == ("item", "sku")


async def test_coupon_keeps_its_count_and_its_limit_stays_above_it(db: Database) -> None:
    code = f"C-{uuid4().hex[:10]}"
    ten = CouponRecord(code=code, kind="percent", percent_bp=1_000, max_redemptions=5)
    async with db.transaction() as conn:
        assert await catalog.upsert_coupons(conn, [ten]) == [None]
        await conn.driver.execute("UPDATE coupon SET redeemed = 3 WHERE code = $1", code)
        refused, accepted = await catalog.upsert_coupons(
            conn,
            [
                msgspec.structs.replace(ten, max_redemptions=2),
                CouponRecord(code=code, kind="amount", amount_minor=500, currency="MXN",
                             max_redemptions=3),
            ],
        )  # fmt: skip
        row = await conn.driver.fetchrow(
            "SELECT kind, percent_bp, amount_minor, redeemed, max_redemptions FROM coupon"
            " WHERE code = $1",
            code,
        )
    assert refused is not None
    assert (refused.path, accepted) == ("/max_redemptions", None)
    assert tuple(row) == ("amount", None, 500, 3, 3)
