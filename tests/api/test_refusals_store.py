"""What the counter refuses: returns of another store, goods that may not come back, old baskets."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from commerce import fulfillment, settlement
from commerce.orders import Order
from commerce.pricing import MAX_LINES
from inventory import stock
from inventory.stock import Movement
from inventory.tables import MAX_UNITS
from tests.changing import change_sku
from tests.desk import Desk, post, refusal, units
from tests.ordering import body, place
from tests.paying import WebShop, web_shop
from tests.shop import ACTOR, make_shop
from tests.simulation import story
from tests.stripe_server import FakeStripeServer, free_port

PRICE = 10_000
ONE = [{"line_number": 1, "quantity": 1}]
RESTOCK = units((1, "restock", 1))
RETURNS = "/v1/store/returns"
IN_CASH = {"kind": "cash", "tendered": {"amount_minor": PRICE, "currency": "MXN"}}


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


@pytest.fixture
async def here(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A manager at the first store."""
    async with await desk.staff(0, role="manager") as made:
        yield made


@pytest.fixture
async def there(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A manager at the second store."""
    async with await desk.staff(1, role="manager") as made:
        yield made


async def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


async def level(desk: Desk) -> int:
    """What the first store has of the first SKU."""
    key = (desk.shop.stores[0].location_id, desk.shop.skus[0].sku)
    async with desk.web.services.database.reading() as conn:
        return (await stock.levels(conn, [key]))[key].on_hand


async def final(desk: Desk) -> Order:
    """An order of goods that are sold for good."""
    await change_sku(desk.web.services.database, desk.shop, final_sale=True)
    return await desk.sold((0, 1), total_minor=PRICE, shopper_id=SHOPPER)


async def late(desk: Desk) -> Order:
    """An order whose goods could have come back once."""
    return await desk.sold((0, 1), total_minor=PRICE, shopper_id=SHOPPER, days_ago=40)


SHOPPER = uuid4()
REFUSED = [(final, (422, "final_sale")), (late, (422, "return_window_closed"))]


@pytest.mark.parametrize(("sold", "expected"), REFUSED)
async def test_what_may_not_come_back(
    desk: Desk, here: httpx.AsyncClient, sold: Any, expected: tuple[int, str]
) -> None:
    order: Order = await sold(desk)
    before = await level(desk)
    number = order.head.number
    async with await desk.shopper(SHOPPER) as shopper:
        asked = await post(shopper, f"/v1/orders/{order.id}/returns", {"lines": ONE})
    assert refusal(asked) == expected
    assert refusal(await post(here, RETURNS, {"order_number": number, "lines": ONE})) == expected
    taken = await post(here, f"{RETURNS}/take-back", {"order_number": number, "units": RESTOCK})
    assert refusal(taken) == expected
    shown = await done(await here.get(f"/v1/store/orders/{number}/returnable"))
    assert (shown["returns"], await level(desk)) == ([], before)


async def test_what_was_not_handed_over_cannot_come_back(desk: Desk) -> None:
    async with await desk.shopper(SHOPPER) as shopper:
        placed = await place(shopper, desk.shop)
        asked = await post(shopper, f"/v1/orders/{placed['order']['id']}/returns", {"lines": ONE})
    assert (refusal(asked), asked.json()["state"]) == ((409, "order_not_completed"), "placed")


async def test_nothing_comes_back_before_it_was_handed_over_nor_more_than_was(
    web: WebShop, desk: Desk, here: httpx.AsyncClient
) -> None:
    placed = await place(web.http, desk.shop)
    early = {"order_number": placed["order"]["number"], "lines": ONE}
    assert refusal(await post(here, RETURNS, early)) == (409, "order_not_completed")
    order = await desk.sold((0, 1), total_minor=PRICE)
    two = {"order_number": order.head.number, "lines": [{"line_number": 1, "quantity": 2}]}
    assert refusal(await post(here, RETURNS, two)) == (422, "return_exceeds_bought")
    assert (await done(await here.get(RETURNS)))["items"] == []


async def test_a_return_is_asked_for_at_a_store_of_ones_own(
    desk: Desk, here: httpx.AsyncClient
) -> None:
    order = await desk.sold((0, 1), total_minor=PRICE)
    asked = {"order_number": order.head.number, "lines": ONE}
    elsewhere = {**asked, "location_id": str(desk.shop.stores[1].location_id)}
    assert refusal(await post(here, RETURNS, elsewhere)) == (403, "store_not_allowed")
    async with await desk.key("backoffice") as office:
        nowhere = await post(office, RETURNS, asked)
    assert (refusal(nowhere), nowhere.json()["path"]) == ((422, "invalid_field"), "/location_id")
    shown = await done(await here.get(f"/v1/store/orders/{order.head.number}/returnable"))
    assert shown["returns"] == []


async def exception(desk: Desk, staff: httpx.AsyncClient) -> str:
    """A return at somebody's store that waits for a manager; its address."""
    asked = {
        "order_number": (await late(desk)).head.number, "lines": ONE, "exception": "was ill",
    }  # fmt: skip
    return f"{RETURNS}/{(await done(await post(staff, RETURNS, asked)))['id']}"


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_another_store_does_not_decide(
    desk: Desk, here: httpx.AsyncClient, there: httpx.AsyncClient, decision: str
) -> None:
    url = await exception(desk, here)
    refused = await post(there, f"{url}/{decision}", {"why": "regular customer"})
    assert refusal(refused) == (403, "store_not_allowed")
    assert (await done(await here.get(url)))["state"] == "requested"


async def test_only_what_waits_for_a_manager_is_decided(
    desk: Desk, here: httpx.AsyncClient
) -> None:
    url = await requested(here, await desk.sold((0, 1), total_minor=PRICE))
    for decision in ("approve", "reject"):
        refused = await post(here, f"{url}/{decision}", {"why": "regular customer"})
        assert (refusal(refused), refused.json()["state"]) == ((409, "wrong_state"), "approved")
    early = await post(here, f"{url}/refund")
    assert (refusal(early), early.json()["state"]) == ((409, "wrong_state"), "approved")
    assert (await done(await here.get(url)))["state"] == "approved"


async def test_a_settled_return_is_cancelled_by_nobody_and_refunded_by_its_store(
    desk: Desk, here: httpx.AsyncClient, there: httpx.AsyncClient
) -> None:
    order = await desk.sold((0, 1), total_minor=PRICE)
    taken = {"order_number": order.head.number, "units": RESTOCK}
    made = await done(await post(here, f"{RETURNS}/take-back", taken))
    url = f"{RETURNS}/{made['id']}"
    assert refusal(await post(here, f"{url}/cancel")) == (409, "wrong_state")
    assert refusal(await post(there, f"{url}/refund")) == (403, "store_not_allowed")
    assert (await done(await here.get(url))) == made


async def requested(staff: httpx.AsyncClient, order: Order) -> str:
    """A return that may be received; its address."""
    asked = {"order_number": order.head.number, "lines": ONE}
    return f"{RETURNS}/{(await done(await post(staff, RETURNS, asked)))['id']}"


async def test_goods_are_received_at_ones_own_store(desk: Desk, here: httpx.AsyncClient) -> None:
    url = await requested(here, await desk.sold((0, 1), total_minor=PRICE))
    elsewhere = {"units": RESTOCK, "location_id": str(desk.shop.stores[1].location_id)}
    assert refusal(await post(here, f"{url}/receive", elsewhere)) == (403, "store_not_allowed")
    assert (await done(await here.get(url)))["state"] == "approved"


async def test_a_shelf_has_room_for_a_million(desk: Desk, here: httpx.AsyncClient) -> None:
    order = await desk.sold((0, 2), total_minor=2 * PRICE)
    url = await requested(here, order)
    filled = Movement(
        desk.shop.stores[0].location_id, desk.shop.skus[0].sku, "receive",
        MAX_UNITS - await level(desk), ACTOR,
    )  # fmt: skip
    async with desk.web.services.database.transaction() as conn:
        await stock.move(conn, [filled], now=desk.web.clock())
    taken = {"order_number": order.head.number, "units": RESTOCK}
    for refused in (
        await post(here, f"{url}/receive", {"units": RESTOCK}),
        await post(here, f"{RETURNS}/take-back", taken),
    ):
        assert refusal(refused) == (422, "quantity_out_of_range")
    assert await level(desk) == MAX_UNITS


async def test_money_that_is_gone_is_not_given_back_again(
    desk: Desk, here: httpx.AsyncClient
) -> None:
    order = await desk.sold((0, 3), total_minor=3 * PRICE)
    url = await requested(here, order)
    await lose_what_was_captured(desk, order)
    before = await level(desk)
    taken = {"order_number": order.head.number, "units": RESTOCK}
    for refused in (
        await post(here, f"{url}/receive", {"units": RESTOCK}),
        await post(here, f"{RETURNS}/take-back", taken),
    ):
        assert refusal(refused) == (422, "refund_exceeds_capture")
    assert await level(desk) == before


async def test_a_refund_that_failed_is_not_repeated_with_money_that_is_gone(
    desk: Desk, here: httpx.AsyncClient
) -> None:
    order = await desk.sold_by_card(1, "pm_card_refundFail")
    taken = {"order_number": order.head.number, "units": RESTOCK}
    made = await done(await post(here, f"{RETURNS}/take-back", taken))
    services, gateway = desk.web.services, await desk.web.services.gateway()
    sent = (await story.standing(services.database, order.id)).operations[-1]
    desk.web.stripe.control(f"refunds/{sent.provider_reference}/settle")
    await settlement.look_at_refund(services.database, gateway, sent, now=desk.web.clock)
    await lose_what_was_captured(desk, order)
    refused = await post(here, f"{RETURNS}/{made['id']}/refund")
    assert refusal(refused) == (422, "refund_exceeds_capture")


async def lose_what_was_captured(desk: Desk, order: Order) -> None:
    """As if all of an order's money had been given back where we do not see it."""
    async with desk.web.services.database.transaction() as conn:
        await conn.driver.execute(
            "UPDATE payment SET captured_minor = 0, refunded_minor = 0 WHERE order_id = $1",
            order.id,
        )


async def basket(staff: httpx.AsyncClient, desk: Desk, *scans: tuple[int, int]) -> str:
    """A basket with so many units of SKUs; its address."""
    made = await done(await post(staff, "/v1/store/baskets", {}))
    url = f"/v1/store/baskets/{made['id']}"
    for index, quantity in scans:
        scan = {"barcode": desk.shop.skus[index].sku, "quantity": quantity}
        await done(await post(staff, f"{url}/lines", scan))
    return url


SALE = {"total": {"amount_minor": PRICE, "currency": "MXN"}, "tender": IN_CASH}


async def test_a_sold_basket_stays_sold(desk: Desk, here: httpx.AsyncClient) -> None:
    url = await basket(here, desk, (0, 1))
    await done(await post(here, f"{url}/sell", SALE))
    assert refusal(await here.delete(url)) == (409, "wrong_state")
    assert refusal(await here.delete(f"{url}/lines/1")) == (409, "wrong_state")
    assert refusal(await post(here, f"{url}/hold-again")) == (409, "wrong_state")
    assert (await done(await here.get(url)))["state"] == "sold"


async def test_an_empty_basket_is_not_sold(desk: Desk, here: httpx.AsyncClient) -> None:
    refused = await post(here, f"{await basket(here, desk)}/sell", SALE)
    assert (refusal(refused), refused.json()["path"]) == ((422, "invalid_field"), "/lines")


async def test_a_basket_stands_in_a_store(desk: Desk) -> None:
    async with await desk.key("backoffice") as office:
        opened = await post(office, "/v1/store/baskets", {"location_id": str(uuid4())})
    assert refusal(opened) == (422, "unknown_store")


async def test_what_is_sold_no_longer_leaves_no_counter(
    desk: Desk, here: httpx.AsyncClient
) -> None:
    url = await basket(here, desk, (0, 1))
    await change_sku(desk.web.services.database, desk.shop, active=False)
    scan = {"barcode": desk.shop.skus[0].gtin}
    assert refusal(await post(here, f"{url}/lines", scan)) == (422, "unknown_sku")
    assert refusal(await here.get(url)) == (422, "unknown_sku")
    assert refusal(await post(here, f"{url}/sell", SALE)) == (422, "unknown_sku")
    assert (await here.delete(f"{url}/lines/1")).status_code == 204
    assert (await done(await here.get(url)))["lines"] == []


async def test_a_basket_has_its_limit(desk: Desk, here: httpx.AsyncClient) -> None:
    url = await basket(here, desk)
    async with desk.web.services.database.transaction() as conn:
        await conn.driver.execute("UPDATE basket SET lines = $2 WHERE id = $1", *many(desk, url))
    refused = await post(here, f"{url}/lines", {"barcode": desk.shop.skus[0].sku})
    assert (refusal(refused), refused.json()["maximum"]) == ((422, "basket_full"), MAX_LINES)


def many(desk: Desk, url: str) -> tuple[str, list[dict[str, Any]]]:
    """As many lines as a basket takes."""
    sku = desk.shop.skus[0].sku
    return url.rpartition("/")[2], [
        {"line_number": number, "sku": sku, "quantity": 1, "demand_id": str(uuid4())}
        for number in range(1, MAX_LINES + 1)
    ]


async def test_goods_that_others_were_promised_are_not_held_again(
    web: WebShop, desk: Desk, here: httpx.AsyncClient
) -> None:
    url = await basket(here, desk, (0, 1))
    web.clock.pass_by(minutes=11)
    await place(web.http, desk.shop, (0, 10))
    refused = await post(here, f"{url}/hold-again")
    assert refusal(refused) == (409, "stock_short")
    assert (await done(await here.get(url)))["lines"][0]["held_until"] is None


async def test_a_pickup_whose_time_is_over_is_not_called_off(
    web: WebShop, desk: Desk, here: httpx.AsyncClient
) -> None:
    now = web.clock()
    web.clock.at = now - timedelta(days=30)  # so that nobody else's time is over
    async with await desk.staff(0) as then:
        placed = await place(web.http, desk.shop)
        url = f"/v1/store/pickups/{placed['order']['fulfillments'][0]['id']}"
        await done(await post(then, f"{url}/start"))
        await done(await post(then, f"{url}/ready", {"staging_location": "A-12"}))
    web.clock.at = now
    await fulfillment.expire(web.services.database, now=now - timedelta(days=20))
    refused = await post(here, f"{url}/cancel", {"reason": "shopper_asked"})
    assert (refusal(refused), refused.json()["state"]) == ((409, "wrong_state"), "expired")


async def test_a_hold_that_is_too_old_pays_nothing(web: WebShop, desk: Desk) -> None:
    by_card = {"tender": "card", "payment_method": "pm_card_visa"}
    placed = await done(await post(web.http, "/v1/orders", body(desk.shop, **by_card)))
    url = f"/v1/store/pickups/{placed['order']['fulfillments'][0]['id']}"
    now = web.clock()
    web.clock.pass_by(days=8)
    async with await desk.staff(0) as later:
        await done(await post(later, f"{url}/start"))
        await done(await post(later, f"{url}/ready", {"staging_location": "A-12"}))
        refused = await post(later, f"{url}/hand-over", {"code": placed["pickup_code"]})
    web.clock.at = now
    assert refusal(refused) == (409, "authorization_lapsed")
    assert web.books(placed["order"]["id"]) == [{"authorized": PRICE, "held": PRICE}]
