"""SKUs, prices and coupons in the back office."""

from typing import Any

import httpx
import pytest

from commerce.kernel.sql import Database
from tests.api.test_backoffice_stores import staff_record
from tests.paging import all_of
from tests.shop import Shop, make_shop
from tests.tablet import told

BASE = "/v1/backoffice"


@pytest.fixture
async def shop(db: Database) -> Shop:
    """Two SKUs."""
    return await make_shop(db, stores=1, skus=2, on_hand=0)


async def test_a_sku_comes_and_goes_as_one_record(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    code = shop.skus[0].sku
    before = (await back_office.get(f"{BASE}/skus/{code}")).json()
    assert (before["item_name"], before["active"]) == (f"Item {shop.skus[0].item_code}", True)
    wanted = before | {"active": False, "options": {"size": "M"}, "brand": "Casa"}
    answer = await back_office.put(f"{BASE}/skus/{code}", json=wanted)
    assert answer.json() == wanted
    assert (await back_office.get(f"{BASE}/skus/{code}")).json() == wanted
    (entry,) = await staff_record(back_office, f"sku:{code}")
    assert entry["changes"] == {
        "active": [True, False], "options": [{}, {"size": "M"}], "brand": ["", "Casa"],
    }  # fmt: skip


@pytest.mark.parametrize("gtin", ["of another", "2000000000016"])
async def test_a_gtin_that_cannot_be_is_refused(
    back_office: httpx.AsyncClient, shop: Shop, gtin: str
) -> None:
    code = f"NEW-{shop.tag}"
    body = {
        "sku": code, "item_code": code, "item_name": "New", "department": "Ropa",
        "gtin": shop.skus[0].gtin if gtin == "of another" else gtin,
    }  # fmt: skip
    answer = await back_office.put(f"{BASE}/skus/{code}", json=body)
    assert (told(answer), answer.json()["path"]) == ((422, "invalid_field"), "/gtin")
    assert told(await back_office.get(f"{BASE}/skus/{code}")) == (404, "not_found")


async def test_a_price_is_set_and_shoppers_see_it(
    back_office: httpx.AsyncClient, storefront: httpx.AsyncClient, shop: Shop
) -> None:
    sku, zone = shop.skus[0].sku, shop.price_zone
    path = f"{BASE}/skus/{sku}/prices"
    body = {"price_zone": zone, "sku": sku, "amount_minor": 12_345}
    answer = await back_office.put(f"{path}/{zone}", json=body)
    assert answer.json() == body | {"currency": "MXN"}
    assert (await back_office.get(path)).json()["items"] == [body | {"currency": "MXN"}]
    shown = await storefront.get(
        f"/v1/skus/{sku}", params={"store_id": str(shop.stores[0].location_id)}
    )
    assert shown.json()["price"]["amount"] == {"amount_minor": 12_345, "currency": "MXN"}
    (entry,) = await staff_record(back_office, f"price:{sku}/{zone}")
    assert entry["changes"] == {"amount_minor": [10_000, 12_345]}


async def test_prices_of_what_is_not_there_are_refused(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    sku = shop.skus[0].sku
    body: dict[str, Any] = {"price_zone": "XX", "sku": sku, "amount_minor": 1}
    answer = await back_office.put(f"{BASE}/skus/{sku}/prices/XX", json=body)
    assert (told(answer), answer.json()["path"]) == ((422, "invalid_field"), "/price_zone")
    assert told(await back_office.get(f"{BASE}/skus/GONE/prices")) == (404, "not_found")


async def test_a_coupon_is_made_changed_and_listed(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    code = f"A{shop.tag}"
    body = {"code": code, "kind": "percent", "percent_bp": 1_000, "max_redemptions": 5}
    made = (await back_office.put(f"{BASE}/coupons/{code}", json=body)).json()
    assert (made["percent_bp"], made["redeemed"]) == (1_000, 0)
    more = await back_office.put(f"{BASE}/coupons/{code}", json=body | {"percent_bp": 2_000})
    assert more.json() in await all_of(back_office, f"{BASE}/coupons")
    assert more.json() == made | {"percent_bp": 2_000}
    wrong = await back_office.put(f"{BASE}/coupons/{code}", json=body | {"kind": "amount"})
    assert (told(wrong), wrong.json()["path"]) == ((422, "invalid_field"), "/percent_bp")
    (changed, _) = await staff_record(back_office, f"coupon:{code}")
    assert changed["changes"] == {"percent_bp": [1_000, 2_000]}
