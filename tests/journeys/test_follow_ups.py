"""A cart that was left lying, and a client who is written to: with a worker that does its part.

The retailer's settings make waiting short; everything else is as it runs. Nobody else is there, so
that each trigger's numbers are those of this story.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from api import audit, database
from api.app import ROUTES
from api.services import Services
from commerce import access
from commerce.access import OPERATOR
from tests.api.conftest import client, started
from tests.background import WorkerProcess, until
from tests.conftest import clone, drop
from tests.live import Device, at_store, claim, good, new_shopper, session_of
from tests.looking import Known, known, viewed
from tests.shop import Shop, make_shop
from tests.tablet import sign_in

MAIL = {"channel": "email", "granted": True}
NEVER_QUIET = ("03:00", "03:00")
HOUR = timedelta(hours=1)
SWEPT_TWICE_SECONDS = 11


class Scene(msgspec.Struct, frozen=True):
    """The product as it runs."""

    dsn: str
    services: Services
    http: httpx.AsyncClient
    office: httpx.AsyncClient
    shop: Shop
    key: str

    async def left_cart(self) -> Device:
        """Somebody who allows follow-ups by mail has put something into a cart."""
        headers = await session_of(self.services, self.key, await new_shopper(self.services))
        phone = await Device(self.http, headers).start(self.shop)
        decisions = [{"purpose": "follow_up", **MAIL}]
        good(await phone.ask("PUT", "/v1/profile/consents", decisions=decisions))
        await phone.set(self.shop.skus[0].sku, 1)
        return phone

    async def quiet(self, hours: tuple[str, str]) -> None:
        """Set the quiet hours."""
        body = {"starts": hours[0], "ends": hours[1]}
        good(await self.office.put("/v1/backoffice/quiet-hours", json=body))

    async def wait_minutes(self, minutes: int) -> None:
        """Set the delay of abandoned carts."""
        body = {"enabled": True, "delay_minutes": minutes, "cap": 1, "cap_days": 7}
        good(await self.office.put("/v1/backoffice/follow-ups/abandoned_cart", json=body))

    async def numbers(self) -> dict[str, Any]:
        """Of abandoned carts."""
        triggers = good(await self.office.get("/v1/backoffice/follow-ups"))
        (found,) = [e for e in triggers if e["settings"]["trigger"] == "abandoned_cart"]
        numbers: dict[str, Any] = found
        return numbers

    async def told(self, template: str) -> list[dict[str, Any]]:
        """The messages of a template that went out."""
        sent = good(await self.office.get("/v1/backoffice/messages?state=sent&limit=200"))
        return [each for each in sent["items"] if each["template"] == template]


@pytest.fixture(scope="module")
async def scene(template_dsn: str) -> AsyncIterator[Scene]:
    dsn = clone(template_dsn)
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(dsn)))
    async with started(dsn, [import_module(name) for name in ROUTES]) as edge:
        services: Services = edge.app.state.services
        app, office = [await _key(services, kind) for kind in ("storefront", "backoffice")]
        with WorkerProcess(dsn, log_level="error"):
            async with client(edge, app) as http, client(edge, office) as back_office:
                shop = await make_shop(services.database)
                yield Scene(dsn, services, http, back_office, shop, app)
    drop(dsn)


async def _key(services: Services, kind: Any) -> str:
    async with services.database.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind=kind, name=f"{kind} {uuid4().hex}", channel="app",
            requests_per_minute=1_000_000, now=services.now(),
        )  # fmt: skip
    return secret


async def test_left_carts_are_told_of_once_unless_they_are_bought_or_it_is_night(
    scene: Scene,
) -> None:
    await scene.quiet(NEVER_QUIET)
    await scene.wait_minutes(60)
    bought = await scene.left_cart()

    async def scheduled() -> bool:
        return bool((await scene.numbers())["waiting"] == 1)

    await until(scheduled, what="the follow-up of a cart")
    await _sold_at_the_till(scene, bought)

    async def stopped() -> bool:
        return bool((await scene.numbers())["stopped"] == {"purchase": 1})

    await until(stopped, what="the stop by a store purchase")

    await scene.wait_minutes(0)
    await scene.left_cart()

    async def sent() -> bool:
        return len(await scene.told("abandoned_cart")) == 1

    await until(sent, what="the message about a left cart")

    local = scene.services.now().astimezone(ZoneInfo("America/Mexico_City"))
    await scene.quiet((f"{local - HOUR:%H:%M}", f"{local + HOUR:%H:%M}"))
    await scene.left_cart()
    await until(scheduled, what="the follow-up that the night holds back")
    await asyncio.sleep(SWEPT_TWICE_SECONDS)
    (only,) = await scene.told("abandoned_cart")
    assert scene.shop.skus[0].item_code in only["body"]
    numbers = await scene.numbers()
    assert (numbers["scheduled"], numbers["sent"], numbers["waiting"]) == (3, 1, 1)
    assert (numbers["stopped"], numbers["skipped"]) == ({"purchase": 1}, {})
    assert (await audit.run(scene.dsn)).findings == 0


async def _sold_at_the_till(scene: Scene, phone: Device) -> None:
    """The shopper shows the cart's code in the store, and pays in cash."""
    tablet = await sign_in(scene.http, scene.services, scene.shop)
    good(await claim(tablet, await phone.code()), 201)
    total = good(await tablet.get(f"/carts/{phone.cart}"))["quote"]["total"]
    sale = {"total": total, "kind": "carry_out", "tender": {"kind": "cash", "tendered": total}}
    good(await at_store(tablet, "POST", f"{phone.cart}/sell", **sale), 201)


