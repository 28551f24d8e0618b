"""Stock over HTTP: numbers, the ledger behind them, movements by the back office and managers."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services
from commerce.kernel.sql import Database
from inventory.tables import MAX_UNITS
from tests.api.test_backoffice_stores import staff_record
from tests.shop import Shop, make_shop
from tests.tablet import sign_in, told


@pytest.fixture
async def shop(db: Database) -> Shop:
    """Two stores with ten of one SKU."""
    return await make_shop(db, skus=1)


def path(shop: Shop, store: int = 0, sku: str | None = None) -> str:
    location = shop.stores[store].location_id
    return f"/v1/backoffice/stock/{location}/{sku or shop.skus[0].sku}"


async def move(
    client: httpx.AsyncClient, address: str, *, key: str | None = None, **body: Any
) -> httpx.Response:
    headers = {**client.headers, "Idempotency-Key": key or uuid4().hex}
    return await client.post(f"{address}/movements", json=body, headers=headers)


async def test_movements_change_the_numbers_and_say_why(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    at = path(shop)
    for action, quantity, on_hand in (("receive", 5, 15), ("adjust", -2, 13), ("count", 7, 7)):
        answer = await move(back_office, at, action=action, quantity=quantity, reason="r")
        assert (answer.status_code, answer.json()["on_hand"]) == (200, on_hand)
    answer = await back_office.put(f"{at}/safety-stock", json={"safety_stock": 3})
    await back_office.put(f"{at}/safety-stock", json={"safety_stock": 3})
    assert (await back_office.get(at)).json() == answer.json() == {
        "location_id": str(shop.stores[0].location_id), "sku": shop.skus[0].sku, "on_hand": 7,
        "reserved": 0, "safety_stock": 3, "available_to_promise": 4, "unsellable": {},
    }  # fmt: skip
    first = (await back_office.get(f"{at}/ledger", params={"limit": 3})).json()
    assert [(each["kind"], each["on_hand_delta"], each["reason"]) for each in first["items"]] == [
        ("count", -6, "r"), ("adjust", -2, "r"), ("receive", 5, "r"),
    ]  # fmt: skip
    rest = await back_office.get(f"{at}/ledger", params={"cursor": first["next_cursor"]})
    assert [each["on_hand_delta"] for each in rest.json()["items"]] == [10]
    entries = await staff_record(back_office, f"sku:{shop.skus[0].sku}")
    assert [(each["action"], each["changes"]) for each in entries] == [
        ("safety_stock.put", {"safety_stock": [0, 3]}),
        ("stock.counted", {"quantity": 7, "reason": "r", "on_hand": 7}),
        ("stock.adjusted", {"quantity": -2, "reason": "r", "on_hand": 13}),
        ("stock.received", {"quantity": 5, "reason": "r", "on_hand": 15}),
    ]
    assert {each["location_id"] for each in entries} == {str(shop.stores[0].location_id)}


async def test_a_repeated_receive_counts_once(back_office: httpx.AsyncClient, shop: Shop) -> None:
    body = {"action": "receive", "quantity": 5, "reason": "note 118"}
    first = await move(back_office, path(shop), key=f"k{shop.tag}", **body)
    again = await move(back_office, path(shop), key=f"k{shop.tag}", **body)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert (await back_office.get(path(shop))).json()["on_hand"] == 15


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"action": "receive", "quantity": -1}, (422, "invalid_field")),
        ({"action": "count", "quantity": -1}, (422, "invalid_field")),
        ({"action": "adjust", "quantity": 0}, (422, "invalid_field")),
        ({"action": "receive", "quantity": MAX_UNITS}, (422, "quantity_out_of_range")),
        ({"action": "receive", "quantity": MAX_UNITS + 1}, (400, "invalid_request")),
        ({"action": "sale", "quantity": 1}, (400, "invalid_request")),
        ({"action": "count", "quantity": 1, "reason": ""}, (400, "invalid_request")),
    ],
)
async def test_a_movement_that_cannot_be_changes_nothing(
    back_office: httpx.AsyncClient, shop: Shop, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    assert told(await move(back_office, path(shop), **{"reason": "r"} | body)) == refusal
    assert (await back_office.get(path(shop))).json()["on_hand"] == 10
    assert await staff_record(back_office, f"sku:{shop.skus[0].sku}") == []


async def test_what_was_never_stocked_is_zero_and_what_is_not_there_is_not_found(
    back_office: httpx.AsyncClient, db: Database
) -> None:
    shop = await make_shop(db, stores=1, skus=1, on_hand=0)
    assert (await back_office.get(path(shop))).json()["on_hand"] == 0
    assert (await back_office.get(f"{path(shop)}/ledger")).json()["items"] == []
    nowhere = f"/v1/backoffice/stock/{uuid4()}/{shop.skus[0].sku}"
    for address in (path(shop, sku="GONE"), nowhere):
        for answer in (
            await back_office.get(address),
            await back_office.get(f"{address}/ledger"),
            await move(back_office, address, action="count", quantity=1, reason="r"),
            await back_office.put(f"{address}/safety-stock", json={"safety_stock": 1}),
        ):
            assert told(answer) == (404, "not_found")


async def test_a_manager_adjusts_the_own_store_and_no_other(
    http: httpx.AsyncClient, services: Services, shop: Shop
) -> None:
    manager = await sign_in(http, services, shop, role="manager")
    http_headers = manager.headers
    body = {"action": "adjust", "quantity": -1, "reason": "damaged"}

    async def post(address: str) -> httpx.Response:
        headers = http_headers | {"Idempotency-Key": uuid4().hex}
        return await http.post(f"{address}/movements", json=body, headers=headers)

    own = await post(path(shop))
    assert (own.status_code, own.json()["on_hand"]) == (200, 9)
    other = path(shop, store=1)
    for answer in (
        await post(other),
        await http.get(other, headers=http_headers),
        await http.get(f"{other}/ledger", headers=http_headers),
        await http.put(f"{other}/safety-stock", json={"safety_stock": 1}, headers=http_headers),
    ):
        assert told(answer) == (403, "store_not_allowed")
    ledger = await http.get(f"{path(shop)}/ledger", headers=http_headers)
    assert ledger.json()["items"][0]["actor"] == f"associate:{manager.associate_id}"


async def test_an_associate_reads_stock_and_does_not_write_it(
    http: httpx.AsyncClient, services: Services, shop: Shop
) -> None:
    associate = await sign_in(http, services, shop)
    seen = await http.get(path(shop), headers=associate.headers)
    assert (seen.status_code, seen.json()["on_hand"]) == (200, 10)
    refused = await http.put(
        f"{path(shop)}/safety-stock", json={"safety_stock": 1}, headers=associate.headers
    )
    assert told(refused) == (403, "permission_denied")
