"""The fake Stripe as a process, and a gateway to it, for the tests of sagas."""

from collections.abc import AsyncIterator, Iterator

import pytest

from commerce.kernel.sql import Database
from commerce.stripe_gateway import StripeGateway
from tests.simulation.story import Moment
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, free_port


@pytest.fixture(scope="session")
def stripe_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    """One for all; its webhooks go nowhere."""
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture
def stripe(stripe_server: FakeStripeServer) -> FakeStripeServer:
    """The fake without faults that another test left."""
    stripe_server.http.delete("/_control/faults")
    return stripe_server


@pytest.fixture(scope="session")
async def gateway(stripe_server: FakeStripeServer) -> AsyncIterator[StripeGateway]:
    """A gateway that soon gives up waiting."""
    made = StripeGateway(
        api_key="sk_test_sagas",
        api_base=stripe_server.url,
        webhook_secret=WEBHOOK_SECRET,
        timeout=1.0,
    )
    yield made
    await made.close()


@pytest.fixture
async def own_db(own_dsn: str) -> AsyncIterator[Database]:
    """A database of its own, for a test that sweeps over everything."""
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Moment:
    """A clock of the test's own."""
    return Moment()
