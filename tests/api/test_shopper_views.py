"""The 360 view over HTTP: given, withheld and withdrawn consent, and what each purpose shows."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from api.services import Services
from commerce import lists, privacy
from commerce.carts import Owner
from commerce.kernel.sql import Database
from tests.background import until
from tests.carts import full_cart
from tests.looking import (
    BROWSING,
    PERSONAL,
    REASON,
    aged,
    candidate_of,
    candidates,
    known,
    merged,
    open_view,
    ordered,
    signed_in_again,
    viewed,
    withheld,
)
from tests.shop import Shop, make_shop
from tests.sold import sell
from tests.tablet import Tablet, sign_in, told

ALL_OF_IT = {
    "in_hand", "profile", "sizes", "preferences", "value", "carts", "browsing", "wishlist",
    "notes", "orders", "returns", "pickups",
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


async def test_notes_of_associates_are_shown_with_who_wrote_them(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    written = await eva.post(f"/shopper-views/{view['id']}/notes", body="Likes linen")
    assert written.status_code == 201, written.text
    (note,) = (await eva.get(f"/shopper-views/{view['id']}")).json()["shopper"]["notes"]
    assert (note["id"], note["body"], note["associate_name"], note["location_id"]) == (
        written.json()["id"], "Likes linen", "Eva", str(shop.stores[0].location_id),
    )  # fmt: skip


async def test_without_consent_only_what_is_in_hand_at_this_store_is_shown(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services)
    waiting = await ordered(services, shop, ana.id, (1, 1), total_minor=11_000)
    await ordered(services, shop, ana.id, (2, 1), total_minor=12_000, store=1)

    view = await viewed(eva, ana)

    assert withheld(view) == dict.fromkeys(ALL_OF_IT - {"in_hand"}, "no_consent")
    assert {each["field"]: each["consent"] for each in view["withheld"]} == {
        **dict.fromkeys(ALL_OF_IT - {"in_hand", "carts", "browsing"}, PERSONAL),
        "carts": BROWSING,
        "browsing": BROWSING,
    }
    shopper = view["shopper"]
    assert {name for name, part in shopper.items() if part is not None} == {"in_hand"}
    assert shopper["in_hand"]["pickups"] == [
        {
            "id": str(waiting.fulfillments[0].id),
            "order_number": waiting.head.number,
            "state": "requested",
            "location_id": str(shop.stores[0].location_id),
            "promised_at": shopper["in_hand"]["pickups"][0]["promised_at"],
            "ready_at": None,
            "expires_at": None,
            "lines": [{"sku": shop.skus[1].sku, "name": waiting.lines[0].name, "quantity": 1}],
        }
    ]
    assert shopper["in_hand"] | {"pickups": []} == {
        "order": None, "pickups": [], "returns": [], "carts": [],
    }  # fmt: skip


async def test_a_cart_handed_over_to_this_store_is_in_hand_without_consent(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services)
    owner = Owner((ana.id,), has_token=False)
    cart = await full_cart(services.database, shop, (0, 1), owner=owner)
    before = await viewed(eva, ana)
    code = await http.post(
        f"/v1/carts/{cart.id}/code", headers=ana.headers | {"Idempotency-Key": uuid4().hex}
    )
    assert code.status_code in {200, 201}, code.text
    claimed = await eva.post("/cart-claims", code=code.json()["code"])
    assert claimed.status_code in {200, 201}, claimed.text

    after = await eva.get(f"/shopper-views/{before['id']}")

    assert before["shopper"]["in_hand"]["carts"] == []
    assert [each["id"] for each in after.json()["shopper"]["in_hand"]["carts"]] == [str(cart.id)]
    assert after.json()["shopper"]["carts"] is None


@pytest.mark.parametrize(
    ("purpose", "parts"),
    [
        (
            "serve_in_store",
            {"profile", "sizes", "preferences", "value", "carts", "browsing", "wishlist",
             "notes", "orders", "returns", "pickups", "in_hand.order", "in_hand.pickups",
             "in_hand.returns", "in_hand.carts"},
        ),
        ("pickup", {"profile", "pickups", "in_hand.order", "in_hand.pickups", "in_hand.carts"}),
        (
            "return",
            {"profile", "orders", "returns", "in_hand.order", "in_hand.returns",
             "in_hand.carts"},
        ),
        (
            "follow_up",
            {"profile", "sizes", "preferences", "value", "browsing", "wishlist", "notes",
             "orders"},
        ),
    ],
)  # fmt: skip
async def test_each_purpose_shows_its_parts_and_the_log_says_which(
    http: httpx.AsyncClient, services: Services, eva: Tablet, purpose: str, parts: set[str]
) -> None:
    ana = await known(http, services, PERSONAL, BROWSING)
    shopper = (await viewed(eva, ana, purpose))["shopper"]
    hand = shopper.pop("in_hand") or {}
    seen = {name for name, part in shopper.items() if part is not None}
    seen |= {f"in_hand.{name}" for name, part in hand.items() if part is not None}
    assert seen == parts - {"in_hand.order"}
    (look,) = await ana.looks()
    assert set(look["shown"]) == parts


async def test_addresses_are_shown_to_who_follows_up_only(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    profile = (await viewed(eva, ana, "follow_up"))["shopper"]["profile"]
    assert (profile["email"], profile["phone"]) == (ana.email, ana.phone)


async def test_what_is_withdrawn_while_the_tablet_shows_it_is_withheld_at_the_next_read(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL, BROWSING)
    owner = Owner((ana.id,), has_token=False)
    await full_cart(services.database, shop, (0, 1), owner=owner)
    view = await viewed(eva, ana)
    assert len(view["shopper"]["carts"]) == 1

    await ana.decides(browsing_insight=False)

    less = (await eva.get(f"/shopper-views/{view['id']}")).json()
    assert (less["shopper"]["carts"], less["shopper"]["browsing"]) == (None, None)
    assert withheld(less).items() >= {"carts": "no_consent", "browsing": "no_consent"}.items()
    assert less["shopper"]["profile"] == view["shopper"]["profile"]


async def test_a_view_ends_with_the_consent_that_it_stood_on_and_stays_over(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    await ana.decides(personal_service=False)
    over = await eva.get(f"/shopper-views/{view['id']}")
    assert told(over) == (410, "view_over")
    assert over.json()["ending"] == "consent_withdrawn"
    await ana.allows(PERSONAL)
    assert told(await eva.get(f"/shopper-views/{view['id']}")) == (410, "view_over")


async def test_a_view_for_a_pickup_goes_on_without_consent_and_shows_the_pickup(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    await ordered(services, shop, ana.id, (1, 1), total_minor=11_000)
    view = await viewed(eva, ana, "pickup")
    await ana.decides(personal_service=False)
    less = (await eva.get(f"/shopper-views/{view['id']}")).json()
    assert (less["shopper"]["profile"], less["shopper"]["pickups"]) == (None, None)
    assert less["shopper"]["in_hand"]["pickups"] == view["shopper"]["in_hand"]["pickups"]


async def test_consent_given_at_the_counter_shows_more(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services)
    view = await viewed(eva, ana)
    await ana.allows(PERSONAL)
    more = (await eva.get(f"/shopper-views/{view['id']}")).json()
    assert more["shopper"]["profile"]["name"] == "Ana Torres"
    assert "profile" not in withheld(more)


async def test_a_candidate_opens_one_view(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    candidate_id = await candidate_of(eva, ana)
    opened = await open_view(eva, candidate_id)
    again = await open_view(eva, candidate_id)
    assert told(again) == (409, "candidate_used")
    assert again.json()["view_id"] == opened.json()["id"]
    assert len(await ana.looks()) == 1


async def test_a_candidate_is_good_for_who_looked_up_alone_and_not_for_long(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    candidate_id = await candidate_of(eva, ana)
    other = await sign_in(http, services, shop)
    assert told(await open_view(other, candidate_id)) == (404, "not_found")
    await aged(services, "shopper_candidate", candidate_id, timedelta(minutes=5))
    assert told(await open_view(eva, candidate_id)) == (410, "candidate_expired")
    assert await ana.looks() == []


async def test_a_view_is_its_associates_own_and_of_one_session(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    other = await sign_in(http, services, shop)
    for refused in (
        await other.get(f"/shopper-views/{view['id']}"),
        await other.delete(f"/shopper-views/{view['id']}"),
        await other.get(f"/shopper-views/{view['id']}/feed"),
        await eva.get(f"/shopper-views/{uuid4()}"),
    ):
        assert told(refused) == (404, "not_found")
    assert (await eva.get(f"/shopper-views/{view['id']}")).status_code == 200


async def test_a_view_ends_with_its_session(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    again = await signed_in_again(services, eva)
    over = await again.get(f"/shopper-views/{view['id']}")
    assert told(over) == (410, "view_over")
    assert over.json()["ending"] == "session_ended"
    assert (await eva.get(f"/shopper-views/{view['id']}")).status_code == 410


async def test_a_view_runs_out_after_a_quarter_of_an_hour(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    opened, expires = (datetime.fromisoformat(view[name]) for name in ("opened_at", "expires_at"))
    assert expires - opened == timedelta(minutes=15)
    await aged(services, "shopper_view", view["id"], timedelta(minutes=15))
    over = await eva.get(f"/shopper-views/{view['id']}")
    assert (told(over), over.json()["ending"]) == ((410, "view_over"), "expired")


async def test_a_view_that_was_closed_is_over_and_closing_again_changes_nothing(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    for _ in range(2):
        assert (await eva.delete(f"/shopper-views/{view['id']}")).status_code == 204
    over = await eva.get(f"/shopper-views/{view['id']}")
    assert (told(over), over.json()["ending"]) == ((410, "view_over"), "closed")


async def test_a_candidate_of_somebody_merged_meanwhile_opens_nothing(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana, same = await known(http, services, PERSONAL), await known(http, services)
    candidate_id = await candidate_of(eva, same)
    await merged(services, same.id, ana.id)
    assert told(await open_view(eva, candidate_id)) == (409, "person_merged")
    assert await ana.looks() == []


@pytest.mark.parametrize("viewed_first", [True, False], ids=["merged_away", "joined"])
async def test_a_view_ends_when_its_person_becomes_another(
    http: httpx.AsyncClient, services: Services, eva: Tablet, *, viewed_first: bool
) -> None:
    ana, same = await known(http, services, PERSONAL), await known(http, services, PERSONAL)
    view = await viewed(eva, same if viewed_first else ana)
    await merged(services, same.id, ana.id)
    over = await eva.get(f"/shopper-views/{view['id']}")
    assert (told(over), over.json()["ending"]) == ((410, "view_over"), "merged")

    async def seen() -> bool:
        return len(await ana.looks()) == 1

    await until(seen, what="the look at the row that joined")  # once her session is read afresh


async def test_a_merged_person_is_seen_whole(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana, same = await known(http, services, PERSONAL), await known(http, services)
    first = await ordered(services, shop, same.id, (0, 1), total_minor=10_000)
    second = await ordered(services, shop, ana.id, (1, 1), total_minor=11_000)
    await merged(services, same.id, ana.id)
    shopper = (await viewed(eva, same))["shopper"]
    assert [each["number"] for each in shopper["orders"]] == [
        second.head.number, first.head.number,
    ]  # fmt: skip
    assert shopper["value"]["orders"] == 2


async def test_an_erased_person_is_seen_and_found_no_more(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    view = await viewed(eva, ana)
    candidate_id = await candidate_of(eva, ana)
    async with services.database.transaction() as conn:
        await privacy.request(conn, ana.id, actor="test", now=services.now())
    over = await eva.get(f"/shopper-views/{view['id']}")
    assert told(over) == (410, "view_over")
    assert over.json()["ending"] == "erased"
    assert await candidates(eva, kind="loyalty_code", loyalty_code=ana.loyalty_code) == []
    assert told(await open_view(eva, candidate_id)) == (404, "not_found")


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"purpose": None}, "/purpose"),
        ({"purpose": "curiosity"}, "/purpose"),
        ({"reason": "  "}, "/reason"),
        ({"reason": "x" * 201}, "/reason"),
        ({"candidate_id": "Ana"}, "/candidate_id"),
    ],
)
async def test_a_view_without_a_good_purpose_and_reason_is_not_opened(
    http: httpx.AsyncClient, services: Services, eva: Tablet, wrong: dict[str, str], path: str
) -> None:
    ana = await known(http, services, PERSONAL)
    right = {
        "candidate_id": await candidate_of(eva, ana), "purpose": "pickup", "reason": REASON,
    }  # fmt: skip
    refused = await eva.post("/shopper-views", **(right | wrong))
    assert (told(refused), refused.json()["path"]) == ((400, "invalid_request"), path)
    assert await ana.looks() == []
    assert (await eva.post("/shopper-views", **right)).status_code == 201


async def test_two_at_once_open_one_view(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    candidate_id = await candidate_of(eva, ana)
    answers = await asyncio.gather(*(open_view(eva, candidate_id) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    (opened,) = (answer.json()["id"] for answer in answers if answer.status_code == 201)
    assert {each.json()["view_id"] for each in answers if each.status_code == 409} == {opened}
    assert len(await ana.looks()) == 1


async def test_a_lost_answer_costs_no_access_because_the_view_is_named(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await known(http, services, PERSONAL)
    candidate_id = await candidate_of(eva, ana)
    await open_view(eva, candidate_id)
    again = await open_view(eva, candidate_id)
    assert (await eva.get(f"/shopper-views/{again.json()['view_id']}")).status_code == 200
