"""`mostrador run`: database, migrations, demo retailer, then the services, watched until a signal.

Services get their settings by environment. The order of a stop is the reverse of the start:
services first, all at once, the database last. A supervisor that is killed outright leaves them
running; the next one on the same state finds them by their pid files and ends them.
"""

import asyncio
import errno
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from urllib.parse import urlsplit

import click
import msgspec
import psycopg

from api import children, greeting, sample_keys, state
from api.postgres import Server
from commerce.kernel import settings
from commerce.kernel.settings import OperatorError, Settings

PORTS_TO_TRY = 100
READY_SECONDS = 60.0
NICENESS = 5
"""Requests go first, from the start: the other services load while the web process answers."""

_FAKE = {"fake_stripe_port": "fake Stripe"}
_WATCH_SECONDS = 0.1
_PROBE_SECONDS = 0.05
_FAKE_STRIPE_KEY = "sk_test_mostrador"
_FAKE_STRIPE_SECRET = "whsec_mostrador"  # noqa: S105 - shared by our own two processes only


@click.command(name="run")
@click.option(
    "--demo/--no-demo",
    default=None,
    help="Fill an empty database with the demo retailer. Default: only the embedded one.",
)
def command(*, demo: bool | None) -> None:
    """Start everything, and stop it on Ctrl-C or SIGTERM."""
    configured = settings.load()
    with state.own(configured.state_dir):
        Supervisor(configured, demo=not configured.database_url if demo is None else demo).run()


