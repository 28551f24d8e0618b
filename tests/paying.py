"""The web application of this process with a provider, a clock that tests move, and a web shop."""

import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from api.app import ROUTES, assemble
from api.log import Log
from api.middleware import Edge
from api.services import Services
from commerce import access
from commerce.access import OPERATOR
from commerce.kernel.settings import Settings
from tests.answered import listening
from tests.shop import Shop
from tests.simulation.story import Moment, money
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer


class WebShop(msgspec.Struct, frozen=True):
    """A shop's frontend, with the process that serves it."""

    http: httpx.AsyncClient
    services: Services
    clock: Moment
    stripe: FakeStripeServer
    app: Edge

    async def place(self, shop: Shop, card: str, *, key: str | None = None) -> Any:
        """Order one unit of the shop's first SKU by card."""
        answer = await self.http.post(
            "/v1/orders",
            headers={"Idempotency-Key": key or uuid4().hex},
            json={
                "location_id": str(shop.stores[0].location_id),
                "lines": [{"sku": shop.skus[0].sku, "quantity": 1}],
                "contact": {"name": "Ana Torres", "email": "ana@example.com"},
                "tender": "card",
                "payment_method": card,
                "return_url": "http://shop.example/back",
                "total": {"amount_minor": shop.skus[0].price_minor, "currency": shop.currency},
            },
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def pay_again(self, placed: Any, card: str, *, key: str | None = None) -> httpx.Response:
        """Try another card."""
        return await self.http.post(
            f"/v1/orders/{placed['order']['id']}/payments",
            headers={"Idempotency-Key": key or uuid4().hex, "Order-Token": placed["order_token"]},
            json={"payment_method": card},
        )

    async def refresh(self, placed: Any) -> Any:
        """Come back from the bank."""
        answer = await self.http.post(
            f"/v1/orders/{placed['order']['id']}/payments/refresh",
            headers={"Order-Token": placed["order_token"]},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def read(self, placed: Any) -> Any:
        """The order as it stands."""
        answer = await self.http.get(
            f"/v1/orders/{placed['order']['id']}", headers={"Order-Token": placed["order_token"]}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["order"]

    def books(self, order_id: str | UUID) -> list[dict[str, int]]:
        """What the provider's books say about each payment of an order."""
        every = self.stripe.http.get("/_control/books").json()["payment_intents"]
        return [money(entry) for entry in every if entry["order_id"] == str(order_id)]


@asynccontextmanager
async def web_shop(prepared_dsn: str, stripe: FakeStripeServer) -> AsyncGenerator[WebShop]:
    """Serve the application, and open a frontend's client to it."""
    clock = Moment(datetime.now(UTC))
    configured = Settings(
        database_url=prepared_dsn,
        stripe_api_key="sk_test_routes",
        stripe_api_base=stripe.url,
        stripe_webhook_secret=WEBHOOK_SECRET,
    )
    modules = [import_module(name) for name in ROUTES]
    served = assemble(configured, modules, log=Log("error", clock, io.BytesIO()), now=clock)
    opened, done = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        # Entered and left by one task, which a fixture of pytest's is not.
        async with served.app.lifespan():
            opened.set()
            await done.wait()

    serving = asyncio.create_task(serve())
    await asyncio.wait([serving, asyncio.create_task(opened.wait())], return_when="FIRST_COMPLETED")
    if serving.done():
        serving.result()
    services: Services = served.app.state.services
    headers = {"X-API-Key": await _key(services)}
    async with httpx.AsyncClient(
        transport=listening(served), base_url="http://mostrador", headers=headers
    ) as client:
        yield WebShop(client, services, clock, stripe, served)
    done.set()
    await serving


def states(order: Any) -> tuple[str, str]:
    """Of an order and of its only payment, as clients see them."""
    (paid,) = order["payments"]
    return order["state"], paid["state"]


async def _key(services: Services) -> str:
    async with services.database.transaction() as conn:
        _, secret = await access.create_key(
            conn,
            OPERATOR,
            kind="storefront",
            name=f"web shop {uuid4().hex}",
            channel="web",
            requests_per_minute=1_000_000,
            now=services.now(),
        )
    return secret
