"""What carts refuse that were merged, handed over, or changed by somebody else meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services
from commerce.carts import MAX_LINES
from commerce.lists import MAX_LINES as MAX_LIST_LINES
from tests.changing import change_sku, put_coupon, switch_pickup_off
from tests.live import Device, at_store, claim, good, new_shopper, refused, session_of
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in

CONTACT = {"name": "Ana Torres", "email": "ana@example.com"}
PRICE = {"amount_minor": 10_000, "currency": "MXN"}


@pytest.fixture(scope="module")
async def key(make_key: Callable[..., Awaitable[str]]) -> str:
    return await make_key("storefront")


@pytest.fixture
async def shop(services: Services) -> Shop:
    return await make_shop(services.database)


@pytest.fixture
async def phone(http: httpx.AsyncClient, services: Services, key: str) -> Device:
    return Device(http, await session_of(services, key, await new_shopper(services)))


@pytest.fixture
async def tablet(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop)


@pytest.fixture
async def mine(phone: Device, shop: Shop, tablet: Tablet) -> Device:
    """A cart with one unit of the shop's first SKU, claimed."""
    cart = await phone.start(shop)
    await cart.set(shop.skus[0].sku, 1)
    good(await claim(tablet, await cart.code()), 201)
    return cart


def bodies(shop: Shop, coupon: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Every way to change a cart, that is possible with this shop."""
    return [
        ("PUT", f"/lines/{shop.skus[0].sku}", {"quantity": 2}),
        ("PUT", "/coupon", {"code": coupon}),
        ("DELETE", "/coupon", {}),
        ("PUT", "/store", {"location_id": str(shop.stores[0].location_id)}),
        ("PUT", "/checkout", {}),
        ("DELETE", "/checkout", {}),
        ("POST", "/code", {}),
        ("DELETE", "/claim", {}),
    ]


async def test_a_merged_cart_names_the_one_to_go_on_with(
    http: httpx.AsyncClient, services: Services, key: str, phone: Device, shop: Shop
) -> None:
    await put_coupon(services.database, coupon := f"C{shop.tag}")
    own = await phone.start(shop)
    guest = await Device(http, {"X-API-Key": key}).start(shop)
    taking = Device(http, guest.headers | phone.headers, guest.cart)
    good(await taking.send("PUT", "/shopper"))
    for method, path, body in bodies(shop, coupon):
        problem = refused(await guest.send(method, path, **body), 409, "cart_merged")
        assert problem["merged_into"] == own.cart


async def test_an_ordered_cart_is_not_handed_over_saved_or_filled_from_a_list(
    phone: Device, shop: Shop
) -> None:
    cart, sku = await phone.start(shop), shop.skus[0].sku
    await cart.set(sku, 1)
    saved = good(await phone.ask("POST", "/v1/lists", kind="saved_for_later"), 201)["id"]
    good(await phone.ask("PUT", f"/v1/lists/{saved}/lines/{sku}", quantity=1))
    good(await cart.send("PUT", "/checkout"))
    order = {"contact": CONTACT, "tender": "pay_at_pickup", "total": PRICE}
    good(await cart.send("PUT", "/order", **order))
    for method, path in (("POST", "/code"), ("DELETE", "/claim"), ("PUT", f"/saved/{sku}")):
        refused(await cart.send(method, path), 409, "cart_ordered")
    url = f"/v1/lists/{saved}/lines/{sku}/to-cart"
    refused(await phone.ask("POST", url, cart_id=cart.cart), 409, "cart_ordered")
    (kept,) = good(await phone.ask("GET", "/v1/lists"))["items"]
    assert [line["sku"] for line in kept["lines"]] == [sku]


async def test_what_is_on_no_list_any_more_or_in_no_shop_does_not_move(
    services: Services, phone: Device, shop: Shop
) -> None:
    one, two, _ = (each.sku for each in shop.skus)
    cart = await phone.start(shop)
    wishes = good(await phone.ask("POST", "/v1/lists", kind="wishlist"), 201)["id"]
    for sku in (one, two):
        good(await phone.ask("PUT", f"/v1/lists/{wishes}/lines/{sku}", quantity=1))
    await change_sku(services.database, shop, active=False)
    here = {"cart_id": cart.cart}
    url = f"/v1/lists/{wishes}/lines"
    refused(await phone.ask("POST", f"{url}/{one}/to-cart", **here), 422, "unknown_sku")
    many = await make_shop(services.database, skus=MAX_LINES, on_hand=0)
    for each in many.skus:
        await cart.set(each.sku, 1)
    refused(await phone.ask("POST", f"{url}/{two}/to-cart", **here), 422, "too_many")
    (kept,) = good(await phone.ask("GET", "/v1/lists"))["items"]
    assert {line["sku"] for line in kept["lines"]} == {one, two}


async def test_what_is_saved_for_later_has_its_limit(services: Services, phone: Device) -> None:
    many = await make_shop(services.database, skus=MAX_LIST_LINES + 1, on_hand=0)
    saved = good(await phone.ask("POST", "/v1/lists", kind="saved_for_later"), 201)["id"]
    for each in many.skus[1:]:
        good(await phone.ask("PUT", f"/v1/lists/{saved}/lines/{each.sku}", quantity=1))
    cart, sku = await phone.start(), many.skus[0].sku
    await cart.set(sku, 1)
    refused(await cart.send("PUT", f"/saved/{sku}"), 422, "too_many")
    assert await cart.lines() == {sku: 1}


async def test_who_has_not_seen_the_last_change_changes_nothing_at_the_counter_either(
    services: Services, mine: Device, shop: Shop, tablet: Tablet
) -> None:
    await put_coupon(services.database, coupon := f"C{shop.tag}")
    seen = str(good(await mine.send("GET"))["cart"]["revision"])
    await mine.set(shop.skus[1].sku, 1)
    before = good(await mine.send("GET"))
    refused(await mine.send("PUT", "/coupon", if_match=seen, code=coupon), 412, "cart_changed")
    for method, path, body in bodies(shop, coupon)[:3]:
        answer = await at_store(tablet, method, f"{mine.cart}{path}", if_match=seen, **body)
        refused(answer, 412, "cart_changed")
        broken = await at_store(tablet, method, f"{mine.cart}{path}", if_match="x", **body)
        refused(broken, 400, "invalid_request")
    assert good(await mine.send("GET")) == before


async def test_store_edits_what_the_shopper_could(
    services: Services, mine: Device, shop: Shop, tablet: Tablet
) -> None:
    await put_coupon(services.database, coupon := f"C{shop.tag}")
    used = good(await at_store(tablet, "PUT", f"{mine.cart}/coupon", code=coupon))
    assert used["coupon_code"] == coupon
    assert good(await at_store(tablet, "DELETE", f"{mine.cart}/coupon"))["coupon_code"] is None
    gone = await at_store(tablet, "PUT", f"{mine.cart}/coupon", code="NONE")
    refused(gone, 409, "coupon_refused")
    unknown = await at_store(tablet, "PUT", f"{mine.cart}/lines/NONE", quantity=1)
    refused(unknown, 422, "unknown_sku")
    many = await make_shop(services.database, skus=MAX_LINES, on_hand=0)
    for each in many.skus[1:]:
        await mine.set(each.sku, 1)
    url = f"{mine.cart}/lines/{many.skus[0].sku}"
    refused(await at_store(tablet, "PUT", url, quantity=1), 422, "too_many")


async def test_code_is_claimed_for_the_own_store_only(
    mine: Device, shop: Shop, tablet: Tablet
) -> None:
    code, elsewhere = await mine.code(), str(shop.stores[1].location_id)
    answer = await tablet.post("/cart-claims", code=code, location_id=elsewhere)
    refused(answer, 403, "store_not_allowed")
    good(await claim(tablet, code), 201)


async def no_longer_sold(services: Services, shop: Shop, _: str) -> None:
    await change_sku(services.database, shop, active=False)


async def no_pickup(services: Services, shop: Shop, _: str) -> None:
    await switch_pickup_off(services.database, shop)


async def coupon_for_more(services: Services, _: Shop, coupon: str) -> None:
    await put_coupon(services.database, coupon, currency="MXN", minimum_subtotal_minor=1_000_000)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (no_longer_sold, 422, "unknown_sku"),
        (no_pickup, 409, "pickup_unavailable"),
        (coupon_for_more, 409, "coupon_refused"),
    ],
)
async def test_a_shop_that_changes_stops_checkout_move_and_sale(
    services: Services, phone: Device, shop: Shop, tablet: Tablet,
    change: Callable[[Services, Shop, str], Awaitable[None]], status: int, code: str,
) -> None:  # fmt: skip
    await put_coupon(services.database, coupon := f"C{uuid4().hex[:8]}")
    held, open_ = [await phone.start(shop, store=store) for store in (1, 0)]
    for cart in (held, open_):
        await cart.set(shop.skus[0].sku, 1)
        good(await cart.send("PUT", "/coupon", code=coupon))
        good(await claim(tablet, await cart.code()), 201)
    good(await held.send("PUT", "/checkout"))
    before = good(await held.send("GET"))["cart"]
    await change(services, shop, coupon)
    refused(await at_store(tablet, "PUT", f"{held.cart}/store"), status, code)
    refused(await at_store(tablet, "PUT", f"{open_.cart}/checkout"), status, code)
    total = {"amount_minor": 9_000, "currency": "MXN"}
    sale = {"total": total, "kind": "pickup", "contact": CONTACT}
    refused(await at_store(tablet, "POST", f"{open_.cart}/sell", **sale), status, code)
    assert good(await held.send("GET"))["cart"] == before
