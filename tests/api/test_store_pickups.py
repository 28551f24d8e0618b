"""Pickups through HTTP, from the list on the tablet to the goods in the shopper's hand."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.paying import WebShop, web_shop
from tests.shop import Shop, make_shop
from tests.stripe_server import FakeStripeServer, free_port
from tests.tablet import Tablet, sign_in, told

PRICE = 10_000
ALL = {"amount_minor": PRICE, "currency": "MXN"}
NOTHING = {"amount_minor": 0, "currency": "MXN"}
IN_CASH = {"kind": "cash", "tendered": {"amount_minor": 50_000, "currency": "MXN"}}


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
async def web(prepared_dsn: str, stripe: FakeStripeServer) -> AsyncIterator[WebShop]:
    async with web_shop(prepared_dsn, stripe) as serving:
        yield serving


@pytest.fixture(scope="module")
async def shop(web: WebShop) -> Shop:
    return await make_shop(web.services.database, skus=2, stores=2, on_hand=1_000)


@pytest.fixture(scope="module")
async def tablet(web: WebShop, shop: Shop) -> Tablet:
    return await sign_in(web.http, web.services, shop)


async def order(web: WebShop, shop: Shop, **changes: Any) -> Any:
    """One unit, to be paid at pickup unless changed: the answer with its secrets."""
    body = {
        "location_id": str(shop.stores[0].location_id),
        "lines": [{"sku": shop.skus[0].sku, "quantity": 1}],
        "contact": {"name": "Ana Torres", "email": "ana@example.com"},
        "tender": "pay_at_pickup",
        "total": ALL,
    }
    answer = await web.http.post(
        "/v1/orders", json=body | changes, headers={"Idempotency-Key": uuid4().hex}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def path_of(placed: Any) -> str:
    return f"/pickups/{placed['order']['fulfillments'][0]['id']}"


async def ready(tablet: Tablet, placed: Any, **body: Any) -> Any:
    """Picked, and waiting at A-12."""
    started = await tablet.post(f"{path_of(placed)}/start")
    assert started.status_code == 200, started.text
    answer = await tablet.post(f"{path_of(placed)}/ready", staging_location="A-12", **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def hand_over(tablet: Tablet, placed: Any, **body: Any) -> httpx.Response:
    """With the shopper's code, unless the body says otherwise."""
    code = {} if "override_reason" in body else {"code": placed["pickup_code"]}
    return await tablet.post(f"{path_of(placed)}/hand-over", **(code | body))


