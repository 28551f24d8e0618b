"""`mostrador run` with everything real: ports, signals, kills, and the data that it left."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from api import greeting, pidfile, sample_keys
from api.postgres import Server

PROJECT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 60.0
pytestmark = pytest.mark.timeout(240)
READY = "ready; Ctrl-C"
MOSTRADOR = [sys.executable, "-m", "api.cli"]
RUN = [*MOSTRADOR, "run"]
AS_NOBODY = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]


class Start:
    """One `mostrador run` on one state directory."""

    def __init__(self, state: Path, command: Sequence[str] = RUN, **environ: str) -> None:
        self.state = state
        self.port = _free_port()
        self.began = time.monotonic()
        self._output = state.parent / f"output-{self.port}"
        ports = {"PORT": str(self.port), "FAKE_STRIPE_PORT": str(_free_port())}
        with self._output.open("wb") as output:
            self.supervisor = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=os.environ | {"STATE_DIR": str(state)} | ports | environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        """What it printed so far."""
        return self._output.read_text()

    def until(self, text: str) -> float:
        """Wait until it has printed this; the seconds since the start."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.output():
            assert self.supervisor.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        return time.monotonic() - self.began

    def health(self) -> int:
        """Status of the health page, at the address that the start announced."""
        running = json.loads((self.state / "running.json").read_bytes())
        try:
            return httpx.get(running["api_url"] + "/health", timeout=5).status_code
        except httpx.TransportError:
            return 0

    def healthy(self) -> None:
        """Wait until it answers again."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.health() != 200:
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def until_replaced(self, name: str, pid: int) -> None:
        """Wait until another process has this part."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.pids().get(name, pid) == pid:
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def pids(self) -> dict[str, int]:
        """Services and database, by name."""
        found = {file.stem: _leader(file) for file in (self.state / "run").glob("*.pid")}
        postmaster = self.state / "postgres/data/postmaster.pid"
        return found | ({"database": _leader(postmaster)} if postmaster.exists() else {})

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        self.supervisor.send_signal(signum)
        return self.supervisor.wait(PATIENCE_SECONDS)

    def clean_up(self) -> None:
        """Whatever the test's outcome, leave nothing running."""
        if self.supervisor.poll() is None:
            self.stop()
        for file in (self.state / "run").glob("*.pid"):
            pid = pidfile.read(file)
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)
        Server(self.state).stop_leftover()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state that was started once and stopped; tests start from copies of it."""
    state = tmp_path_factory.mktemp("seeded") / ".state"
    first = Start(state)
    try:
        first.until(READY)
        assert first.health() == 200
        output = first.output()
        assert "creating the database cluster" in output
        assert "demo retailer loaded" in output
        assert "mostrador demo" in output
        assert first.stop() == 0
    finally:
        first.clean_up()
    assert not (state / "postgres/data/postmaster.pid").exists()
    return state


@pytest.fixture
def state(seeded: Path, tmp_path: Path) -> Path:
    """A copy of the seeded state, below a path with spaces."""
    copy = tmp_path / "my shop" / ".state"
    copy.parent.mkdir()
    subprocess.run(["cp", "-a", str(seeded), str(copy)], check=True)  # noqa: S607
    return copy


@pytest.fixture
def start() -> Iterator[Callable[..., Start]]:
    """Starts that end with the test."""
    begun: list[Start] = []

    def begin(state: Path, command: Sequence[str] = RUN, **environ: str) -> Start:
        begun.append(Start(state, command, **environ))
        return begun[-1]

    yield begin
    for each in begun:
        each.clean_up()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_warm_start_is_quick_and_a_signal_stops_everything(
    state: Path, start: Callable[..., Start], signum: signal.Signals
) -> None:
    running = start(state)
    seconds = running.until(READY)
    assert running.health() == 200
    assert "creating the database cluster" not in running.output()
    assert "loading the demo retailer" not in running.output()
    pids = running.pids()
    assert set(pids) == {"database", "fake-stripe", "web", "worker"}
    assert running.stop(signum) == 0
    assert [name for name, pid in pids.items() if pidfile.identity(pid) is not None] == []
    assert list((state / "run").iterdir()) == []
    assert not (state / "running.json").exists()
    # Five seconds on a calm machine, where one import takes about half of one.
    assert seconds < max(5.0, 10 * _import_seconds())


@pytest.mark.skipif(not (PROJECT / ".venv/dev").exists(), reason="not installed by make")
def test_ending_make_ends_what_it_runs(state: Path, start: Callable[..., Start]) -> None:
    running = start(state, ["make", "run"])
    running.until(READY)
    pids = running.pids()
    assert running.stop() == -signal.SIGTERM
    assert "stopped" in running.output()
    assert [name for name, pid in pids.items() if pidfile.identity(pid) is not None] == []


def test_a_taken_port_is_named_and_the_next_one_serves(
    state: Path, start: Callable[..., Start]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = start(state, PORT=str(port))
        running.until(READY)
        named = re.search(r"port (\d+) is taken; the API takes (\d+)", running.output())
        assert named is not None
        assert int(named.group(1)) == port
        assert f"http://127.0.0.1:{named.group(2)}/v1" in running.output()
        assert running.health() == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to try the lines with")
def test_the_lines_to_try_work_as_they_are_printed(
    state: Path, start: Callable[..., Start]
) -> None:
    running = start(state)
    running.until(READY)
    keys = sample_keys.load(state)
    assert keys is not None
    lines = greeting.tries(f"http://127.0.0.1:{running.port}", keys)
    printed = running.output()
    answers = []
    for line in lines.values():
        assert textwrap.indent(line, "    ") in printed
        answer = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True).stdout
        answers.append(json.loads(answer))
    stores, placed, pickups = answers
    assert str(keys.store_id) in json.dumps(stores)
    assert placed["order"]["total"] == {"amount_minor": keys.price_minor, "currency": keys.currency}
    assert placed["order"]["number"] in json.dumps(pickups)


def test_a_second_start_on_the_same_state_is_refused(
    state: Path, start: Callable[..., Start]
) -> None:
    first = start(state)
    first.until(READY)
    second = subprocess.run(
        RUN,
        cwd=PROJECT,
        env=os.environ | {"STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"is in use by Mostrador, process {first.supervisor.pid}" in second.stderr
    assert first.health() == 200


def test_what_a_killed_supervisor_left_is_ended_by_the_next_start(
    state: Path, start: Callable[..., Start]
) -> None:
    killed = start(state)
    killed.until(READY)
    left = killed.pids()
    killed.supervisor.kill()
    killed.supervisor.wait()
    assert [name for name, pid in left.items() if pidfile.identity(pid) is None] == []

    following = start(state, PORT=str(killed.port))
    following.until(READY)
    assert "is taken" not in following.output()
    assert following.health() == 200
    assert [name for name, pid in left.items() if pidfile.identity(pid) is not None] == []
    assert set(following.pids()) == set(left)


def test_each_killed_part_comes_back(state: Path, start: Callable[..., Start]) -> None:
    running = start(state)
    running.until(READY)
    for victim, pid in running.pids().items():
        os.kill(pid, signal.SIGKILL)
        said = "the database ended" if victim == "database" else f"{victim} was ended by SIGKILL"
        running.until(f"{said}; starting it again")
        running.until_replaced(victim, pid)
        running.healthy()
    assert running.output().count("starting it again") == 4
    assert running.stop() == 0


def test_a_signal_during_the_first_start_leaves_nothing_behind(
    tmp_path: Path, start: Callable[..., Start]
) -> None:
    running = start(tmp_path / ".state")
    running.until("loading the demo retailer")
    assert running.stop() == 0
    assert "stopped" in running.output()
    assert not (tmp_path / ".state/postgres/data/postmaster.pid").exists()


def test_a_service_that_cannot_start_ends_the_start(
    state: Path, start: Callable[..., Start]
) -> None:
    running = start(state, GRANIAN_LOG_CONFIG="/absent")
    assert running.supervisor.wait(PATIENCE_SECONDS) == 1
    assert "web did not start" in running.output()
    assert not (state / "postgres/data/postmaster.pid").exists()


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="runs as others do"
)
def test_it_runs_as_an_ordinary_user(tmp_path: Path, start: Callable[..., Start]) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    running = start(tmp_path / "home/.state", [*AS_NOBODY, *RUN])
    running.until(READY)
    assert running.health() == 200
    assert running.stop() == 0


def test_a_backup_taken_while_it_runs_is_a_complete_shop(
    state: Path, start: Callable[..., Start], tmp_path: Path
) -> None:
    running = start(state)
    running.until(READY)
    file = tmp_path / "shop.backup"
    _mostrador(state, "backup", str(file))
    refused = _mostrador(state, "restore", str(file), "--replace", check=False)
    assert "is in use by Mostrador" in refused
    assert running.stop() == 0
    _mostrador(state, "restore", str(file), "--replace")
    again = start(state)
    again.until(READY)
    assert "loading the demo retailer" not in again.output()
    assert again.health() == 200


def _mostrador(state: Path, *words: str, check: bool = True) -> str:
    ended = subprocess.run(
        [*MOSTRADOR, *words],
        cwd=PROJECT,
        env=os.environ | {"STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode == 0) == check, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def _import_seconds() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import litestar"], check=True)
    return time.monotonic() - began


def _leader(file: Path) -> int:
    return int(file.read_text().splitlines()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