async def test_what_a_client_buys_after_outreach_is_put_down_to_it(scene: Scene) -> None:
    await scene.quiet(NEVER_QUIET)
    eva = await sign_in(scene.http, scene.services, scene.shop)
    ana = await known(scene.http, scene.services, "personal_service")
    decisions = [{"purpose": "marketing", **MAIL}]
    good(
        await scene.http.put(
            "/v1/profile/consents", json={"decisions": decisions}, headers=ana.headers
        )
    )
    view = await viewed(eva, ana)
    entry = good(await eva.post(f"/shopper-views/{view['id']}/client-book-entry"), 201)
    written = good(
        await eva.post(
            f"/client-book/{entry['id']}/outreach", template="outreach_suggestion",
            sku=scene.shop.skus[1].sku, line="Te espero",
        ),
        201,
    )  # fmt: skip

    async def stage() -> str:
        (tracked,) = good(await eva.get("/outreach"))["items"]
        assert tracked["id"] == written["id"]
        return str(tracked["stage"])

    async def is_sent() -> bool:
        return await stage() == "sent"

    await until(is_sent, what="the message to the client")
    order = await _ordered(scene, ana)

    async def is_bought() -> bool:
        return await stage() == "bought"

    await until(is_bought, what="the purchase that outreach led to")
    (tracked,) = good(await eva.get("/outreach"))["items"]
    assert (tracked["order_id"], tracked["associate_id"]) == (order["id"], eva.associate_id)

    withdrawn = [{"purpose": "personal_service", "granted": False}]
    good(
        await scene.http.put(
            "/v1/profile/consents", json={"decisions": withdrawn}, headers=ana.headers
        )
    )
    assert good(await eva.get("/client-book"))["items"] == []


async def _ordered(scene: Scene, ana: Known) -> Any:
    """One unit in the app, to be paid and collected at the store."""
    body = {
        "location_id": str(scene.shop.stores[0].location_id),
        "lines": [{"sku": scene.shop.skus[1].sku, "quantity": 1}],
        "contact": {"name": "Ana", "email": ana.email},
        "tender": "pay_at_pickup",
        "total": {"amount_minor": scene.shop.skus[1].price_minor, "currency": "MXN"},
    }
    headers = ana.headers | {"Idempotency-Key": uuid4().hex}
    return good(await scene.http.post("/v1/orders", json=body, headers=headers), 201)["order"]
