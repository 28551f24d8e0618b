"""Catalog and stores as web shops see them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services, directory
from commerce import catalog
from commerce.importing import PriceRecord, SkuRecord
from commerce.kernel.sql import Database
from tests.shop import OPENED_AT, Shop, make_shop

NOBODYS = "01900000-0000-7000-8000-000000000000"


async def make_known(db: Database, services: Services, **wanted: Any) -> Shop:
    """A shop that the application has heard of."""
    shop = await make_shop(db, **wanted)
    services.part(directory).forget()
    return shop


async def test_item_has_its_skus_with_prices_of_the_store_asked_for(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=1, stores=1, tax_included=False, currency="USD")
    (sku,) = shop.skus
    answer = await storefront.get(
        f"/v1/items/{sku.item_code}", params={"store_id": str(shop.stores[0].location_id)}
    )
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "code": sku.item_code,
            "name": f"Item {sku.item_code}",
            "description": "",
            "department": "Ropa",
            "brand": None,
            "final_sale": False,
            "return_window_days": 30,
            "skus": [
                {
                    "sku": sku.sku,
                    "item_code": sku.item_code,
                    "name": "",
                    "options": {},
                    "gtin": sku.gtin,
                    "active": True,
                    "price": {
                        "amount": {"amount_minor": 10_000, "currency": "USD"},
                        "tax_included": False,
                        "price_zone": shop.price_zone,
                    },
                }
            ],
        },
    )


async def test_price_differs_by_the_zone_of_the_store(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    here = await make_known(db, services, skus=1, stores=1, on_hand=0)
    there = await make_known(db, services, skus=0, stores=1, currency="USD")
    elsewhere = await make_known(db, services, skus=0, stores=1)
    (sku,) = here.skus
    async with db.transaction() as conn:
        record = PriceRecord(price_zone=there.price_zone, sku=sku.sku, amount_minor=599)
        await catalog.upsert_prices(conn, [record], actor="ana", now=OPENED_AT)
    shown = []
    for shop in (here, there, elsewhere):
        answer = await storefront.get(
            f"/v1/skus/{sku.sku}", params={"store_id": str(shop.stores[0].location_id)}
        )
        shown.append(answer.json()["price"] and answer.json()["price"]["amount"])
    nowhere = await storefront.get(f"/v1/skus/{sku.sku}")
    assert shown == [
        {"amount_minor": 10_000, "currency": "MXN"},
        {"amount_minor": 599, "currency": "USD"},
        None,
    ]
    assert nowhere.json()["price"] is None


async def test_key_of_one_store_sees_its_prices_without_asking(
    db: Database,
    services: Services,
    make_key: Callable[..., object],
    client_of: Callable[..., httpx.AsyncClient],
    storefront: httpx.AsyncClient,
) -> None:
    shop = await make_known(db, services, skus=1, stores=1)
    path = f"/v1/gtins/{shop.skus[0].gtin}"
    secret = await make_key("tablet", location_id=shop.stores[0].location_id)  # type: ignore[misc]
    async with client_of(secret) as tablet:
        refused = await tablet.get(path)
    assert (refused.status_code, refused.json()["code"]) == (401, "session_required")
    seen = await storefront.get(path)
    assert seen.json()["sku"] == shop.skus[0].sku


async def test_items_are_listed_by_department_and_words_in_pages(
    db: Database, storefront: httpx.AsyncClient
) -> None:
    tag = uuid4().hex[:10]
    records = [
        SkuRecord(
            sku=f"{tag}-{i}", item_code=f"{tag}-{i}", item_name=f"Camisón {i}",
            department=f"Ropa {tag}", active=i != 3,
        )
        for i in range(5)
    ]  # fmt: skip
    async with db.transaction() as conn:
        await catalog.upsert_skus(conn, records, actor="ana", now=OPENED_AT)
    where: dict[str, str] = {"department": f"Ropa {tag}", "search": "CAMISON", "limit": "2"}
    seen, cursor = [], None
    for _ in range(3):
        answer = await storefront.get(
            "/v1/items", params={**where, **({"cursor": cursor} if cursor else {})}
        )
        seen.append([item["code"] for item in answer.json()["items"]])
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert seen == [[f"{tag}-0", f"{tag}-1"], [f"{tag}-2", f"{tag}-4"]]
    none = await storefront.get(
        "/v1/items", params={"department": f"Ropa {tag}", "search": "camisa"}
    )
    assert none.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/items/nothing", 404, "not_found"),
        ("/v1/skus/nothing", 404, "not_found"),
        ("/v1/gtins/20000000000015", 404, "not_found"),
        ("/v1/gtins/abc", 400, "invalid_request"),
        ("/v1/gtins/123456789", 400, "invalid_request"),
        (f"/v1/stores/{NOBODYS}", 404, "not_found"),
        ("/v1/stores/not-an-id", 404, "not_found"),
        (f"/v1/items?store_id={NOBODYS}", 404, "not_found"),
        ("/v1/items?limit=0", 400, "invalid_request"),
        ("/v1/items?limit=201", 400, "invalid_request"),
        ("/v1/items?cursor=%C3%B1", 400, "invalid_request"),
        ("/v1/stores?cursor=_w", 400, "invalid_request"),
        ("/v1/items?search=%00", 400, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_named(
    storefront: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    answer = await storefront.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_store_shows_its_hours_and_when_an_order_would_be_ready(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=0, stores=1, pickup_lead_minutes=90)
    (store,) = shop.stores
    answer = await storefront.get(f"/v1/stores/{store.location_id}")
    shown = answer.json()
    moving = {name: shown.pop(name) for name in ("opens_at", "promised_at")}
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    week = {day: ["00:00-24:00"] for day in days}
    assert shown == {
        "id": str(store.location_id),
        "code": store.code,
        "name": "Store 0",
        "address": {
            "street": "Av. Madero 1",
            "city": "Ciudad de México",
            "region": "",
            "postal_code": "",
            "country": "MX",
        },
        "phone": None,
        "latitude": 19.4326,
        "longitude": -99.1332,
        "time_zone": "America/Mexico_City",
        "opening_hours": week,
        "open_now": True,
        "pickup_enabled": True,
        "price_zone": shop.price_zone,
        "currency": "MXN",
        "tax_included": True,
    }
    assert moving["opens_at"] < moving["promised_at"]


async def test_stores_are_listed_in_pages(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=0, stores=3)
    wanted = {each.code for each in shop.stores}
    seen: list[str] = []
    params: dict[str, str] = {"limit": "2"}
    while True:
        answer = (await storefront.get("/v1/stores", params=params)).json()
        seen += [each["code"] for each in answer["items"]]
        if answer["next_cursor"] is None:
            break
        params["cursor"] = answer["next_cursor"]
    assert seen == sorted(set(seen))
    assert wanted <= set(seen)


async def test_catalog_is_not_for_everybody(http: httpx.AsyncClient) -> None:
    answers = [
        await http.get(path)
        for path in ("/v1/items", "/v1/stores", "/v1/availability?sku=x", "/v1/skus/x")
    ]
    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (401, "api_key_missing")
    }
