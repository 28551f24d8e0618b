"""Returns from the shopper's app: own orders only, approved at once or refused with a reason."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from commerce.kernel import ids
from tests.desk import Desk, post, refusal, units
from tests.paying import WebShop, web_shop
from tests.shop import make_shop
from tests.stripe_server import FakeStripeServer, free_port


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
    return Desk(web, await make_shop(web.services.database))


ONE = {"lines": [{"line_number": 1, "quantity": 1}], "reason": "too small"}


async def test_shopper_asks_from_home_and_any_store_takes_it(desk: Desk) -> None:
    shopper_id = ids.uuid7()
    order = await desk.sold((0, 2), total_minor=20_000, shopper_id=shopper_id)
    async with await desk.shopper(shopper_id) as me, await desk.staff(1) as there:
        key = uuid4().hex
        asked = await post(me, f"/v1/orders/{order.id}/returns", ONE, key=key)
        again = await post(me, f"/v1/orders/{order.id}/returns", ONE, key=key)
        assert asked.status_code == 201, asked.text
        assert again.content == asked.content
        made = asked.json()
        assert (made["state"], made["location_id"]) == ("approved", None)
        shown = (await me.get(f"/v1/orders/{order.id}/returnable")).json()
        assert (shown["lines"][0]["returnable"], shown["returns"]) == (1, [made])
        done = await post(
            there, f"/v1/store/returns/{made['id']}/receive", {"units": units((1, "restock", 1))}
        )
        assert done.json()["state"] == "settled", done.text
        assert (await me.get(f"/v1/returns/{made['id']}")).json() == done.json()
        late = await post(me, f"/v1/returns/{made['id']}/cancel")
        assert refusal(late) == (409, "wrong_state")


async def test_shopper_keeps_the_goods_after_all(desk: Desk) -> None:
    shopper_id = ids.uuid7()
    order = await desk.sold((0, 1), total_minor=10_000, shopper_id=shopper_id)
    async with await desk.shopper(shopper_id) as me:
        made = (await post(me, f"/v1/orders/{order.id}/returns", ONE)).json()
        more = await post(me, f"/v1/orders/{order.id}/returns", ONE)
        assert refusal(more) == (422, "return_exceeds_bought")
        for _ in range(2):
            cancelled = await post(me, f"/v1/returns/{made['id']}/cancel")
            assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert (await post(me, f"/v1/orders/{order.id}/returns", ONE)).status_code == 201


async def test_another_shoppers_order_is_not_there(desk: Desk) -> None:
    owner = ids.uuid7()
    order = await desk.sold((0, 1), total_minor=10_000, shopper_id=owner)
    async with (
        await desk.shopper(owner) as me,
        await desk.shopper(ids.uuid7()) as stranger,
        await desk.key("storefront") as guest,
    ):
        made = (await post(me, f"/v1/orders/{order.id}/returns", ONE)).json()
        for refused in (
            await post(stranger, f"/v1/orders/{order.id}/returns", ONE),
            await stranger.get(f"/v1/orders/{order.id}/returnable"),
            await stranger.get(f"/v1/returns/{made['id']}"),
            await post(stranger, f"/v1/returns/{made['id']}/cancel"),
        ):
            assert refusal(refused) == (404, "not_found")
        assert refusal(await guest.get(f"/v1/returns/{made['id']}")) == (401, "session_required")
        assert (await me.get(f"/v1/returns/{made['id']}")).json() == made


async def test_an_exception_cannot_be_asked_for_from_home(desk: Desk) -> None:
    shopper_id = ids.uuid7()
    order = await desk.sold((0, 1), total_minor=10_000, shopper_id=shopper_id)
    async with await desk.shopper(shopper_id) as me:
        refused = await post(me, f"/v1/orders/{order.id}/returns", ONE | {"exception": "please"})
    assert refusal(refused) == (400, "invalid_request")
    assert refused.json()["path"] == "/exception"
