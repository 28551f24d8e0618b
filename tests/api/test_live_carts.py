"""The same cart on every device and at the counter: live, merged at sign-in, claimed by code."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.middleware import Edge
from api.services import Services
from commerce.carts import MAX_LINES
from commerce.carts.claiming import CLAIM_LIFETIME, CODE_LIFETIME, MAX_TRIES
from tests.feeds import FeedClient
from tests.live import Device, at_store, claim, good, new_shopper, refused, session_of
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in


@pytest.fixture(scope="module")
async def key(make_key: Any) -> str:
    found: str = await make_key("storefront")
    return found


@pytest.fixture
async def shop(services: Services) -> Shop:
    return await make_shop(services.database)


@pytest.fixture
def guest(http: httpx.AsyncClient, key: str) -> Device:
    return Device(http, {"X-API-Key": key})


@pytest.fixture
async def phone(http: httpx.AsyncClient, services: Services, key: str) -> Device:
    return Device(http, await session_of(services, key, await new_shopper(services)))


@pytest.fixture
async def tablet(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop)


def with_token(device: Device, guest: Device) -> Device:
    """The signed-in device, which shows the guest's cart."""
    token = guest.headers["Cart-Token"]
    return Device(device.http, device.headers | {"Cart-Token": token}, guest.cart)


async def test_each_change_is_told_with_the_revision_that_it_made(
    edge: Edge, guest: Device, shop: Shop
) -> None:
    cart = await guest.start(shop)
    async with FeedClient(edge, f"{cart.url}/feed", cart.headers) as feed:
        assert feed.status == 200
        await feed.until("open")
        made = [
            await cart.set(shop.skus[0].sku, 2),
            good(await cart.send("PUT", "/checkout"))["cart"],
            await cart.set(shop.skus[0].sku, 1),
            good(await cart.send("PUT", "/checkout"))["cart"],
            good(await cart.send("DELETE", "/checkout")),
        ]
        told = [(await feed.until("cart.changed")).data for _ in made]
    assert [each["payload"] for each in told] == [{"revision": cart["revision"]} for cart in made]
    assert {each["aggregate_id"] for each in told} == {cart.cart}
    assert all("actor" not in each for each in told)
    numbers = [cart["revision"] for cart in made]
    assert numbers == sorted(set(numbers))


async def test_nobody_else_follows_a_cart(edge: Edge, guest: Device, shop: Shop) -> None:
    cart = await guest.start(shop)
    async with FeedClient(edge, f"{cart.url}/feed", guest.headers) as feed:
        assert feed.status == 404


async def test_compare_and_set_refuses_whoever_has_not_seen_the_last_change(
    guest: Device, shop: Shop
) -> None:
    cart, sku = await guest.start(shop), shop.skus[0].sku
    seen = (await cart.set(sku, 1))["revision"]
    await cart.set(sku, 2)
    for method, path, body in (
        ("PUT", f"/lines/{sku}", {"quantity": 7}),
        ("DELETE", "/coupon", {}),
        ("PUT", "/store", {"location_id": str(shop.stores[1].location_id)}),
    ):
        problem = refused(
            await cart.send(method, path, if_match=str(seen), **body), 412, "cart_changed"
        )
        assert problem["revision"] == seen + 1
    assert await cart.lines() == {sku: 2}
    by_tag = await cart.send("PUT", f"/lines/{sku}", if_match=f'"{seen + 1}"', quantity=7)
    assert good(by_tag)["revision"] == seen + 2
    await cart.send("PUT", "/checkout")
    held = good(await cart.send("GET"))["cart"]["revision"]
    reopened = good(await cart.send("PUT", f"/lines/{sku}", if_match=str(held), quantity=1))
    assert reopened["state"] == "open"
    refused(await cart.send("DELETE", "/coupon", if_match="soon"), 400, "invalid_request")


