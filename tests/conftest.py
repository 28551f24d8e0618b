"""One PostgreSQL server per test run, one migrated template, one cloned database per test process.

The process that started pytest owns the server, also under xdist. Each run has a directory of its
own, locked while the run lives, so that a later run can tell a killed run's server from a live one
and clean it up.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from psycopg import sql

import migrations
from api.postgres import Server
from commerce.kernel import clock, partitions
from commerce.kernel.sql import Database

PROJECT = Path(__file__).parent.parent
TEMPLATE = "template"
_ADDRESS = "mostrador_server_dsn"


class Run:
    """The server of this run. Started by the first need, so that pure tests do not wait for it."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._lock = -1
        self._home = Path()

    def dsn(self) -> str:
        """The template database; `clone` makes others from it."""
        if self._server is None:
            self._home, self._lock = _own_directory()
            self._server = Server(self._home, durable=False)
            self._server.start()
            _execute(self._server.dsn(), "CREATE DATABASE {}", TEMPLATE)
            migrations.upgrade(self._server.dsn(TEMPLATE))
            with ThreadPoolExecutor(1) as thread:  # a test's loop may be running in this one
                thread.submit(asyncio.run, _partition(self._server.dsn(TEMPLATE))).result()
        return self._server.dsn(TEMPLATE)

    def stop(self) -> None:
        """Leave nothing behind, whatever the tests' outcome was."""
        if self._server is not None:
            self._server.stop()
            shutil.rmtree(self._home, ignore_errors=True)
            os.close(self._lock)


pytest_plugins = ["tests.answered"]

RUN = pytest.StashKey[Run]()

# `--hypothesis-profile soak` is what `make soak` says. Time limits are pytest's.
for name, examples in (("default", 1_000), ("soak", 100_000)):
    hypothesis.settings.register_profile(
        name, max_examples=examples, derandomize=name == "default", deadline=None, database=None
    )
hypothesis.settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing starts yet."""
    config.stash[RUN] = Run()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each xdist worker the address of the controller's server."""
    node.workerinput[_ADDRESS] = node.config.stash[RUN].dsn()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The end of the run, also of a failed or interrupted one."""
    config.stash[RUN].stop()


@pytest.fixture(scope="session")
def template_dsn(request: pytest.FixtureRequest) -> str:
    """The migrated template database. Never connect to it: cloning needs it idle."""
    given: dict[str, str] = getattr(request.config, "workerinput", {})
    return given.get(_ADDRESS) or request.config.stash[RUN].dsn()


@pytest.fixture(scope="session")
def dsn(template_dsn: str) -> str:
    """The database that this process's tests share; fresh ids keep them apart."""
    return clone(template_dsn)


@pytest.fixture(scope="session")
async def db(dsn: str) -> AsyncIterator[Database]:
    """An open pool on the shared database."""
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


@pytest.fixture
def own_dsn(template_dsn: str) -> Iterator[str]:
    """A database of its own for a test that breaks invariants or works over everything."""
    cloned = clone(template_dsn)
    yield cloned
    drop(cloned)


@pytest.fixture
def empty_dsn(template_dsn: str) -> Iterator[str]:
    """A database without any schema."""
    name = f"test_{uuid4().hex}"
    _execute(_database(template_dsn, "postgres"), "CREATE DATABASE {}", name)
    yield _database(template_dsn, name)
    drop(_database(template_dsn, name))


async def _partition(dsn: str) -> None:
    """Months for the growing logs, as a start makes them: later there would be rows in the way."""
    database = await Database.open(dsn, max_size=1)
    async with database.transaction() as conn:
        await partitions.ensure(conn, now=clock.now())
    await database.close()


def clone(template_dsn: str) -> str:
    """A fresh copy of the migrated template."""
    name = f"test_{uuid4().hex}"
    _execute(
        _database(template_dsn, "postgres"),
        "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY",
        name,
        TEMPLATE,
    )
    return _database(template_dsn, name)


def drop(dsn: str) -> None:
    """Remove a cloned database, cutting off whoever is still connected."""
    name = dsn.partition("@/")[2].partition("?")[0]
    _execute(_database(dsn, "postgres"), "DROP DATABASE {} WITH (FORCE)", name)


def _database(dsn: str, name: str) -> str:
    server, _, rest = dsn.partition("@/")
    return f"{server}@/{name}?{rest.partition('?')[2]}"


def _execute(dsn: str, statement: str, *names: str) -> None:
    quoted = [sql.Identifier(name) for name in names]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*quoted))


def _own_directory() -> tuple[Path, int]:
    """A locked directory in memory if the system has one; those of dead runs are removed."""
    memory = Path("/dev/shm")  # noqa: S108 - the directories in it are private to this user
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    project = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:8]
    prefix = f"mostrador-tests-{os.geteuid()}-{project}-"
    for home in base.glob(f"{prefix}*"):
        lock = _try_lock(home)
        if lock is not None:
            leftover = Server(home)
            leftover.stop_leftover()
            shutil.rmtree(home, ignore_errors=True)
            os.close(lock)
    home = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    lock = _try_lock(home)
    assert lock is not None
    return home, lock


def _try_lock(home: Path) -> int | None:
    try:
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:  # that run has just ended
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
