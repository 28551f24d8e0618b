"""Merging over the API: suggested, compared, made and undone, with orders and carts of both."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.feeds import CHANGES_ACCESS
from api.services import Services
from commerce import access, matching
from commerce.access import OPERATOR
from commerce.customers import Contact, ProfileChanges, Shopper, add_contacts, change_profile
from commerce.customers.persons import MAX_ROWS
from commerce.kernel import events, ids
from tests.api.conftest import MakeKey
from tests.everyone import headers_of
from tests.persons import NOW, erase, make_shopper, merge
from tests.shop import Shop, make_shop
from tests.sold import sell

MakeClient = Callable[..., httpx.AsyncClient]
SHOPPER = "/v1/profile"


@pytest.fixture(scope="module")
async def shop(services: Services) -> Shop:
    return await make_shop(services.database, on_hand=100)


class Signed:
    """A shopper with a session, an order and a cart."""

    def __init__(self, http: httpx.AsyncClient, known: Shopper) -> None:
        self.http = http
        self.known = known
        self.id = str(known.id)
        self.order_id = ""
        self.cart_id = ""

    async def sees(self) -> dict[str, Any]:
        """All that the app shows."""
        profile = (await self.http.get("/v1/profile")).json()
        listed = (await self.http.get("/v1/orders")).json()["items"]
        return {
            "ids": profile["ids"],
            "name": profile["name"],
            "emails": profile["emails"],
            "orders": sorted(order["id"] for order in listed),
        }

    async def opens(self, other: "Signed") -> list[int]:
        """What the other's order and cart answer to this one."""
        paths = (f"/v1/orders/{other.order_id}", f"/v1/carts/{other.cart_id}")
        return [(await self.http.get(path)).status_code for path in paths]


