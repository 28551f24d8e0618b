"""Availability as clients see it: nearest first, with reasons, for baskets, explained to staff."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services, directory
from commerce.kernel import clock, ids
from commerce.kernel.sql import Database
from inventory import reservations, stock
from inventory.demands import Demand, Want
from inventory.stock import Movement
from tests.shop import Shop, make_shop

HERE = {"latitude": "19.4413", "longitude": "-99.1332"}
NOBODYS = "01900000-0000-7000-8000-000000000000"
"""Some steps south of the second store of a shop."""


async def make_known(db: Database, services: Services, **wanted: Any) -> Shop:
    """A shop that the application has heard of."""
    shop = await make_shop(db, **wanted)
    services.part(directory).forget()
    return shop


def chosen(shop: Shop) -> list[str]:
    return [str(each.location_id) for each in shop.stores]


async def sell(db: Database, shop: Shop, store: int, sku: int, quantity: int) -> None:
    place, goods = shop.stores[store].location_id, shop.skus[sku].sku
    async with db.transaction() as conn:
        sold = Movement(place, goods, "sale", quantity, "till")
        await stock.move(conn, [sold], now=clock.now())


async def test_sku_at_chosen_stores_has_number_reason_and_parts(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=1, stores=2, on_hand=5)
    await sell(db, shop, store=1, sku=0, quantity=5)
    answer = await storefront.get(
        "/v1/availability", params={"sku": shop.skus[0].sku, "store_id": chosen(shop)}
    )
    body = answer.json()
    promised_at = body["skus"][0]["stores"][0].pop("promised_at")
    plain = {"distance_km": None, "reserved": 0, "safety_stock": 0}
    first, second = shop.stores
    assert (answer.status_code, body["skus"]) == (
        200,
        [
            {
                "sku": shop.skus[0].sku,
                "stores": [
                    {
                        "store_id": str(first.location_id), "code": first.code, "name": "Store 0",
                        "available_to_promise": 5, "reason": "available", "on_hand": 5, **plain,
                    },
                    {
                        "store_id": str(second.location_id), "code": second.code,
                        "name": "Store 1", "available_to_promise": 0, "reason": "none_on_hand",
                        "on_hand": 0, "promised_at": None, **plain,
                    },
                ],
            }
        ],
    )  # fmt: skip
    wait = datetime.fromisoformat(promised_at) - datetime.fromisoformat(body["as_of"])
    assert timedelta(minutes=60) <= wait < timedelta(minutes=61)


async def test_nearest_stores_come_first(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=2, stores=3)
    params: dict[str, Any] = {
        "sku": [each.sku for each in shop.skus],
        **HERE,
        "radius_km": "1.5",
        "limit": "200",
    }
    body = (await storefront.get("/v1/availability", params=params)).json()
    assert [each["sku"] for each in body["skus"]] == params["sku"]
    ours = [
        (each["code"], each["distance_km"], each["reason"])
        for each in body["skus"][0]["stores"]
        if each["code"].endswith(shop.tag)
    ]
    distances = [each["distance_km"] for each in body["skus"][0]["stores"]]
    assert distances == sorted(distances)
    assert ours == [
        (shop.stores[1].code, 0.033, "available"),
        (shop.stores[0].code, 0.967, "available"),
        (shop.stores[2].code, 1.034, "available"),
    ]
    near = await storefront.get("/v1/availability", params={**params, "limit": "1"})
    assert len(near.json()["skus"][0]["stores"]) == 1


async def test_basket_is_served_where_every_line_is_enough(
    db: Database, services: Services, storefront: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=2, stores=3, on_hand=5)
    await sell(db, shop, store=0, sku=1, quantity=3)
    first, second = (each.sku for each in shop.skus)
    answer = await storefront.post(
        "/v1/availability",
        json={
            "lines": [
                {"sku": first, "quantity": 1},
                {"sku": second, "quantity": 2},
                {"sku": second, "quantity": 1},
            ],
            "store_ids": chosen(shop)[:2],
        },
    )
    assert answer.status_code == 200
    poor, rich = answer.json()["stores"]
    assert (poor["serves_all"], poor["promised_at"], rich["serves_all"]) == (False, None, True)
    assert rich["promised_at"] is not None
    assert poor["lines"] == [
        {"sku": first, "quantity": 1, "available_to_promise": 5, "reason": "available"},
        {"sku": second, "quantity": 3, "available_to_promise": 2, "reason": "available"},
    ]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "invalid_request"),
        ("sku=nothing", 404, "not_found"),
        (f"sku=x&store_id={NOBODYS}", 404, "not_found"),
        ("sku=x&store_id=x", 400, "invalid_request"),
        ("sku=x&latitude=91&longitude=0", 400, "invalid_request"),
        ("sku=x&latitude=nan&longitude=0", 400, "invalid_request"),
        ("sku=x&latitude=1", 422, "invalid_field"),
        ("sku=x&radius_km=0", 400, "invalid_request"),
        ("sku=x&limit=201", 400, "invalid_request"),
        ("&".join(f"sku=S{i}" for i in range(101)), 422, "too_many"),
        ("sku=%00", 400, "invalid_request"),
    ],
)
async def test_wrong_question_is_named(
    storefront: httpx.AsyncClient, query: str, status: int, code: str
) -> None:
    answer = await storefront.get(f"/v1/availability?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"lines": []}, 400, "invalid_request"),
        ({"lines": [{"sku": "x", "quantity": 0}]}, 400, "invalid_request"),
        ({"lines": [{"sku": "x", "quantity": 1_000_001}]}, 400, "invalid_request"),
        ({"lines": [{"sku": "x", "quantity": "1"}]}, 400, "invalid_request"),
        ({"lines": [{"sku": "x", "quantity": 1, "price": 1}]}, 400, "invalid_request"),
        ({"lines": [{"sku": "nothing", "quantity": 1}]}, 404, "not_found"),
        ({"lines": [{"sku": "x", "quantity": 1}], "longitude": 3}, 422, "invalid_field"),
    ],
)
async def test_wrong_basket_is_named(
    storefront: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await storefront.post("/v1/availability", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_number_is_explained_with_its_ledger(
    db: Database, services: Services, back_office: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=1, stores=1, on_hand=5)
    place, sku = shop.stores[0].location_id, shop.skus[0].sku
    long_ago = clock.now() - timedelta(hours=2)
    held = Demand(ids.uuid7(), (Want(place, sku, 2),), "guest", "web", long_ago)
    async with db.transaction() as conn:
        await reservations.hold(conn, [held], now=long_ago - timedelta(minutes=10))
    await sell(db, shop, store=0, sku=0, quantity=1)
    path = f"/v1/locations/{place}/stock/{sku}"
    first = (await back_office.get(path, params={"limit": 2})).json()
    assert {name: first[name] for name in list(first)[:8]} == {
        "location_id": str(place),
        "sku": sku,
        "available_to_promise": 4,
        "reason": "available",
        "on_hand": 4,
        "reserved": 0,
        "safety_stock": 0,
        "expired": 2,
    }
    rest = (await back_office.get(path, params={"cursor": first["entries"]["next_cursor"]})).json()[
        "entries"
    ]
    entries = first["entries"]["items"] + rest["items"]
    assert [(e["kind"], e["on_hand_delta"], e["reserved_delta"]) for e in entries] == [
        ("sale", -1, 0),
        ("hold", 0, 2),
        ("receive", 5, 0),
    ]
    assert rest["next_cursor"] is None


async def test_explanation_is_for_staff_and_of_what_exists(
    db: Database, services: Services, storefront: httpx.AsyncClient, back_office: httpx.AsyncClient
) -> None:
    shop = await make_known(db, services, skus=1, stores=1)
    place, sku = shop.stores[0].location_id, shop.skus[0].sku
    paths = (
        f"/v1/locations/{place}/stock/nothing",
        f"/v1/locations/{uuid4()}/stock/{sku}",
        f"/v1/locations/{place}/stock/{sku}?cursor=YWJj",
    )
    answers = [await back_office.get(path) for path in paths]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (404, "not_found"),
        (404, "not_found"),
        (400, "invalid_request"),
    ]
    shopper = await storefront.get(f"/v1/locations/{place}/stock/{sku}")
    assert (shopper.status_code, shopper.json()["code"]) == (403, "permission_denied")
