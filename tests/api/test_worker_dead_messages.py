"""The back office sees what actors failed on, and sends it again."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce.kernel import clock, deliveries, events
from commerce.kernel.deliveries import TRIES
from commerce.kernel.events import Event
from tests.tablet import told

PATH = "/v1/backoffice/dead-messages"


@pytest.fixture
def actor() -> str:
    """A name that no other test uses."""
    return f"test_{uuid4().hex}"


async def dead(services: Services, actor: str, count: int) -> list[UUID]:
    """Events that the actor has given up."""
    async with services.database.transaction() as conn:
        facts = [Event("order.placed", "order", uuid4(), "test") for _ in range(count)]
        made = await events.record(conn, facts, now=clock.now())
    for _ in range(TRIES):
        async with services.database.transaction() as conn:
            await deliveries.fail(
                conn, actor, dict.fromkeys(made, "builtins.ValueError"), now=clock.now()
            )
    return made


async def listed(back_office: httpx.AsyncClient, actor: str, **params: Any) -> list[Any]:
    """All pages."""
    found: list[Any] = []
    cursor = None
    while True:
        asked = params | ({"cursor": cursor} if cursor else {})
        answer = await back_office.get(PATH, params=asked)
        assert answer.status_code == 200, answer.text
        found += [each for each in answer.json()["items"] if each["actor"] == actor]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


async def retry(back_office: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await back_office.post(
        f"{PATH}/retry", json=body, headers={"Idempotency-Key": uuid4().hex}
    )


async def test_dead_messages_are_listed_in_pages_and_sent_again(
    services: Services, back_office: httpx.AsyncClient, actor: str
) -> None:
    made = [str(each) for each in await dead(services, actor, 5)]
    shown = await listed(back_office, actor, state="dead", limit=2)
    assert [each["event_id"] for each in shown] == made
    assert {(each["fault"], each["tries"], each["type"]) for each in shown} == {
        ("builtins.ValueError", TRIES, "order.placed")
    }
    answer = await retry(back_office, actor=actor, event_ids=[*made[:2], str(uuid4())])
    assert answer.status_code == 200, answer.text
    assert sorted(answer.json()["event_ids"]) == made[:2]
    assert [each["event_id"] for each in await listed(back_office, actor, state="dead")] == made[2:]
    waiting = await listed(back_office, actor, state="failed")
    assert [(each["event_id"], each["tries"]) for each in waiting] == [(m, 0) for m in made[:2]]
    assert len(await listed(back_office, actor)) == 5
    record = await back_office.get("/v1/backoffice/staff-record", params={"limit": 1})
    (written,) = record.json()["items"]
    assert (written["action"], written["subject"]) == (
        "dead_message.sent_again",
        f"actor:{actor}",
    )
    assert sorted(written["changes"]["events"]) == made[:2]


async def test_what_is_not_dead_is_not_sent_again(
    services: Services, back_office: httpx.AsyncClient, actor: str
) -> None:
    made = [str(each) for each in await dead(services, actor, 1)]
    assert (await retry(back_office, actor=actor, event_ids=made)).json()["event_ids"] == made
    assert (await retry(back_office, actor=actor, event_ids=made)).json()["event_ids"] == []


async def test_only_the_back_office_may_look_and_retry(
    back_office: httpx.AsyncClient, storefront: httpx.AsyncClient, actor: str
) -> None:
    assert told(await storefront.get(PATH)) == (403, "permission_denied")
    refused = await retry(storefront, actor=actor, event_ids=[str(uuid4())])
    assert told(refused) == (403, "permission_denied")
    assert told(await retry(back_office, actor=actor, event_ids=[])) == (400, "invalid_request")
    assert told(await back_office.get(PATH, params={"cursor": "eA"})) == (400, "invalid_request")
