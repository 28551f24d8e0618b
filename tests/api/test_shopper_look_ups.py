"""Looking shoppers up over HTTP: masked, limited, on record, and of no use for listing people."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import clienteling
from commerce.clienteling.searches import ByPhone
from commerce.fulfillment import pickup_code
from commerce.kernel import ids
from commerce.kernel.sql import Database
from tests import counter
from tests.looking import (
    candidates,
    known,
    look_up,
    merged,
    open_view,
    ordered,
)
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told

LOOK_UPS = "/v1/backoffice/shopper-look-ups"


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


def surname() -> str:
    """A family name that nobody else has."""
    return "".join(chr(ord("a") + digit) for digit in uuid4().bytes[:12] for digit in [digit % 26])


async def seen_by_office(back_office: httpx.AsyncClient, tablet: Tablet) -> list[dict[str, Any]]:
    """The look-ups of one associate, as the back office reads them."""
    answer = await back_office.get(LOOK_UPS, params={"associate_id": tablet.associate_id})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_shopper_is_found_by_what_they_show_or_tell_in_full(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services)
    await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    code = (await http.get("/v1/profile/code", headers=ana.headers)).json()["code"]
    masked = []
    for search in (
        {"kind": "profile_code", "profile_code": code},
        {"kind": "loyalty_code", "loyalty_code": ana.loyalty_code.lower()},
        {"kind": "phone", "phone": ana.phone},
        {"kind": "email", "email": ana.email.upper()},
    ):
        (found,) = await candidates(eva, **search)
        masked.append({name: part for name, part in found.items() if name != "id"})
        del masked[-1]["expires_at"]
    expected = {
        "given_name": "Ana", "initial": "T", "phone_ending": ana.phone[-2:],
        "city": "Ciudad de México",
    }  # fmt: skip
    assert masked == [expected] * 4


async def test_whether_somebody_exists_changes_neither_the_shape_nor_the_work(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services)
    found = (await look_up(eva, kind="phone", phone=ana.phone)).json()
    nobody = await look_up(eva, kind="phone", phone="+525599999999")
    assert nobody.status_code == 201
    assert nobody.json().keys() == found.keys()
    assert nobody.json() | {"id": None} == {"id": None, "candidates": [], "more": False}

    statements = []
    for phone in (ana.phone, "+525599999999"):
        async with services.database.transaction() as conn:
            await clienteling.look_up(
                conn, counter.associate(shop), ByPhone(phone), purpose="pickup", reason="Here",
                secret=services.secret, now=services.now(),
            )  # fmt: skip
        statements.append(conn.statements)
    assert statements[0] == statements[1]


async def test_what_is_nearly_a_number_or_an_address_finds_nobody(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services)
    near = f"{ana.phone[:-1]}{(int(ana.phone[-1]) + 1) % 10}"
    assert await candidates(eva, kind="phone", phone=near) == []
    assert await candidates(eva, kind="email", email=ana.email[1:]) == []


async def test_a_name_brings_five_people_at_most_masked_and_says_that_there_are_more(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    family = surname()
    for number in range(7):
        await known(http, services, name=f"José {family} {number}")
    answer = (await look_up(eva, kind="name", name=f"  jose {family.upper()} ")).json()
    assert answer["more"] is True
    assert len(answer["candidates"]) == 5
    assert {each["given_name"] for each in answer["candidates"]} == {"José"}
    assert len({each["id"] for each in answer["candidates"]}) == 5
    (one,) = await candidates(eva, kind="name", name=f"José {family} 3")
    assert one["initial"] == "3"


async def test_a_merged_person_is_one_candidate_under_every_address(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    family = surname()
    ana = await known(http, services, name=f"Ana {family}")
    same = await known(http, services, name=f"Ana {family}")
    await merged(services, same.id, ana.id)
    (named,) = await candidates(eva, kind="name", name=f"Ana {family}")
    (called,) = await candidates(eva, kind="phone", phone=same.phone)
    assert named["phone_ending"] == called["phone_ending"] == ana.phone[-2:]
    assert (await open_view(eva, called["id"])).status_code == 201
    assert len(await ana.looks()) == 1


@pytest.mark.parametrize(
    ("search", "status", "code", "path"),
    [
        ({"kind": "name", "name": "Torres"}, 422, "invalid_field", "/search/name"),
        ({"kind": "name", "name": "A B C"}, 422, "invalid_field", "/search/name"),
        ({"kind": "phone", "phone": "12"}, 422, "invalid_field", "/search/phone"),
        ({"kind": "email", "email": "%"}, 422, "invalid_field", "/search/email"),
        ({"kind": "order"}, 400, "invalid_request", "/search/order_number"),
        ({"kind": "all"}, 400, "invalid_request", "/search/kind"),
        ({"kind": "profile_code", "profile_code": "FORGED"}, 422, "profile_code_refused", None),
    ],
)
async def test_what_cannot_be_searched_for_is_refused_and_not_on_record(
    back_office: httpx.AsyncClient, eva: Tablet, search: dict[str, str], status: int, code: str,
    path: str | None,
) -> None:  # fmt: skip
    refused = await look_up(eva, **search)
    assert told(refused) == (status, code)
    assert refused.json().get("path") == path
    assert await seen_by_office(back_office, eva) == []


@pytest.mark.parametrize("wrong", [{"purpose": "curiosity"}, {"purpose": None}, {"reason": " "}])
async def test_a_look_up_without_purpose_or_reason_is_refused(
    back_office: httpx.AsyncClient, eva: Tablet, wrong: dict[str, str]
) -> None:
    search = {"kind": "phone", "phone": "+525511111111"}
    right: dict[str, Any] = {"search": search, "purpose": "pickup", "reason": "Here"}
    assert told(await eva.post("/shopper-look-ups", **(right | wrong))) == (400, "invalid_request")
    assert await seen_by_office(back_office, eva) == []


async def test_an_order_of_another_store_is_found_only_with_the_code_of_its_pickup(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services)
    here = await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    there = await ordered(services, shop, ana.id, (0, 1), total_minor=10_000, store=1)
    code = pickup_code(services.secret, there.fulfillments[0].id)

    def by(number: str, **more: str) -> dict[str, str]:
        return {"kind": "order", "order_number": number, **more}

    assert len(await candidates(eva, **by(here.head.number.lower()))) == 1
    assert await candidates(eva, **by(there.head.number)) == []
    assert await candidates(eva, **by(there.head.number, pickup_code="0" * 6)) == []
    (found,) = await candidates(eva, **by(there.head.number, pickup_code=code))
    view = (await open_view(eva, found["id"], "return")).json()
    assert view["shopper"]["in_hand"]["order"]["number"] == there.head.number
    assert view["shopper"]["orders"] is None


async def test_look_ups_are_on_record_also_fruitless_ones_without_what_was_searched_for(
    http: httpx.AsyncClient, services: Services, shop: Shop, back_office: httpx.AsyncClient,
    eva: Tablet,
) -> None:  # fmt: skip
    ana = await known(http, services)
    await look_up(eva, kind="email", email="nobody@example.com")
    await look_up(eva, "follow_up", kind="phone", phone=ana.phone)
    newest, oldest = await seen_by_office(back_office, eva)
    assert [(each["kind"], each["purpose"], each["found"]) for each in (newest, oldest)] == [
        ("phone", "follow_up", 1), ("email", "serve_in_store", 0),
    ]  # fmt: skip
    assert newest["reason"] == "Stands at the counter"
    assert newest["location_id"] == str(shop.stores[0].location_id)
    at_store = await back_office.get(
        LOOK_UPS, params={"location_id": newest["location_id"], "limit": 1}
    )
    assert at_store.json()["items"] == [newest]
    async with services.database.pool.acquire() as driver:
        rows = await driver.fetch(
            "SELECT l::text FROM shopper_look_up AS l WHERE associate_id = $1",
            UUID(eva.associate_id),
        )
    stored = " ".join(row[0] for row in rows)
    assert len(rows) == 2
    assert ana.phone not in stored
    assert "nobody@example.com" not in stored


@pytest.mark.parametrize(("role", "limit"), [("associate", 30), ("manager", 60)])
async def test_who_looks_up_too_often_is_told_when_to_come_back(
    http: httpx.AsyncClient, services: Services, shop: Shop, back_office: httpx.AsyncClient,
    role: str, limit: int,
) -> None:  # fmt: skip
    eva = await sign_in(http, services, shop, role=role)
    await looked_up(services, limit - 1, associate_id=UUID(eva.associate_id))
    assert await candidates(eva, kind="phone", phone="+525599999999") == []
    refused = await look_up(eva, kind="phone", phone="+525599999999")
    assert told(refused) == (429, "look_up_limit_reached")
    assert (refused.json()["of"], refused.json()["limit"]) == ("associate", limit)
    assert 2_300 < int(refused.headers["Retry-After"]) <= 2_401
    answer = await back_office.get(
        LOOK_UPS, params={"associate_id": eva.associate_id, "limit": 200}
    )
    assert len(answer.json()["items"]) == limit
    other = await sign_in(http, services, shop)
    assert await candidates(other, kind="phone", phone="+525599999999") == []


async def test_a_store_has_a_limit_that_all_of_its_associates_share(
    http: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database, skus=0)
    store = shop.stores[0].location_id
    eva = await sign_in(http, services, shop)
    await looked_up(services, 300, location_id=store)
    refused = await look_up(eva, kind="phone", phone="+525599999999")
    assert told(refused) == (429, "look_up_limit_reached")
    assert (refused.json()["of"], refused.json()["limit"]) == ("store", 300)
    elsewhere = await sign_in(http, services, shop, store=1)
    assert await candidates(elsewhere, kind="phone", phone="+525599999999") == []


async def looked_up(
    services: Services, times: int, *, associate_id: UUID | None = None,
    location_id: UUID | None = None,
) -> None:  # fmt: skip
    """So many look-ups of twenty minutes ago."""
    async with services.database.pool.acquire() as driver:
        await driver.execute(
            "INSERT INTO shopper_look_up SELECT gen_random_uuid(), $1, $1, $2, 'phone', 'pickup',"
            " 'filled', 0, $3::timestamptz - interval '20 minutes' FROM generate_series(1, $4)",
            associate_id or ids.uuid7(), location_id or ids.uuid7(), services.now(), times,
        )  # fmt: skip
