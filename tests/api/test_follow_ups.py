"""Follow-ups over HTTP: watches and answers of shoppers, the back office's settings and numbers."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import follow_ups
from commerce.access import Principal, permissions_of
from commerce.kernel import ids
from inventory import stock
from inventory.stock import Movement
from tests.looking import Known, known
from tests.shop import Shop, make_shop
from tests.tablet import told

MAIL = {"purpose": "follow_up", "channel": "email", "granted": True}


@pytest.fixture(scope="module")
async def shop(services: Services) -> Shop:
    return await make_shop(services.database, on_hand=0)


@pytest.fixture
async def ana(http: httpx.AsyncClient, services: Services) -> Known:
    """Signed in, and allows follow-ups by mail."""
    made = await known(http, services)
    answer = await http.put(
        "/v1/profile/consents", json={"decisions": [MAIL]}, headers=made.headers
    )
    assert answer.status_code == 200, answer.text
    return made


def path(shop: Shop, sku: str | None = None) -> str:
    return f"/v1/profile/watches/{sku or shop.skus[0].sku}/{shop.stores[0].location_id}"


async def test_a_watch_is_kept_once_listed_and_ended(
    http: httpx.AsyncClient, shop: Shop, ana: Known
) -> None:
    first = await http.put(path(shop), headers=ana.headers)
    again = await http.put(path(shop), headers=ana.headers)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert first.json()["sku"] == shop.skus[0].sku
    listed = await http.get("/v1/profile/watches", headers=ana.headers)
    assert listed.json() == [first.json()]
    for _ in range(2):
        assert (await http.delete(path(shop), headers=ana.headers)).status_code == 204
    assert (await http.get("/v1/profile/watches", headers=ana.headers)).json() == []


async def test_watches_that_are_refused(
    http: httpx.AsyncClient, services: Services, shop: Shop, ana: Known
) -> None:
    nowhere = f"/v1/profile/watches/{shop.skus[0].sku}/{uuid4()}"
    assert told(await http.put(nowhere, headers=ana.headers)) == (404, "not_found")
    unknown = await http.put(path(shop, "NO-SUCH"), headers=ana.headers)
    assert told(unknown) == (404, "not_found")
    silent = await known(http, services)
    assert told(await http.put(path(shop), headers=silent.headers)) == (403, "consent_missing")
    async with services.database.transaction() as conn:
        at = shop.stores[0].location_id
        there = Movement(at, shop.skus[2].sku, "receive", 2, "test")
        await stock.move(conn, [there], now=services.now())
    answer = await http.put(path(shop, shop.skus[2].sku), headers=ana.headers)
    assert told(answer) == (409, "in_stock")
    assert answer.json()["available"] == 2
    assert (await http.get("/v1/profile/watches", headers=ana.headers)).json() == []


async def test_nobody_waits_for_more_than_fifty(
    http: httpx.AsyncClient, services: Services, ana: Known
) -> None:
    many = await make_shop(services.database, skus=51, stores=1, on_hand=0)
    who = Principal(
        key_id=ids.uuid7(), key_kind="storefront", channel="app", person_ids=(ana.id,),
        permissions=permissions_of("storefront", "shopper"),
    )  # fmt: skip
    async with services.database.transaction() as conn:
        for each in many.skus[:50]:
            at = many.stores[0].location_id
            await follow_ups.put_watch(conn, who, each.sku, at, now=services.now())
    answer = await http.put(path(many, many.skus[50].sku), headers=ana.headers)
    assert told(answer) == (409, "too_many_watches")


async def asked(services: Services, shopper_id: UUID) -> UUID:
    """A question that was sent, about some order."""
    question_id = ids.uuid7()
    await services.database.pool.execute(
        """INSERT INTO follow_up (id, trigger, subject_id, shopper_id, state, due_at, scheduled_at,
           decided_at) VALUES ($1, 'after_purchase', $2, $3, 'sent', $4, $4, $4)""",
        question_id, uuid4(), shopper_id, services.now(),
    )  # fmt: skip
    return question_id


async def test_an_answer_is_kept_and_may_be_given_anew(
    http: httpx.AsyncClient, services: Services, ana: Known, back_office: httpx.AsyncClient
) -> None:
    question_id = await asked(services, ana.id)
    where = f"/v1/profile/questions/{question_id}/answer"
    (open_,) = (await http.get("/v1/profile/questions", headers=ana.headers)).json()
    assert (open_["id"], open_["rating"]) == (str(question_id), None)
    for rating, comment in ((2, "Too small"), (5, None)):
        answer = await http.put(
            where, json={"rating": rating, "comment": comment}, headers=ana.headers
        )
        assert answer.status_code == 200, answer.text
        assert (answer.json()["rating"], answer.json()["comment"]) == (rating, comment)
    listed = (await back_office.get("/v1/backoffice/answers", params={"limit": 1})).json()
    assert listed["items"][0]["question_id"] == str(question_id)
    assert listed["items"][0]["rating"] == 5


async def test_only_who_was_asked_may_answer_with_one_to_five_stars(
    http: httpx.AsyncClient, services: Services, ana: Known
) -> None:
    where = f"/v1/profile/questions/{await asked(services, uuid4())}/answer"
    answer = await http.put(where, json={"rating": 1}, headers=ana.headers)
    assert told(answer) == (404, "not_found")
    answer = await http.put(where, json={"rating": 6}, headers=ana.headers)
    assert told(answer) == (400, "invalid_request")


async def test_the_back_office_sets_a_trigger_and_reads_its_numbers(
    back_office: httpx.AsyncClient, services: Services
) -> None:
    where = "/v1/backoffice/follow-ups/back_in_stock"
    body = {"enabled": True, "delay_minutes": 5, "cap": 3, "cap_days": 2, "channel": "sms"}
    answer = await back_office.put(where, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"trigger": "back_in_stock", **body}
    await asked(services, uuid4())
    listed = await back_office.get("/v1/backoffice/follow-ups", params={"days": 7})
    by_trigger: dict[str, Any] = {each["settings"]["trigger"]: each for each in listed.json()}
    assert by_trigger.keys() == set(follow_ups.TRIGGERS)
    assert by_trigger["back_in_stock"]["settings"] == answer.json()
    assert by_trigger["after_purchase"]["sent"] >= 1
    record = (await back_office.get("/v1/backoffice/staff-record", params={"limit": 5})).json()
    (entry,) = [each for each in record["items"] if each["action"] == "follow_up.settings_changed"]
    assert entry["changes"]["cap"] == [5, 3]
    unknown = await back_office.put("/v1/backoffice/follow-ups/birthday", json=body)
    assert unknown.status_code == 400
    await back_office.put(where, json={**body, "delay_minutes": 0, "cap": 5, "channel": None})


async def test_numbers_count_by_reason_and_what_was_bought(services: Services) -> None:
    long_ago = services.now() - timedelta(days=4_000)
    rows = [("sent", None, uuid4()), ("sent", None, None), ("skipped", "no_consent", None),
            ("stopped", "purchase", None), ("stopped", "purchase", None)]  # fmt: skip
    async with services.database.transaction() as conn:
        before = (await follow_ups.numbers(conn, since=long_ago))[0]
        for state, reason, order_id in rows:
            await conn.driver.execute(
                """INSERT INTO follow_up (id, trigger, subject_id, shopper_id, state, reason,
                   order_id, due_at, scheduled_at, decided_at)
                   VALUES ($1, 'abandoned_cart', $1, $1, $2, $3, $4, $5, $5, $5)""",
                uuid4(), state, reason, order_id, services.now(),
            )  # fmt: skip
        after = (await follow_ups.numbers(conn, since=long_ago))[0]
    assert after.trigger == "abandoned_cart"
    assert after.scheduled - before.scheduled == 5
    assert after.sent - before.sent == 2
    assert after.converted - before.converted == 1
    assert after.stopped["purchase"] - before.stopped.get("purchase", 0) == 2
    assert after.skipped["no_consent"] - before.skipped.get("no_consent", 0) == 1
