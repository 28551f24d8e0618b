"""What the machine did meanwhile: processor time and memory of the processes measured."""

import os
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
        tasks = Path(f"/proc/{parent}/task")
        for task in tasks.iterdir() if tasks.exists() else ():
            children = task / "children"
            found += [int(child) for child in children.read_text().split()]
    return found


def usage(pid: int) -> Usage:
    """Of the tree below `pid`; children that have ended are counted by their parents."""
    ticks, resident = 0, 0
    for member in tree(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                resident += int(line.split()[1])
    return Usage(ticks / _TICKS, resident / 1024)


def load_average() -> str:
    """The last minute's, before we began."""
    return Path("/proc/loadavg").read_text().split()[0]