@pytest.fixture
async def two(services: Services, shop: Shop, make_key: MakeKey, client_of: MakeClient) -> Any:
    """Ana and Luz, each with a session, an order and a cart."""
    db, made = services.database, []
    for name in ("Ana Torres", "Luz Vega"):
        known = await make_shopper(db, name=name)
        key, now = await make_key("storefront"), services.now()
        async with db.transaction() as conn:
            who = await access.authenticate(conn, key_secret=key, session_secret=None, now=now)
            started = await access.start_shopper_session(conn, who, known.id, now=now)
        each = Signed(client_of(key, started.secret), known)
        order = await sell(db, shop, (0, 1), total_minor=10_000, shopper_id=known.id)
        each.order_id = str(order.id)
        cart = await each.http.post("/v1/carts", json={}, headers={"Idempotency-Key": uuid4().hex})
        each.cart_id = cart.json()["cart"]["id"]
        made.append(each)
    yield made
    for each in made:
        await each.http.aclose()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until the process has read what was committed."""
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it was never so")


async def previewed(http: httpx.AsyncClient, source: Any, target: Any) -> httpx.Response:
    """The two side by side."""
    asked = {"source_id": str(source), "target_id": str(target)}
    return await http.get("/v1/backoffice/merges/preview", params=asked)


async def merged(
    http: httpx.AsyncClient, source: Any, target: Any, seen: str, key: str | None = None
) -> httpx.Response:
    """The command."""
    body = {"source_id": str(source), "target_id": str(target), "seen": seen}
    headers = {"Idempotency-Key": key or uuid4().hex}
    return await http.post("/v1/backoffice/merges", json=body, headers=headers)


async def undone(http: httpx.AsyncClient, merge_id: Any) -> httpx.Response:
    """The other command."""
    headers = {"Idempotency-Key": uuid4().hex}
    return await http.post(f"/v1/backoffice/merges/{merge_id}/undo", headers=headers)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_two_who_are_not_one_are_merged_and_get_back_what_each_had(
    two: list[Signed], back_office: httpx.AsyncClient
) -> None:
    ana, luz = two
    before = [await each.sees() for each in two]
    assert [each["orders"] for each in before] == [[ana.order_id], [luz.order_id]]
    assert await ana.opens(luz) == await luz.opens(ana) == [404, 404]
    shown = (await previewed(back_office, ana.id, luz.id)).json()
    made = await merged(back_office, ana.id, luz.id, shown["seen"])
    assert made.status_code == 201
    both = {
        "ids": [luz.id, ana.id],
        "name": "Luz Vega",
        "emails": [luz.known.email, ana.known.email],
        "orders": sorted([ana.order_id, luz.order_id]),
    }

    async def one_person() -> bool:
        return [await each.sees() for each in two] == [both, both]

    await until(one_person)
    assert await ana.opens(luz) == await luz.opens(ana) == [200, 200]
    told = (await ana.http.get("/v1/profile")).json()["merges"]
    assert [(each["merge_id"], each["undone_at"]) for each in told] == [(made.json()["id"], None)]
    assert (await undone(back_office, made.json()["id"])).status_code == 200

    async def as_before() -> bool:
        return [await each.sees() for each in two] == before

    await until(as_before)
    assert await ana.opens(luz) == await luz.opens(ana) == [404, 404]
    for each in two:
        (told,) = (await each.http.get("/v1/profile")).json()["merges"]
        assert (told["profile_id"], told["into_profile_id"]) == (ana.id, luz.id)
        assert told["undone_at"] is not None


async def test_a_preview_tells_enough_to_decide_and_goes_on_record(
    two: list[Signed], services: Services, back_office: httpx.AsyncClient
) -> None:
    ana, luz = two
    async with services.database.transaction() as conn:
        changes = ProfileChanges(time_zone="America/Mexico_City", sizes={"tops": "M"})
        await change_profile(conn, OPERATOR, ana.known.id, changes, now=NOW)
    shown = (await previewed(back_office, ana.id, luz.id)).json()
    source, target = shown["source"], shown["target"]
    assert (source["profile"]["name"], target["profile"]["name"]) == ("A*** T***", "L*** V***")
    assert source["emails"] == [f"{(ana.known.email or '')[0]}***@example.com"]
    assert {name: source["brings"][name] for name in ("orders", "cart", "session")} == {
        "orders": 1, "cart": 1, "session": 1,
    }  # fmt: skip
    fields = {each["name"]: each["taken_from"] for each in shown["fields"]}
    assert fields == {
        "name": "target", "email": "target", "time_zone": "source", "sizes/tops": "source",
    }  # fmt: skip
    for value in (ana.known.email, luz.known.email, "Torres", "Vega"):
        assert str(value) not in str(shown)
    record = (await back_office.get("/v1/backoffice/staff-record")).json()["items"][0]
    assert (record["action"], record["subject"]) == (
        "shopper.merge_previewed", f"shopper:{luz.id}",
    )  # fmt: skip


async def test_a_command_takes_effect_once_and_its_event_names_ids_only(
    two: list[Signed], services: Services, back_office: httpx.AsyncClient
) -> None:
    ana, luz = two
    seen, key = (await previewed(back_office, ana.id, luz.id)).json()["seen"], uuid4().hex
    first = await merged(back_office, ana.id, luz.id, seen, key)
    again = await merged(back_office, ana.id, luz.id, seen, key)
    anew = await merged(back_office, ana.id, luz.id, seen)
    assert first.content == again.content == anew.content
    listed = (await back_office.get("/v1/backoffice/merges")).json()["items"]
    assert [each for each in listed if each["target_id"] == luz.id] == [first.json()]
    async with services.database.reading() as conn:
        told = (await events.timeline(conn, UUID(luz.id)))[-1]
    assert told.payload == {"merge_id": first.json()["id"], "shopper_id": ana.id}
    assert told.type in CHANGES_ACCESS
    taken_apart = [await undone(back_office, first.json()["id"]) for _ in range(2)]
    assert taken_apart[0].content == taken_apart[1].content


async def test_what_cannot_be_merged_says_why(
    two: list[Signed], services: Services, back_office: httpx.AsyncClient
) -> None:
    db, (ana, luz) = services.database, two
    nobody = uuid4()
    assert refusal(await previewed(back_office, ana.id, nobody)) == (404, "not_found")
    assert refusal(await merged(back_office, nobody, ana.id, "x")) == (404, "not_found")
    assert refusal(await undone(back_office, nobody)) == (404, "not_found")
    seen = (await previewed(back_office, ana.id, luz.id)).json()["seen"]
    assert (await luz.http.patch("/v1/profile", json={"name": "Luz"})).status_code == 200
    assert refusal(await merged(back_office, ana.id, luz.id, seen)) == (409, "merge_stale")
    gone = await make_shopper(db)
    await erase(db, gone.id)
    assert refusal(await previewed(back_office, ana.id, gone.id)) == (404, "not_found")
    await merge(db, ana.known.id, luz.known.id)
    one = (409, "already_one_person")
    assert refusal(await previewed(back_office, ana.id, luz.id)) == one
    assert refusal(await merged(back_office, luz.id, ana.id, seen)) == one
    for _ in range(MAX_ROWS - 2):
        await merge(db, (await make_shopper(db)).id, luz.known.id)
    last = (await make_shopper(db)).id
    seen = (await previewed(back_office, last, luz.id)).json()["seen"]
    large = await merged(back_office, last, luz.id, seen)
    assert refusal(large) == (409, "person_too_large")


async def test_a_manager_works_through_the_suggestions(
    two: list[Signed], services: Services, shop: Shop, client_of: MakeClient
) -> None:
    db, (ana, luz) = services.database, two
    async with db.transaction() as conn:
        changes = ProfileChanges(other_loyalty_code=ana.known.loyalty_code)
        await change_profile(conn, OPERATOR, luz.known.id, changes, now=NOW)
        told = [
            *await events.timeline(conn, ana.known.id), *await events.timeline(conn, luz.known.id)
        ]  # fmt: skip
        await matching.learn(conn, told, secret=services.secret, now=NOW)
    headers = await headers_of(services, "manager", shop.stores[0].location_id)
    async with client_of("") as manager:
        manager.headers.update(headers)
        found = (await manager.get("/v1/backoffice/duplicates?limit=200")).json()["items"]
        (ours,) = [
            each
            for each in found
            if {each["first"]["profile_id"], each["second"]["profile_id"]} == {ana.id, luz.id}
        ]
        assert ours["reasons"] == [{"kind": "loyalty_code", "proof": "told"}]
        assert {ours[side]["name"] for side in ("first", "second")} == {"A*** T***", "L*** V***"}
        path = f"/v1/backoffice/duplicates/{ours['id']}/dismissal"
        assert [(await manager.put(path)).status_code for _ in range(2)] == [204, 204]
        left = (await manager.get("/v1/backoffice/duplicates?limit=200")).json()["items"]
        assert ours["id"] not in {each["id"] for each in left}
        unknown = await manager.put(f"/v1/backoffice/duplicates/{uuid4()}/dismissal")
        assert refusal(unknown) == (404, "not_found")


async def looks_the_same(services: Services, one: Signed, other: Signed, **typed: str) -> None:
    """The one orders with what the other is known by; both may have paid with one card."""
    contact = Contact(ids.uuid7(), "Mal", one.known.id, other.known.email)
    async with services.database.transaction() as conn:
        await add_contacts(conn, [contact])
        await conn.flush()
        await conn.driver.execute(
            "UPDATE orders SET contact_id = $2 WHERE id = $1", UUID(one.order_id), contact.id
        )
        for each in (one, other):
            await conn.driver.execute(
                "UPDATE payment SET card_fingerprint = $2 WHERE order_id = $1",
                UUID(each.order_id), typed.get("card"),
            )  # fmt: skip
        subjects = [other.known.id, UUID(one.order_id), UUID(other.order_id)]
        told = [fact for each in subjects for fact in await events.timeline(conn, each)]
        await matching.learn(conn, told, secret=services.secret, now=NOW)


async def test_typing_anothers_address_gets_nobody_merged_in_a_store(
    two: list[Signed],
    services: Services,
    shop: Shop,
    client_of: MakeClient,
    back_office: httpx.AsyncClient,
) -> None:
    mal, vic = two
    await looks_the_same(services, mal, vic)
    before = [await each.sees() for each in two]
    headers = await headers_of(services, "manager", shop.stores[0].location_id)
    async with client_of("") as manager:
        manager.headers.update(headers)
        shown = (await previewed(manager, mal.id, vic.id)).json()
        assert shown["reasons"] == [{"kind": "email", "proof": "told"}]
        key = uuid4().hex
        for _ in range(2):
            answer = await merged(manager, mal.id, vic.id, shown["seen"], key)
            assert refusal(answer) == (403, "merge_unproven")
        assert [await each.sees() for each in two] == before
        assert await mal.opens(vic) == [404, 404]
        assert await joined_messages(services, two) == []
        nothing = await merged(manager, mal.id, uuid4(), shown["seen"])
        assert refusal(nothing) == (404, "not_found")
    made = await merged(back_office, mal.id, vic.id, shown["seen"])
    assert made.status_code == 201, made.text


async def test_a_manager_merges_who_paid_with_one_card(
    two: list[Signed], services: Services, shop: Shop, client_of: MakeClient
) -> None:
    ana, luz = two
    await looks_the_same(services, ana, luz, card=uuid4().hex)
    headers = await headers_of(services, "manager", shop.stores[0].location_id)
    async with client_of("") as manager:
        manager.headers.update(headers)
        shown = (await previewed(manager, ana.id, luz.id)).json()
        assert shown["reasons"] == [
            {"kind": "card", "proof": "proven"}, {"kind": "email", "proof": "told"},
        ]  # fmt: skip
        made = [await merged(manager, ana.id, luz.id, shown["seen"]) for _ in range(2)]
    assert [each.status_code for each in made] == [201, 201]
    assert made[0].content == made[1].content


async def joined_messages(services: Services, two: list[Signed]) -> list[tuple[str, ...]]:
    """Channel, recipient, language and subject of what told these two that they were joined."""
    rows = await services.database.pool.fetch(
        "SELECT channel, recipient, locale, subject FROM message"
        " WHERE template = 'profiles_joined' AND shopper_id = ANY($1) ORDER BY recipient",
        [each.known.id for each in two],
    )
    return [tuple(row) for row in rows]


async def test_every_address_of_both_hears_of_a_merge_once(
    two: list[Signed], services: Services, back_office: httpx.AsyncClient
) -> None:
    ana, luz = two
    phone = f"+5255{uuid4().int % 10**8:08}"
    await services.database.pool.execute(
        "UPDATE shopper SET locale = 'en', phone = $2 WHERE id = $1", luz.known.id, phone
    )
    seen = (await previewed(back_office, ana.id, luz.id)).json()["seen"]
    stale = await merged(back_office, ana.id, luz.id, "x")
    assert refusal(stale) == (409, "merge_stale")
    assert await joined_messages(services, two) == []
    for _ in range(2):
        assert (await merged(back_office, ana.id, luz.id, seen)).status_code == 201
    assert sorted(await joined_messages(services, two)) == sorted([
        ("email", ana.known.email, "es", "Unimos tus perfiles"),
        ("email", luz.known.email, "en", "Your profiles were joined"),
        ("sms", phone, "en", ""),
    ])  # fmt: skip
