"""The web application in this process, over the test database, as clients see it."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, BinaryIO
from uuid import uuid4

import httpx
import pytest

from api import database
from api.app import ROUTES, assemble
from api.log import Log
from api.middleware import Edge
from api.services import Services
from commerce import access
from commerce.access import OPERATOR
from commerce.kernel import clock
from commerce.kernel.settings import Settings
from tests.answered import listening


@asynccontextmanager
async def started(
    dsn: str, modules: Sequence[Any], *, out: BinaryIO | None = None, **settings: Any
) -> AsyncGenerator[Edge]:
    """An application of these modules, over a prepared database; its log goes to `out`."""
    configured = Settings(database_url=dsn, **settings)
    log = Log("info", clock.now, out or io.BytesIO())
    made = assemble(configured, modules, log=log, now=clock.now)
    up, down = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with made.app.lifespan():
            up.set()
            await down.wait()

    # A task of its own, because the framework wants to end in the task that it began in.
    life = asyncio.create_task(live())
    await asyncio.wait([life, asyncio.create_task(up.wait())], return_when="FIRST_COMPLETED")
    if life.done():
        life.result()
    try:
        yield made
    finally:
        down.set()
        await life


MakeKey = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
async def prepared_dsn(dsn: str) -> str:
    """The shared database, as a start of the product leaves it."""
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(dsn)))
    return dsn


@pytest.fixture(scope="session")
async def edge(prepared_dsn: str) -> AsyncIterator[Edge]:
    """The application, started."""
    modules = [import_module(name) for name in ROUTES]
    async with started(prepared_dsn, modules) as made:
        yield made


@pytest.fixture(scope="session")
def services(edge: Edge) -> Services:
    """What the application's routes work with."""
    found: Services = edge.app.state.services
    return found


@pytest.fixture(scope="session")
async def http(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends no key."""
    async with httpx.AsyncClient(transport=listening(edge), base_url="http://mostrador") as client:
        yield client


@pytest.fixture(scope="session")
def make_key(services: Services) -> MakeKey:
    """Makes a key of a kind and tells its secret."""

    async def make(kind: str, **fields: Any) -> str:
        async with services.database.transaction() as conn:
            _, secret = await access.create_key(
                conn,
                OPERATOR,
                kind=kind,  # type: ignore[arg-type]
                name=f"test {uuid4().hex}",
                channel=fields.pop("channel", "store" if kind == "tablet" else "web"),
                now=datetime.now(UTC),
                **{"requests_per_minute": 1_000_000, **fields},
            )
        return secret

    return make


@pytest.fixture(scope="session")
def start(prepared_dsn: str) -> Callable[..., AbstractAsyncContextManager[Edge]]:
    """Starts an application of a test's own modules, for the length of an `async with`."""

    def start(
        modules: Sequence[Any], *, dsn: str = prepared_dsn, **options: Any
    ) -> AbstractAsyncContextManager[Edge]:
        return started(dsn, modules, **options)

    return start


@pytest.fixture(scope="session")
async def storefront(edge: Edge, make_key: MakeKey) -> AsyncIterator[httpx.AsyncClient]:
    """A web shop's client."""
    async with client(edge, await make_key("storefront")) as made:
        yield made


@pytest.fixture(scope="session")
async def back_office(edge: Edge, make_key: MakeKey) -> AsyncIterator[httpx.AsyncClient]:
    """A back office's client."""
    async with client(edge, await make_key("backoffice")) as made:
        yield made


def client(edge: Edge, key: str, session: str | None = None) -> httpx.AsyncClient:
    """A client that sends a key, and a session if it has one."""
    headers = {"X-API-Key": key}
    if session is not None:
        headers["Authorization"] = f"Bearer {session}"
    return httpx.AsyncClient(
        transport=listening(edge), base_url="http://mostrador", headers=headers
    )


@pytest.fixture(scope="session")
def client_of(edge: Edge) -> Callable[..., httpx.AsyncClient]:
    """Makes a client from the secrets of a key and a session, to be used by `async with`."""

    def make(key: str, session: str | None = None) -> httpx.AsyncClient:
        return client(edge, key, session)

    return make
