"""One story of a shopper, notes and answers, through an open view; the shopper's own side of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import messages
from commerce.kernel import ids
from commerce.kernel.sql import Database
from commerce.messages import NewMessage, Told
from tests.looking import PERSONAL, Known, known, ordered, viewed
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told


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


@pytest.fixture
async def ana(http: httpx.AsyncClient, services: Services) -> Known:
    """A shopper who allows personal service."""
    return await known(http, services, PERSONAL)


async def told_about(services: Services, ana: Known, **parameters: Any) -> UUID:
    """A service message to a shopper, by mail; its id."""
    new = NewMessage(
        template="order_cancelled", reason=ids.uuid7(), shopper_id=ana.id,
        parameters={"name": "Ana", "number": "7K3M9QX", "total": "MX$1.00", **parameters},
    )  # fmt: skip
    async with services.database.transaction() as conn:
        (outcome,) = await messages.write(conn, [new], services.now())
    assert outcome.state == "queued"
    return outcome.id


async def replied(
    services: Services, message_id: UUID, text: str, *, ago: timedelta = timedelta()
) -> None:
    """The shopper replies to a message."""
    reply = Told(
        id=uuid4().hex, kind="reply", at=services.now() - ago, message_id=message_id, text=text
    )
    async with services.database.transaction() as conn:
        assert await messages.apply(conn, [reply], now=services.now()) == 1


async def story(tablet: Tablet, view: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = await tablet.get(f"/shopper-views/{view['id']}/timeline", **params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def outline(entries: list[dict[str, Any]]) -> list[str]:
    """What each entry is, in a word."""
    words = {"message": "state", "note": "body", "event": "type"}
    return [f"{each['kind']} {each[words[each['kind']]]}" for each in entries]


async def test_the_story_has_messages_replies_notes_and_orders_newest_first_in_pages(
    services: Services, shop: Shop, eva: Tablet, ana: Known
) -> None:
    made = await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    message_id = await told_about(services, ana)
    await replied(services, message_id, "¿Y en azul?")
    view = await viewed(eva, ana)
    note = await eva.post(f"/shopper-views/{view['id']}/notes", body="Prefiere lino")
    assert note.status_code == 201, note.text
    assert note.json()["associate_id"] == eva.associate_id

    shown = await story(eva, view)

    assert outline(shown) == [
        "note Prefiere lino", "message received", "message queued", "event order.placed",
    ]  # fmt: skip
    written, reply, sent, event = shown
    assert written["associate"] == "Eva"
    assert (reply["body"], reply["reply_to"]) == ("¿Y en azul?", str(message_id))
    assert sent["body"].startswith("Hola Ana:")
    assert event["order_number"] == made.head.number
    pages, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        answer = await eva.get(f"/shopper-views/{view['id']}/timeline", **params)
        pages += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert pages == shown
    looks = await ana.looks()
    assert "timeline" in looks[0]["shown"]


async def test_codes_stay_with_those_they_were_sent_to(
    http: httpx.AsyncClient, services: Services, eva: Tablet, ana: Known
) -> None:
    parameters = {"name": "Ana", "number": "7K3M9QX", "store": {"name": "Centro"}, "code": "4K7P2M",
                  "expires_at": None}  # fmt: skip
    new = NewMessage(
        template="pickup_ready", reason=ids.uuid7(), shopper_id=ana.id, channel="sms",
        parameters=parameters | {"total": "x"},
    )  # fmt: skip
    async with services.database.transaction() as conn:
        await messages.write(conn, [new], services.now())
    (sent,) = await story(eva, await viewed(eva, ana))
    assert (sent["template"], sent["body"]) == ("pickup_ready", None)
    own = await http.get("/v1/profile/messages", headers=ana.headers)
    assert [each["body"] for each in own.json()["items"]] == [None]


async def test_without_consent_the_story_is_that_of_the_order_in_hand(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services)
    await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    await told_about(services, ana)
    view = await viewed(eva, ana, purpose="pickup")
    assert await story(eva, view) == []
    note = await eva.post(f"/shopper-views/{view['id']}/notes", body="Prefiere lino")
    assert told(note) == (403, "consent_missing")
    answer = await eva.post(
        f"/shopper-views/{view['id']}/answers", message_id=str(uuid4()), text="Hola"
    )
    assert told(answer) == (403, "consent_missing")


async def test_a_purpose_that_is_not_shown_notes_reads_none_in_the_story(
    services: Services, shop: Shop, eva: Tablet, ana: Known
) -> None:
    await ordered(services, shop, ana.id, (0, 1), total_minor=10_000)
    advising = await viewed(eva, ana)
    await eva.post(f"/shopper-views/{advising['id']}/notes", body="Prefiere lino")
    view = await viewed(eva, ana, purpose="pickup")
    assert {"notes", "orders"} <= {
        each["field"] for each in view["withheld"] if each["why"] == "not_for_this_purpose"
    }
    assert await story(eva, view) == []
    assert outline(await story(eva, advising)) == ["note Prefiere lino", "event order.placed"]


async def test_an_associate_answers_once_by_the_channel_that_the_question_came_by(
    services: Services, db: Database, eva: Tablet, ana: Known
) -> None:
    await replied(services, await told_about(services, ana), "¿Y en azul?")
    view = await viewed(eva, ana)
    question = (await story(eva, view))[0]
    path = f"/shopper-views/{view['id']}/answers"
    body = {"message_id": question["id"], "text": "Sí, te lo aparto."}
    first, again = [await eva.post(path, key="one", **body) for _ in range(2)]
    assert first.status_code == 201, first.text
    assert again.json() == first.json()
    assert first.json()["channel"] == "email"
    newest = (await story(eva, view))[0]
    assert newest["id"] == first.json()["message_id"]
    assert newest["body"].startswith("Sí, te lo aparto.\n\nStore 0\n")
    assert newest["actor"] == f"associate:{eva.associate_id}"
    assert newest["reply_to"] == question["id"]
    recipient = await db.pool.fetchval(
        "SELECT recipient FROM message WHERE id = $1", UUID(newest["id"])
    )
    assert recipient == ana.email


async def test_only_what_this_shopper_wrote_lately_is_answered(
    http: httpx.AsyncClient, services: Services, eva: Tablet, ana: Known
) -> None:
    other = await known(http, services, PERSONAL)
    await replied(services, await told_about(services, other), "¿Y en azul?")
    theirs = (await story(eva, await viewed(eva, other)))[0]
    sent = await told_about(services, ana)
    await replied(services, sent, "¿Y en verde?", ago=timedelta(days=7, seconds=1))
    view = await viewed(eva, ana)
    old = next(each for each in await story(eva, view) if each["state"] == "received")
    path = f"/shopper-views/{view['id']}/answers"
    for message_id in (theirs["id"], str(sent), str(uuid4())):
        refused = await eva.post(path, message_id=message_id, text="Hola")
        assert told(refused) == (404, "not_found")
    refused = await eva.post(path, message_id=old["id"], text="Hola")
    assert told(refused) == (409, "conversation_over")
    assert len(await story(eva, view)) == 2


async def test_nothing_is_seen_or_written_through_a_view_that_is_over_or_anothers(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet, ana: Known
) -> None:
    view = await viewed(eva, ana)
    path = f"/shopper-views/{view['id']}"
    leo = await sign_in(http, services, shop)
    answers = [
        await leo.get(f"{path}/timeline"),
        await leo.post(f"{path}/notes", body="x"),
        await leo.post(f"{path}/answers", message_id=str(uuid4()), text="x"),
    ]
    assert [told(each) for each in answers] == [(404, "not_found")] * 3
    await eva.delete(path)
    answers = [
        await eva.get(f"{path}/timeline"),
        await eva.post(f"{path}/notes", body="x"),
        await eva.post(f"{path}/answers", message_id=str(uuid4()), text="x"),
    ]
    assert [told(each) for each in answers] == [(410, "view_over")] * 3


@pytest.mark.parametrize("body", ["", "   ", "a\x00b", "x" * 2_001])
async def test_a_note_says_something(eva: Tablet, ana: Known, body: str) -> None:
    view = await viewed(eva, ana)
    refused = await eva.post(f"/shopper-views/{view['id']}/notes", body=body)
    assert told(refused) == (400, "invalid_request")
    assert await story(eva, view) == []


async def test_a_shopper_reads_the_messages_both_ways_and_nobody_elses(
    http: httpx.AsyncClient, services: Services, ana: Known
) -> None:
    other = await known(http, services)
    await told_about(services, other)
    await replied(services, await told_about(services, ana), "Gracias")
    own = await http.get("/v1/profile/messages", params={"limit": 1}, headers=ana.headers)
    assert [each["body"] for each in own.json()["items"]] == ["Gracias"]
    cursor = own.json()["next_cursor"]
    own = await http.get("/v1/profile/messages", params={"cursor": cursor}, headers=ana.headers)
    assert [each["state"] for each in own.json()["items"]] == ["queued"]
    assert own.json()["next_cursor"] is None
    bad = await http.get("/v1/profile/messages", params={"cursor": "eA"}, headers=ana.headers)
    assert told(bad) == (400, "invalid_request")


async def test_push_goes_to_the_device_that_was_used_last_and_to_one_person_only(
    http: httpx.AsyncClient, services: Services, db: Database, ana: Known
) -> None:
    old, new = uuid4(), uuid4()
    token = uuid4().hex
    for device, given in ((old, "a" * 8 + uuid4().hex), (new, token)):
        put = await http.put(
            f"/v1/profile/devices/{device}", json={"platform": "ios", "token": given},
            headers=ana.headers,
        )  # fmt: skip
        assert put.status_code == 200, put.text
        assert put.json()["id"] == str(device)

    async def pushed() -> str | None:
        message = NewMessage(
            template="sign_in_code", parameters={"code": "x"}, reason=ids.uuid7(),
            shopper_id=ana.id, channel="push",
        )  # fmt: skip
        async with db.transaction() as conn:
            (outcome,) = await messages.write(conn, [message], services.now())
        to: str | None = await db.pool.fetchval(
            "SELECT recipient FROM message WHERE id = $1", outcome.id
        )
        return to

    assert await pushed() == token
    other = await known(http, services)
    moved = await http.put(
        f"/v1/profile/devices/{uuid4()}", json={"platform": "ios", "token": token},
        headers=other.headers,
    )  # fmt: skip
    assert moved.status_code == 200
    assert (await pushed() or "").startswith("a" * 8), "the token is another person's by now"
    for _ in range(2):
        gone = await http.delete(f"/v1/profile/devices/{old}", headers=ana.headers)
        assert gone.status_code == 204
    assert await pushed() is None
    refused = await http.put(
        f"/v1/profile/devices/{old}", json={"platform": "ios", "token": "with space"},
        headers=ana.headers,
    )  # fmt: skip
    assert told(refused) == (400, "invalid_request")
