"""From the phone to the counter: what a shopper did in the app, and what an associate gets to see.

The application answers over HTTP, a worker of its own sends the codes, and the audit has the last
word. Who the shopper is, what they like and what they looked at are words that stand nowhere else,
so that an answer can be searched for them.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Literal
from uuid import uuid4

import httpx
import msgspec
import pytest

from api import audit, database
from api.app import ROUTES
from api.middleware import Edge
from api.services import Services
from commerce import access, customers
from commerce.access import OPERATOR
from tests.api.conftest import client, started
from tests.background import WorkerProcess, until
from tests.conftest import clone, drop
from tests.feeds import FeedClient
from tests.live import Device, at_store, claim, good, refused, session_of
from tests.looking import REASON, candidates, look_up, open_view, withheld
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told

NAME, SURNAME = "Jimena Zubizarreta", "Zubizarreta"
SIZE, LIKES, SOUGHT = "38-alto", "lino crudo", "guayabera bordada"
PERSONAL, BROWSING = "personal_service", "browsing_insight"
WITHOUT_CONSENT = {
    "profile": PERSONAL, "sizes": PERSONAL, "preferences": PERSONAL, "value": PERSONAL,
    "carts": BROWSING, "browsing": BROWSING, "wishlist": PERSONAL, "notes": PERSONAL,
    "orders": PERSONAL, "returns": PERSONAL, "pickups": PERSONAL,
}  # fmt: skip


class Scene(msgspec.Struct, frozen=True):
    """The product as it runs, and the shop in it. Nobody else is there."""

    dsn: str
    edge: Edge
    services: Services
    http: httpx.AsyncClient
    office: httpx.AsyncClient
    shop: Shop
    key: str
    """Of the app."""

    def sku(self, index: int) -> str:
        """The code of a SKU of the shop."""
        return self.shop.skus[index].sku

    @property
    def here(self) -> str:
        """The store where it all happens."""
        return str(self.shop.stores[0].location_id)


class Jimena(msgspec.Struct, frozen=True):
    """A shopper with the app in hand, signed in; `phone` shows the cart."""

    phone: Device
    email: str
    loyalty_code: str
    visitor_id: str

    async def ask(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        """Something that must succeed."""
        return good(await self.phone.ask(method, path, **body), status)

    async def decides(self, **granted: bool) -> None:
        """Grant or withdraw by name of the purpose."""
        decisions = [{"purpose": each, "granted": given} for each, given in granted.items()]
        await self.ask("PUT", "/v1/profile/consents", decisions=decisions)


@pytest.fixture(scope="module")
async def scene(template_dsn: str) -> AsyncIterator[Scene]:
    dsn = clone(template_dsn)
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(dsn)))
    modules = [import_module(name) for name in ROUTES]
    async with started(dsn, modules) as edge:
        services: Services = edge.app.state.services
        app, office = await _key(services, "storefront"), await _key(services, "backoffice")
        with WorkerProcess(dsn, log_level="error"):
            async with client(edge, app) as http, client(edge, office) as back_office:
                shop = await make_shop(services.database, skus=6)
                yield Scene(dsn, edge, services, http, back_office, shop, app)
    drop(dsn)


async def _key(services: Services, kind: Literal["storefront", "backoffice"]) -> str:
    async with services.database.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind=kind, name=f"{kind} {uuid4().hex}", channel="app",
            requests_per_minute=1_000_000, now=services.now(),
        )  # fmt: skip
    return secret


async def signed_in(scene: Scene, email: str, **brought: str) -> dict[str, Any]:
    """A session, by the code that the worker sent to the address."""
    asked = good(await scene.http.post("/v1/sign-ins", json={"email": email}), 202)
    message: dict[str, Any] = {}

    async def sent() -> bool:
        for each in good(await scene.office.get("/v1/backoffice/messages?state=sent"))["items"]:
            if each["reason"] == asked["sign_in_id"]:
                message.update(each)
        return bool(message)

    await until(sent, what="the message with the code")
    assert (message["template"], message["recipient"]) == ("sign_in_code", email)
    code = re.search(r"\b\d{6}\b", message["body"])
    assert code is not None
    body = {"sign_in_id": asked["sign_in_id"], "code": code[0]} | brought
    session: dict[str, Any] = good(await scene.http.post("/v1/sessions", json=body), 201)
    return session


async def at_home(scene: Scene, email: str) -> str:
    """A browser at home where she has been signed in for days: the cart in it. Its id."""
    async with scene.services.database.transaction() as conn:
        known = await customers.put_shopper(
            conn, email=email, phone=None, locale="es", now=scene.services.now()
        )
    headers = await session_of(scene.services, scene.key, known.id)
    cart = await Device(scene.http, headers).start(scene.shop)
    await cart.set(scene.sku(0), 1)
    await cart.set(scene.sku(1), 2)
    return cart.cart


async def arrived(scene: Scene) -> Jimena:
    """Somebody who browsed as nobody, filled a guest's cart, signed in, and told about herself."""
    email, visitor_id = f"{uuid4().hex}@example.com", str(uuid4())
    left_behind = await at_home(scene, email)
    await browsed(scene, visitor_id)
    guest = await Device(scene.http, {}).start(scene.shop)
    await guest.set(scene.sku(0), 3)
    await guest.set(scene.sku(2), 1)
    session = await signed_in(
        scene, email, visitor_id=visitor_id, cart_id=guest.cart,
        cart_token=guest.headers["Cart-Token"],
    )  # fmt: skip
    assert session["cart_id"] == left_behind
    headers = {"X-API-Key": scene.key, "Authorization": f"Bearer {session['secret']}"}
    phone = Device(scene.http, headers, left_behind)
    told_about = {"name": NAME, "sizes": {"shoes": SIZE}, "preferences": {"materials": LIKES}}
    profile = good(await phone.ask("PATCH", "/v1/profile", **told_about))
    return Jimena(phone, email, profile["loyalty_code"], visitor_id)


