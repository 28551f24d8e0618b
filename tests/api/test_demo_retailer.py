"""The demo retailer: exact size, repeatable from its seed, plausible, and loadable as files."""

import io
from collections import Counter
from functools import lru_cache
from typing import TypeVar

import msgspec
import phonenumbers
import pytest

from api import demo_retailer
from commerce import importing
from commerce.importing import FileFormat, Good, Kind, Record

Of = TypeVar("Of", bound=Record)


@lru_cache(maxsize=4)
def records(seed: int = 7) -> list[tuple[Kind, Record]]:
    return list(demo_retailer.records(seed))


def of(record: type[Of], seed: int = 7) -> list[Of]:
    return [found for _, found in records(seed) if isinstance(found, record)]


def content(seed: int) -> bytes:
    return b"".join(
        line
        for kind in importing.KINDS
        for line in importing.write(kind, (r for k, r in records(seed) if k == kind), "csv")
    )


def test_it_has_this_many_of_each_in_load_order() -> None:
    counts = Counter(kind for kind, _ in records())
    assert list(counts.items()) == [
        ("locations", 13),
        ("price_zones", 2),
        ("tax_zones", 6),
        ("stores", 12),
        ("skus", 600),
        ("prices", 1200),
        ("stock", 5992),
        ("coupons", 5),
        ("associates", 36),
    ]


def test_a_seed_repeats_to_the_byte_and_another_differs() -> None:
    again = list(demo_retailer.records(7))
    assert msgspec.json.encode(again) == msgspec.json.encode(records(7))
    assert list(demo_retailer.shoppers(7)) == list(demo_retailer.shoppers(7))
    assert content(8) != content(7)
    assert list(demo_retailer.shoppers(8)) != list(demo_retailer.shoppers(7))


@pytest.mark.parametrize("seed", [7, 8, 99])
@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", list(importing.KINDS))
def test_every_record_survives_being_a_file(kind: Kind, file_format: FileFormat, seed: int) -> None:
    made = [record for of_kind, record in records(seed) if of_kind == kind]
    file = io.BytesIO(b"".join(importing.write(kind, made, file_format)))
    first = 2 if file_format == "csv" else 1
    expected = [Good(line, record) for line, record in enumerate(made, start=first)]
    assert list(importing.read(kind, file, file_format)) == expected


def test_each_department_has_75_skus_with_unique_codes_and_gtins_for_own_use() -> None:
    skus = of(importing.SkuRecord)
    assert Counter(sku.department for sku in skus) == dict.fromkeys(
        ("apparel", "shoes", "electronics", "home", "toys", "beauty", "sports", "groceries"), 75
    )
    assert len({sku.sku for sku in skus}) == 600
    gtins = {sku.gtin for sku in skus if sku.gtin is not None}
    assert len(gtins) == 600
    assert {len(gtin) for gtin in gtins} == {13}
    assert all(200 <= int(gtin[:3]) <= 299 for gtin in gtins)
    assert all(int(gtin[-1]) == importing.gtin_check_digit(gtin[:-1]) for gtin in gtins)


def test_variants_of_an_item_differ_in_options_only() -> None:
    by_item: dict[str, list[importing.SkuRecord]] = {}
    for sku in of(importing.SkuRecord):
        by_item.setdefault(sku.item_code, []).append(sku)
    assert len(by_item) == 150
    for variants in by_item.values():
        assert len({tuple(sku.options.items()) for sku in variants}) == len(variants)
        assert len({(s.item_name, s.description, s.brand, s.final_sale) for s in variants}) == 1


def test_eight_items_are_final_sale() -> None:
    assert len({sku.item_code for sku in of(importing.SkuRecord) if sku.final_sale}) == 8


