"""The shopper's profile over the API: told, changed, other addresses, the code for the counter."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import bindparam, select

from api.services import Services
from commerce import access, customers
from commerce.customers import ProfileCodeRefused
from commerce.customers.profile import CODE_LIFETIME
from commerce.kernel.sql import Database, Query
from commerce.tables import message
from tests.api.conftest import MakeKey
from tests.persons import erase, make_shopper

MakeClient = Callable[..., httpx.AsyncClient]
SECRET = b"installation secret of this test"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

BODY = Query(
    select(message.c.body)
    .where(message.c.recipient == bindparam("to"))
    .order_by(message.c.id.desc())
    .limit(1),
    str,
)


class Ana:
    """A shopper who has signed in."""

    def __init__(self, http: httpx.AsyncClient, shopper_id: UUID, email: str) -> None:
        self.http = http
        self.id = shopper_id
        self.email = email


@pytest.fixture
async def ana(services: Services, make_key: MakeKey, client_of: MakeClient) -> AsyncIterator[Ana]:
    known = await make_shopper(services.database, name="Ana")
    assert known.email is not None
    secret = await signed_in(services, make_key, known.id)
    async with client_of(*secret) as http:
        yield Ana(http, known.id, known.email)


async def signed_in(services: Services, make_key: MakeKey, shopper_id: UUID) -> tuple[str, str]:
    """The secrets of a key and of a session of this shopper."""
    key, now = await make_key("storefront"), services.now()
    async with services.database.transaction() as conn:
        who = await access.authenticate(conn, key_secret=key, session_secret=None, now=now)
        started = await access.start_shopper_session(conn, who, shopper_id, now=now)
    return key, started.secret


async def code_to(db: Database, recipient: str) -> str:
    async with db.reading() as conn:
        found = re.search(r"\d{6}", await conn.one(BODY, to=recipient))
    assert found is not None
    return found.group()


async def test_a_shopper_tells_what_the_profile_shows(ana: Ana) -> None:
    before = (await ana.http.get("/v1/profile")).json()
    assert (before["ids"], before["emails"], before["merges"]) == ([str(ana.id)], [ana.email], [])
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{10}", before["loyalty_code"])
    changed = await ana.http.patch(
        "/v1/profile",
        json={
            "name": "Ana Torres",
            "locale": "en",
            "time_zone": "America/Mexico_City",
            "sizes": {"tops": "M", "shoes": "38"},
            "preferences": {"materials": "linen"},
        },
    )
    assert changed.status_code == 200
    told = {
        "name": "Ana Torres", "locale": "en", "time_zone": "America/Mexico_City",
        "sizes": {"tops": "M", "shoes": "38"}, "preferences": {"materials": "linen"},
    }  # fmt: skip
    assert changed.json() == before | told
    again = await ana.http.patch("/v1/profile", json={"sizes": {"tops": None, "hats": "57"}})
    assert again.json()["sizes"] == {"shoes": "38", "hats": "57"}
    assert again.json()["name"] == "Ana Torres"
    assert (await ana.http.get("/v1/profile")).json() == again.json()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"time_zone": "Mexico"}, 200, None),
        ({"time_zone": "Roma Norte"}, 422, "invalid_field"),
        ({"time_zone": "../etc/passwd"}, 422, "invalid_field"),
        ({"sizes": {"weight": "60"}}, 400, "invalid_request"),
        ({"preferences": {"fit": "x" * 201}}, 400, "invalid_request"),
        ({"name": ""}, 400, "invalid_request"),
        ({"email": "ana@example.com"}, 400, "invalid_request"),
    ],
)
async def test_what_nobody_knows_changes_nothing(
    ana: Ana, body: dict[str, object], status: int, code: str | None
) -> None:
    if body == {"time_zone": "Mexico"}:
        body = {"time_zone": "Mexico/General"}
    before = (await ana.http.get("/v1/profile")).json()
    answer = await ana.http.patch("/v1/profile", json=body)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    if code is not None:
        assert (await ana.http.get("/v1/profile")).json() == before


async def test_an_address_is_added_by_who_receives_its_code(ana: Ana, services: Services) -> None:
    phone = f"+5255{uuid4().int % 10**8:08}"
    asked = await ana.http.post("/v1/profile/addresses", json={"phone": phone})
    assert asked.status_code == 202
    code = await code_to(services.database, phone)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    path = f"/v1/profile/addresses/{asked.json()['address_change_id']}/confirm"
    refused = await ana.http.post(path, json={"code": wrong})
    assert (refused.status_code, refused.json()["code"]) == (401, "code_refused")
    assert (await ana.http.get("/v1/profile")).json()["phones"] == []
    added = await ana.http.post(path, json={"code": code})
    assert (added.status_code, added.json()["phones"]) == (200, [phone])
    again = await ana.http.post(path, json={"code": code})
    assert (again.status_code, again.json()["code"]) == (401, "code_refused")
    too_soon = await ana.http.post("/v1/profile/addresses", json={"phone": phone})
    assert (too_soon.status_code, too_soon.json()["code"]) == (429, "too_many_codes")
    neither = await ana.http.post("/v1/profile/addresses", json={})
    assert (neither.status_code, neither.json()["code"]) == (422, "invalid_field")


async def test_a_code_for_an_address_signs_nobody_in_and_helps_nobody_else(
    ana: Ana,
    services: Services,
    storefront: httpx.AsyncClient,
    make_key: MakeKey,
    client_of: MakeClient,
) -> None:
    email = f"{uuid4().hex}@example.com"
    asked = (await ana.http.post("/v1/profile/addresses", json={"email": email})).json()
    code, change_id = await code_to(services.database, email), asked["address_change_id"]
    session = await storefront.post("/v1/sessions", json={"sign_in_id": change_id, "code": code})
    assert (session.status_code, session.json()["code"]) == (401, "code_refused")
    luz = await make_shopper(services.database)
    async with client_of(*await signed_in(services, make_key, luz.id)) as other:
        stolen = await other.post(f"/v1/profile/addresses/{change_id}/confirm", json={"code": code})
    assert (stolen.status_code, stolen.json()["code"]) == (401, "code_refused")
    own = await ana.http.post(f"/v1/profile/addresses/{change_id}/confirm", json={"code": code})
    assert own.json()["emails"] == [email]


async def test_an_address_of_somebody_else_is_refused(ana: Ana, services: Services) -> None:
    luz = await make_shopper(services.database)
    asked = (await ana.http.post("/v1/profile/addresses", json={"email": luz.email})).json()
    code = await code_to(services.database, luz.email or "")
    path = f"/v1/profile/addresses/{asked['address_change_id']}/confirm"
    refused = await ana.http.post(path, json={"code": code})
    assert (refused.status_code, refused.json()["code"]) == (409, "address_taken")
    assert (await ana.http.get("/v1/profile")).json()["emails"] == [ana.email]


async def test_an_erased_profile_takes_nothing_in(ana: Ana, services: Services) -> None:
    email = f"{uuid4().hex}@example.com"
    asked = (await ana.http.post("/v1/profile/addresses", json={"email": email})).json()
    code = await code_to(services.database, email)
    await erase(services.database, ana.id)
    path = f"/v1/profile/addresses/{asked['address_change_id']}/confirm"
    for answer in (
        await ana.http.post(path, json={"code": code}),
        await ana.http.patch("/v1/profile", json={"name": "Ana"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    known = (await ana.http.get("/v1/profile")).json()
    assert (known["name"], known["emails"]) == (None, [])


async def test_the_code_for_the_counter_is_a_picture_that_finds_the_shopper(
    ana: Ana, services: Services
) -> None:
    answer = (await ana.http.get("/v1/profile/code")).json()
    assert answer["svg"].startswith("<svg ")
    now = services.now()
    assert customers.shopper_of_code(services.secret, answer["code"], now=now) == ana.id


def test_a_forged_or_an_old_code_finds_nobody() -> None:
    shopper_id = uuid4()
    code = customers.profile_code(SECRET, shopper_id, now=NOW)
    assert customers.shopper_of_code(SECRET, f" {code.text.lower()} ", now=NOW) == shopper_id
    assert code.expires_at == NOW + CODE_LIFETIME
    last = code.expires_at - timedelta(seconds=1)
    assert customers.shopper_of_code(SECRET, code.text, now=last) == shopper_id
    foreign = customers.profile_code(b"another secret", shopper_id, now=NOW).text
    other = customers.profile_code(SECRET, uuid4(), now=NOW).text
    spliced = code.text[:20] + other[20:]
    for forged in (foreign, spliced, code.text[:-2], code.text + "AA", "", "1", "ü", "A" * 400):
        with pytest.raises(ProfileCodeRefused):
            customers.shopper_of_code(SECRET, forged, now=NOW)
    with pytest.raises(ProfileCodeRefused):
        customers.shopper_of_code(SECRET, code.text, now=code.expires_at)
