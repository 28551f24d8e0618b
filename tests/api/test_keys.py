"""The back office's routes for keys, associates and the staff record."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.paging import all_of

MakeClient = Callable[..., httpx.AsyncClient]
KEYS = "/v1/backoffice/keys"


async def create(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    body = {"kind": "storefront", "name": f"Shop {uuid4().hex}", "channel": "web", **fields}
    answer = await http.post(KEYS, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def revoke(http: httpx.AsyncClient, key_id: str, key: str) -> httpx.Response:
    return await http.post(f"{KEYS}/{key_id}/revoke", headers={"Idempotency-Key": key})


async def test_a_keys_secret_is_shown_once(back_office: httpx.AsyncClient) -> None:
    made = await create(back_office, origins=["https://shop.example"])
    listed = await back_office.get(KEYS)
    assert made["secret"].startswith("pk_")
    assert made["key"] in listed.json()["items"]
    assert made["secret"] not in listed.text
    assert made["key"]["hint"] == made["secret"][-4:]


async def test_a_revoked_key_is_out_at_once_and_revoking_again_says_the_same(
    back_office: httpx.AsyncClient, client_of: MakeClient
) -> None:
    made = await create(back_office)
    key_id, idempotency_key = made["key"]["id"], uuid4().hex
    async with client_of(made["secret"]) as http:
        assert (await http.get("/v1/profile")).json()["code"] == "session_required"
        revoked = await revoke(back_office, key_id, idempotency_key)
        assert (await http.get("/v1/profile")).json()["code"] == "api_key_invalid"
    again = await revoke(back_office, key_id, idempotency_key)
    assert revoked.json()["revoked_at"] is not None
    assert again.content == revoked.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_rotated_key_lives_for_its_grace(
    back_office: httpx.AsyncClient, client_of: MakeClient
) -> None:
    made = await create(back_office)
    rotated = await back_office.post(
        f"{KEYS}/{made['key']['id']}/rotate", json={"grace_seconds": 3600}
    )
    assert rotated.status_code == 201
    assert rotated.json()["ending"]["id"] == made["key"]["id"]
    assert rotated.json()["ending"]["expires_at"] is not None
    assert rotated.json()["key"]["name"] == made["key"]["name"]
    for secret in (made["secret"], rotated.json()["secret"]):
        async with client_of(secret) as http:
            assert (await http.get("/v1/profile")).json()["code"] == "session_required"


async def test_rotating_without_grace_ends_the_old_key(
    back_office: httpx.AsyncClient, client_of: MakeClient
) -> None:
    made = await create(back_office)
    await back_office.post(f"{KEYS}/{made['key']['id']}/rotate", json={"grace_seconds": 0})
    async with client_of(made["secret"]) as http:
        assert (await http.get("/v1/profile")).json()["code"] == "api_key_invalid"


async def test_a_key_that_is_not_there_is_not_found(back_office: httpx.AsyncClient) -> None:
    answer = await revoke(back_office, str(uuid4()), uuid4().hex)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"kind": "root"}, "/kind"),
        ({"name": ""}, "/name"),
        ({"origins": ["https://shop.example/path"]}, "/origins/0"),
        ({"requests_per_minute": 0}, "/requests_per_minute"),
        ({"expires_at": "2026-12-01T00:00:00"}, "/expires_at"),
        ({"secret": "mine"}, "/secret"),
    ],
)
async def test_a_wrong_field_is_named(
    back_office: httpx.AsyncClient, wrong: dict[str, Any], path: str
) -> None:
    body = {"kind": "storefront", "name": "Shop", "channel": "web", **wrong}
    answer = await back_office.post(KEYS, json=body)
    assert (answer.status_code, answer.json()["path"]) == (400, path)


async def test_keys_are_for_the_back_office(storefront: httpx.AsyncClient) -> None:
    for answer in (await storefront.get(KEYS), await storefront.post(KEYS, json={})):
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_the_staff_record_names_each_write_once_newest_first_in_pages(
    back_office: httpx.AsyncClient,
) -> None:
    made = [await create(back_office) for _ in range(3)]
    subjects: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        query = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = (await back_office.get("/v1/backoffice/staff-record", params=query)).json()
        (entry,) = page["items"]
        subjects.append(entry["subject"])
        assert entry["action"] == "key.created"
        assert entry["actor"].startswith("key:")
        cursor = page["next_cursor"]
    assert subjects == [f"key:{each['key']['id']}" for each in reversed(made)]


async def test_a_cursor_that_we_did_not_make_is_refused(back_office: httpx.AsyncClient) -> None:
    for cursor in ("x", "bm9uc2Vuc2U", "%00"):
        answer = await back_office.get("/v1/backoffice/staff-record", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["path"]) == (400, "?cursor")


async def test_associates_are_put_and_listed_without_their_pins(
    back_office: httpx.AsyncClient,
) -> None:
    code = f"ZOE-{uuid4().hex[:8]}"
    person = {"name": "Zoe", "role": "manager", "location_ids": [], "pin": "98765432"}
    put = await back_office.put(f"/v1/backoffice/associates/{code}", json=person)
    same = await back_office.put(f"/v1/backoffice/associates/{code}", json=person)
    assert put.status_code == 200
    assert same.json() == put.json()
    assert "98765432" not in put.text
    listed = await all_of(back_office, "/v1/backoffice/associates")
    assert put.json() in listed
    assert not any("pin" in each for each in listed)


@pytest.mark.parametrize("pin", ["123", "123456789", "12a4", "1234\n"])
async def test_a_pin_is_four_to_eight_digits(back_office: httpx.AsyncClient, pin: str) -> None:
    answer = await back_office.put(
        "/v1/backoffice/associates/X",
        json={"name": "X", "role": "associate", "location_ids": [], "pin": pin},
    )
    assert (answer.status_code, answer.json()["path"]) == (400, "/pin")
    assert pin not in answer.text
