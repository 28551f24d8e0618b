"""What the machine did meanwhile: processor time and memory of the processes measured."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")


class Usage(msgspec.Struct):
    """Processor seconds so far and resident memory of a process with all its children."""

    cpu_seconds: float
    resident_mib: float


def tree(pid: int) -> list[int]:
    """A process and its living descendants."""
    found = [pid]
    for parent in found:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def usage(pid: int) -> Usage:
    """Of the tree below `pid`; children that have ended are counted by their parents."""
    ticks, resident = 0, 0
    for member in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile: its parent counts
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            shares = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            ticks += sum(int(field) for field in fields[11:15])
            resident += sum(int(line.split()[1]) for line in shares if line.startswith("Pss:"))
    return Usage(ticks / _TICKS, resident / 1024)


def load_average() -> str:
    """The last minute's, before we began."""
    return Path("/proc/loadavg").read_text().split()[0]
