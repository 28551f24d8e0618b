"""What each kind of record demands of its fields, and what survives writing and reading."""

import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce import importing
from commerce.importing import Bad, FileFormat, Good, Kind, Record

LOCATION = {"code": "S1", "name": "Centro", "kind": "store", "latitude": 19.4, "longitude": -99.1}
STORE = {
    "location_code": "S1", "name": "Centro", "street": "Av. Madero 1", "city": "México",
    "country": "MX", "time_zone": "America/Mexico_City", "price_zone": "MX", "tax_zone": "MX-16",
}  # fmt: skip
SKU = {"sku": "T1", "item_code": "T", "item_name": "Playera", "department": "Ropa"}
STOCK = {"location_code": "S1", "sku": "T1", "action": "receive", "quantity": 1, "reason": "first"}
PERCENT = {"code": "TEN", "kind": "percent", "percent_bp": 1000}
AMOUNT = {"code": "TAKE", "kind": "amount", "amount_minor": 100, "currency": "MXN"}
ASSOCIATE = {"code": "A1", "name": "Ana", "role": "associate", "store_codes": ["S1"], "pin": "1234"}


def faults(kind: Kind, values: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Codes and fields of what is wrong with one record."""
    file = io.BytesIO(msgspec.json.encode(values))
    found = importing.read(kind, file, "jsonl")
    return [(bad.code, bad.field) for bad in found if isinstance(bad, Bad)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("locations", LOCATION),
        ("stores", STORE),
        ("stores", STORE | {"mon": ["00:00-09:00", "10:00-24:00"], "phone": "+525555550101"}),
        ("skus", SKU),
        ("skus", SKU | {"gtin": "96385074"}),
        ("skus", SKU | {"gtin": "036000291452"}),
        ("skus", SKU | {"gtin": "4006381333931"}),
        ("skus", SKU | {"gtin": "10614141000415"}),
        ("stock", STOCK),
        ("stock", STOCK | {"action": "adjust", "quantity": -1}),
        ("stock", STOCK | {"action": "count", "quantity": 0}),
        ("coupons", PERCENT),
        ("coupons", AMOUNT),
        ("coupons", PERCENT | {"minimum_subtotal_minor": 5, "currency": "MXN"}),
        ("associates", ASSOCIATE),
    ],
)
def test_a_right_record_has_no_fault(kind: Kind, values: dict[str, Any]) -> None:
    assert faults(kind, values) == []


@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        ("locations", LOCATION | {"code": "S 1"}, "code"),
        ("locations", LOCATION | {"code": "S1\n"}, "code"),
        ("locations", LOCATION | {"code": "x" * 41}, "code"),
        ("locations", LOCATION | {"name": " Centro"}, "name"),
        ("locations", LOCATION | {"name": "Cen\ntro"}, "name"),
        ("locations", LOCATION | {"name": "Cen\0tro"}, "name"),
        ("locations", LOCATION | {"name": ""}, "name"),
        ("locations", LOCATION | {"kind": "shop"}, "kind"),
        ("locations", LOCATION | {"latitude": 90.1}, "latitude"),
        ("locations", LOCATION | {"longitude": -180.1}, "longitude"),
        ("price_zones", {"code": "MX", "currency": "mxn", "tax_included": True}, "currency"),
        ("price_zones", {"code": "MX", "currency": "MXX", "tax_included": True}, "currency"),
        ("price_zones", {"code": "MX", "currency": "XAU", "tax_included": True}, "currency"),
        ("price_zones", {"code": "MX", "currency": "MXN", "tax_included": 1}, "tax_included"),
        ("tax_zones", {"code": "MX", "rate_bp": 10_001}, "rate_bp"),
        ("stores", STORE | {"country": "XX"}, "country"),
        ("stores", STORE | {"time_zone": "America/Atlantis"}, "time_zone"),
        ("stores", STORE | {"time_zone": "../../etc/passwd"}, "time_zone"),
        ("stores", STORE | {"phone": "5555550101"}, "phone"),
        ("stores", STORE | {"phone": "+525555"}, "phone"),
        ("stores", STORE | {"phone": "+9995555550101"}, "phone"),
        ("stores", STORE | {"pickup_lead_minutes": -1}, "pickup_lead_minutes"),
        ("stores", STORE | {"mon": ["9:00-14:00"]}, "mon"),
        ("stores", STORE | {"tue": ["22:00-02:00"]}, "tue"),
        ("stores", STORE | {"wed": ["09:00-14:00", "13:00-20:00"]}, "wed"),
        ("stores", STORE | {"thu": ["16:00-20:00", "09:00-14:00"]}, "thu"),
        ("stores", STORE | {"fri": ["09:00-14:00", "14:00-20:00"]}, "fri"),
        ("stores", STORE | {"sat": ["09:00-24:01"]}, "sat"),
        ("stores", STORE | {"sun": ["09:00-09:00"]}, "sun"),
        ("stores", STORE | {"postal_code": "06000#"}, "postal_code"),
        ("skus", SKU | {"gtin": "123456789"}, "gtin"),
        ("skus", SKU | {"options": {"size": 3}}, "options"),
        ("skus", SKU | {"options": '{"size": "M"}'}, "options"),
        ("skus", SKU | {"brand": "a\nb"}, "brand"),
        ("skus", SKU | {"description": "a\r\nb"}, "description"),
        ("skus", SKU | {"return_window_days": -1}, "return_window_days"),
        ("prices", {"price_zone": "MX", "sku": "T1", "amount_minor": -1}, "amount_minor"),
        ("prices", {"price_zone": "MX", "sku": "T1", "amount_minor": 1.5}, "amount_minor"),
        ("stock", STOCK | {"quantity": 0}, "quantity"),
        ("stock", STOCK | {"quantity": -1}, "quantity"),
        ("stock", STOCK | {"quantity": 1_000_001}, "quantity"),
        ("stock", STOCK | {"action": "adjust", "quantity": 0}, "quantity"),
        ("stock", STOCK | {"action": "count", "quantity": -1}, "quantity"),
        ("stock", STOCK | {"action": "sell"}, "action"),
        ("stock", STOCK | {"safety_stock": -1}, "safety_stock"),
        ("coupons", PERCENT | {"percent_bp": None}, "percent_bp"),
        ("coupons", PERCENT | {"percent_bp": 10_001}, "percent_bp"),
        ("coupons", PERCENT | {"amount_minor": 5}, "amount_minor"),
        ("coupons", PERCENT | {"minimum_subtotal_minor": 5}, "currency"),
        ("coupons", AMOUNT | {"percent_bp": 5}, "percent_bp"),
        ("coupons", AMOUNT | {"currency": None}, "currency"),
        ("coupons", AMOUNT | {"currency": "XXX"}, "currency"),
        ("coupons", AMOUNT | {"starts_at": "2026-01-01T00:00:00"}, "starts_at"),
        ("coupons", AMOUNT | {"starts_at": 20260101}, "starts_at"),
        (
            "coupons",
            AMOUNT | {"starts_at": "2026-01-01T01:00:00+01:00", "ends_at": "2026-01-01T00:00:00Z"},
            "ends_at",
        ),
        ("coupons", AMOUNT | {"max_redemptions": 0}, "max_redemptions"),
        ("associates", ASSOCIATE | {"role": "owner"}, "role"),
        ("associates", ASSOCIATE | {"store_codes": []}, "store_codes"),
        ("associates", ASSOCIATE | {"store_codes": ["S1", "S1"]}, "store_codes"),
        ("associates", ASSOCIATE | {"pin": "123"}, "pin"),
        ("associates", ASSOCIATE | {"pin": "١٢٣٤"}, "pin"),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(
    kind: Kind, values: dict[str, Any], field: str
) -> None:
    assert faults(kind, values) == [("invalid_value", field)]


@pytest.mark.parametrize("kind", list(importing.KINDS))
def test_an_empty_object_misses_every_required_field(kind: Kind) -> None:
    found = faults(kind, {})
    assert found
    assert {code for code, _ in found} == {"missing_value"}


def test_a_wrong_check_digit_names_the_right_one() -> None:
    text = b"sku,item_code,item_name,department,gtin\nT1,T,Playera,Ropa,7501234567890\n"
    assert list(importing.read("skus", io.BytesIO(text), "csv")) == [
        Bad(
            2,
            "wrong_check_digit",
            "gtin",
            "gtin 7501234567890 has a wrong check digit, expected 3",
        )
    ]


def test_opening_hours_are_minutes_since_midnight_monday_first() -> None:
    store = msgspec.convert(
        STORE | {"mon": ["09:00-14:00", "16:00-20:30"], "sun": ["00:00-24:00"]},
        importing.StoreRecord,
    )
    assert store.opening_minutes() == (
        ((540, 840), (960, 1230)), (), (), (), (), (), ((0, 1440),),
    )  # fmt: skip


@given(st.from_regex(r"[0-9]{7}|[0-9]{11,13}", fullmatch=True), st.integers(1, 9))
def test_exactly_one_digit_completes_a_gtin(body: str, off_by: int) -> None:
    right = importing.gtin_check_digit(body)
    assert faults("skus", SKU | {"gtin": f"{body}{right}"}) == []
    wrong = (right + off_by) % 10
    assert faults("skus", SKU | {"gtin": f"{body}{wrong}"}) == [("wrong_check_digit", "gtin")]


@given(st.from_regex(r"[0-9]{12}", fullmatch=True), st.integers(0, 11), st.integers(1, 9))
def test_a_check_digit_finds_every_single_wrong_digit(body: str, at: int, by: int) -> None:
    slip = f"{body[:at]}{(int(body[at]) + by) % 10}{body[at + 1 :]}"
    assert importing.gtin_check_digit(slip) != importing.gtin_check_digit(body)


def round_trip(kind: Kind, records: list[Record], file_format: FileFormat) -> list[Record]:
    file = io.BytesIO(b"".join(importing.write(kind, records, file_format)))
    found = list(importing.read(kind, file, file_format))
    assert [bad for bad in found if isinstance(bad, Bad)] == []
    return [good.record for good in found if isinstance(good, Good)]


codes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
characters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
visible = st.text(characters, min_size=1, max_size=60).map(str.strip).filter(bool)
texts = st.lists(visible, max_size=4).flatmap(
    lambda parts: st.sampled_from(["\n", "\n\n", "\t", ",", '"', '"\n"']).map(
        lambda joint: joint.join(parts)
    )
)
skus = st.builds(
    importing.SkuRecord, sku=codes, item_code=codes, item_name=visible, department=visible,
    description=texts, brand=visible | st.just(""), variant_name=st.just(""),
    options=st.dictionaries(visible, visible, max_size=3),
    gtin=st.none() | st.just("4006381333931"), final_sale=st.booleans(),
    return_window_days=st.integers(0, 3650), active=st.booleans(),
)  # fmt: skip
coupons = st.builds(
    importing.CouponRecord, code=codes, kind=st.just("amount"),
    amount_minor=st.integers(1, 10**12), currency=st.sampled_from(["MXN", "USD", "JPY"]),
    minimum_subtotal_minor=st.integers(0, 10**12),
    starts_at=st.none() | st.datetimes(max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    max_redemptions=st.none() | st.integers(1, 10**9),
)  # fmt: skip
locations = st.builds(
    importing.LocationRecord, code=codes, name=visible, kind=st.just("store"),
    latitude=st.decimals(-90, 90, places=6).map(float),
    longitude=st.decimals(-180, 180, places=6).map(float),
)  # fmt: skip
associates = st.builds(
    importing.AssociateRecord, code=codes, name=visible, role=st.just("manager"),
    store_codes=st.lists(codes, min_size=1, max_size=4, unique=True).map(tuple),
    pin=st.from_regex(r"[0-9]{4,8}", fullmatch=True),
)  # fmt: skip


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@given(data=st.data())
def test_what_is_written_is_read_back_equal(file_format: FileFormat, data: st.DataObject) -> None:
    kinds: dict[Kind, st.SearchStrategy[Any]] = {
        "skus": skus, "coupons": coupons, "locations": locations, "associates": associates,
    }  # fmt: skip
    kind = data.draw(st.sampled_from(sorted(kinds)))
    records = data.draw(st.lists(kinds[kind], max_size=5))
    assert round_trip(kind, records, file_format) == records
