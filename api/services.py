"""What a web process has: settings, database, keys, limits; and how routes get at it.

Routes name what they need as parameters:

    conn      a transaction, committed before the answer goes out; a failed commit is an error
    reading   a connection for single reading statements
    who       the principal
    now       the moment of the request
    language  `en` or `es`, by Accept-Language
    services  all of this, for sagas (`services.database`, `await services.gateway()`)
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from litestar.di import Provide
from litestar.types import Scope

from api.auth import Keyring
from api.doorbell import Doorbell
from api.limits import Limiter
from api.log import Log
from api.problem_json import Language, spoken
from commerce.access import Principal
from commerce.directory import Directory
from commerce.kernel.clock import Clock
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers

if TYPE_CHECKING:
    from commerce.stripe_gateway import StripeGateway

Part = TypeVar("Part")
Answer = TypeVar("Answer")


class Services:
    """One per process."""

    def __init__(
        self, *, settings: Settings, database: Database, secret: bytes, now: Clock, log: Log
    ) -> None:
        self.settings = settings
        self.database = database
        self.secret = secret
        """The installation's: order numbers, pickup codes and sign-in codes derive from it."""
        self.numbers = Numbers(secret)
        self.now = now
        self.log = log
        self.keyring = Keyring(database, now)
        self.limiter = Limiter(database, now, log)
        self.doorbell = Doorbell(settings.direct_url, log)
        database.on_commit = self.doorbell.ring
        self.closing = AsyncExitStack()
        """What is pushed here is closed when the process ends, before the database is."""
        self._parts: dict[Callable[..., Any], Any] = {}
        self._gateway: asyncio.Task[StripeGateway] | None = None

    async def commit(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Run `work` in a transaction of its own (see `Database.commit`), then ring the bell."""
        answer = await self.database.commit(work)
        self.doorbell.ring()
        return answer

    def part(self, make: "Callable[[Services], Part]") -> Part:
        """The one thing of this process that `make` builds: a coalescer, a log reader.

        Made when it is first asked for. One that has `async close()` is closed at the end.
        """
        if make not in self._parts:
            made = self._parts[make] = make(self)
            close: Callable[[], Awaitable[None]] | None = getattr(made, "close", None)
            if close is not None:
                self.closing.push_async_callback(close)
        part: Part = self._parts[make]
        return part

    async def gateway(self) -> "StripeGateway":
        """The payment provider. Its SDK takes most of a second to import, so this waits once."""
        if self._gateway is None:
            self._gateway = asyncio.create_task(self._open_gateway())
        return await asyncio.shield(self._gateway)

    async def _open_gateway(self) -> "StripeGateway":
        module = await asyncio.to_thread(import_module, "commerce.stripe_gateway")
        settings = self.settings
        gateway: StripeGateway = module.StripeGateway(
            api_key=settings.stripe_api_key,
            api_base=settings.stripe_api_base,
            webhook_secret=settings.stripe_webhook_secret,
        )
        self.closing.push_async_callback(gateway.close)
        return gateway


def directory(services: Services) -> Directory:
    """The stores as this process knows them: `services.part(directory)`."""
    return Directory(services.database)


def services_of(scope: Scope) -> Services:
    """The services of the process that serves this request."""
    services: Services = scope["app"].state.services
    return services


async def _conn(scope: Scope) -> AsyncGenerator[Connection]:
    services = services_of(scope)
    async with services.database.transaction() as conn:
        yield conn
    services.doorbell.ring()


async def _reading(scope: Scope) -> AsyncGenerator[Connection]:
    async with services_of(scope).database.reading() as conn:
        yield conn


def _who(scope: Scope) -> Principal:
    who = scope["user"]
    assert isinstance(who, Principal), "a public route has no principal"
    return who


def _now(scope: Scope) -> datetime:
    return services_of(scope).now()


def _language(scope: Scope) -> Language:
    given = dict(scope["headers"]).get(b"accept-language", b"")
    return spoken(given.decode("latin-1"))


DEPENDENCIES = {
    "conn": Provide(_conn),
    "reading": Provide(_reading),
    "who": Provide(_who, sync_to_thread=False),
    "now": Provide(_now, sync_to_thread=False),
    "language": Provide(_language, sync_to_thread=False),
    "services": Provide(services_of, sync_to_thread=False),
}
