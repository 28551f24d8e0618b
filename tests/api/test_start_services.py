"""Services are watched, started again, stopped in time, and never confused with strangers."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import children, pidfile
from api.children import Child, end_orphans
from api.supervisor import free_port

PROJECT = Path(__file__).parent.parent.parent
SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def started() -> Iterator[list[Child]]:
    """Services that end with the test, whatever became of it."""
    services: list[Child] = []
    yield services
    for service in services:
        service.kill()


def test_a_service_that_dies_starts_again_after_ever_longer_pauses(
    tmp_path: Path, started: list[Child]
) -> None:
    service = _start(tmp_path, started, [sys.executable, "-c", "raise SystemExit(3)"])
    said: list[str] = []
    deadline = time.monotonic() + 20
    while len(said) < 3 and time.monotonic() < deadline:
        happened = service.keep_alive()
        if happened:
            said.append(happened)
        time.sleep(0.01)
    assert said == [
        "web ended with status 3; starting it again in 0.25 s",
        "web ended with status 3; starting it again in 0.5 s",
        "web ended with status 3; starting it again in 1 s",
    ]


def test_a_killed_service_takes_its_own_children_along(
    tmp_path: Path, started: list[Child]
) -> None:
    program = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']);"
    program += f"open({str(tmp_path / 'child')!r}, 'w').write(str(c.pid)); c.wait()"
    service = _start(tmp_path, started, [sys.executable, "-c", program])
    grandchild = int(_wait_for(tmp_path / "child"))
    leader = pidfile.read(tmp_path / "web.pid")
    assert leader is not None
    os.kill(leader, signal.SIGKILL)
    assert pidfile.wait(leader, 5)
    assert pidfile.identity(grandchild) is not None
    assert service.keep_alive() == "web was ended by SIGKILL; starting it again in 0.25 s"
    assert pidfile.wait(grandchild, 5)


def test_a_stop_lets_services_finish_and_removes_their_pid_files(
    tmp_path: Path, started: list[Child]
) -> None:
    ends = "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.2),"
    ends += f" open({str(tmp_path / 'finished')!r}, 'w').close(), sys.exit()));"
    ends += f"open({str(tmp_path / 'ready')!r}, 'w').write('x'); time.sleep(60)"
    service = _start(tmp_path, started, [sys.executable, "-c", ends])
    _wait_for(tmp_path / "ready")
    children.stop([service])
    assert (tmp_path / "finished").exists()
    assert not (tmp_path / "web.pid").exists()
    assert not service.alive()


def test_a_service_that_does_not_stop_is_killed(tmp_path: Path, started: list[Child]) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN);"
    program += f"open({str(tmp_path / 'ready')!r}, 'w').write('x'); time.sleep(60)"
    service = _start(tmp_path, started, [sys.executable, "-c", program])
    _wait_for(tmp_path / "ready")
    began = time.monotonic()
    children.stop([service], grace_seconds=0.3)
    assert 0.3 <= time.monotonic() - began < 3
    assert not service.alive()


def test_orphans_of_a_killed_supervisor_are_ended(tmp_path: Path) -> None:
    first, second = _leave_orphans(tmp_path)
    assert pidfile.identity(first) is not None
    assert pidfile.identity(second) is not None
    assert end_orphans(tmp_path, f"STATE_DIR={tmp_path}") == ["web"]
    assert pidfile.identity(first) is None
    assert pidfile.wait(second, 5)
    assert list(tmp_path.glob("*.pid")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems hide environments")
def test_an_orphan_whose_leader_died_too_is_ended(tmp_path: Path) -> None:
    first, second = _leave_orphans(tmp_path)
    os.kill(first, signal.SIGKILL)
    assert pidfile.wait(first, 5)
    assert end_orphans(tmp_path, "STATE_DIR=/another") == []
    assert pidfile.identity(second) is not None
    (tmp_path / "web.pid").write_text(f"{first}\nended\n")
    assert end_orphans(tmp_path, f"STATE_DIR={tmp_path}") == ["web"]
    assert pidfile.wait(second, 5)


def test_a_pid_file_whose_number_is_now_a_strangers_harms_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPS, start_new_session=True) as stranger:
        (tmp_path / "web.pid").write_text(f"{stranger.pid}\nanother boot/12345\n")
        assert end_orphans(tmp_path, f"STATE_DIR={tmp_path}") == []
        assert stranger.poll() is None
        stranger.kill()
    assert list(tmp_path.glob("*.pid")) == []


def test_a_taken_port_gives_way_to_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port
    assert free_port("127.0.0.1", port) == port


def _start(directory: Path, started: list[Child], command: list[str]) -> Child:
    service = Child("web", command, dict(os.environ), directory)
    started.append(service)
    service.start()
    return service


def _wait_for(file: Path) -> str:
    deadline = time.monotonic() + 10
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"{file} never came"
        time.sleep(0.01)
    return file.read_text()


def _leave_orphans(directory: Path) -> tuple[int, int]:
    """A service and its child, whose supervisor was killed."""
    service = "import subprocess; c = subprocess.Popen(['sleep', '60']);"
    service += f"open({str(directory / 'child')!r}, 'w').write(str(c.pid)); c.wait()"
    supervisor = (
        "import os, signal, sys; from pathlib import Path; from api.children import Child;"
        f"environ = dict(os.environ) | {{'STATE_DIR': {str(directory)!r}}};"
        f"Child('web', [sys.executable, '-c', {service!r}], environ, Path({str(directory)!r}))"
        ".start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", supervisor], cwd=PROJECT, check=False)
    second = int(_wait_for(directory / "child"))
    first = pidfile.read(directory / "web.pid")
    assert first is not None
    return first, second
