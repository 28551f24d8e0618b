"""Lists beside the cart: saved for later and taken back, a wishlist, and lists that are shared."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from api.services import Services
from commerce.lists import MAX_LINES, MAX_LISTS
from tests.live import Device, good, new_shopper, refused, session_of
from tests.shop import Shop, make_shop


@pytest.fixture(scope="module")
async def key(make_key: Callable[..., Awaitable[str]]) -> str:
    return await make_key("storefront")


@pytest.fixture(scope="module")
async def shop(services: Services) -> Shop:
    return await make_shop(services.database)


@pytest.fixture
async def ana(http: httpx.AsyncClient, services: Services, key: str) -> Device:
    return Device(http, await session_of(services, key, await new_shopper(services)))


@pytest.fixture
async def eva(http: httpx.AsyncClient, services: Services, key: str) -> Device:
    return Device(http, await session_of(services, key, await new_shopper(services)))


async def made(device: Device, **body: Any) -> str:
    return f"/v1/lists/{good(await device.ask('POST', '/v1/lists', **body), 201)['id']}"


async def lists(device: Device) -> dict[str, dict[str, int]]:
    found = good(await device.ask("GET", "/v1/lists"))["items"]
    return {
        each["name"] or each["kind"]: {line["sku"]: line["quantity"] for line in each["lines"]}
        for each in found
    }


async def test_line_is_saved_for_later_and_taken_back(ana: Device, shop: Shop) -> None:
    cart = await ana.start(shop)
    one, two, _ = (each.sku for each in shop.skus)
    await cart.set(one, 2)
    await cart.set(two, 1)
    assert [line["sku"] for line in good(await cart.send("PUT", f"/saved/{one}"))["lines"]] == [two]
    assert await lists(ana) == {"saved_for_later": {one: 2}}
    refused(await cart.send("PUT", f"/saved/{one}"), 404, "not_found")
    saved = await made(ana, kind="saved_for_later")
    await cart.set(one, 1)
    back = {"cart_id": cart.cart}
    after = good(await ana.ask("POST", f"{saved}/lines/{one}/to-cart", **back))
    assert {line["sku"]: line["quantity"] for line in after["lines"]} == {one: 3, two: 1}
    assert await lists(ana) == {"saved_for_later": {}}
    refused(await ana.ask("POST", f"{saved}/lines/{one}/to-cart", **back), 404, "not_found")
    assert await cart.lines() == {one: 3, two: 1}


async def test_there_is_one_wishlist_and_lists_with_names(ana: Device, shop: Shop) -> None:
    wishes = await made(ana, kind="wishlist")
    assert await made(ana, kind="wishlist") == wishes
    named = await made(ana, name="Boda")
    sku = shop.skus[0].sku
    good(await ana.ask("PUT", f"{named}/lines/{sku}", quantity=3))
    good(await ana.ask("PUT", f"{named}/lines/{sku}", quantity=1))
    good(await ana.ask("PUT", f"{wishes}/lines/{sku}", quantity=1))
    good(await ana.ask("PUT", f"{wishes}/lines/{sku}", quantity=0))
    assert good(await ana.ask("PATCH", named, name="Mesa de regalos"))["name"] == "Mesa de regalos"
    assert await lists(ana) == {"wishlist": {}, "Mesa de regalos": {sku: 1}}
    refused(await ana.ask("PATCH", wishes, name="Deseos"), 404, "not_found")
    refused(await ana.ask("PUT", f"{named}/lines/NONE", quantity=1), 422, "unknown_sku")
    refused(await ana.ask("POST", "/v1/lists", kind="list"), 422, "invalid_field")
    refused(await ana.ask("POST", "/v1/lists", kind="wishlist", name="x"), 422, "invalid_field")
    assert (await ana.ask("DELETE", named)).status_code == 204
    assert await lists(ana) == {"wishlist": {}}


async def test_lists_are_bounded(services: Services, ana: Device) -> None:
    for index in range(MAX_LISTS - 1):
        await made(ana, name=f"{index}")
    last = await made(ana, name="last")
    refused(await ana.ask("POST", "/v1/lists", name="more"), 422, "too_many")
    big = await make_shop(services.database, skus=MAX_LINES + 1, on_hand=0)
    for each in big.skus[:-1]:
        good(await ana.ask("PUT", f"{last}/lines/{each.sku}", quantity=1))
    url = f"{last}/lines/{big.skus[-1].sku}"
    problem = refused(await ana.ask("PUT", url, quantity=1), 422, "too_many")
    assert problem["limit"] == MAX_LINES
    assert len((await lists(ana))["last"]) == MAX_LINES


async def test_nobody_else_reaches_a_list(ana: Device, eva: Device, shop: Shop) -> None:
    own = await made(ana, name="Ana")
    sku = shop.skus[0].sku
    cart = await eva.start(shop)
    for method, path, body in (
        ("PATCH", own, {"name": "x"}),
        ("DELETE", own, {}),
        ("PUT", f"{own}/lines/{sku}", {"quantity": 1}),
        ("POST", f"{own}/lines/{sku}/to-cart", {"cart_id": cart.cart}),
        ("PUT", f"{own}/share", {}),
        ("DELETE", f"{own}/share", {}),
    ):
        refused(await eva.ask(method, path, **body), 404, "not_found")
    assert await lists(ana) == {"Ana": {}}
    assert await lists(eva) == {}


async def test_shared_list_shows_its_name_and_lines_until_it_is_shared_no_more(
    http: httpx.AsyncClient, key: str, ana: Device, shop: Shop
) -> None:
    own, sku = await made(ana, name="Boda"), shop.skus[0].sku
    good(await ana.ask("PUT", f"{own}/lines/{sku}", quantity=2))
    token = good(await ana.ask("PUT", f"{own}/share"))["share_token"]
    assert good(await ana.ask("PUT", f"{own}/share"))["share_token"] == token
    url = own.replace("/v1/lists", "/v1/shared-lists")

    async def read(given: str) -> httpx.Response:
        return await http.get(url, headers={"X-API-Key": key, "List-Token": given})

    assert good(await read(token)) == {
        "id": own.rpartition("/")[2], "name": "Boda", "lines": [{"sku": sku, "quantity": 2}],
    }  # fmt: skip
    refused(await read("wrong"), 404, "not_found")
    assert good(await ana.ask("DELETE", f"{own}/share"))["share_token"] is None
    refused(await read(token), 404, "not_found")
    other = good(await ana.ask("PUT", f"{own}/share"))["share_token"]
    assert other != token
    refused(await read(token), 404, "not_found")
    assert good(await read(other))["name"] == "Boda"
    saved = await made(ana, kind="saved_for_later")
    refused(await ana.ask("PUT", f"{saved}/share"), 409, "list_not_shareable")