async def browsed(scene: Scene, visitor_id: str) -> None:
    """As a visitor: one item looked at twice, words that were searched, a visit to the store."""
    now = datetime.now(UTC).isoformat()
    events: list[dict[str, str]] = [
        {"type": "view", "sku": scene.sku(4)},
        {"type": "view", "sku": scene.sku(4)},
        {"type": "search", "query": SOUGHT},
        {"type": "store_visit", "location_id": scene.here},
    ]
    body = {
        "visitor_id": visitor_id, "session_id": str(uuid4()), "device": "app",
        "events": [each | {"id": str(uuid4()), "at": now} for each in events],
    }  # fmt: skip
    counted = good(await scene.http.post("/v1/browsing-events", json=body))
    assert counted["stored"] == 4


async def wished(scene: Scene, jimena: Jimena) -> None:
    """A SKU on the wishlist."""
    wishes = await jimena.ask("POST", "/v1/lists", 201, kind="wishlist")
    await jimena.ask("PUT", f"/v1/lists/{wishes['id']}/lines/{scene.sku(5)}", quantity=1)


async def ordered(scene: Scene, jimena: Jimena, index: int, *, store: int) -> dict[str, Any]:
    """One unit in the app, to be paid and collected at a store."""
    placed: dict[str, Any] = await jimena.ask(
        "POST", "/v1/orders", 201,
        location_id=str(scene.shop.stores[store].location_id),
        lines=[{"sku": scene.sku(index), "quantity": 1}],
        contact={"name": NAME, "email": jimena.email},
        tender="pay_at_pickup",
        total={"amount_minor": scene.shop.skus[index].price_minor, "currency": "MXN"},
    )  # fmt: skip
    order: dict[str, Any] = placed["order"]
    return order


async def shown_the_code(tablet: Tablet, jimena: Jimena) -> dict[str, Any]:
    """A view of her, opened from the code that her phone shows."""
    code = await jimena.ask("GET", "/v1/profile/code")
    (found,) = await candidates(tablet, kind="profile_code", profile_code=code["code"])
    assert SURNAME not in str(found)
    view: dict[str, Any] = good(await open_view(tablet, found["id"]), 201)
    return view


