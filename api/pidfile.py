"""Who is behind a process id, so that nothing is ever signalled by a number alone.

A pid file holds the id and the moment at which that process was started: ids are used again, the
pair is not. A zombie counts as ended.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

_PROC = Path("/proc")
_POLL_SECONDS = 0.01


def identity(pid: int) -> str | None:
    """When the process was started, in the words of this system; None when it is not running."""
    if (_PROC / "self/stat").exists():
        try:
            stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        # The name, in parentheses, may contain anything; state and start time come after it.
        fields = stat.rpartition(")")[2].split()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
    shown = _ps(pid, "stat=,lstart=").split(maxsplit=1)
    return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1]  # noqa: PLR2004


def command_line(pid: int) -> list[str]:
    """The arguments that the process was started with; empty when it is not running."""
    if (_PROC / "self/stat").exists():
        try:
            line = (_PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            return []
        return [argument.decode(errors="replace") for argument in line.rstrip(b"\0").split(b"\0")]
    return [_ps(pid, "command=")]


def write(path: Path, pid: int) -> None:
    """Remember a process that runs now."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(f"{pid}\n{identity(pid) or ''}\n")
    partial.replace(path)


def read(path: Path) -> int | None:
    """The process of this file if it still runs; None if it ended, or its number is another's."""
    try:
        pid, started = path.read_text().splitlines()
    except (OSError, ValueError):
        return None
    return int(pid) if started and identity(int(pid)) == started else None


def remnant(path: Path, mark: str) -> list[int]:
    """Members of the group of a leader that ended itself: those with `mark` in their environment.

    Only where the system shows environments (Linux). A group keeps its leader's number from being
    used again, and the mark keeps a stranger from being taken for one of ours.
    """
    try:
        group = int(path.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return []
    return [pid for pid in _pids() if _group(pid) == group and mark in _environment(pid)]


def wait(pid: int, seconds: float) -> bool:
    """True as soon as the process has ended, False when it has not within the time."""
    deadline = time.monotonic() + seconds
    while identity(pid) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def end(pid: int, steps: list[tuple[signal.Signals, float]]) -> None:
    """Signal the process, ever more firmly, until it ends. Each step names how long it may take."""
    for step, seconds in steps:
        try:
            os.kill(pid, step)
        except ProcessLookupError:
            return
        if wait(pid, seconds):
            return


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.glob("[0-9]*")]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _environment(pid: int) -> list[str]:
    try:
        text = (_PROC / str(pid) / "environ").read_text(errors="replace")
    except OSError:
        return []
    return text.split("\0")


def _ps(pid: int, columns: str) -> str:
    shown = subprocess.run(
        ["ps", "-ww", "-o", columns, "-p", str(pid)],  # noqa: S607 - where it is differs by system
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip()
