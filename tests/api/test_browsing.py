"""Browsing events over the API: taken in batches, bounded, shown to their shopper only."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from api.storefront.browsing import BATCHES_PER_MINUTE
from commerce.browsing.events import MAX_EVENTS
from tests.api.test_sessions import code_to
from tests.everyone import headers_of
from tests.shop import Shop, make_shop

EVENTS = "/v1/browsing-events"
OWN = "/v1/profile/browsing"


@pytest.fixture(scope="module")
async def shop(services: Services) -> Shop:
    return await make_shop(services.database, skus=2, stores=1, on_hand=0)


@pytest.fixture
async def shopper(services: Services, shop: Shop) -> dict[str, str]:
    """What a new shopper sends."""
    return await headers_of(services, "shopper", shop.stores[0].location_id)


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def event(kind: str = "search", **fields: Any) -> dict[str, Any]:
    made = {"type": kind, "id": str(uuid4()), "at": at(seconds=5), **fields}
    return {"query": "lino", **made} if kind == "search" else made


def batch(*events: dict[str, Any], visitor: UUID | None = None) -> dict[str, Any]:
    return {
        "visitor_id": str(visitor or uuid4()),
        "session_id": str(uuid4()),
        "device": "web",
        "events": list(events) or [event()],
    }


def counts(**given: int) -> dict[str, int]:
    names = ("stored", "duplicates", "times_corrected", "not_recorded")
    return {name: given.get(name, 0) for name in names}


async def own(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    answer = await client.get(OWN, headers=headers)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_a_shopper_sees_what_every_kind_of_event_says(
    http: httpx.AsyncClient, shopper: dict[str, str], shop: Shop
) -> None:
    store, (first, second) = str(shop.stores[0].location_id), shop.skus
    told = batch(
        event("view", item=first.item_code, at=at(minutes=9)),
        event("search", query="camisa de lino"),
        event("add", sku=first.sku),
        event("remove", sku=first.sku),
        event("store_visit", location_id=store),
        event("scan", sku=second.sku, location_id=store),
        event("view", sku="not in the catalog"),
    )
    answer = await http.post(EVENTS, json=told, headers=shopper)
    assert (answer.status_code, answer.json()) == (200, counts(stored=7))
    found = await own(http, shopper)
    assert found["recording"] is True
    assert [each["item"] for each in found["viewed"]] == [second.item_code, first.item_code]
    assert [each["query"] for each in found["searches"]] == ["camisa de lino"]
    assert [each["department"] for each in found["interests"]] == ["Ropa"]
    assert [each["location_id"] for each in found["store_visits"]] == [store]


async def test_a_batch_that_comes_twice_at_once_is_stored_once(
    http: httpx.AsyncClient, shopper: dict[str, str]
) -> None:
    told = batch(*(event(query=f"word {number}") for number in range(MAX_EVENTS)))
    answers = await asyncio.gather(
        *(http.post(EVENTS, json=told, headers=shopper) for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sum(answer.json()["stored"] for answer in answers) == MAX_EVENTS
    assert sum(answer.json()["duplicates"] for answer in answers) == 3 * MAX_EVENTS


async def test_clocks_that_are_wrong_are_counted_and_put_right(
    http: httpx.AsyncClient, shopper: dict[str, str]
) -> None:
    told = batch(
        event(query="future", at=at(hours=-3)),
        event(query="past", at="1970-01-01T00:00:00Z"),
        event(query="right", at=at(hours=1)),
    )
    answer = await http.post(EVENTS, json=told, headers=shopper)
    assert answer.json() == counts(stored=3, times_corrected=2)
    times = {each["query"]: each["last_at"] for each in (await own(http, shopper))["searches"]}
    for words in ("future", "past"):
        off = datetime.now(UTC) - datetime.fromisoformat(times[words])
        assert timedelta(0) <= off < timedelta(minutes=1)


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
async def test_whoever_asks_not_to_be_tracked_is_not(
    http: httpx.AsyncClient, shopper: dict[str, str], header: str
) -> None:
    answer = await http.post(EVENTS, json=batch(), headers={**shopper, header: "1"})
    assert (answer.status_code, answer.json()) == (200, counts(not_recorded=1))
    assert (await own(http, shopper))["searches"] == []
    answer = await http.post(EVENTS, json=batch(), headers={**shopper, header: "0"})
    assert answer.json() == counts(stored=1)


async def test_a_shopper_switches_recording_off_and_on(
    http: httpx.AsyncClient, shopper: dict[str, str]
) -> None:
    await http.post(EVENTS, json=batch(), headers=shopper)
    off = await http.put(OWN, json={"recording": False}, headers=shopper)
    assert (off.status_code, off.json()) == (200, {"recording": False})
    answer = await http.post(EVENTS, json=batch(), headers=shopper)
    assert answer.json() == counts(not_recorded=1)
    found = await own(http, shopper)
    assert (found["recording"], found["searches"]) == (False, [])
    await http.put(OWN, json={"recording": True}, headers=shopper)
    answer = await http.post(EVENTS, json=batch(), headers=shopper)
    assert answer.json() == counts(stored=1)


async def test_a_shopper_clears_the_trail(http: httpx.AsyncClient, shopper: dict[str, str]) -> None:
    await http.post(EVENTS, json=batch(), headers=shopper)
    assert len((await own(http, shopper))["searches"]) == 1
    cleared = await http.delete(OWN, headers=shopper)
    assert cleared.status_code == 204
    found = await own(http, shopper)
    assert (found["recording"], found["searches"]) == (True, [])


async def test_another_shoppers_visitor_id_shows_nothing_of_theirs(
    http: httpx.AsyncClient, shopper: dict[str, str], services: Services, shop: Shop
) -> None:
    visitor = uuid4()
    mine = batch(event(query="mine"), visitor=visitor)
    await http.post(EVENTS, json=mine, headers=shopper)
    other = await headers_of(services, "shopper", shop.stores[0].location_id)
    theirs = batch(event(query="theirs"), visitor=visitor)
    await http.post(EVENTS, json=theirs, headers=other)
    for headers, words in ((shopper, "mine"), (other, "theirs")):
        assert [each["query"] for each in (await own(http, headers))["searches"]] == [words]


async def test_what_a_device_did_before_the_sign_in_is_the_shoppers_from_then_on(
    storefront: httpx.AsyncClient, services: Services
) -> None:
    visitor, found = uuid4(), []
    for words in ("first", "second"):
        await storefront.post(EVENTS, json=batch(event(query=words), visitor=visitor))
        email = f"{uuid4().hex}@example.com"
        asked = await storefront.post("/v1/sign-ins", json={"email": email})
        begun = await storefront.post(
            "/v1/sessions",
            json={
                "sign_in_id": asked.json()["sign_in_id"],
                "code": await code_to(services.database, email),
                "visitor_id": str(visitor),
            },
        )
        assert begun.status_code == 201
        found.append({"Authorization": f"Bearer {begun.json()['secret']}"})
    for headers, words in zip(found, ("first", "second"), strict=True):
        seen = await own(storefront, headers)
        assert [each["query"] for each in seen["searches"]] == [words]


NOT_AN_EVENT = {"type": "stare", "id": str(uuid4()), "at": at()}


@pytest.mark.parametrize(
    ("events", "path"),
    [
        ([], "/events"),
        ([event() for _ in range(MAX_EVENTS + 1)], "/events"),
        ([event(), NOT_AN_EVENT], "/events/1/type"),
        ([event(query="x" * 201)], "/events/0/query"),
        ([event(query="nul \0")], "/events/0/query"),
        ([event(query="")], "/events/0/query"),
        ([event("view", sku="x" * 65)], "/events/0/sku"),
        ([event("view")], "/events/0"),
        ([event("add")], "/events/0/sku"),
        ([event("view", item="A", price=1)], "/events/0/price"),
        ([event(at="2026-11-21T12:00:00")], "/events/0/at"),
        ([event(id="7")], "/events/0/id"),
    ],
)
async def test_what_is_no_batch_of_events_is_refused_whole(
    http: httpx.AsyncClient, shopper: dict[str, str], events: list[dict[str, Any]], path: str
) -> None:
    answer = await http.post(EVENTS, json={**batch(), "events": events}, headers=shopper)
    found = answer.json()
    assert (answer.status_code, found["code"], found["path"]) == (400, "invalid_request", path)
    assert (await own(http, shopper))["searches"] == []


@pytest.mark.parametrize("kind", ["store_visit", "scan"])
async def test_a_store_that_there_is_not_is_refused(
    http: httpx.AsyncClient, shopper: dict[str, str], kind: str
) -> None:
    where = {"location_id": str(uuid4()), **({"sku": "A"} if kind == "scan" else {})}
    told = batch(event(), event(kind, **where))
    answer = await http.post(EVENTS, json=told, headers=shopper)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (422, "invalid_field")
    assert found["path"] == "/events/1/location_id"
    assert (await own(http, shopper))["searches"] == []


async def test_a_flood_of_one_visitor_is_held_back_and_nobody_else(
    storefront: httpx.AsyncClient,
) -> None:
    told = batch()
    answer = await storefront.post(EVENTS, json=told)
    for _ in range(2 * BATCHES_PER_MINUTE):  # enough, even if the minute turns meanwhile
        if answer.status_code == 200:
            answer = await storefront.post(EVENTS, json=told)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert (await storefront.post(EVENTS, json=batch())).json() == counts(stored=1)