def wanted(lines: list[dict[str, Any]]) -> dict[str, int]:
    """SKUs and units of what a view shows."""
    return {line["sku"]: line["quantity"] for line in lines}


async def books_agree(scene: Scene) -> None:
    """`mostrador audit` finds nothing, in whatever anybody has done so far."""
    assert (await audit.run(scene.dsn)).findings == 0


async def test_with_consent_the_counter_goes_on_where_the_phone_was(scene: Scene) -> None:
    jimena = await arrived(scene)
    tablet = await sign_in(scene.http, scene.services, scene.shop)
    await wished(scene, jimena)
    before = await ordered(scene, jimena, 3, store=1)
    await jimena.decides(personal_service=True, browsing_insight=True)
    # Of a SKU in both carts the larger quantity; what was hers stands first.
    carried = {scene.sku(0): 3, scene.sku(1): 2, scene.sku(2): 1}
    assert list((await jimena.phone.lines()).items()) == list(carried.items())
    trail = await jimena.ask("GET", "/v1/profile/browsing")
    assert [(each["sku"], each["times"]) for each in trail["viewed"]] == [(scene.sku(4), 2)]

    view = await shown_the_code(tablet, jimena)

    assert (view["purpose"], view["reason"]) == ("serve_in_store", REASON)
    assert withheld(view) == dict.fromkeys(
        ("profile.email", "profile.phone"), "not_for_this_purpose"
    )
    seen = view["shopper"]
    assert seen["profile"] == {
        "name": NAME, "email": None, "phone": None, "locale": "es",
        "loyalty_code": jimena.loyalty_code, "known_since": seen["profile"]["known_since"],
    }  # fmt: skip
    assert (seen["sizes"], seen["preferences"]) == ({"shoes": SIZE}, {"materials": LIKES})
    assert [(each["id"], wanted(each["lines"])) for each in seen["carts"]] == [
        (jimena.phone.cart, carried)
    ]
    trail_seen = seen["browsing"]
    assert [(each["sku"], each["times"]) for each in trail_seen["viewed"]] == [(scene.sku(4), 2)]
    assert [each["query"] for each in trail_seen["searches"]] == [SOUGHT]
    assert trail_seen["interests"] == [{"department": "Ropa", "share_bp": 10_000}]
    assert [each["location_id"] for each in trail_seen["store_visits"]] == [scene.here]
    assert [each["sku"] for each in seen["wishlist"]] == [scene.sku(5)]
    assert [(each["number"], each["channel"]) for each in seen["orders"]] == [
        (before["number"], "app")
    ]
    assert [each["order_number"] for each in seen["pickups"]] == [before["number"]]
    assert (seen["returns"], seen["notes"], seen["value"]["orders"]) == ([], [], 1)
    assert seen["value"]["spent"] == [before["total"]]
    # Her pickup waits at the other store, and her cart was not handed over.
    assert seen["in_hand"] == {"order": None, "pickups": [], "returns": [], "carts": []}
    await sold_together(scene, jimena, tablet)
    await reads_who_looked(scene, jimena, tablet, view)
    await books_agree(scene)


