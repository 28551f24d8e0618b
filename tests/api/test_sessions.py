"""Signing in over the API: a shopper by code, an associate by PIN, and signing out."""

import re
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import bindparam, select

from api.services import Services
from commerce.kernel.sql import Database, Query
from commerce.tables import message
from tests.api.conftest import MakeKey
from tests.shop import Shop, make_shop

MakeClient = Callable[..., httpx.AsyncClient]
PIN = "4711"

MESSAGE = Query(
    select(message.c.body)
    .where(message.c.recipient == bindparam("to"))
    .order_by(message.c.id.desc())
    .limit(1),
    str,
)


class AtStore(msgspec.Struct):
    """A store's tablet, and an associate who works there."""

    tablet: str
    code: str
    shop: Shop


@pytest.fixture(scope="module")
async def at_store(
    services: Services, back_office: httpx.AsyncClient, make_key: MakeKey
) -> AtStore:
    shop = await make_shop(services.database, skus=0, stores=2)
    code, store = f"ANA-{uuid4().hex[:6]}", shop.stores[0].location_id
    put = await back_office.put(
        f"/v1/backoffice/associates/{code}",
        json={"name": "Ana", "role": "associate", "pin": PIN, "location_ids": [str(store)]},
    )
    assert put.status_code == 200
    return AtStore(await make_key("tablet", location_id=store), code, shop)


@pytest.fixture
async def tablet(at_store: AtStore, client_of: MakeClient) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(at_store.tablet) as made:
        yield made


async def code_to(db: Database, recipient: str) -> str:
    async with db.reading() as conn:
        found = re.search(r"\d{6}", await conn.one(MESSAGE, to=recipient))
    assert found is not None
    return found.group()


async def test_a_shopper_signs_in_sees_the_profile_and_signs_out(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    email = f"ana-{uuid4().hex}@example.com"
    asked = await storefront.post(
        "/v1/sign-ins", json={"email": email}, headers={"Accept-Language": "es"}
    )
    assert asked.status_code == 202
    assert asked.json().keys() == {"sign_in_id", "expires_at"}
    started = await storefront.post(
        "/v1/sessions",
        json={
            "sign_in_id": asked.json()["sign_in_id"],
            "code": await code_to(services.database, email),
        },
    )
    assert started.status_code == 201
    bearer = {"Authorization": f"Bearer {started.json()['secret']}"}
    profile = await storefront.get("/v1/profile", headers=bearer)
    shown = started.json()["shopper"]
    assert {name: profile.json()[name] for name in shown} == shown
    assert profile.json()["email"] == email
    assert (await storefront.delete("/v1/sessions/current", headers=bearer)).status_code == 204
    over = await storefront.get("/v1/profile", headers=bearer)
    assert (over.status_code, over.json()["code"]) == (401, "session_invalid")


async def test_the_profile_is_for_who_signed_in(storefront: httpx.AsyncClient) -> None:
    answer = await storefront.get("/v1/profile")
    assert (answer.status_code, answer.json()["code"]) == (401, "session_required")


async def test_a_wrong_code_is_refused_and_counted(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    email = f"ana-{uuid4().hex}@example.com"
    asked = await storefront.post("/v1/sign-ins", json={"email": email})
    code = await code_to(services.database, email)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    sign_in_id = asked.json()["sign_in_id"]
    for given in [wrong] * 5 + [code]:
        refused = await storefront.post(
            "/v1/sessions", json={"sign_in_id": sign_in_id, "code": given}
        )
        assert (refused.status_code, refused.json()["code"]) == (401, "code_refused")


async def test_asking_for_codes_has_a_pace(storefront: httpx.AsyncClient) -> None:
    email = f"ana-{uuid4().hex}@example.com"
    assert (await storefront.post("/v1/sign-ins", json={"email": email})).status_code == 202
    refused = await storefront.post("/v1/sign-ins", json={"email": email})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_codes")
    assert 1 <= int(refused.headers["retry-after"]) <= 31


async def test_neither_address_nor_number_is_refused(storefront: httpx.AsyncClient) -> None:
    refused = await storefront.post("/v1/sign-ins", json={})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field")


async def test_an_associate_signs_in_at_the_tablets_store(
    tablet: httpx.AsyncClient, at_store: AtStore
) -> None:
    store = str(at_store.shop.stores[0].location_id)
    alone = await tablet.get("/v1/store/sessions/current")
    assert (alone.status_code, alone.json()["code"]) == (401, "session_required")
    started = await tablet.post(
        "/v1/store/sessions", json={"associate_code": at_store.code, "pin": PIN}
    )
    assert started.status_code == 201
    assert started.json()["location_id"] == store
    bearer = {"Authorization": f"Bearer {started.json()['secret']}"}
    signed_in = (await tablet.get("/v1/store/sessions/current", headers=bearer)).json()
    assert (signed_in["role"], signed_in["location_id"]) == ("associate", store)
    assert "pickup.hand_over" in signed_in["permissions"]
    assert (await tablet.delete("/v1/sessions/current", headers=bearer)).status_code == 204
    over = await tablet.get("/v1/store/sessions/current", headers=bearer)
    assert over.json()["code"] == "session_invalid"


async def test_wrong_pin_and_unknown_code_sound_the_same(
    tablet: httpx.AsyncClient, at_store: AtStore
) -> None:
    answers = [
        await tablet.post("/v1/store/sessions", json={"associate_code": code, "pin": "0000"})
        for code in (at_store.code, "nobody")
    ]
    bodies = [msgspec.json.decode(answer.content) for answer in answers]
    for body in bodies:
        del body["request_id"]
    assert bodies[0] == bodies[1]
    assert bodies[0]["code"] == "sign_in_refused"


async def test_a_tablet_signs_nobody_in_at_another_store(
    tablet: httpx.AsyncClient, at_store: AtStore
) -> None:
    other = str(at_store.shop.stores[1].location_id)
    refused = await tablet.post(
        "/v1/store/sessions",
        json={"associate_code": at_store.code, "pin": PIN, "location_id": other},
    )
    assert (refused.status_code, refused.json()["path"]) == (422, "/location_id")


async def test_a_storefront_key_signs_no_associate_in(
    storefront: httpx.AsyncClient, at_store: AtStore
) -> None:
    refused = await storefront.post(
        "/v1/store/sessions", json={"associate_code": at_store.code, "pin": PIN}
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


async def test_a_change_by_the_back_office_ends_the_session(
    tablet: httpx.AsyncClient, at_store: AtStore, back_office: httpx.AsyncClient
) -> None:
    code = f"LUIS-{uuid4().hex[:6]}"
    person = {
        "name": "Luis",
        "role": "associate",
        "pin": PIN,
        "location_ids": [str(at_store.shop.stores[0].location_id)],
    }
    await back_office.put(f"/v1/backoffice/associates/{code}", json=person)
    started = await tablet.post("/v1/store/sessions", json={"associate_code": code, "pin": PIN})
    bearer = {"Authorization": f"Bearer {started.json()['secret']}"}
    assert (await tablet.get("/v1/store/sessions/current", headers=bearer)).status_code == 200
    await back_office.put(f"/v1/backoffice/associates/{code}", json={**person, "active": False})
    over = await tablet.get("/v1/store/sessions/current", headers=bearer)
    assert over.json()["code"] == "session_invalid"