async def test_every_device_finds_the_same_cart(
    http: httpx.AsyncClient, services: Services, key: str, shop: Shop
) -> None:
    ana = await new_shopper(services)
    phone, laptop = [Device(http, await session_of(services, key, ana)) for _ in range(2)]
    first, second = await phone.start(shop), await phone.start(shop)
    await second.set(shop.skus[0].sku, 1)
    found = good(await laptop.ask("GET", "/v1/carts"))["items"]
    assert [each["id"] for each in found] == [second.cart, first.cart]
    here = Device(http, laptop.headers, found[0]["id"])
    assert await here.lines() == {shop.skus[0].sku: 1}
    total = {"amount_minor": 10_000, "currency": "MXN"}
    contact = {"name": "Ana", "email": "ana@example.com"}
    await here.send("PUT", "/checkout")
    good(await here.send("PUT", "/order", contact=contact, tender="pay_at_pickup", total=total))
    left = good(await laptop.ask("GET", "/v1/carts"))["items"]
    assert [each["id"] for each in left] == [first.cart]


async def test_guests_cart_goes_into_the_shoppers_by_the_stated_rule(
    services: Services, guest: Device, phone: Device, shop: Shop
) -> None:
    one, two, three = (each.sku for each in shop.skus)
    own = await phone.start()
    await own.set(one, 3)
    await own.set(two, 1)
    before = await guest.start(shop)
    for sku, quantity in ((one, 1), (two, 2), (three, 4)):
        await before.set(sku, quantity)
    good(await before.send("PUT", "/checkout"))
    answer = good(await with_token(phone, before).send("PUT", "/shopper"))
    assert (answer["cart"]["id"], answer["saved_for_later"]) == (own.cart, [])
    assert [(line["sku"], line["quantity"]) for line in answer["cart"]["lines"]] == [
        (one, 3), (two, 2), (three, 4),
    ]  # fmt: skip
    assert answer["cart"]["location_id"] == str(shop.stores[0].location_id)
    stale = good(await before.send("GET"))["cart"]
    assert (stale["state"], stale["merged_into"], stale["hold_expires_at"]) == (
        "merged", own.cart, None,
    )  # fmt: skip
    problem = refused(await before.send("PUT", f"/lines/{one}", quantity=9), 409, "cart_merged")
    assert problem["merged_into"] == own.cart
    again = good(await with_token(phone, before).send("PUT", "/shopper"))
    assert (again["cart"], again["saved_for_later"]) == (answer["cart"], [])
    async with services.database.reading() as conn:
        held = await conn.driver.fetchval(
            "SELECT coalesce(sum(reserved), 0) FROM stock_level WHERE sku = ANY($1)",
            [one, two, three],
        )
    assert held == 0


async def test_what_the_cart_has_no_room_for_is_saved_for_later(
    services: Services, guest: Device, phone: Device
) -> None:
    shop = await make_shop(services.database, skus=MAX_LINES + 2, on_hand=0)
    own, before = await phone.start(), await guest.start()
    for each in shop.skus[: MAX_LINES - 1]:
        await own.set(each.sku, 1)
    for each in shop.skus[MAX_LINES - 1 :]:
        await before.set(each.sku, 2)
    answer = good(await with_token(phone, before).send("PUT", "/shopper"))
    assert len(answer["cart"]["lines"]) == MAX_LINES
    left_out = [{"sku": each.sku, "quantity": 2} for each in shop.skus[MAX_LINES:]]
    assert answer["saved_for_later"] == left_out
    (kept,) = good(await phone.ask("GET", "/v1/lists"))["items"]
    assert (kept["kind"], kept["share_token"], kept["lines"]) == ("saved_for_later", None, left_out)


async def test_guests_stream_ends_when_the_cart_is_somebodys(
    edge: Edge, guest: Device, phone: Device, shop: Shop
) -> None:
    cart = await guest.start(shop)
    async with FeedClient(edge, f"{cart.url}/feed", cart.headers) as feed:
        await feed.until("open")
        good(await with_token(phone, cart).send("PUT", "/shopper"))
        await feed.until("cart.changed")
        await feed.end()