async def sold_together(scene: Scene, jimena: Jimena, tablet: Tablet) -> None:
    """The cart is claimed by its code, edited by both, and paid at the till."""
    mine, counter = jimena.phone, f"/v1/store/carts/{jimena.phone.cart}"
    code = await mine.code()
    good(await claim(tablet, code), 201)
    refused(await claim(tablet, code), 401, "code_refused")
    feeds = (
        FeedClient(scene.edge, f"{mine.url}/feed", mine.headers),
        FeedClient(scene.edge, f"{counter}/feed", tablet.headers),
    )
    async with feeds[0] as pocket, feeds[1] as till:
        await pocket.until("open")
        await till.until("open")
        by_associate = good(
            await at_store(tablet, "PUT", f"{mine.cart}/lines/{scene.sku(4)}", quantity=1)
        )
        assert (await pocket.until("cart.changed")).data["payload"] == {
            "revision": by_associate["revision"]
        }
        by_shopper = await mine.set(scene.sku(1), 0)
        heard = [(await till.until("cart.changed")).data["payload"] for _ in range(2)]
        assert heard == [{"revision": each["revision"]} for each in (by_associate, by_shopper)]
    stale = f'"{by_associate["revision"]}"'
    late = await at_store(
        tablet, "PUT", f"{mine.cart}/lines/{scene.sku(0)}", if_match=stale, quantity=9
    )
    refused(late, 412, "cart_changed")
    agreed = {scene.sku(0): 3, scene.sku(2): 1, scene.sku(4): 1}
    assert await mine.lines() == agreed
    quote = good(await tablet.get(f"/carts/{mine.cart}"))["quote"]
    assert quote["total"] == {"amount_minor": 3 * 10_000 + 12_000 + 14_000, "currency": "MXN"}
    cash = {"kind": "cash", "tendered": {"amount_minor": 60_000, "currency": "MXN"}}
    sale = {"total": quote["total"], "kind": "carry_out", "tender": cash}
    sold = good(await at_store(tablet, "POST", f"{mine.cart}/sell", **sale), 201)
    order = sold["order"]
    assert (order["state"], sold["change"]["amount_minor"]) == ("completed", 4_000)
    assert wanted(order["lines"]) == agreed
    assert [(each["tender"], each["state"]) for each in order["payments"]] == [("cash", "captured")]
    at_desk = good(await tablet.get(f"/orders/{order['number']}"))
    assert at_desk["attributed_to"] == tablet.associate_id
    assert at_desk["attributed_location_id"] == scene.here
    newest, _ = (await jimena.ask("GET", "/v1/orders"))["items"]
    assert newest["id"] == order["id"]
    assert good(await mine.send("GET"))["cart"]["order_id"] == order["id"]
    assert told(await tablet.get(f"/carts/{mine.cart}")) == (404, "not_found")


async def reads_who_looked(
    scene: Scene, jimena: Jimena, tablet: Tablet, view: dict[str, Any]
) -> None:
    """The shopper reads who looked, when and why; so does the back office."""
    (look,) = (await jimena.ask("GET", "/v1/profile/views"))["items"]
    assert look["id"] == view["id"]
    assert (look["associate_name"], look["store_name"]) == ("Eva", "Store 0")
    assert (look["purpose"], look["reason"]) == ("serve_in_store", REASON)
    assert look["opened_at"] == view["opened_at"]
    assert set(look["shown"]) == {*WITHOUT_CONSENT} | {
        f"in_hand.{name}" for name in ("order", "pickups", "returns", "carts")
    }
    query = f"associate_id={tablet.associate_id}"
    (recorded,) = good(await scene.office.get(f"/v1/backoffice/shopper-views?{query}"))["items"]
    assert recorded["id"] == view["id"]
    looked_up = good(await scene.office.get(f"/v1/backoffice/shopper-look-ups?{query}"))["items"]
    assert [(each["kind"], each["found"]) for each in looked_up] == [("profile_code", 1)]