def test_every_sku_has_a_price_in_both_zones() -> None:
    prices = {(p.price_zone, p.sku): p.amount_minor for p in of(importing.PriceRecord)}
    skus = [sku.sku for sku in of(importing.SkuRecord)]
    assert prices.keys() == {(zone, sku) for zone in ("MX", "US") for sku in skus}
    assert all(prices["MX", sku] % 1000 == 900 for sku in skus)
    assert all(prices["US", sku] % 100 == 99 for sku in skus)
    assert all(15 < prices["MX", sku] / prices["US", sku] < 21 for sku in skus)


def test_zones_and_places_that_records_name_exist() -> None:
    locations = {place.code: place.kind for place in of(importing.LocationRecord)}
    stores = of(importing.StoreRecord)
    assert [kind for kind in locations.values() if kind != "store"] == ["distribution_centre"]
    assert [locations[store.location_code] for store in stores] == ["store"] * 12
    assert {s.price_zone for s in stores} == {z.code for z in of(importing.PriceZoneRecord)}
    assert {s.tax_zone for s in stores} == {z.code for z in of(importing.TaxZoneRecord)}
    assert len({store.time_zone for store in stores}) == 8
    assert [s.location_code for s in stores if not s.pickup_enabled] == ["SAT"]


def test_stock_differs_by_store_and_some_skus_are_nowhere() -> None:
    stock = of(importing.StockRecord)
    quantities = {(entry.location_code, entry.sku): entry.quantity for entry in stock}
    stores = [store.location_code for store in of(importing.StoreRecord)]
    skus = [sku.sku for sku in of(importing.SkuRecord)]
    assert len(quantities) == len(stock)
    in_a_store = {sku for location, sku in quantities if location != "QRO-DC"}
    in_the_centre = {sku for location, sku in quantities if location == "QRO-DC"}
    assert len(skus) - len(in_the_centre) == 6
    assert len(in_the_centre - in_a_store) == 12
    assert all(quantities[store, demo_retailer.SHOWPIECE] == 100 for store in stores)
    sold_out = Counter(place for (place, _), quantity in quantities.items() if quantity == 0)
    assert sold_out.keys() == set(stores)
    assert max(quantity for (place, _), quantity in quantities.items() if place in stores) > 100
    assert Counter(bool(entry.safety_stock) for entry in stock)[True] > 1000


def test_coupons_are_the_announced_ones() -> None:
    coupons = {coupon.code: coupon for coupon in of(importing.CouponRecord)}
    assert list(coupons) == ["WELCOME10", "TAKE100", "TAKE10", "VERANO2025", "FIRST5"]
    assert coupons["WELCOME10"].percent_bp == 1000
    assert (coupons["TAKE100"].amount_minor, coupons["TAKE100"].currency) == (10_000, "MXN")
    assert (coupons["TAKE10"].amount_minor, coupons["TAKE10"].currency) == (1_000, "USD")
    assert str(coupons["VERANO2025"].ends_at) == "2025-09-01 00:00:00+00:00"
    assert coupons["FIRST5"].max_redemptions == 5


def test_each_store_has_two_associates_and_a_manager_with_known_pins() -> None:
    associates = of(importing.AssociateRecord)
    assert len({who.name for who in associates}) == 36
    third = [who for who in associates if who.store_codes == ("GDL",)]
    assert [(who.code, who.role, who.pin) for who in third] == [
        ("GDL-A", "associate", "0311"),
        ("GDL-B", "associate", "0322"),
        ("GDL-M", "manager", "0399"),
    ]
    assert Counter(who.role for who in associates) == {"associate": 24, "manager": 12}


def test_shoppers_can_be_reached_only_in_theory() -> None:
    shoppers = list(demo_retailer.shoppers())
    assert Counter(shopper.locale for shopper in shoppers) == {"es": 18, "en": 12}
    assert len({shopper.email for shopper in shoppers}) == 30
    assert all(shopper.email.endswith("@example.com") for shopper in shoppers)
    phones = {shopper.phone for shopper in shoppers}
    stores = {store.phone for store in of(importing.StoreRecord)}
    assert len(phones | stores) == 42
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone in phones)
