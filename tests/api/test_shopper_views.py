"""The 360 view over HTTP: given, withheld and withdrawn consent, and what each purpose shows."""

import httpx
import pytest

from api.services import Services
from commerce import lists
from commerce.carts import Owner
from commerce.kernel.sql import Database
from tests.carts import full_cart
from tests.looking import (
    BROWSING,
    PERSONAL,
    known,
    ordered,
    viewed,
    withheld,
)
from tests.shop import Shop, make_shop
from tests.sold import sell
from tests.tablet import Tablet, sign_in

ALL_OF_IT = {
    "in_hand", "profile", "sizes", "preferences", "value", "carts", "browsing", "wishlist",
    "orders", "returns", "pickups",
}  # fmt: skip


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


async def test_with_consent_an_associate_sees_the_whole_shopper(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL, BROWSING)
    bought = await sell(
        services.database, shop, (0, 2), total_minor=20_000, shopper_id=ana.id, at=services.now()
    )
    waiting = await ordered(services, shop, ana.id, (1, 1), total_minor=11_000)
    elsewhere = await ordered(services, shop, ana.id, (2, 1), total_minor=12_000, store=1)
    owner = Owner((ana.id,), has_token=False)
    cart = await full_cart(services.database, shop, (2, 3), owner=owner)
    async with services.database.transaction() as conn:
        wishes = await lists.own(conn, ana.id, "wishlist", now=services.now())
        await lists.set_line(
            conn, wishes.head.id, (ana.id,), sku=shop.skus[0].sku, quantity=1, now=services.now()
        )

    view = await viewed(eva, ana)

    shopper = view["shopper"]
    assert withheld(view) == {
        "profile.email": "not_for_this_purpose", "profile.phone": "not_for_this_purpose",
    }  # fmt: skip
    assert shopper["profile"]["name"] == "Ana Torres"
    assert shopper["profile"]["loyalty_code"] == ana.loyalty_code
    assert (shopper["profile"]["email"], shopper["profile"]["phone"]) == (None, None)
    assert [(each["number"], each["state"]) for each in shopper["orders"]] == [
        (elsewhere.head.number, "placed"),
        (waiting.head.number, "placed"),
        (bought.head.number, "completed"),
    ]
    assert shopper["orders"][2]["lines"] == [
        {"sku": shop.skus[0].sku, "name": bought.lines[0].name, "quantity": 2,
         "returned_quantity": 0},
    ]  # fmt: skip
    assert [each["order_number"] for each in shopper["pickups"]] == [
        elsewhere.head.number, waiting.head.number,
    ]  # fmt: skip
    assert [each["order_number"] for each in shopper["in_hand"]["pickups"]] == [waiting.head.number]
    assert shopper["value"] == {
        "orders": 3,
        "spent": [{"amount_minor": 43_000, "currency": "MXN"}],
        "average": [{"amount_minor": 14_333, "currency": "MXN"}],
        "returned_bp": 0,
        "first_order_at": shopper["orders"][2]["created_at"],
        "last_order_at": shopper["orders"][0]["created_at"],
    }
    assert [(each["id"], each["lines"][0]["quantity"]) for each in shopper["carts"]] == [
        (str(cart.id), 3)
    ]
    assert [each["sku"] for each in shopper["wishlist"]] == [shop.skus[0].sku]
    assert shopper["browsing"]["viewed"] == []
    assert shopper.keys() == ALL_OF_IT
