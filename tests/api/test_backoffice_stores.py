"""Locations, zones and stores in the back office: whole records, refusals, the staff record."""

from typing import Any

import httpx
import pytest

from commerce.kernel.sql import Database
from tests.paging import all_of
from tests.shop import Shop, make_shop
from tests.tablet import told

BASE = "/v1/backoffice"


@pytest.fixture
async def shop(db: Database) -> Shop:
    """One store."""
    return await make_shop(db, stores=1, skus=1, on_hand=0)


async def staff_record(back_office: httpx.AsyncClient, subject: str) -> list[dict[str, Any]]:
    """What stands on the staff record about a thing, newest first."""
    answer = await back_office.get(f"{BASE}/staff-record", params={"limit": 200})
    return [entry for entry in answer.json()["items"] if entry["subject"] == subject]


def location(shop: Shop, **fields: Any) -> dict[str, Any]:
    return {
        "code": f"DC-{shop.tag}", "name": "Almacén", "kind": "distribution_centre",
        "latitude": 20.5, "longitude": -100.4, **fields,
    }  # fmt: skip


def store(shop: Shop, **fields: Any) -> dict[str, Any]:
    return {
        "location_code": shop.stores[0].code, "name": "Centro", "street": "Av. Madero 1",
        "city": "Ciudad de México", "country": "MX", "time_zone": "America/Mexico_City",
        "price_zone": shop.price_zone, "tax_zone": shop.tax_zone, **fields,
    }  # fmt: skip


async def test_a_location_is_made_changed_and_listed(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    path = f"{BASE}/locations/DC-{shop.tag}"
    made = await back_office.put(path, json=location(shop))
    assert made.status_code == 200, made.text
    changed = await back_office.put(path, json=location(shop, name="Norte"))
    assert changed.json() == made.json() | {"name": "Norte"}
    await back_office.put(path, json=location(shop, name="Norte"))
    entries = await staff_record(back_office, f"location:DC-{shop.tag}")
    assert [(each["action"], each["changes"]) for each in entries] == [
        ("location.put", {"name": ["Almacén", "Norte"]}),
        ("location.put", {name: [None, value] for name, value in location(shop).items()}),
    ]
    key = entries[0]["key_id"]
    assert entries[0]["actor"] == f"key:{key}"
    codes = [each["code"] for each in await all_of(back_office, f"{BASE}/locations")]
    assert codes == sorted(codes)
    assert {f"DC-{shop.tag}", shop.stores[0].code} <= set(codes)


async def test_the_address_and_the_record_name_the_same_thing(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    answer = await back_office.put(f"{BASE}/locations/OTHER", json=location(shop))
    assert told(answer) == (422, "invalid_field")
    assert (answer.json()["path"], answer.json()["reason"]) == ("/code", "the address says OTHER")
    gone = await back_office.put(f"{BASE}/locations/DC-{shop.tag}", json=location(shop, kind="x"))
    assert told(gone) == (400, "invalid_request")


async def test_zones_are_made_changed_and_listed(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    zone = {"code": f"A-{shop.tag}", "currency": "USD", "tax_included": False}
    path = f"{BASE}/price-zones/A-{shop.tag}"
    assert (await back_office.put(path, json=zone)).json() == zone
    other = await back_office.put(path, json=zone | {"currency": "MXN"})
    assert told(other) == (422, "invalid_field")
    assert other.json()["path"] == "/currency"
    unknown = await back_office.put(path, json=zone | {"currency": "XXQ"})
    assert (told(unknown), unknown.json()["path"]) == ((422, "invalid_field"), "/currency")
    tax = {"code": f"A-{shop.tag}", "rate_bp": 800}
    path = f"{BASE}/tax-zones/A-{shop.tag}"
    assert (await back_office.put(path, json=tax)).json() == tax
    assert (await back_office.put(path, json=tax | {"rate_bp": 1600})).json()["rate_bp"] == 1600
    assert told(await back_office.put(f"{BASE}/tax-zones/B", json=tax)) == (422, "invalid_field")
    entries = await staff_record(back_office, f"tax_zone:A-{shop.tag}")
    assert entries[0]["changes"] == {"rate_bp": [800, 1600]}
    for kind, wanted in (("price-zones", zone), ("tax-zones", tax | {"rate_bp": 1600})):
        assert wanted in await all_of(back_office, f"{BASE}/{kind}")


async def test_the_pickup_switch_and_the_hours_of_a_store(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    path = f"{BASE}/stores/{shop.stores[0].code}"
    before = (await back_office.get(path)).json()
    assert (before["pickup_enabled"], before["mon"]) == (True, ["00:00-24:00"])
    wanted = {name: value for name, value in before.items() if name != "location_id"}
    wanted |= {"pickup_enabled": False, "mon": ["09:00-14:00", "16:00-20:00"]}
    answer = await back_office.put(path, json=wanted)
    assert answer.json() == before | wanted
    assert (await back_office.get(path)).json() == before | wanted
    (entry,) = await staff_record(back_office, f"store:{shop.stores[0].code}")
    assert entry["changes"] == {
        "pickup_enabled": [True, False],
        "mon": [["00:00-24:00"], ["09:00-14:00", "16:00-20:00"]],
    }
    assert before | wanted in await all_of(back_office, f"{BASE}/stores")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"price_zone": "XX"}, "/price_zone"),
        ({"tax_zone": "XX"}, "/tax_zone"),
        ({"time_zone": "Mars"}, "/time_zone"),
        ({"mon": ["14:00-09:00"]}, "/mon"),
    ],
)
async def test_a_store_that_cannot_be_is_refused_by_field(
    back_office: httpx.AsyncClient, shop: Shop, fields: dict[str, Any], path: str
) -> None:
    answer = await back_office.put(
        f"{BASE}/stores/{shop.stores[0].code}", json=store(shop, **fields)
    )
    assert told(answer) == (422, "invalid_field")
    assert answer.json()["path"] == path
    assert await staff_record(back_office, f"store:{shop.stores[0].code}") == []


async def test_what_is_no_store_is_not_found(back_office: httpx.AsyncClient) -> None:
    assert told(await back_office.get(f"{BASE}/stores/NOWHERE")) == (404, "not_found")


async def test_a_shop_may_not_change_stores(storefront: httpx.AsyncClient, shop: Shop) -> None:
    path = f"{BASE}/stores/{shop.stores[0].code}"
    answer = await storefront.put(path, json=store(shop))
    assert told(answer) == (403, "permission_denied")
    assert answer.json()["permission"] == "store.write"
