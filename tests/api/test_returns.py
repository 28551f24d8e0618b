"""The returns desk over HTTP: any store, exact money, named refusals, once per key."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from commerce import returns, settlement
from commerce.orders import Order
from inventory import stock
from tests.desk import Desk, post, refusal, units
from tests.paying import WebShop, web_shop
from tests.shop import make_shop
from tests.simulation import story
from tests.stripe_server import FakeStripeServer, free_port

PRICE = 10_000
TAKE_BACK = "/v1/store/returns/take-back"
RETURNS = "/v1/store/returns"


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
async def web(prepared_dsn: str, stripe: FakeStripeServer) -> AsyncIterator[WebShop]:
    async with web_shop(prepared_dsn, stripe) as serving:
        yield serving


@pytest.fixture
async def desk(web: WebShop) -> Desk:
    web.stripe.http.delete("/_control/faults")
    return Desk(web, await make_shop(web.services.database))


async def on_hand(desk: Desk, store: int) -> int:
    key = (desk.shop.stores[store].location_id, desk.shop.skus[0].sku)
    async with desk.web.services.database.reading() as conn:
        return (await stock.levels(conn, [key]))[key].on_hand


async def stored(desk: Desk, order: Order) -> list[Any]:
    async with desk.web.services.database.reading() as conn:
        return [await returns.of_order(conn, order.id), await on_hand(desk, 1)]


def money(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "MXN"}


async def test_an_order_shows_what_may_come_back(desk: Desk) -> None:
    order = await desk.sold((0, 2), (1, 1), total_minor=31_000)
    async with await desk.staff(1) as there:
        number = f"{order.head.number[:3]}-{order.head.number[3:]}".lower()
        shown = await there.get(f"/v1/store/orders/{number}/returnable")
    assert shown.status_code == 200, shown.text
    told = shown.json()
    closes_on = (desk.web.clock() - timedelta(hours=6) + timedelta(days=30)).date().isoformat()
    assert (told["order_id"], told["returns"]) == (str(order.id), [])
    assert told["lines"][0] == {
        "line_number": 1,
        "sku": desk.shop.skus[0].sku,
        "name": order.lines[0].name,
        "returnable": 2,
        "reason": None,
        "closes_on": closes_on,
        "refunds": [{"quantity": 2, "unit_refund": money(PRICE)}],
    }


async def test_card_order_comes_back_at_another_store_in_one_call(desk: Desk) -> None:
    order = await desk.sold_by_card(2)
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    key = uuid4().hex
    async with await desk.staff(1) as there:
        done = await post(there, TAKE_BACK, body, key=key)
        again = await post(there, TAKE_BACK, body, key=key)
    assert done.status_code == 201, done.text
    made = done.json()
    assert (made["state"], made["refund"], made["refund_pending"]) == (
        "settled", money(PRICE), False,
    )  # fmt: skip
    assert made["location_id"] == str(desk.shop.stores[1].location_id)
    assert made["lines"][0]["units"] == [{"disposition": "restock", "quantity": 1}]
    assert (again.status_code, again.content) == (201, done.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert desk.web.books(order.id) == [
        {"authorized": 2 * PRICE, "captured": 2 * PRICE, "refunded": PRICE, "kept": PRICE}
    ]
    assert (await on_hand(desk, 0), await on_hand(desk, 1)) == (8, 11)


async def test_when_everything_came_back_everything_is_refunded(desk: Desk) -> None:
    order = await desk.sold_by_card(3)
    async with await desk.staff(1) as there:
        for arrived in (units((1, "damaged", 1)), units((1, "restock", 1), (1, "destroy", 1))):
            body = {"order_number": order.head.number, "units": arrived}
            assert (await post(there, TAKE_BACK, body)).json()["state"] == "settled"
        body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
        refused = await post(there, TAKE_BACK, body)
    assert refusal(refused) == (422, "return_exceeds_bought")
    assert (refused.json()["requested"], refused.json()["returnable"]) == (1, 0)
    assert desk.web.books(order.id) == [
        {"authorized": 3 * PRICE, "captured": 3 * PRICE, "refunded": 3 * PRICE}
    ]
    assert await on_hand(desk, 1) == 11


async def test_a_silent_provider_leaves_the_refund_pending(desk: Desk) -> None:
    order = await desk.sold_by_card(1)
    desk.web.stripe.fault("refunds.create", "close_after")
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    key = uuid4().hex
    async with await desk.staff(1) as there:
        done = await post(there, TAKE_BACK, body, key=key)
        again = await post(there, TAKE_BACK, body, key=key)
        shown = await there.get(f"{RETURNS}/{done.json()['id']}")
    assert done.status_code == 201, done.text
    assert (done.json()["state"], done.json()["refund_pending"]) == ("received", True)
    assert again.content == done.content
    assert shown.json() == done.json()
    assert desk.web.books(order.id)[0]["refunded"] == PRICE


async def test_a_return_is_asked_for_here_and_received_there_once(desk: Desk) -> None:
    order = await desk.sold((0, 3), total_minor=30_000)
    ask = {
        "order_number": order.head.number,
        "lines": [{"line_number": 1, "quantity": 1}, {"line_number": 1, "quantity": 1}],
        "reason": "too small",
    }
    async with await desk.staff(0) as here, await desk.staff(1) as there:
        made = (await post(here, RETURNS, ask)).json()
        assert (made["state"], made["refund"], made["reason"]) == (
            "approved", money(20_000), "too small",
        )  # fmt: skip
        shown = await there.get(f"{RETURNS}/{made['id']}")
        assert shown.json() == made
        receive = f"{RETURNS}/{made['id']}/receive"
        too_many = await post(there, receive, {"units": units((1, "restock", 3))})
        assert refusal(too_many) == (422, "return_exceeds_requested")
        done = await post(there, receive, {"units": units((1, "restock", 1))})
        assert done.status_code == 200, done.text
        assert (done.json()["state"], done.json()["refund"]) == ("settled", money(PRICE))
        twice = await post(here, receive, {"units": units((1, "restock", 1))})
        assert refusal(twice) == (409, "wrong_state")
        assert (await here.get(f"{RETURNS}/{made['id']}")).status_code == 404
        listed = (await there.get(RETURNS, params={"state": "settled"})).json()
        assert [each["id"] for each in listed["items"]] == [made["id"]]
        assert (await here.get(RETURNS)).json() == {"items": [], "next_cursor": None}
    assert (await on_hand(desk, 0), await on_hand(desk, 1)) == (7, 11)


async def test_a_closed_window_needs_a_manager(desk: Desk) -> None:
    order = await desk.sold((0, 3), total_minor=30_000, days_ago=32)
    before = await stored(desk, order)
    closed_on = (desk.web.clock() - timedelta(hours=6) - timedelta(days=2)).date().isoformat()
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    ask = {"order_number": order.head.number, "lines": [{"line_number": 1, "quantity": 1}]}
    async with await desk.staff(1) as there, await desk.staff(1, role="manager") as manager:
        refused = await post(there, TAKE_BACK, body)
        assert refusal(refused) == (422, "return_window_closed")
        assert refused.json()["closed_on"] == closed_on
        not_allowed = await post(there, TAKE_BACK, body | {"exception": "friend"})
        assert refusal(not_allowed) == (403, "permission_denied")
        assert await stored(desk, order) == before
        done = await post(manager, TAKE_BACK, body | {"exception": "regular"})
        assert done.json()["state"] == "settled", done.text
        paths = []
        for _ in range(2):
            waits = (await post(there, RETURNS, ask | {"exception": "was ill"})).json()
            assert waits["state"] == "requested"
            paths.append(f"{RETURNS}/{waits['id']}")
        forbidden = await post(there, f"{paths[0]}/approve", {"why": "me"})
        assert refusal(forbidden) == (403, "permission_denied")
        approved = await post(manager, f"{paths[0]}/approve", {"why": "kind"})
        rejected = await post(manager, f"{paths[1]}/reject", {"why": "worn"})
    assert approved.json()["state"] == "approved"
    assert (rejected.json()["state"], rejected.json()["rejection"]) == ("rejected", "worn")


async def test_a_return_is_cancelled_by_its_own_store(desk: Desk) -> None:
    order = await desk.sold((0, 1), total_minor=PRICE)
    ask = {"order_number": order.head.number, "lines": [{"line_number": 1, "quantity": 1}]}
    async with await desk.staff(0) as here, await desk.staff(1) as there:
        path = f"{RETURNS}/{(await post(here, RETURNS, ask)).json()['id']}"
        assert refusal(await post(there, f"{path}/cancel")) == (403, "store_not_allowed")
        assert (await here.get(path)).json()["state"] == "approved"
        assert (await post(here, f"{path}/cancel")).json()["state"] == "cancelled"
        receive = await post(here, f"{path}/receive", {"units": units((1, "restock", 1))})
        assert refusal(receive) == (409, "wrong_state")


async def test_a_refund_that_bounced_is_sent_again_once(desk: Desk) -> None:
    order = await desk.sold_by_card(1, "pm_card_refundFail")
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    services = desk.web.services
    async with await desk.staff(1) as there:
        refund = f"{RETURNS}/{(await post(there, TAKE_BACK, body)).json()['id']}/refund"
        nothing_owed = await post(there, refund)
        assert (nothing_owed.status_code, nothing_owed.json()["state"]) == (200, "settled")
        sent = (await story.standing(services.database, order.id)).operations[-1]
        desk.web.stripe.control(f"refunds/{sent.provider_reference}/settle")
        gateway = await services.gateway()
        await settlement.look_at_refund(services.database, gateway, sent, now=desk.web.clock)
        for _ in range(2):
            assert (await post(there, refund)).status_code == 200
    assert desk.web.books(order.id) == [
        {"authorized": PRICE, "captured": PRICE, "refunded": 2 * PRICE, "refund_failed": PRICE}
    ]


async def test_the_list_goes_on_behind_its_cursor(desk: Desk) -> None:
    order = await desk.sold((0, 3), total_minor=30_000)
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    async with await desk.staff(1) as there:
        made = [(await post(there, TAKE_BACK, body)).json()["id"] for _ in range(3)]
        first = (await there.get(RETURNS, params={"limit": 2})).json()
        second = (await there.get(RETURNS, params={"cursor": first["next_cursor"]})).json()
        wrong = await there.get(RETURNS, params={"cursor": "!"})
    assert [each["id"] for each in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None
    assert refusal(wrong) == (400, "invalid_request")


async def test_an_order_that_waits_for_its_shopper_is_not_returned(desk: Desk) -> None:
    placed = (await desk.web.place(desk.shop, "pm_card_visa"))["order"]
    body = {"order_number": placed["number"], "units": units((1, "restock", 1))}
    async with await desk.staff(0) as here:
        refused = await post(here, TAKE_BACK, body)
        unknown = await post(here, TAKE_BACK, body | {"order_number": "0000000"})
    assert refusal(refused) == (409, "order_not_completed")
    assert refused.json()["state"] == "placed"
    assert refusal(unknown) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"units": []}, "/units"),
        ({"units": units((1, "restock", 0))}, "/units/0/quantity"),
        ({"units": units((0, "restock", 1))}, "/units/0/line_number"),
        ({"units": units((1, "restock", 10_001))}, "/units/0/quantity"),
        ({"units": units((1, "burnt", 1))}, "/units/0/disposition"),
        ({"refund": 1}, "/refund"),
        ({"reason": ""}, "/reason"),
        ({"location_id": "here"}, "/location_id"),
    ],
)
async def test_what_is_wrong_in_a_body_is_named(
    desk: Desk, change: dict[str, Any], path: str
) -> None:
    body = {"order_number": "7K2M9QD", "units": units((1, "restock", 1))} | change
    async with await desk.key("backoffice") as office:
        refused = await post(office, TAKE_BACK, body)
    assert refusal(refused) == (400, "invalid_request")
    assert refused.json()["path"] == path


async def test_a_key_of_no_store_names_one_and_others_keep_to_theirs(desk: Desk) -> None:
    order = await desk.sold((0, 1), total_minor=PRICE)
    before = await stored(desk, order)
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    there = str(desk.shop.stores[1].location_id)
    async with (
        await desk.staff(0) as here,
        await desk.key("tablet") as tablet,
        await desk.key("storefront") as shop,
        await desk.key("backoffice") as office,
    ):
        assert refusal(await post(here, TAKE_BACK, body | {"location_id": there})) == (
            403, "store_not_allowed",
        )  # fmt: skip
        assert refusal(await post(tablet, TAKE_BACK, body)) == (401, "session_required")
        assert refusal(await post(shop, TAKE_BACK, body)) == (403, "permission_denied")
        nowhere = await post(office, TAKE_BACK, body)
        assert refusal(nowhere) == (422, "invalid_field")
        assert await stored(desk, order) == before
        done = await post(office, TAKE_BACK, body | {"location_id": there})
    assert (done.status_code, done.json()["location_id"]) == (201, there)


async def test_a_command_without_a_key_is_not_taken(desk: Desk) -> None:
    order = await desk.sold((0, 1), total_minor=PRICE)
    body = {"order_number": order.head.number, "units": units((1, "restock", 1))}
    async with await desk.staff(0) as here:
        missing = await here.post(TAKE_BACK, json=body)
        key = uuid4().hex
        assert (await post(here, TAKE_BACK, body, key=key)).status_code == 201
        reused = await post(here, TAKE_BACK, body | {"reason": "other"}, key=key)
    assert refusal(missing) == (400, "idempotency_key_missing")
    assert refusal(reused) == (422, "idempotency_key_reused")
