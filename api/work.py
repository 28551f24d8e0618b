"""What background work has at hand: settings, database, secret, log, provider, courier.

One per event loop that does such work; opened inside that loop and closed in it.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module

import msgspec

from api.carriers import open_carriers
from api.courier import Courier
from api.database import open_database
from api.log import Log
from commerce.installation import installation_secret
from commerce.kernel.clock import Clock
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Database
from commerce.messages import Links
from commerce.provider import Gateway


class Work(msgspec.Struct, frozen=True):
    """The means of one loop's background work."""

    settings: Settings
    database: Database
    secret: bytes
    gateway: Gateway
    courier: Courier
    log: Log
    now: Clock


@asynccontextmanager
async def open_work(settings: Settings, *, log: Log, now: Clock) -> AsyncGenerator[Work]:
    """Connect. Raises OperatorError when the database does not answer."""
    async with AsyncExitStack() as opened:
        database = await open_database(settings, name="mostrador-worker")
        opened.push_async_callback(database.close)
        async with database.reading() as conn:
            secret = await installation_secret(conn)
        sdk = import_module("commerce.stripe_gateway")  # most of a second, so not at import
        gateway = sdk.StripeGateway(
            api_key=settings.stripe_api_key,
            api_base=settings.stripe_api_base,
            webhook_secret=settings.stripe_webhook_secret,
        )
        opened.push_async_callback(gateway.close)
        carriers = await opened.enter_async_context(open_carriers(settings, now))
        courier = Courier(database, carriers, Links(secret, settings.links_url), log, now)
        opened.push_async_callback(courier.close)
        yield Work(settings, database, secret, gateway, courier, log, now)