class Supervisor:
    """One run, from the first line on the terminal to the last service's end."""

    def __init__(self, configured: Settings, *, demo: bool) -> None:
        self._settings = msgspec.structs.replace(
            configured, state_dir=configured.state_dir.absolute()
        )
        self._demo = demo
        self._server: Server | None = None
        self._children: list[children.Child] = []
        self._stop = Event()
        self._may_interrupt = False
        self._began = time.monotonic()

    def run(self) -> None:
        """Until a signal. A start that fails stops what it had started."""
        os.umask(0o077)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_signal)
        try:
            self._start()
            self._watch()
        except _StopAsked:
            pass
        finally:
            self._may_interrupt = False
            self._say("stopping")
            state.withdraw(self._settings.state_dir)
            children.stop(self._children)
            if self._server is not None:
                self._server.stop()
            self._say("stopped")

    def _start(self) -> None:
        self._say(f"state in {self._settings.state_dir}")
        self._end_orphans()
        with self._interruptible():
            # What prepares the database takes as long to import as the server to start.
            Thread(target=import_module, args=("api.database",), daemon=True).start()
            self._choose_ports()
            self._start_database()
            self._migrate()
            self._seed()
        self._start_services()
        self._wait_until_ready()
        self._greet()

    def _end_orphans(self) -> None:
        mark = f"STATE_DIR={self._settings.state_dir}"
        for name in children.end_orphans(self._pid_dir(), mark):
            self._say(f"ended {name}, left running by a supervisor that was killed")

    def _choose_ports(self) -> None:
        wanted = {"port": "API"} | ({} if self._settings.stripe_api_key else _FAKE)
        for field, what in wanted.items():
            port = getattr(self._settings, field)
            free = free_port(self._settings.host, port)
            if free != port:
                self._say(f"port {port} is taken; the {what} takes {free}")
                self._settings = msgspec.structs.replace(self._settings, **{field: free})

    def _start_database(self) -> None:
        if self._settings.database_url:
            return
        self._server = Server(self._settings.state_dir, bin_dir=self._settings.postgres_bin_dir)
        dsn = self._server.start(self._say)
        self._settings = msgspec.structs.replace(self._settings, database_url=dsn)
        self._say("database ready")

    def _migrate(self) -> None:
        from api.database import prepare  # the thread above is about to have imported it

        applied = asyncio.run(prepare(self._settings.direct_url))
        self._say(f"schema brought to revision {applied[-1]}" if applied else "schema up to date")

    def _seed(self) -> None:
        if not self._demo or not _is_empty(self._settings.direct_url):
            return
        self._say("loading the demo retailer")
        from api.seed import seed_demo  # only a first start needs it

        keys = seed_demo(self._settings.direct_url)
        sample_keys.save(self._settings.state_dir, keys)
        self._say("demo retailer loaded")

    def _start_services(self) -> None:
        services = {
            "web": [*web_command(self._settings), "api.app:application"],
            "worker": [sys.executable, "-m", "api.worker"],
        }
        if not self._settings.stripe_api_key:
            services["fake-stripe"] = [sys.executable, "-m", "api.fake_stripe"]
            self._settings = msgspec.structs.replace(
                self._settings,
                stripe_api_key=_FAKE_STRIPE_KEY,
                stripe_webhook_secret=_FAKE_STRIPE_SECRET,
                stripe_api_base=url(self._settings.host, self._settings.fake_stripe_port),
            )
        environ = settings.inherited() | self._settings.environ()
        for name, words in services.items():
            niceness = 0 if name == "web" else NICENESS
            child = children.Child(name, words, environ, self._pid_dir(), niceness=niceness)
            self._children.append(child)
            child.start()
        self._say(f"starting {', '.join(services)}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._stop.is_set():
            status, body = _health(self._settings)
            if status == http.client.OK:
                return
            for child in self._children:
                if not child.alive():
                    raise OperatorError(f"{child.name} did not start; its own words are above.")
            if time.monotonic() > deadline:
                raise OperatorError(f"The API is not healthy: {body or 'it does not answer'}")
            time.sleep(_PROBE_SECONDS)
        raise _StopAsked

    def _greet(self) -> None:
        api_url = url(self._settings.host, self._settings.port)
        fake = self._settings.stripe_api_base if _is_fake(self._settings) else None
        running = state.Running(supervisor=os.getpid(), api_url=api_url, stripe_url=fake)
        state.announce(self._settings.state_dir, running)
        say(greeting.text(running, sample_keys.load(self._settings.state_dir)))
        self._say("ready; Ctrl-C stops everything")

    def _watch(self) -> None:
        while not self._stop.wait(_WATCH_SECONDS):
            if self._server is not None and not self._server.alive():
                self._say("the database ended; starting it again")
                with self._interruptible():
                    self._server.start(self._say)
            for child in self._children:
                happened = child.keep_alive()
                if happened:
                    self._say(happened)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self._stop.set()
        if self._may_interrupt:
            self._may_interrupt = False
            raise _StopAsked

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Steps that a signal may cut short, because the next start can repeat each of them."""
        self._may_interrupt = True
        if self._stop.is_set():
            raise _StopAsked
        yield
        self._may_interrupt = False
        if self._stop.is_set():
            raise _StopAsked

    def _pid_dir(self) -> Path:
        directory = self._settings.state_dir / "run"
        directory.mkdir(exist_ok=True)
        return directory

    def _say(self, what: str) -> None:
        say(f"[{time.monotonic() - self._began:6.2f} s] {what}")


class _StopAsked(KeyboardInterrupt):
    """A signal came while something could be cut short. Event loops let this kind through."""


def say(text: str) -> None:
    """A line for whoever watches; that nobody does any more must not keep us from stopping."""
    with suppress(OSError):
        click.echo(text)


def _is_empty(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT NOT EXISTS (SELECT FROM location)").fetchone()
    return row == (True,)


def free_port(host: str, wanted: int) -> int:
    """The wanted port, or the next one that nobody listens on."""
    for port in range(wanted, min(wanted + PORTS_TO_TRY, 65_536)):
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return port
        except OSError as refused:
            if refused.errno != errno.EADDRINUSE:
                raise OperatorError(f"Cannot listen on {host}:{port}: {refused}.") from None
    raise OperatorError(f"The ports from {wanted} on are all taken. Set PORT to a free one.")


def url(host: str, port: int) -> str:
    """The address of a service that listens on `host`, as seen from this machine."""
    seen = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not binding
    return f"http://[{seen}]:{port}" if ":" in seen else f"http://{seen}:{port}"


def _health(configured: Settings) -> tuple[int, str]:
    """Status and body of the health page; 0 when nobody answers."""
    address = urlsplit(url(configured.host, configured.port))
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _is_fake(configured: Settings) -> bool:
    return configured.stripe_api_key == _FAKE_STRIPE_KEY


def web_command(configured: Settings) -> list[str]:
    """The web server. Open streams may hold a stop for as long as the kill timeout."""
    return [
        *(sys.executable, "-m", "granian", "--interface", "asgi", "--factory"),
        *("--host", configured.host, "--port", str(configured.port), "--http", "1", "--no-ws"),
        *("--workers", str(configured.web_processes), "--loop", "uvloop"),
        *("--respawn-failed-workers", "--respawn-interval", "0.2"),
        *("--workers-kill-timeout", "5", "--log-level", "warning"),
    ]
