"""PostgreSQL dies at the boundaries of the payment sagas: what was committed is there, no more.

The postmaster gets SIGKILL while the story's process goes on against a vanishing database. `make
test` kills it at each boundary of a commit where a story reaches it first, `make soak` at every
boundary of every story.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from api import postgres
from api.postgres import Server
from commerce.kernel.sql import Database
from tests.simulation import crashing
from tests.simulation.crashing import STORIES
from tests.simulation.stage import Clean, Stage, in_a_process
from tests.stripe_server import FakeStripeServer, free_port

IN_SHORT = ("bought_and_brought_back",)


@pytest.fixture
def server() -> Iterator[Server]:
    """A database of its own that flushes what it commits, as the product's does."""
    home = Path(tempfile.mkdtemp(prefix="mostrador-crash-"))
    running = Server(home)
    migrations.upgrade(running.start())
    yield running
    running.stop()
    shutil.rmtree(home)


@pytest.fixture
def stripe(tmp_path: Path) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path / "stripe", free_port()) as running:
        yield running


@pytest.mark.timeout(600)
async def test_every_story_ends_the_same_wherever_the_database_dies(
    server: Server, stripe: FakeStripeServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    always = request.config.getoption("--hypothesis-profile") == "soak"
    died_at: set[str] = set()
    for name in STORIES if always else IN_SHORT:
        clean = await told(server, stripe, tmp_path, name)
        for number, boundary in enumerate(clean.boundaries, start=1):
            if always or ("commit" in boundary and boundary not in died_at):
                await crash(server, stripe, tmp_path, name, number, clean)
            died_at.add(boundary)


async def told(server: Server, stripe: FakeStripeServer, folder: Path, name: str) -> Clean:
    """The story in which nobody dies."""
    db = await Database.open(server.dsn())
    clean = await Stage(db, stripe, folder).clean(name)
    await db.close()
    return clean


async def crash(
    server: Server, stripe: FakeStripeServer, folder: Path, name: str, number: int, clean: Clean
) -> None:
    """Kill the database at that boundary, start it again, go on, and compare."""
    db = await Database.open(server.dsn())
    scene = await Stage(db, stripe, folder).scene()
    await db.close()
    postmaster, _ = postgres.leftover(server.home)
    assert postmaster is not None
    in_a_process(crashing.live, scene, name, number, postmaster)
    reached = scene.boundaries.read_text().splitlines()
    assert reached[:number] == clean.boundaries[:number]
    assert not server.alive()
    server.start()
    db = await Database.open(server.dsn())
    await Stage(db, stripe, folder).compare(scene, name, number, clean)
    await db.close()
