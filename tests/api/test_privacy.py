"""Export and erasure over HTTP, by the shopper and by the back office; consents at the counter."""

import asyncio
import re
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import access, orders, privacy
from commerce.access import FRESH, Principal
from commerce.kernel.sql import Connection, Database
from tests import live
from tests.everywhere import found
from tests.live import Device, at_store, claim, good
from tests.looking import PERSONAL, Known, known, ordered, viewed
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told

PROFILE, CONSENTS = "/v1/profile", "/v1/profile/consents"
ADDRESSES = "/v1/profile/addresses"
OFFICE = "/v1/backoffice"


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db)


@pytest.fixture
async def ana(http: httpx.AsyncClient, services: Services) -> Known:
    return await known(http, services, PERSONAL)


@pytest.fixture
async def eva(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    """An associate of the first store."""
    return await sign_in(http, services, shop)


async def later(services: Services, ana: Known) -> dict[str, str]:
    """What the shopper sends who signed in a while ago."""
    now = services.now() - FRESH - timedelta(seconds=1)
    key = ana.headers["X-API-Key"]
    async with services.database.transaction() as conn:
        who: Principal = await access.authenticate(
            conn, key_secret=key, session_secret=None, now=services.now()
        )
        session = await access.start_shopper_session(conn, who, ana.id, now=now)
    return {"X-API-Key": key, "Authorization": f"Bearer {session.secret}"}


async def erase(back_office: httpx.AsyncClient, ana: Known, key: str = "") -> httpx.Response:
    return await back_office.post(
        f"{OFFICE}/shoppers/{ana.id}/erasures", headers={"Idempotency-Key": key or uuid4().hex}
    )


async def test_a_shopper_exports_everything_as_one_document(
    services: Services, shop: Shop, ana: Known
) -> None:
    bought = await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    answer = await ana.http.get(f"{PROFILE}/export", headers=ana.headers)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="export.json"'
    told = answer.json()
    assert told["shopper_ids"] == [str(ana.id)]
    held = told["held"]
    assert [row["email"] for row in held["shopper"]] == [ana.email]
    assert [row["id"] for row in held["orders"]] == [str(bought.id)]
    assert [row["quantity"] for row in held["order_line"]] == [1]
    assert [row["name"] for row in held["contact"]] == ["Ana"]
    assert [row["purpose"] for row in held["consent_decision"]] == ["personal_service"]
    assert "secret_hash" not in held["session"][0]


async def test_exports_are_limited(ana: Known) -> None:
    answers = [await ana.http.get(f"{PROFILE}/export", headers=ana.headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "rate_limited"


async def test_export_and_erasure_need_a_fresh_sign_in(services: Services, ana: Known) -> None:
    headers = await later(services, ana)
    assert (await ana.http.get(PROFILE, headers=headers)).status_code == 200
    for refused in (
        await ana.http.get(f"{PROFILE}/export", headers=headers),
        await ana.http.delete(PROFILE, headers=headers),
    ):
        assert told(refused) == (403, "fresh_sign_in_required")
        assert refused.json()["within_seconds"] == 900
    assert (await ana.http.get(PROFILE, headers=headers)).json()["email"] == ana.email


async def test_a_shopper_is_erased_and_every_session_ends(
    services: Services, shop: Shop, ana: Known
) -> None:
    elsewhere = await later(services, ana)
    waiting = await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    asked = await ana.http.delete(PROFILE, headers=ana.headers)
    assert asked.status_code == 202
    assert asked.json()["state"] == "pending"
    (wait,) = asked.json()["waits_for"]
    assert wait == {"kind": "order", "id": str(waiting.id), "number": waiting.head.number}
    for headers in (ana.headers, elsewhere):
        assert told(await ana.http.get(PROFILE, headers=headers)) == (401, "session_invalid")


async def test_the_back_office_erases_a_person_once_and_reads_the_report(
    services: Services, back_office: httpx.AsyncClient, ana: Known
) -> None:
    first = await erase(back_office, ana, key := uuid4().hex)
    assert first.status_code == 202
    assert (await erase(back_office, ana, key)).headers["Idempotent-Replayed"] == "true"
    again = await erase(back_office, ana)
    assert again.json()["id"] == first.json()["id"]
    here = f"{OFFICE}/erasures/{first.json()['id']}"
    shown = (await back_office.get(here)).json()
    assert (shown["state"], shown["shopper_ids"]) == ("pending", [str(ana.id)])
    newest = (await back_office.get(f"{OFFICE}/erasures?limit=1")).json()["items"]
    assert newest == [shown]
    assert shown["requested_by"].startswith("key:")
    record = (await back_office.get(f"{OFFICE}/staff-record?limit=1")).json()["items"][0]
    assert (record["action"], record["subject"]) == ("shopper.erased", f"shopper:{ana.id}")

    async with services.database.transaction() as conn:
        await conn.driver.execute(
            "UPDATE message SET state = 'sent' WHERE recipient = $1", ana.email
        )
    later = services.now() + timedelta(minutes=1)
    await privacy.carry_on(services.database, UUID(shown["id"]), now=lambda: later)
    done = (await back_office.get(here)).json()
    assert (done["state"], done["waits_for"]) == ("finished", [])
    assert done["counts"]["message"] == 1
    assert done["stays"]["orders"].startswith("Lines, money and ids")


async def test_whoever_is_not_there_is_neither_exported_nor_erased(
    back_office: httpx.AsyncClient, ana: Known
) -> None:
    nobody = f"{OFFICE}/shoppers/{uuid4()}"
    assert told(await back_office.get(f"{nobody}/export")) == (404, "not_found")
    refused = await back_office.post(f"{nobody}/erasures", headers={"Idempotency-Key": "x" * 20})
    assert told(refused) == (404, "not_found")
    assert told(await back_office.get(f"{OFFICE}/erasures/{uuid4()}")) == (404, "not_found")
    exported = await back_office.get(f"{OFFICE}/shoppers/{ana.id}/export")
    assert exported.json()["held"]["shopper"][0]["phone"] == ana.phone
    record = (await back_office.get(f"{OFFICE}/staff-record?limit=1")).json()["items"][0]
    assert record["action"] == "shopper.exported"
    assert (await erase(back_office, ana)).status_code == 202
    gone = await back_office.get(f"{OFFICE}/shoppers/{ana.id}/export")
    assert told(gone) == (404, "not_found")


async def test_consents_given_at_the_counter_are_told_to_the_shopper(
    services: Services, ana: Known, eva: Tablet
) -> None:
    view = await viewed(eva, ana)
    here = f"/shopper-views/{view['id']}/consents"
    given = {"purpose": "follow_up", "channel": "sms", "granted": True}
    recorded = await eva.post(here, decisions=[given])
    assert recorded.status_code == 200, recorded.text
    granted = [each for each in recorded.json()["consents"] if each["granted"]]
    assert [each["purpose"] for each in granted] == ["personal_service", "follow_up"]
    history = (await ana.http.get(f"{CONSENTS}/history", headers=ana.headers)).json()["items"]
    assert (history[0]["source"], history[0]["actor"]) == (
        "counter",
        f"associate:{eva.associate_id}",
    )
    async with services.database.reading() as conn:
        sent = await conn.driver.fetch(
            "SELECT template, recipient FROM message WHERE shopper_id = $1", ana.id
        )
    assert [tuple(row) for row in sent] == [("consent_recorded", ana.email)]


async def test_consents_at_the_counter_need_an_open_view(ana: Known, eva: Tablet) -> None:
    given = {"purpose": "follow_up", "channel": "sms", "granted": True}
    unknown = await eva.post(f"/shopper-views/{uuid4()}/consents", decisions=[given])
    assert told(unknown) == (404, "not_found")
    view = await viewed(eva, ana)
    here = f"/shopper-views/{view['id']}"
    wrong = await eva.post(f"{here}/consents", decisions=[{**given, "purpose": "personal_service"}])
    assert told(wrong) == (422, "invalid_field")
    assert (await eva.delete(here)).status_code == 204
    over = await eva.post(f"{here}/consents", decisions=[given])
    assert over.json()["code"] == "view_over"
    shown = (await ana.http.get(CONSENTS, headers=ana.headers)).json()["consents"]
    assert [each["purpose"] for each in shown if each["granted"]] == ["personal_service"]


async def test_an_order_placed_while_its_shopper_is_erased_is_served_and_then_emptied(
    services: Services, shop: Shop, ana: Known
) -> None:
    db = services.database

    async def ask(conn: Connection) -> privacy.Erasure:
        return await privacy.request(conn, ana.id, actor="test", now=services.now())

    placed, asked = await asyncio.gather(
        ordered(services, shop, ana.id, (0, 1), total_minor=10_000), db.commit(ask)
    )
    moment = services.now()

    async def look(minutes: int) -> privacy.Erasure:
        """A pass so much later, after all messages are out."""
        async with db.transaction() as conn:
            await conn.driver.execute(
                "UPDATE message SET state = 'sent' WHERE shopper_id = $1 OR recipient = $2",
                ana.id, ana.email,
            )  # fmt: skip
        await privacy.carry_on(db, asked.id, now=lambda: moment + timedelta(minutes=minutes))
        async with db.reading() as conn:
            return await privacy.by_id(conn, asked.id)

    waiting = await look(20)
    assert [each.id for each in waiting.waits_for] == [placed.id]
    async with db.transaction() as conn:
        await orders.cancel(
            conn, placed.id, reason="Ana Torres asked", actor="test", now=services.now()
        )
    finished = await look(40)
    assert (finished.state, finished.counts["contact"]) == ("finished", 1)
    async with db.reading() as conn:
        head = (await orders.by_id(conn, placed.id)).head
    assert (head.state, head.cancel_reason, head.shopper_id) == ("cancelled", None, ana.id)


async def test_nothing_that_was_out_opens_the_carts_of_an_erased_shopper(
    http: httpx.AsyncClient, services: Services, shop: Shop, ana: Known, eva: Tablet
) -> None:
    guest = Device(http, {"X-API-Key": ana.headers["X-API-Key"]})
    bought, left = [await guest.start(shop) for _ in range(2)]
    for each in (bought, left):
        await each.set(shop.skus[0].sku, 1)
    order = {
        "contact": {"name": "Ana", "email": ana.email}, "tender": "pay_at_pickup",
        "total": {"amount_minor": 10_000, "currency": "MXN"},
    }  # fmt: skip
    phone = await taken_along(bought, ana)
    good(await phone.send("PUT", "/checkout"))
    good(await phone.send("PUT", "/order", **order))
    phone = await taken_along(left, ana)
    good(await claim(eva, await phone.code()), 201)
    link = good(await at_store(eva, "POST", f"{left.cart}/payment-link"), 201)
    payer = Device(http, guest.headers | {"Cart-Token": link["token"]}, left.cart)
    assert (await ana.http.delete(PROFILE, headers=ana.headers)).status_code == 202
    await privacy.resume(services.database, now=services.now)
    live.refused(await bought.send("PUT", "/order", **order), 404, "not_found")
    for each in (bought, left, payer):
        live.refused(await each.send("GET"), 404, "not_found")
    live.refused(await at_store(eva, "GET", left.cart), 404, "not_found")


async def test_an_address_that_was_replaced_goes_with_the_person(
    services: Services, back_office: httpx.AsyncClient, ana: Known
) -> None:
    """Codes went to the old address, to the new one, and to one that was never confirmed."""
    new, other = (f"{uuid4().hex}@example.com" for _ in range(2))
    good(await ana.http.post("/v1/sign-ins", json={"email": ana.email}, headers=ana.headers), 202)
    asked = good(await ana.http.post(ADDRESSES, json={"email": new}, headers=ana.headers), 202)
    confirmed = {"code": await code_to(services.database, new)}
    path = f"{ADDRESSES}/{asked['address_change_id']}/confirm"
    good(await ana.http.post(path, json=confirmed, headers=ana.headers))
    good(await ana.http.post(ADDRESSES, json={"email": other}, headers=ana.headers), 202)
    held = (await back_office.get(f"{OFFICE}/shoppers/{ana.id}/export")).json()["held"]
    assert {row["recipient"] for row in held["message"]} == {ana.email, new, other}
    assert (await ana.http.delete(PROFILE, headers=ana.headers)).status_code == 202
    await told_all(services)
    await privacy.resume(services.database, now=services.now)
    assert await found(services.database, [ana.email, new, other]) == {}


async def test_an_export_tells_no_code(
    services: Services, back_office: httpx.AsyncClient, ana: Known
) -> None:
    """Whoever exports could sign in as the shopper with it."""
    good(await ana.http.post("/v1/sign-ins", json={"email": ana.email}, headers=ana.headers), 202)
    code = await code_to(services.database, ana.email)
    told = await back_office.get(f"{OFFICE}/shoppers/{ana.id}/export")
    (sent,) = told.json()["held"]["message"]
    assert (sent["template"], sent["body"], sent["html"]) == ("sign_in_code", None, None)
    assert code not in told.text.replace(sent["id"], "").replace(sent["reason"], "")


async def test_what_staff_wrote_about_a_pickup_goes_and_that_they_did_it_stays(
    services: Services, shop: Shop, ana: Known
) -> None:
    words = f"{uuid4().hex} showed her passport"
    bought = await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    subject = f"pickup:{bought.fulfillments[0].id}"
    async with services.database.transaction() as conn:
        await access.record_staff(
            conn, access.OPERATOR, action="pickup.collected", subject=subject,
            changes={"tender": "cash", "override_reason": words}, now=services.now(),
        )  # fmt: skip
        await orders.cancel(
            conn, bought.id, reason="shopper_request", actor="test", now=services.now()
        )
    assert (await ana.http.delete(PROFILE, headers=ana.headers)).status_code == 202
    await told_all(services)
    await privacy.resume(services.database, now=services.now)
    assert await found(services.database, [words]) == {}
    kept = await services.database.pool.fetchval(
        "SELECT changes::text FROM staff_record WHERE subject = $1", subject
    )
    assert kept == '{"tender": "cash"}'


async def code_to(db: Database, address: str) -> str:
    """The code in the newest message to an address."""
    body = await db.pool.fetchval(
        "SELECT body FROM message WHERE recipient = $1 ORDER BY created_at DESC LIMIT 1", address
    )
    return str(re.findall(r"\b\d{6}\b", body)[0])


async def told_all(services: Services) -> None:
    """What was to be sent has been."""
    await services.database.pool.execute(
        "UPDATE message SET state = 'sent', sent_at = now() WHERE state = 'queued'"
    )


async def taken_along(guest: Device, ana: Known) -> Device:
    """The guest's cart as the shopper's, who has signed in on the same device."""
    good(await guest.http.put(f"{guest.url}/shopper", headers=guest.headers | ana.headers))
    return Device(guest.http, ana.headers, guest.cart)
