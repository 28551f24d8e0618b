"""The state directory: who owns it, what runs from it, and how a command reaches its database."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from api.postgres import Server, running_dsn
from commerce.kernel.settings import OperatorError, Settings

_RUNNING = "running.json"


class StateInUse(OperatorError):
    """Another supervisor, or a command that needs the state for itself, owns this directory."""


class Running(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the supervisor of a state directory serves, for commands that talk to it."""

    supervisor: int
    api_url: str
    stripe_url: str | None
    """The fake's address; None where the real provider is used."""


@contextmanager
def own(state_dir: Path) -> Iterator[None]:
    """Be the only owner of a state directory, until the block or this process ends."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as refused:
        raise OperatorError(f"{refused}. Set STATE_DIR to a directory of your own.") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode() or "unknown"
            raise StateInUse(
                f"{state_dir.absolute()} is in use by Mostrador, process {owner}. "
                "Stop it first, or set STATE_DIR to another directory."
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """How a command reaches the database, past any pooler.

    The embedded one is that of the running supervisor; without one it is started for the block.
    """
    if settings.database_url:
        yield settings.direct_url
        return
    serving = running_dsn(settings.state_dir)
    if serving is not None:
        yield serving
        return
    with own(settings.state_dir):
        server = Server(settings.state_dir, bin_dir=settings.postgres_bin_dir)
        try:
            yield server.start()
        finally:
            server.stop()


def announce(state_dir: Path, running: Running) -> None:
    """Tell commands where the services of this state are."""
    partial = state_dir / (_RUNNING + ".partial")
    partial.write_bytes(msgspec.json.encode(running))
    partial.replace(state_dir / _RUNNING)


def withdraw(state_dir: Path) -> None:
    """Nothing is served from this state any more."""
    (state_dir / _RUNNING).unlink(missing_ok=True)


def running(state_dir: Path) -> Running:
    """Where the services of this state are; refused when nothing runs."""
    try:
        return msgspec.json.decode((state_dir / _RUNNING).read_bytes(), type=Running)
    except FileNotFoundError:
        raise OperatorError(
            f"Nothing runs on {state_dir.absolute()}. Start it by `make run` or `mostrador run`."
        ) from None
