"""Run everything, print a table, write `.state/bench.json`.

`python -m tests.bench` runs all scenarios; with names, only those: orders, flows, cards,
availability, lag, browsing, summaries, views, live. `--profile` samples the web process meanwhile
(py-spy) and says where time goes.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.bench import machine, scenarios
from tests.bench.measuring import Bench
from tests.bench.stack import running

RESULT = Path(".state/bench.json")
PROFILE_TOP = 25


async def main(words: list[str]) -> None:
    """Everything, in one run."""
    chosen = [word for word in words if not word.startswith("-")] or list(scenarios.ALL)
    print(f"load of the machine before: {machine.load_average()}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mostrador-bench-") as home:
        async with running(Path(home)) as stack:
            bench = Bench(stack)
            profiler = _start_profile(stack.web_pid, home) if "--profile" in words else None
            for name in chosen:
                await scenarios.ALL[name](bench)
            if profiler is not None:
                _show_profile(profiler, home)
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(bench.rows)))
            await scenarios.finish(bench)
    print(f"{time.monotonic() - started:.0f} s; in numbers: {RESULT}")


def _start_profile(web_pid: int, home: str) -> "subprocess.Popen[bytes]":
    worker = machine.tree(web_pid)[-1]
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(worker)]
    command += ["--rate", "250", "--format", "raw", "--output", f"{home}/profile"]
    command += ["--duration", "3600"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _show_profile(profiler: "subprocess.Popen[bytes]", home: str) -> None:
    profiler.send_signal(2)
    profiler.wait(timeout=60)
    within: Counter[str] = Counter()
    samples = 0
    for line in Path(home, "profile").read_text().splitlines():
        stack, _, seen = line.rpartition(" ")
        samples += int(seen)
        for frame in {frame.rpartition(":")[0] for frame in stack.split(";")}:
            within[frame] += int(seen)
    print("where the web process spends its time, callees included:")
    for frame, count in within.most_common(PROFILE_TOP * 3)[PROFILE_TOP:]:
        print(f"  {100 * count / samples:5.1f} %  {frame}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
