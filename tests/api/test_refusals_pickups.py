"""What pickups, sign-ins and keys refuse: steps out of order, somebody else's store."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services
from commerce import access
from commerce.access import OPERATOR
from tests.desk import refusal
from tests.everyone import headers_of
from tests.ordering import place
from tests.shop import Shop, make_shop
from tests.tablet import PIN, Tablet, sign_in, told

CANCEL = {"reason": "shopper_asked"}
IN_CASH = {"kind": "cash", "tendered": {"amount_minor": 10_000, "currency": "MXN"}}


@pytest.fixture(scope="module")
async def shop(services: Services) -> Shop:
    return await make_shop(services.database, skus=1, stores=2, on_hand=100)


@pytest.fixture(scope="module")
async def tablet(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop)


class Pickup:
    """An order's pickup, and the associate who works on it."""

    def __init__(self, tablet: Tablet, placed: Any) -> None:
        self.tablet, self.placed = tablet, placed
        self.path = f"/pickups/{placed['order']['fulfillments'][0]['id']}"

    async def start(self) -> httpx.Response:
        """Fetch it."""
        return await self.tablet.post(f"{self.path}/start")

    async def ready(self) -> httpx.Response:
        """Put it where it waits."""
        return await self.tablet.post(f"{self.path}/ready", staging_location="A-12")

    async def cancel(self) -> httpx.Response:
        """Call it off."""
        return await self.tablet.post(f"{self.path}/cancel", **CANCEL)

    async def state(self) -> str:
        """How it stands."""
        shown = (await self.tablet.get(self.path)).json()
        return str(shown["pickup"]["state"])

    async def collected(self) -> None:
        """Hand it over."""
        await self.start()
        await self.ready()
        given = await self.tablet.post(
            f"{self.path}/hand-over", code=self.placed["pickup_code"], tender=IN_CASH
        )
        assert given.status_code == 200, given.text


@pytest.fixture
async def pickup(storefront: httpx.AsyncClient, shop: Shop, tablet: Tablet) -> Pickup:
    return Pickup(tablet, await place(storefront, shop))


async def test_a_pickup_is_ready_only_after_it_was_fetched(pickup: Pickup) -> None:
    refused = await pickup.ready()
    assert (told(refused), refused.json()["state"]) == ((409, "wrong_state"), "requested")
    assert await pickup.state() == "requested"


async def test_a_pickup_that_was_called_off_is_not_fetched(pickup: Pickup) -> None:
    assert (await pickup.cancel()).status_code == 200
    refused = await pickup.start()
    assert (told(refused), refused.json()["state"]) == ((409, "wrong_state"), "cancelled")
    assert await pickup.state() == "cancelled"


async def test_what_was_handed_over_is_neither_fetched_nor_called_off(
    pickup: Pickup, storefront: httpx.AsyncClient
) -> None:
    await pickup.collected()
    for refused in (await pickup.start(), await pickup.ready(), await pickup.cancel()):
        assert told(refused) == (409, "already_collected")
        assert refused.json()["handed_over_by"] == f"associate:{pickup.tablet.associate_id}"
    assert await pickup.state() == "collected"
    order_id, token = pickup.placed["order"]["id"], pickup.placed["order_token"]
    called_off = await storefront.post(
        f"/v1/orders/{order_id}/cancel",
        json={},
        headers={"Order-Token": token, "Idempotency-Key": uuid4().hex},
    )
    assert (told(called_off), called_off.json()["state"]) == ((409, "wrong_state"), "completed")


async def test_nobody_signs_in_at_a_store_where_they_do_not_work(
    http: httpx.AsyncClient, services: Services, shop: Shop
) -> None:
    here, there = (store.location_id for store in shop.stores)
    key = await headers_of(services, "tablet", there)
    code = await employed(services, shop)
    body = {"associate_code": code, "pin": PIN}
    refused = await http.post("/v1/store/sessions", json=body, headers=key)
    assert (refusal(refused), refused.json()["location_id"]) == (
        (403, "store_not_allowed"), str(there),
    )  # fmt: skip
    own = await headers_of(services, "tablet", here)
    assert (await http.post("/v1/store/sessions", json=body, headers=own)).status_code == 201


async def employed(services: Services, shop: Shop) -> str:
    """Somebody who works at the first store; their code."""
    code = f"A{uuid4().hex[:10]}"
    async with services.database.transaction() as conn:
        await access.put_associate(
            conn, OPERATOR, code=code, name="Eva", role="associate", pin=PIN,
            location_ids=[shop.stores[0].location_id], now=services.now(),
        )  # fmt: skip
    return code


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"kind": "tablet", "origins": ["https://shop.example"]}, "/origins"),
        ({"kind": "storefront", "location_id": str(uuid4())}, "/location_id"),
        ({"kind": "tablet", "location_id": str(uuid4())}, "/location_id"),
    ],
    ids=["origins of a tablet", "store of a web shop", "store that is none"],
)
async def test_a_key_that_makes_no_sense_is_not_made(
    back_office: httpx.AsyncClient, given: dict[str, Any], path: str
) -> None:
    name = f"senseless {uuid4().hex}"
    made = await back_office.post(
        "/v1/backoffice/keys", json={"name": name, "channel": "store", **given}
    )
    assert (refusal(made), made.json()["path"]) == ((422, "invalid_field"), path)
    keys = (await back_office.get("/v1/backoffice/keys")).json()["items"]
    assert name not in {key["name"] for key in keys}
