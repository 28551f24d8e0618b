"""The whole product as its operator runs it, behind gates, and the parts of it that can be killed.

`mostrador run` starts web and worker against a PostgreSQL and a fake Stripe that belong to the
test, each reached through its gate.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx

from api import pidfile, postgres
from api.database import prepare
from api.postgres import Server
from commerce.kernel import settings
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Database
from tests.simulation.gate import DatabaseGate, Gate, ProviderGate
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, free_port

Victim = Literal["web", "worker", "supervisor", "database"]
PROJECT = Path(__file__).parent.parent.parent
START_SECONDS = 60.0


class Product:
    """One installation; `gate` sees what it does."""

    def __init__(self, home: Path) -> None:
        self.gate = Gate(self._is_web)
        self.server = Server(home / "database")
        self.stripe = FakeStripeServer(home / "stripe", free_port())
        self._state = home / "state"
        self._front = home / "front"
        self._provider_port = free_port()
        self._port = free_port()
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._killed_worker = 0
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._port}", timeout=60, trust_env=False
        )

    @property
    def dsn(self) -> str:
        """The database, past the gate."""
        return self.server.dsn()

    async def open(self, stack: contextlib.AsyncExitStack) -> None:
        """Start everything."""
        stack.push_async_callback(self.http.aclose)
        await asyncio.to_thread(self.server.start)
        stack.callback(self.server.stop)
        await prepare(self.dsn)
        stack.enter_context(self.stripe)
        self._front.mkdir()
        sockets = Path(self.dsn.partition("host=")[2].partition("&")[0])
        database = await DatabaseGate(self.gate, self._front, sockets).open()
        stack.callback(database.close)
        upstream = int(self.stripe.url.rpartition(":")[2])
        provider = await ProviderGate(self.gate, self._provider_port, upstream).open()
        stack.callback(provider.close)
        stack.callback(self._stop)
        await self.start()

    async def start(self) -> None:
        """Run the supervisor, and wait until all is well."""
        self._supervisor = await asyncio.to_thread(self._run)
        await self.healthy()

    def _run(self) -> "subprocess.Popen[bytes]":
        configured = Settings(
            state_dir=self._state,
            port=self._port,
            database_url=f"postgresql://postgres@/{postgres.DATABASE}?host={self._front}",
            stripe_api_key="sk_test_product",
            stripe_api_base=f"http://127.0.0.1:{self._provider_port}",
            stripe_webhook_secret=WEBHOOK_SECRET,
        )
        return subprocess.Popen(
            [sys.executable, "-m", "api.cli", "run", "--no-demo"],
            cwd=PROJECT,
            env=settings.inherited(os.environ) | configured.environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def healthy(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await self.http.get("/health")
                    if answer.status_code == httpx.codes.OK:
                        return
                await asyncio.sleep(0.1)

    async def kill(self, victim: Victim, holder: int) -> None:
        """SIGKILL. The web process is the one that waits at the gate."""
        if victim == "web":
            os.kill(holder, signal.SIGKILL)
        elif victim == "database":
            postmaster, _ = postgres.leftover(self.server.home)
            assert postmaster is not None
            os.kill(postmaster, signal.SIGKILL)
            await asyncio.to_thread(self._until_the_database_is_dead)
        elif victim == "worker":
            self._killed_worker = self._worker()
            assert self._killed_worker, "the worker does not run"
            os.kill(self._killed_worker, signal.SIGKILL)
        else:
            assert self._supervisor is not None
            self._supervisor.kill()
            await asyncio.to_thread(self._supervisor.wait)

    async def recover(self, victim: Victim) -> None:
        """What an operator's machine does after the kill: what is dead starts again."""
        if victim == "database":
            await asyncio.to_thread(self.server.start)
        elif victim == "supervisor":
            await self.start()
        elif victim == "worker":
            await asyncio.to_thread(self._until_the_worker_runs)
        await self.healthy()

    def _until_the_database_is_dead(self) -> None:
        while self.server.alive():
            time.sleep(0.01)

    def _is_web(self, process: int) -> bool:
        web = pidfile.read(self._state / "run" / "web.pid")
        try:
            return process != 0 and os.getpgid(process) == web
        except ProcessLookupError:
            return False

    def _worker(self) -> int:
        return pidfile.read(self._state / "run" / "worker.pid") or 0

    def _until_the_worker_runs(self) -> None:
        """The supervisor makes a pause, the longer the more often it has died."""
        until = time.monotonic() + START_SECONDS
        while self._worker() in {0, self._killed_worker}:
            assert time.monotonic() < until, "the worker does not come back"
            time.sleep(0.05)

    def _stop(self) -> None:
        assert self._supervisor is not None
        if self._supervisor.poll() is None:
            self._supervisor.terminate()
            self._supervisor.wait(START_SECONDS)
        for file in (self._state / "run").glob("*.pid"):
            leader = pidfile.read(file)
            if leader is not None:
                os.killpg(leader, signal.SIGKILL)


@contextlib.asynccontextmanager
async def installed() -> AsyncGenerator[Product]:
    """A product that runs, in a directory of its own with a short path."""
    home = Path(tempfile.mkdtemp(prefix="mostrador-product-"))
    try:
        async with contextlib.AsyncExitStack() as stack:
            product = Product(home)
            await product.open(stack)
            yield product
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Backdoor:
    """The database past the gate, as `tests.tablet` wants it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @staticmethod
    def now() -> datetime:
        """Wall time: the product's own clock."""
        return datetime.now(UTC)