async def test_handed_over_cart_is_edited_by_both_sides_until_it_is_released(
    edge: Edge, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await phone.start(shop)
    one, two, _ = (each.sku for each in shop.skus)
    await mine.set(one, 1)
    made = good(await mine.send("POST", "/code"), 201)
    assert made["qr_svg"].startswith("<svg")
    code = made["code"]
    assert len(code) == 8
    claimed = good(await claim(tablet, f"{code[:4]}-{code[4:].lower()}"), 201)
    assert claimed["id"] == mine.cart
    assert claimed["claim"]["location_id"] == str(shop.stores[0].location_id)
    shown = good(await at_store(tablet, "GET", mine.cart))
    assert "shopper" not in str(shown)
    listed = good(await at_store(tablet, "GET", ""))["items"]
    assert [each["id"] for each in listed] == [mine.cart]
    path = f"/v1/store/carts/{mine.cart}/feed"
    async with (
        FeedClient(edge, path, tablet.headers) as counter,
        FeedClient(edge, f"{mine.url}/feed", mine.headers) as pocket,
    ):
        await counter.until("open")
        await pocket.until("open")
        there = good(await at_store(tablet, "PUT", f"{mine.cart}/lines/{two}", quantity=2))
        # A stream begins where the process has read to: what came just before may come again.
        while (told := (await pocket.until("cart.changed")).data["payload"]["revision"]) < 4:
            pass
        assert told == there["revision"] == 4
        ours = await mine.set(one, 5)
        while (told := (await counter.until("cart.changed")).data["payload"]["revision"]) < 5:
            pass
        assert told == ours["revision"] == 5
        assert await mine.lines() == {one: 5, two: 2}
        back = good(await mine.send("DELETE", "/claim"))
        assert back["claim"] is None
        assert (await counter.until("cart.released")).data["payload"] == {"reason": "shopper"}
        await counter.end()
    for method, path, body in (
        ("GET", "", {}),
        ("PUT", f"/lines/{two}", {"quantity": 1}),
        ("PUT", "/coupon", {"code": "X"}),
        ("DELETE", "/coupon", {}),
        ("PUT", "/store", {}),
        ("PUT", "/checkout", {}),
        ("DELETE", "/claim", {}),
        ("POST", "/payment-link", {}),
        ("DELETE", "/payment-link", {}),
    ):
        answer = await at_store(tablet, method, f"{mine.cart}{path}", **body)
        assert (answer.status_code, answer.json()["code"]) in (
            (404, "not_found"), (409, "coupon_refused"),
        )  # fmt: skip
    assert good(await at_store(tablet, "GET", ""))["items"] == []
    assert good(await mine.send("DELETE", "/claim"))["revision"] == back["revision"]
    assert await mine.lines() == {one: 5, two: 2}


async def test_claim_of_a_guests_cart_ends_where_it_goes_into_the_shoppers(
    edge: Edge, services: Services, guest: Device, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    one, two, _ = (each.sku for each in shop.skus)
    own, before = await phone.start(shop), await guest.start(shop)
    await own.set(one, 1)
    await before.set(two, 1)
    good(await claim(tablet, await before.code()), 201)
    path = f"/v1/store/carts/{before.cart}/feed"
    async with FeedClient(edge, path, tablet.headers) as counter:
        await counter.until("open")
        answer = good(await with_token(phone, before).send("PUT", "/shopper"))
        assert (answer["cart"]["id"], answer["cart"]["claim"]) == (own.cart, None)
        assert (await counter.until("cart.released")).data["payload"] == {"reason": "merged"}
        await counter.end()
    for each in (own.cart, before.cart):
        refused(await at_store(tablet, "GET", each), 404, "not_found")
    assert good(await at_store(tablet, "GET", ""))["items"] == []
    total = {"amount_minor": 21_000, "currency": "MXN"}
    contact = {"name": "Ana", "email": "ana@example.com"}
    good(await own.send("PUT", "/checkout"))
    terms = {"contact": contact, "tender": "pay_at_pickup", "total": total}
    order = good(await own.send("PUT", "/order", **terms))
    async with services.database.reading() as conn:
        served = await conn.driver.fetchval(
            "SELECT attributed_to FROM orders WHERE id = $1", UUID(order["order"]["id"])
        )
    assert served == f"associate:{tablet.associate_id}"


async def test_a_new_code_hands_the_merged_cart_over(
    guest: Device, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    own, before = await phone.start(shop), await guest.start(shop)
    good(await claim(tablet, await before.code()), 201)
    good(await with_token(phone, before).send("PUT", "/shopper"))
    refused(await at_store(tablet, "GET", own.cart), 404, "not_found")
    good(await claim(tablet, await own.code()), 201)
    assert good(await at_store(tablet, "GET", own.cart))["cart"]["id"] == own.cart


async def test_only_the_store_that_claimed_a_cart_has_it(
    http: httpx.AsyncClient, services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await phone.start(shop)
    good(await claim(tablet, await mine.code()), 201)
    colleague = await sign_in(http, services, shop)
    elsewhere = await sign_in(http, services, shop, store=1)
    good(await at_store(colleague, "GET", mine.cart))
    refused(await at_store(elsewhere, "GET", mine.cart), 404, "not_found")
    good(await claim(elsewhere, await mine.code()), 201)
    refused(await at_store(tablet, "GET", mine.cart), 404, "not_found")
    given_back = good(await at_store(elsewhere, "DELETE", f"{mine.cart}/claim"))
    assert given_back["claim"] is None
    async with services.database.reading() as conn:
        actions = await conn.driver.fetch(
            "SELECT action FROM staff_record WHERE subject = $1 ORDER BY id", f"cart:{mine.cart}"
        )
    assert [each["action"] for each in actions] == [
        "cart.claimed", "cart.claimed", "cart.released",
    ]  # fmt: skip


async def test_claim_and_code_run_out(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await phone.start(shop)
    code = await mine.code()
    await _age(services, mine.cart, "code_expires_at", CODE_LIFETIME)
    refused(await claim(tablet, code), 401, "code_refused")
    good(await claim(tablet, await mine.code()), 201)
    await _age(services, mine.cart, "claim_expires_at", CLAIM_LIFETIME)
    refused(await at_store(tablet, "GET", mine.cart), 404, "not_found")
    assert good(await mine.send("GET"))["cart"]["claim"] is None


async def test_forged_and_used_codes_all_get_the_same_answer(
    services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await phone.start(shop)
    old, code = await mine.code(), await mine.code()
    good(await claim(tablet, code), 201)
    answers = [refused(await claim(tablet, each), 401, "code_refused") for each in (
        old, code, "AAAAAAAA", "x", code[:-1],
    )]  # fmt: skip
    for each in answers:
        del each["request_id"]
    assert all(each == answers[0] for each in answers)
    async with services.database.reading() as conn:
        stored = await conn.driver.fetchval(
            "SELECT code_digest FROM cart WHERE id = $1", UUID(mine.cart)
        )
    assert stored is None


async def test_guessing_ends_after_a_few_tries_and_a_right_code_costs_none(
    http: httpx.AsyncClient, services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await phone.start(shop)
    for _ in range(3):
        good(await claim(tablet, await mine.code()), 201)
    answers = await asyncio.gather(*(claim(tablet, f"GUESS{i:03}") for i in range(MAX_TRIES + 4)))
    codes = sorted(each.json()["code"] for each in answers)
    assert codes == ["code_refused"] * MAX_TRIES + ["too_many_tries"] * 4
    code = await mine.code()
    late = await claim(tablet, code)
    problem = refused(late, 429, "too_many_tries")
    assert 0 < problem["retry_after_seconds"] <= 15 * 60
    good(await claim(await sign_in(http, services, shop), code), 201)


async def test_two_tablets_with_one_code_are_one_claim(
    http: httpx.AsyncClient, services: Services, phone: Device, shop: Shop, tablet: Tablet
) -> None:
    mine = await phone.start(shop)
    other = await sign_in(http, services, shop, store=1)
    code = await mine.code()
    answers = await asyncio.gather(claim(tablet, code), claim(other, code))
    assert sorted(each.status_code for each in answers) == [201, 401]


async def _age(services: Services, cart_id: str, column: str, by: timedelta) -> None:
    async with services.database.transaction() as conn:
        await conn.driver.execute(
            f"UPDATE cart SET {column} = {column} - $2::interval WHERE id = $1",  # noqa: S608
            UUID(cart_id), by,
        )  # fmt: skip
