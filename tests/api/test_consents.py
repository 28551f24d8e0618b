"""The shopper's consents and the retailer's quiet hours, over HTTP."""

import httpx
import pytest

from api.services import Services
from tests.everyone import headers_of
from tests.shop import make_shop

CONSENTS = "/v1/profile/consents"
MAIL = {"purpose": "marketing", "channel": "email", "granted": True}
SERVE = {"purpose": "personal_service", "granted": True}


@pytest.fixture
async def shopper(services: Services) -> dict[str, str]:
    """What a shopper sends who has just signed in for the first time."""
    shop = await make_shop(services.database, skus=0, stores=1)
    return await headers_of(services, "shopper", shop.stores[0].location_id)


def granted(answer: httpx.Response) -> list[tuple[str, str | None]]:
    """What is allowed, of all that there is."""
    assert answer.status_code == 200
    return [
        (each["purpose"], each["channel"]) for each in answer.json()["consents"] if each["granted"]
    ]


async def test_nothing_is_granted_at_first_and_every_purpose_is_shown(
    http: httpx.AsyncClient, shopper: dict[str, str]
) -> None:
    shown = await http.get(CONSENTS, headers=shopper)
    assert granted(shown) == []
    assert [(each["purpose"], each["channel"]) for each in shown.json()["consents"]] == [
        ("browsing_insight", None),
        ("personal_service", None),
        *(("follow_up", channel) for channel in ("email", "sms", "whatsapp", "push")),
        *(("marketing", channel) for channel in ("email", "sms", "whatsapp", "push")),
    ]
    assert {(each["source"], each["decided_at"]) for each in shown.json()["consents"]} == {
        (None, None)
    }


async def test_a_shopper_grants_and_withdraws_and_the_history_tells_both(
    http: httpx.AsyncClient, shopper: dict[str, str]
) -> None:
    both = await http.put(CONSENTS, json={"decisions": [MAIL, SERVE]}, headers=shopper)
    assert granted(both) == [("personal_service", None), ("marketing", "email")]
    again = await http.put(CONSENTS, json={"decisions": [MAIL]}, headers=shopper)
    assert again.json() == both.json()
    less = await http.put(
        CONSENTS, json={"decisions": [{**MAIL, "granted": False}]}, headers=shopper
    )
    assert granted(less) == [("personal_service", None)]
    assert granted(await http.get(CONSENTS, headers=shopper)) == [("personal_service", None)]

    first = (await http.get(f"{CONSENTS}/history?limit=2", headers=shopper)).json()
    assert [(each["purpose"], each["channel"], each["granted"]) for each in first["items"]] == [
        ("marketing", "email", False),
        ("personal_service", None, True),
    ]
    rest = await http.get(
        f"{CONSENTS}/history", params={"cursor": first["next_cursor"]}, headers=shopper
    )
    (oldest,) = rest.json()["items"]
    assert (oldest["purpose"], oldest["granted"], oldest["source"]) == (
        "marketing",
        True,
        "profile",
    )
    assert oldest["actor"].startswith("shopper:")


@pytest.mark.parametrize(
    ("wrong", "status", "path"),
    [
        ({"purpose": "marketing", "granted": True}, 422, "/decisions/0/channel"),
        ({**SERVE, "channel": "sms"}, 422, "/decisions/0/channel"),
        ({"purpose": "profiling", "granted": True}, 400, "/decisions/0/purpose"),
        ({**MAIL, "channel": "fax"}, 400, "/decisions/0/channel"),
        ({"purpose": "personal_service"}, 400, "/decisions/0/granted"),
    ],
)
async def test_a_decision_that_is_none_changes_nothing(
    http: httpx.AsyncClient,
    shopper: dict[str, str],
    wrong: dict[str, object],
    status: int,
    path: str,
) -> None:
    refused = await http.put(CONSENTS, json={"decisions": [wrong, MAIL]}, headers=shopper)
    assert refused.status_code == status
    assert refused.json()["path"] == path
    assert granted(await http.get(CONSENTS, headers=shopper)) == []


async def test_the_back_office_sets_the_quiet_hours(back_office: httpx.AsyncClient) -> None:
    here = "/v1/backoffice/quiet-hours"
    before = (await back_office.get(here)).json()
    put = await back_office.put(here, json={"starts": "22:30", "ends": "08:00"})
    assert (put.status_code, put.json()) == (200, {"starts": "22:30", "ends": "08:00"})
    assert (await back_office.get(here)).json() == put.json()
    refused = await back_office.put(here, json={"starts": "24:00", "ends": "08:00"})
    assert (refused.status_code, refused.json()["path"]) == (400, "/starts")
    assert (await back_office.get(here)).json() == put.json()
    record = (await back_office.get("/v1/backoffice/staff-record?limit=1")).json()["items"][0]
    assert (record["action"], record["changes"]["ends"]) == (
        "quiet_hours.changed",
        [f"{before['ends']}:00", "08:00:00"],
    )
    assert (await back_office.put(here, json=before)).json() == before
