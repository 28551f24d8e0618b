"""Orders found at any store by their number."""

import httpx
import pytest

from api.services import Services
from commerce.kernel.sql import Database
from tests import counter
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db)


@pytest.fixture(scope="module")
async def elsewhere(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    """An associate of the shop's other store."""
    return await sign_in(http, services, shop, store=1)


async def test_any_store_finds_an_order_however_its_number_is_typed(
    db: Database, shop: Shop, elsewhere: Tablet, back_office: httpx.AsyncClient
) -> None:
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    number = made.head.number.lower().replace("0", "o")
    answer = await elsewhere.get(f"/orders/{number[:3]}-{number[3:]}")
    assert answer.status_code == 200, answer.text
    order = answer.json()
    assert (order["id"], order["state"]) == (str(made.id), "placed")
    assert order["fulfillments"][0]["location_id"] == str(shop.stores[0].location_id)
    assert "Ana" not in answer.text
    assert "ana@example.com" not in answer.text
    entries = (await back_office.get("/v1/backoffice/staff-record")).json()["items"]
    seen = [each for each in entries if each["subject"] == f"order:{made.id}"]
    assert [(each["action"], each["actor"]) for each in seen] == [
        ("order.viewed", f"associate:{elsewhere.associate_id}")
    ]


async def test_unknown_numbers_are_not_found(
    elsewhere: Tablet, storefront: httpx.AsyncClient
) -> None:
    assert told(await elsewhere.get("/orders/NOTHING")) == (404, "not_found")
    assert told(await storefront.get("/v1/store/orders/NOTHING")) == (403, "permission_denied")
