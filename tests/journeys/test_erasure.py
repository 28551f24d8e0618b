"""A person who has used everything is erased, and nothing of them is found anywhere after it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import psycopg
import pytest

from api import audit, database
from commerce.kernel.sql import Database
from tests.background import WorkerProcess, until
from tests.desk import Desk, post
from tests.everywhere import found
from tests.paying import WebShop, web_shop
from tests.shop import Shop, make_shop
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, free_port

TAG = uuid4().hex[:12]
EMAIL = f"petra.{TAG}@example.com"
NAME = f"Petra Zz{TAG}"
PHONE = f"+525{uuid4().int % 10**9:09d}"
WORDS = {
    word: f"{word}-{TAG}"
    for word in (
        "searched", "listed", "preferred", "cancelled", "returned", "looked-up", "viewed", "guest",
        "noted",
    )
}  # fmt: skip
MARKS = [TAG, EMAIL, NAME, PHONE]
BOOKS = (
    "SELECT id, number, state, shopper_id, contact_id, total_minor, tax_minor FROM orders",
    "SELECT order_id, line_number, sku, quantity, returned_quantity, total_minor FROM order_line",
    "SELECT id, order_id, state, captured_minor, refunded_minor FROM payment",
    "SELECT id, payment_id, kind, state, amount_minor FROM payment_operation",
    'SELECT id, order_id, state, refund_minor FROM "return"',
    "SELECT id, sku, kind, on_hand_delta, reserved_delta FROM stock_ledger",
)


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture
async def web(own_dsn: str, stripe: FakeStripeServer) -> AsyncIterator[WebShop]:
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    async with web_shop(own_dsn, stripe) as serving:
        yield serving


@pytest.fixture
def worker(own_dsn: str, stripe: FakeStripeServer, tmp_path: Path) -> Iterator[WorkerProcess]:
    with WorkerProcess(
        own_dsn,
        state_dir=tmp_path,
        stripe_api_key="sk_test_routes",
        stripe_api_base=stripe.url,
        stripe_webhook_secret=WEBHOOK_SECRET,
    ) as running:
        yield running


class Person(msgspec.Struct):
    """Somebody on the shop's website."""

    web: WebShop
    shop: Shop
    headers: dict[str, str]
    id: str

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A request that succeeds, and its answer."""
        given = self.headers | {"Idempotency-Key": uuid4().hex} | headers
        sent = {} if body is None else {"json": body}
        return done(await self.web.http.request(method, path, headers=given, **sent))

    async def order(self, **contact: str) -> Any:
        """One unit of the first SKU, to be paid at pickup."""
        sku = self.shop.skus[0]
        body = {
            "location_id": str(self.shop.stores[0].location_id),
            "lines": [{"sku": sku.sku, "quantity": 1}],
            "contact": {"name": NAME, "email": EMAIL, "phone": PHONE, **contact},
            "tender": "pay_at_pickup",
            "total": {"amount_minor": sku.price_minor, "currency": self.shop.currency},
        }
        return await self.send("POST", "/v1/orders", body)


def done(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def signed_in(web: WebShop, shop: Shop, dsn: str) -> Person:
    """Signed in by the code that was sent."""
    asked = done(await web.http.post("/v1/sign-ins", json={"email": EMAIL}))
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT body FROM message WHERE recipient = %s ORDER BY id DESC LIMIT 1", [EMAIL]
        ).fetchone()
    assert row is not None
    code = re.findall(r"\b\d{6}\b", row[0])[0]
    started = done(
        await web.http.post("/v1/sessions", json={"sign_in_id": asked["sign_in_id"], "code": code})
    )
    bearer = {"Authorization": f"Bearer {started['secret']}"}
    return Person(web, shop, bearer, started["shopper"]["id"])


async def collect(desk: Desk, placed: Any) -> None:
    """The store hands an order over, for cash."""
    total = placed["order"]["total"]
    pickup = f"/v1/store/pickups/{placed['order']['fulfillments'][0]['id']}"
    async with await desk.staff(0) as here:
        done(await post(here, f"{pickup}/start"))
        done(await post(here, f"{pickup}/ready", {"staging_location": "A-12"}))
        handed = {"code": placed["pickup_code"], "tender": {"kind": "cash", "tendered": total}}
        done(await post(here, f"{pickup}/hand-over", handed))


async def use_everything(person: Person, desk: Desk) -> Any:
    """Whatever a shopper can leave behind; returns an order that is still open."""
    web, sku = person.web, person.shop.skus[0].sku
    at = web.clock().isoformat()
    await person.send(
        "PATCH", "/v1/profile", {"name": NAME, "preferences": {"avoid": WORDS["preferred"]}}
    )
    grants = [{"purpose": "personal_service", "granted": True}]
    grants += [{"purpose": "marketing", "channel": "email", "granted": True}]
    await person.send("PUT", "/v1/profile/consents", {"decisions": grants})
    searched = {"type": "search", "id": str(uuid4()), "at": at, "query": WORDS["searched"]}
    browsed = {"visitor_id": str(uuid4()), "session_id": str(uuid4()), "device": "web"}
    await person.send("POST", "/v1/browsing-events", {**browsed, "events": [searched]})
    cart = await person.send("POST", "/v1/carts", {})
    cart_id = cart["cart"]["id"]
    await person.send("PUT", f"/v1/carts/{cart_id}/lines/{sku}", {"quantity": 1})
    await person.send("POST", "/v1/lists", {"name": WORDS["listed"]})

    back = await person.order()
    await collect(desk, back)
    wanted = {"lines": [{"line_number": 1, "quantity": 1}], "reason": WORDS["returned"]}
    asked = await person.send("POST", f"/v1/orders/{back['order']['id']}/returns", wanted)
    async with await desk.staff(0, role="manager") as here:
        arrived = {"units": [{"line_number": 1, "disposition": "restock", "quantity": 1}]}
        done(await post(here, f"/v1/store/returns/{asked['id']}/receive", arrived))
    gone = await person.order()
    await person.send(
        "POST", f"/v1/orders/{gone['order']['id']}/cancel", {"reason": WORDS["cancelled"]}
    )
    guest = Person(web, person.shop, {}, "")
    before = await guest.order(name=WORDS["guest"])
    await guest.send(
        "POST", f"/v1/orders/{before['order']['id']}/cancel", {"reason": WORDS["guest"]},
        **{"Order-Token": before["order_token"]},
    )  # fmt: skip
    await look_at(desk)
    return await person.order()


async def look_at(desk: Desk) -> None:
    """An associate looks the person up, opens a view, and writes a note."""
    async with await desk.staff(0) as here:
        search = {"kind": "email", "email": EMAIL}
        body = {"search": search, "purpose": "serve_in_store", "reason": WORDS["looked-up"]}
        looked = done(await post(here, "/v1/store/shopper-look-ups", body))
        (chosen,) = looked["candidates"]
        body = {
            "candidate_id": chosen["id"],
            "purpose": "serve_in_store",
            "reason": WORDS["viewed"],
        }
        view = done(await post(here, "/v1/store/shopper-views", body))
        note = {"body": WORDS["noted"]}
        done(await post(here, f"/v1/store/shopper-views/{view['id']}/notes", note))


async def books(db: Database) -> list[list[tuple[Any, ...]]]:
    """What must stay as it is, row by row."""
    async with db.reading() as conn:
        return [
            [tuple(row) for row in await conn.driver.fetch(f"{each} ORDER BY 1, 2")]
            for each in BOOKS
        ]


@pytest.mark.timeout(150)
@pytest.mark.usefixtures("worker")
async def test_nothing_is_left_of_an_erased_person(web: WebShop, own_dsn: str) -> None:
    db = web.services.database
    desk = Desk(web, await make_shop(db))
    person = await signed_in(web, desk.shop, own_dsn)
    still_open = await use_everything(person, desk)
    web.clock.at = datetime.now(UTC)
    exported = done(await web.http.get("/v1/profile/export", headers=person.headers))["held"]
    for word in (
        "searched",
        "listed",
        "preferred",
        "cancelled",
        "returned",
        "viewed",
        "noted",
        "guest",
    ):
        assert WORDS[word] in msgspec.json.encode(exported).decode(), word
    assert len(await found(db, MARKS)) == len(MARKS)

    web.clock.at = datetime.now(UTC)
    asked = done(await web.http.delete("/v1/profile", headers=person.headers))
    assert asked["state"] == "pending"
    waits = [each["number"] for each in asked["waits_for"] if each["kind"] == "order"]
    assert waits == [still_open["order"]["number"]]
    over = await web.http.get("/v1/profile", headers=person.headers)
    assert (over.status_code, over.json()["code"]) == (401, "session_invalid")

    async with await desk.key("backoffice") as office:
        report = f"/v1/backoffice/erasures/{asked['id']}"

        async def waits_for_the_order_only() -> bool:
            shown = done(await office.get(report))
            return [each["kind"] for each in shown["waits_for"]] == ["order"]

        await until(waits_for_the_order_only, seconds=40, what="a pass")
        left = await found(db, [*WORDS.values(), EMAIL])
        assert set(left) <= {EMAIL, WORDS["cancelled"], WORDS["returned"], WORDS["guest"]}
        assert {"contact", "message", "erasure"} >= {each.split(".")[1] for each in left[EMAIL]}
        somebody_new = await signed_in(web, desk.shop, own_dsn)
        assert somebody_new.id != person.id

        await collect(desk, still_open)
        kept = await books(db)

        async def finished() -> bool:
            return bool(done(await office.get(report))["state"] == "finished")

        await until(finished, seconds=40, what="the end of the erasure")
        shown = done(await office.get(report))
    assert shown["counts"].keys() >= {
        "browsing_event", "shopping_list", "shopper_view", "contact", "message", "orders",
        "return", "idempotency_key",
    }  # fmt: skip
    assert shown["stays"]["orders"]
    done(await web.http.delete("/v1/profile", headers=somebody_new.headers))

    async def nothing_left() -> bool:
        return await found(db, MARKS) == {}

    await until(nothing_left, seconds=60, what=f"the end of {TAG}")
    assert await books(db) == kept
    assert (await audit.run(own_dsn)).findings == 0