async def test_without_consent_nothing_of_her_leaves_the_server(scene: Scene) -> None:
    jimena = await arrived(scene)
    tablet = await sign_in(scene.http, scene.services, scene.shop)
    await wished(scene, jimena)
    here = await ordered(scene, jimena, 3, store=0)
    elsewhere = await ordered(scene, jimena, 4, store=1)
    code = await jimena.ask("GET", "/v1/profile/code")

    found = await look_up(tablet, kind="profile_code", profile_code=code["code"])
    (candidate,) = good(found, 201)["candidates"]
    opened = await open_view(tablet, candidate["id"])
    view = good(opened, 201)
    read = await tablet.get(f"/shopper-views/{view['id']}")
    timeline = await tablet.get(f"/shopper-views/{view['id']}/timeline")
    refusals = [
        await tablet.post(f"/shopper-views/{view['id']}/notes", body="Likes linen"),
        await tablet.get(f"/carts/{jimena.phone.cart}"),
        await at_store(tablet, "PUT", f"{jimena.phone.cart}/lines/{scene.sku(0)}", quantity=1),
    ]

    assert {each["field"]: each["consent"] for each in view["withheld"]} == WITHOUT_CONSENT
    assert set(withheld(view).values()) == {"no_consent"}
    seen = view["shopper"]
    assert {name for name, part in seen.items() if part is not None} == {"in_hand"}
    # What the contract needs: the goods that she comes for, at this store.
    (waiting,) = seen["in_hand"]["pickups"]
    assert (waiting["order_number"], wanted(waiting["lines"])) == (
        here["number"], {scene.sku(3): 1},
    )  # fmt: skip
    assert [seen["in_hand"][name] for name in ("order", "returns", "carts")] == [None, [], []]
    assert good(timeline)["items"] == []
    assert [told(each) for each in refusals] == [
        (403, "consent_missing"), (404, "not_found"), (404, "not_found"),
    ]  # fmt: skip
    secret = [
        SURNAME, jimena.email, jimena.loyalty_code, SIZE, LIKES, SOUGHT, jimena.visitor_id,
        jimena.phone.cart, elsewhere["number"], elsewhere["id"],
        *(scene.sku(index) for index in (0, 1, 2, 4, 5)),
        *(scene.shop.skus[index].item_code for index in (0, 1, 2, 4, 5)),
    ]  # fmt: skip
    said = "\n".join(each.text for each in (found, opened, read, timeline, *refusals[:1]))
    assert [word for word in secret if word.casefold() in said.casefold()] == []
    assert scene.sku(3) in said
    assert await jimena.phone.lines() == {scene.sku(0): 3, scene.sku(1): 2, scene.sku(2): 1}
    (look,) = (await jimena.ask("GET", "/v1/profile/views"))["items"]
    assert look["shown"] == [
        "in_hand.carts", "in_hand.order", "in_hand.pickups", "in_hand.returns", "timeline",
    ]  # fmt: skip
    await books_agree(scene)


async def test_what_she_withdraws_leaves_the_tablet_while_she_is_looked_at(scene: Scene) -> None:
    jimena = await arrived(scene)
    tablet = await sign_in(scene.http, scene.services, scene.shop)
    await jimena.decides(personal_service=True, browsing_insight=True)
    view = await shown_the_code(tablet, jimena)
    url = f"/shopper-views/{view['id']}"
    assert wanted(view["shopper"]["carts"][0]["lines"]) == await jimena.phone.lines()
    async with FeedClient(scene.edge, f"/v1/store{url}/feed", tablet.headers) as stream:
        await stream.until("open")

        await jimena.decides(browsing_insight=False)

        signal = (await stream.until("view.changed")).data
        assert signal == {"view_id": view["id"], "because": "consent.changed"}
        answer = await tablet.get(url)
        less = good(answer)
        assert {each["field"]: each["consent"] for each in less["withheld"]}.items() >= {
            "carts": BROWSING, "browsing": BROWSING,
        }.items()  # fmt: skip
        assert (less["shopper"]["carts"], less["shopper"]["browsing"]) == (None, None)
        assert less["shopper"]["profile"] == view["shopper"]["profile"]
        gone = [SOUGHT, jimena.phone.cart, *(scene.sku(index) for index in (0, 1, 2, 4))]
        assert [word for word in gone if word in answer.text] == []

        await jimena.decides(personal_service=False)

        last = (await stream.until("view.ended")).data
        assert last == {"view_id": view["id"], "because": "consent_withdrawn"}
        await stream.end()
    over = await tablet.get(url)
    assert (told(over), over.json()["ending"]) == ((410, "view_over"), "consent_withdrawn")
    assert SURNAME not in over.text
    follow = await tablet.get(f"{url}/feed")
    assert told(follow) == (410, "view_over")
    (look,) = (await jimena.ask("GET", "/v1/profile/views"))["items"]
    assert (look["id"], look["reason"]) == (view["id"], REASON)
    assert look["ended_at"] < view["expires_at"]
    await books_agree(scene)
