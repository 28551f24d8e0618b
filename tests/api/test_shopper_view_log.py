"""Who looked at whom: as the shopper reads it, and as the back office does."""

from typing import Any

import httpx
import pytest

from api.services import Services
from commerce.kernel.sql import Database
from tests.looking import PERSONAL, REASON, known, merged, viewed
from tests.shop import Shop, make_shop
from tests.statements import statements
from tests.tablet import Tablet, sign_in

VIEWS = "/v1/backoffice/shopper-views"


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db)


@pytest.fixture
async def eva(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    """An associate of the first store."""
    return await sign_in(http, services, shop)


async def page(back_office: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    """The newest views."""
    answer = await back_office.get(VIEWS, params=filters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_the_shopper_reads_who_looked_where_when_and_why(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    first = await viewed(eva, ana, "pickup")
    await eva.delete(f"/shopper-views/{first['id']}")
    second = await viewed(eva, ana)
    newest, oldest = await ana.looks()
    assert [newest["id"], oldest["id"]] == [second["id"], first["id"]]
    assert oldest | {"ended_at": None} == {
        "id": first["id"],
        "associate_name": "Eva",
        "store_name": "Store 0",
        "location_id": str(shop.stores[0].location_id),
        "purpose": "pickup",
        "reason": REASON,
        "opened_at": first["opened_at"],
        "ended_at": None,
        "shown": ["in_hand.carts", "in_hand.order", "in_hand.pickups", "pickups", "profile"],
    }
    assert oldest["ended_at"] < second["opened_at"]
    assert newest["ended_at"] == second["expires_at"]


async def test_the_log_is_read_page_by_page_and_by_its_shopper_alone(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana, other = await known(http, services), await known(http, services)
    opened = [(await viewed(eva, ana))["id"] for _ in range(3)]
    first = (await http.get("/v1/profile/views?limit=2", headers=ana.headers)).json()
    rest = await http.get(
        "/v1/profile/views", params={"cursor": first["next_cursor"]}, headers=ana.headers
    )
    told = [each["id"] for each in (*first["items"], *rest.json()["items"])]
    assert told == opened[::-1]
    assert rest.json()["next_cursor"] is None
    assert await other.looks() == []


async def test_what_a_view_shows_for_the_first_time_is_on_record_then_and_once(
    http: httpx.AsyncClient, services: Services, back_office: httpx.AsyncClient, eva: Tablet
) -> None:
    ana = await known(http, services)
    view = await viewed(eva, ana, "pickup")
    await ana.allows(PERSONAL)
    for _ in range(2):
        await eva.get(f"/shopper-views/{view['id']}")
    (look,) = await page(back_office, associate_id=eva.associate_id)
    assert look["ending"] is None
    assert {"profile", "in_hand.pickups"} <= set(look["shown"])
    async with services.database.pool.acquire() as driver:
        shown = await driver.fetch(
            "SELECT shown FROM shopper_access WHERE view_id = $1 ORDER BY id", view["id"]
        )
    assert ["profile" in row["shown"] for row in shown] == [False, True]


async def test_looks_at_somebody_merged_are_told_to_the_person_they_are(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana, same = await known(http, services), await known(http, services)
    views = [(await viewed(eva, each))["id"] for each in (ana, same)]
    await merged(services, same.id, ana.id)
    assert [each["id"] for each in await ana.looks()] == views[::-1]


async def test_the_back_office_narrows_the_log_by_store_associate_and_shopper(
    http: httpx.AsyncClient, services: Services, back_office: httpx.AsyncClient, shop: Shop,
    eva: Tablet,
) -> None:  # fmt: skip
    ana, ben = await known(http, services), await known(http, services)
    elsewhere = await sign_in(http, services, shop, store=1)
    a = (await viewed(eva, ana))["id"]
    b = (await viewed(eva, ben))["id"]
    c = (await viewed(elsewhere, ana))["id"]

    async def ids_of(**filters: Any) -> list[str]:
        return [each["id"] for each in await page(back_office, **filters)]

    assert (await ids_of(limit=3)) == [c, b, a]
    assert await ids_of(associate_id=eva.associate_id) == [b, a]
    assert await ids_of(shopper_id=str(ana.id)) == [c, a]
    assert await ids_of(shopper_id=str(ana.id), associate_id=eva.associate_id) == [a]
    store = str(shop.stores[1].location_id)
    assert await ids_of(location_id=store) == [c]
    assert await ids_of(location_id=store, associate_id=eva.associate_id) == []
    (told,) = await page(back_office, location_id=store)
    assert (told["shopper_id"], told["associate_name"], told["store_name"], told["reason"]) == (
        str(ana.id), "Eva", "Store 1", REASON,
    )  # fmt: skip


def test_what_was_shown_is_only_ever_added() -> None:
    touching = {
        query.sql.split()[0]
        for query in statements().values()
        if query.writes == "shopper_access" or "UPDATE shopper_access" in query.sql
    }
    assert touching == {"INSERT"}
