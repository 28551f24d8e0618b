"""Background work in tests: its means in this process, and `python -m api.worker` as processes."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from api import supervisor
from api.courier import Courier
from api.log import Log
from api.work import Work
from commerce.kernel import clock, settings
from commerce.kernel.clock import Clock
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Database
from commerce.messages import Carriers, Links
from tests.stripe_server import free_port

SECRET = b"s" * 32
LINKS = Links(SECRET, "https://shop.example")
PROJECT = Path(__file__).parent.parent
START_SECONDS = 90.0


class NoGateway:
    """Nobody asks the provider in these tests; whoever does has found a fault."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the provider was asked: {name}")


def work_of(db: Database, *, carriers: Carriers | None = None, now: Clock = clock.now) -> Work:
    """The means of actors and sweeps over a test's database."""
    gateway: Any = NoGateway()
    log = Log("error", clock.now, io.BytesIO())
    courier = Courier(db, carriers or {}, LINKS, log, now)
    return Work(Settings(database_url=db.dsn), db, SECRET, gateway, courier, log, now)


@contextmanager
def started_product(home: Path) -> Iterator[Path]:
    """`mostrador run` on ports of its own, with the demo retailer. Yields its state directory."""
    state_dir, output = home / "state", home / "output"
    ports = {"PORT": str(free_port()), "FAKE_STRIPE_PORT": str(free_port())}
    with output.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "run"],
            cwd=PROJECT,
            env=os.environ | {"STATE_DIR": str(state_dir)} | ports,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (state_dir / "running.json").exists():
            assert running.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield state_dir
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)


class WorkerProcess:
    """`python -m api.worker`. Its log is in `lines` when it has ended."""

    def __init__(self, dsn: str, **configured: Any) -> None:
        self._settings = Settings(database_url=dsn, **configured)
        self._process: subprocess.Popen[bytes] | None = None
        self.lines = b""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; it takes a moment until it works."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "api.worker"],
            cwd=PROJECT,
            env=settings.inherited(os.environ) | self._settings.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def stop(self) -> tuple[int, float]:
        """SIGTERM: the exit status, and how long it took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self.lines += self._process.communicate(timeout=30)[0]
        status = self._process.returncode
        self._process = None
        return status, time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None:
            self._process.kill()
            self.lines += self._process.communicate()[0]
            self._process = None


class WebProcess:
    """The web server that the product runs, with one process."""

    def __init__(self, dsn: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._settings = Settings(database_url=dsn, port=port, log_level="error")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*supervisor.web_command(self._settings), "api.app:application"],
            cwd=PROJECT,
            env=settings.inherited(os.environ) | self._settings.environ(),
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def ready(self) -> None:
        """Wait until it answers."""

        async def answers() -> bool:
            async with httpx.AsyncClient(trust_env=False) as client:
                try:
                    return (await client.get(f"{self.url}/health")).status_code in (200, 503)
                except httpx.TransportError:
                    return False

        await until(answers, what="an answer of the web server")


async def until(
    condition: Callable[[], Awaitable[bool]], *, seconds: float = 20, what: str = "it"
) -> float:
    """Wait until it is so; how long that took. Fails when it takes too long."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < seconds, f"{what} did not happen within {seconds:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began