async def test_a_pickup_goes_from_the_list_to_the_shopper(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await order(web, shop)
    pickup_id = placed["order"]["fulfillments"][0]["id"]
    listed = (await tablet.get("/pickups", limit=200)).json()["items"]
    (found,) = [each for each in listed if each["id"] == pickup_id]
    assert (found["state"], found["due"], found["order_number"]) == (
        "requested",
        ALL,
        placed["order"]["number"],
    )
    assert "Ana" not in str(listed)
    waiting = await ready(tablet, placed)
    assert (waiting["state"], waiting["staging_location"], waiting["picked_by"]) == (
        "ready",
        "A-12",
        f"associate:{tablet.associate_id}",
    )
    given = await hand_over(tablet, placed, tender=IN_CASH)
    assert given.status_code == 200, given.text
    answer = given.json()
    assert (answer["change"], answer["payment"]) == (
        {"amount_minor": 40_000, "currency": "MXN"},
        "paid",
    )
    assert (answer["pickup"]["state"], answer["pickup"]["order_state"]) == (
        "collected",
        "completed",
    )
    assert "Ana" not in given.text
    assert placed["pickup_code"] not in given.text
    listed = (await tablet.get("/pickups", limit=200)).json()["items"]
    assert pickup_id not in {each["id"] for each in listed}


async def test_the_list_is_paged_and_filtered(web: WebShop, tablet: Tablet) -> None:
    shop = await make_shop(web.services.database, skus=1, stores=1)
    there = await sign_in(web.http, web.services, shop)
    placed = [await order(web, shop) for _ in range(3)]
    await ready(there, placed[1])
    first = (await there.get("/pickups", limit=2)).json()
    rest = (await there.get("/pickups", limit=2, cursor=first["next_cursor"])).json()
    shown = [each["id"] for each in (*first["items"], *rest["items"])]
    assert shown == [each["order"]["fulfillments"][0]["id"] for each in placed]
    assert rest["next_cursor"] is None
    waiting = (await there.get("/pickups", state="ready")).json()["items"]
    assert [each["id"] for each in waiting] == [shown[1]]
    assert told(await there.get("/pickups", state="collected")) == (400, "invalid_request")
    elsewhere = {"location_id": str(shop.stores[0].location_id)}
    assert told(await tablet.get("/pickups", **elsewhere)) == (403, "store_not_allowed")


async def test_a_key_of_no_store_names_one(
    web: WebShop, shop: Shop, back_office: httpx.AsyncClient
) -> None:
    placed = await order(web, shop)
    assert told(await back_office.get("/v1/store/pickups")) == (422, "invalid_field")
    at: Any = {"location_id": str(shop.stores[0].location_id), "limit": 200}
    listed = (await back_office.get("/v1/store/pickups", params=at)).json()["items"]
    assert placed["order"]["fulfillments"][0]["id"] in {each["id"] for each in listed}


async def test_the_name_is_told_at_the_pickups_store_and_the_look_is_on_record(
    web: WebShop, shop: Shop, tablet: Tablet, back_office: httpx.AsyncClient
) -> None:
    placed = await order(web, shop)
    detail = (await tablet.get(path_of(placed))).json()
    assert detail["contact_name"] == "Ana Torres"
    assert "ana@example.com" not in str(detail)
    assert placed["pickup_code"] not in str(detail)
    entries = (await back_office.get("/v1/backoffice/staff-record")).json()["items"]
    subject = f"pickup:{placed['order']['fulfillments'][0]['id']}"
    (seen,) = [each for each in entries if each["subject"] == subject]
    assert (seen["action"], seen["actor"], seen["location_id"]) == (
        "pickup.viewed",
        f"associate:{tablet.associate_id}",
        str(shop.stores[0].location_id),
    )


async def test_another_stores_associate_may_do_nothing(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await order(web, shop)
    before = await ready(tablet, placed)
    stranger = await sign_in(web.http, web.services, shop, store=1, role="manager")
    refused = (403, "store_not_allowed")
    assert told(await stranger.get(path_of(placed))) == refused
    assert told(await stranger.post(f"{path_of(placed)}/start")) == refused
    assert told(await stranger.post(f"{path_of(placed)}/ready", staging_location="B")) == refused
    assert told(await hand_over(stranger, placed, tender=IN_CASH)) == refused
    assert told(await hand_over(stranger, placed, code="WRONG1")) == refused
    assert told(await stranger.post(f"{path_of(placed)}/cancel", reason="damaged")) == refused
    assert (await tablet.get(path_of(placed))).json()["pickup"] == before


async def test_shoppers_and_web_shops_have_no_business_here(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await order(web, shop)
    for request in (
        web.http.get(f"/v1/store{path_of(placed)}"),
        web.http.get("/v1/store/pickups"),
        web.http.post(
            f"/v1/store{path_of(placed)}/hand-over",
            json={"code": placed["pickup_code"]},
            headers={"Idempotency-Key": uuid4().hex},
        ),
    ):
        assert told(await request) == (403, "permission_denied")
    unsigned = tablet.headers | {}
    del unsigned["Authorization"]
    nobody = Tablet(web.http, unsigned, "")
    assert told(await nobody.get("/pickups")) == (401, "session_required")


async def test_wrong_codes_are_counted_although_they_are_refused(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await order(web, shop)
    await ready(tablet, placed)
    key = uuid4().hex
    path = f"{path_of(placed)}/hand-over"
    first = await tablet.post(path, key=key, code="WRONG1")
    assert told(first) == (422, "pickup_code_wrong")
    assert first.json()["tries_left"] == 4
    again = await tablet.post(path, key=key, code="WRONG1")
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    left = [(await tablet.post(path, code="WRONG1")).json()["tries_left"] for _ in range(3)]
    assert left == [3, 2, 1]
    locked = await tablet.post(path, code="WRONG1")
    assert told(locked) == (409, "pickup_code_locked")
    right = await hand_over(tablet, placed, tender=IN_CASH)
    assert told(right) == (409, "pickup_code_locked")
    assert right.json()["until"] == locked.json()["until"]
    denied = await hand_over(tablet, placed, override_reason="knows me", tender=IN_CASH)
    assert told(denied) == (403, "permission_denied")
    manager = await sign_in(web.http, web.services, shop, role="manager")
    given = await hand_over(manager, placed, override_reason="passport shown", tender=IN_CASH)
    assert given.status_code == 200, given.text


@pytest.mark.parametrize("body", [{}, {"code": "ABC123", "override_reason": "knows me"}])
async def test_a_code_or_a_reason_but_not_both(
    web: WebShop, shop: Shop, tablet: Tablet, body: dict[str, str]
) -> None:
    placed = await order(web, shop)
    await ready(tablet, placed)
    answer = await tablet.post(f"{path_of(placed)}/hand-over", **body)
    assert (told(answer), answer.json()["path"]) == ((422, "invalid_field"), "/code")


async def test_refused_tenders_keep_the_goods(web: WebShop, shop: Shop, tablet: Tablet) -> None:
    placed = await order(web, shop)
    before = await ready(tablet, placed)
    unpaid = await hand_over(tablet, placed)
    assert (told(unpaid), unpaid.json()["due"]) == ((409, "tender_required"), ALL)
    little = {"kind": "cash", "tendered": {"amount_minor": 9_999, "currency": "MXN"}}
    assert told(await hand_over(tablet, placed, tender=little)) == (422, "tendered_too_little")
    nameless = {"kind": "external_terminal"}
    assert told(await hand_over(tablet, placed, tender=nameless)) == (400, "invalid_request")
    strange = {"kind": "shells", "count": 3}
    assert told(await hand_over(tablet, placed, tender=strange)) == (400, "invalid_request")
    assert (await tablet.get(path_of(placed))).json()["pickup"] == before


async def test_two_hand_overs_at_once_give_the_goods_once(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    other = await sign_in(web.http, web.services, shop)
    placed = await order(web, shop)
    await ready(tablet, placed)
    answers = await asyncio.gather(
        *(hand_over(each, placed, tender=IN_CASH) for each in (tablet, other))
    )
    assert sorted(each.status_code for each in answers) == [200, 409]
    (won,) = [each.json() for each in answers if each.status_code == 200]
    (lost,) = [each.json() for each in answers if each.status_code == 409]
    assert lost["code"] == "already_collected"
    assert lost["handed_over_by"] == won["pickup"]["handed_over_by"]
    assert lost["collected_at"] == won["pickup"]["closed_at"]


async def test_one_command_sent_twice_has_one_answer(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await order(web, shop)
    await ready(tablet, placed)
    key = uuid4().hex
    body = {"code": placed["pickup_code"], "tender": IN_CASH}
    first = await tablet.post(f"{path_of(placed)}/hand-over", key=key, **body)
    again = await tablet.post(f"{path_of(placed)}/hand-over", key=key, **body)
    assert (first.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_card_is_captured_at_hand_over(web: WebShop, shop: Shop, tablet: Tablet) -> None:
    placed = await web.place(shop, "pm_card_visa")
    await ready(tablet, placed)
    key = uuid4().hex
    path = f"{path_of(placed)}/hand-over"
    given = await tablet.post(path, key=key, code=placed["pickup_code"])
    assert given.status_code == 200, given.text
    answer = given.json()
    assert (answer["payment"], answer["change"]) == ("paid", NOTHING)
    assert answer["pickup"]["order_state"] == "completed"
    assert web.books(placed["order"]["id"]) == [
        {"authorized": PRICE, "captured": PRICE, "kept": PRICE}
    ]
    again = await tablet.post(path, key=key, code=placed["pickup_code"])
    assert again.content == given.content


async def test_goods_go_while_the_provider_is_silent(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await web.place(shop, "pm_card_visa")
    await ready(tablet, placed)
    web.stripe.fault("payment_intents.capture", "error_before", times=10)
    given = await hand_over(tablet, placed)
    web.stripe.http.delete("/_control/faults")
    assert given.status_code == 200, given.text
    answer = given.json()
    assert (answer["payment"], answer["pickup"]["state"]) == ("capturing", "collected")
    assert answer["pickup"]["order_state"] == "placed"


async def test_short_picks_charge_less(web: WebShop, shop: Shop, tablet: Tablet) -> None:
    placed = await order(
        web,
        shop,
        lines=[
            {"sku": shop.skus[0].sku, "quantity": 2},
            {"sku": shop.skus[1].sku, "quantity": 1},
        ],
        total={"amount_minor": 31_000, "currency": "MXN"},
    )
    waiting = await ready(tablet, placed, short=[{"line_number": 1, "quantity": 1}])
    assert waiting["due"] == {"amount_minor": 21_000, "currency": "MXN"}
    assert [line["cancelled_quantity"] for line in waiting["lines"]] == [1, 0]
    given = (await hand_over(tablet, placed, tender=IN_CASH)).json()
    assert given["change"] == {"amount_minor": 29_000, "currency": "MXN"}


async def test_when_nothing_is_found_the_card_is_freed(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await web.place(shop, "pm_card_visa")
    ended = await ready(tablet, placed, short=[{"line_number": 1, "quantity": 1}])
    assert (ended["state"], ended["order_state"], ended["due"]) == (
        "cancelled",
        "cancelled",
        NOTHING,
    )
    assert web.books(placed["order"]["id"]) == [{"authorized": PRICE, "voided": PRICE}]


async def test_impossible_short_picks_are_refused_by_path(
    web: WebShop, shop: Shop, tablet: Tablet
) -> None:
    placed = await order(web, shop)
    await tablet.post(f"{path_of(placed)}/start")
    answer = await tablet.post(
        f"{path_of(placed)}/ready",
        staging_location="A-12",
        short=[{"line_number": 1, "quantity": 2}],
    )
    assert (told(answer), answer.json()["path"]) == (
        (422, "invalid_field"),
        "/short/0/quantity",
    )


async def test_the_store_calls_a_pickup_off(web: WebShop, shop: Shop, tablet: Tablet) -> None:
    placed = await web.place(shop, "pm_card_visa")
    ended = await tablet.post(f"{path_of(placed)}/cancel", reason="shopper_asked")
    assert ended.status_code == 200, ended.text
    assert (ended.json()["state"], ended.json()["cancel_reason"]) == (
        "cancelled",
        "shopper_asked",
    )
    assert web.books(placed["order"]["id"]) == [{"authorized": PRICE, "voided": PRICE}]
    late = await hand_over(tablet, placed)
    assert (told(late), late.json()["state"]) == ((409, "wrong_state"), "cancelled")


async def test_what_does_not_exist_is_not_found(tablet: Tablet) -> None:
    assert told(await tablet.get(f"/pickups/{uuid4()}")) == (404, "not_found")
    assert told(await tablet.post(f"/pickups/{uuid4()}/start")) == (404, "not_found")
