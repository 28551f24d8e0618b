"""The services that the supervisor keeps alive: each one a process group with a pid file.

A service runs in a session of its own, so that Ctrl-C in the terminal reaches only the supervisor,
which then decides the order. Whatever a service leaves in its group ends with it.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from api import pidfile

PROJECT = Path(__file__).parent.parent
"""Services run from here, so that `python -m` finds our packages and no others."""

GRACE_SECONDS = 8.0
"""Time for requests and tasks under way before a service is killed."""
STEADY_SECONDS = 60.0
"""A service that lived this long starts anew without a pause."""
LONGEST_PAUSE_SECONDS = 30.0

_FIRST_PAUSE_SECONDS = 0.25
_POLL_SECONDS = 0.02


class Child:
    """One service. Its pid file outlives a killed supervisor and tells the next one what to end."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: dict[str, str],
        pid_dir: Path,
        *,
        niceness: int = 0,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environ = environ
        self._niceness = niceness
        self._file = pid_dir / f"{name}.pid"
        self._running: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_again_at: float | None = None
        self._pause = 0.0

    def start(self) -> None:
        """Start it once."""
        self._running = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            env=self._environ,
            cwd=PROJECT,
            start_new_session=True,
        )
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._running.pid, os.nice(0) + self._niceness)
        pidfile.write(self._file, self._running.pid)
        self._started_at = time.monotonic()
        self._start_again_at = None

    def alive(self) -> bool:
        """Whether it runs now."""
        return self._running is not None and self._running.poll() is None

    def keep_alive(self) -> str | None:
        """Start it again when it has died, later each time; what happened, if something did."""
        now = time.monotonic()
        if self._start_again_at is not None:
            if now >= self._start_again_at:
                self.start()
            return None
        if self.alive() or self._running is None:
            return None
        ended = _how_it_ended(self._running.returncode)
        _kill_group(self._running.pid)
        steady = now - self._started_at >= STEADY_SECONDS
        pause = 0.0 if steady else max(self._pause * 2, _FIRST_PAUSE_SECONDS)
        self._pause = min(pause, LONGEST_PAUSE_SECONDS)
        self._start_again_at = now + self._pause
        return f"{self.name} {ended}; starting it again in {self._pause:g} s"

    def ask_to_stop(self) -> None:
        """Let it finish what is under way."""
        self._start_again_at = None
        if self._running is not None and self._running.poll() is None:
            self._running.terminate()

    def stopped(self) -> bool:
        """Whether it has ended; its pid file is then removed."""
        if self.alive():
            return False
        self.kill()
        return True

    def kill(self) -> None:
        """End whatever is left of it."""
        if self._running is not None:
            _kill_group(self._running.pid)
            self._running.wait()
            self._running = None
        self._file.unlink(missing_ok=True)


def stop(children: Iterable[Child], *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask all of them at once, then wait; those that take too long are killed."""
    waiting = list(children)
    for child in waiting:
        child.ask_to_stop()
    deadline = time.monotonic() + grace_seconds
    while waiting and time.monotonic() < deadline:
        waiting = [child for child in waiting if not child.stopped()]
        time.sleep(_POLL_SECONDS if waiting else 0)
    for child in waiting:
        child.kill()


def end_orphans(pid_dir: Path, mark: str) -> list[str]:
    """End the services that a killed supervisor left running on this state, and name them.

    `mark` is the environment entry, `NAME=value`, that all services of this state have.
    """
    ended = []
    for file in sorted(pid_dir.glob("*.pid")):
        leader = pidfile.read(file)
        if leader is not None:
            pidfile.end(leader, [(signal.SIGTERM, GRACE_SECONDS)])
            _kill_group(leader)
        members = pidfile.remnant(file, mark)
        for member in members:
            pidfile.end(member, [(signal.SIGKILL, GRACE_SECONDS)])
        if leader is not None or members:
            ended.append(file.stem)
        file.unlink()
    return ended


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left, or only what is not ours
        return


def _how_it_ended(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"
