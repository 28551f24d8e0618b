"""The embedded server: starts, stops, survives kills, and touches nothing outside of its state."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from api import pidfile
from api.postgres import PostgresError, Server, running_dsn, unprivileged

PROJECT = Path(__file__).parent.parent.parent
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another account")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose path has a space, below directories that only we may enter."""
    below = tmp_path / "a home" / ".state"
    below.mkdir(parents=True)
    yield below
    Server(below).stop_leftover()


def test_a_row_survives_a_stop(state: Path) -> None:
    server = Server(state)
    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    server.stop()
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]
        assert connection.execute("SHOW fsync").fetchall() == [("on",)]
        assert connection.execute("SHOW listen_addresses").fetchall() == [("",)]
    server.stop()


def test_a_stop_ends_the_server_and_removes_its_socket(state: Path) -> None:
    server = Server(state, durable=False)
    dsn = server.start()
    pid, sockets = _postmaster(state)
    assert running_dsn(state) == dsn
    server.stop()
    assert pidfile.identity(pid) is None
    assert not sockets.exists()
    assert running_dsn(state) is None


def test_a_killed_server_recovers_its_committed_rows(state: Path) -> None:
    server = Server(state)
    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    os.kill(_postmaster(state)[0], signal.SIGKILL)
    assert pidfile.wait(_postmaster(state)[0], 10)
    assert not server.alive()
    server.stop()
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]
    server.stop()


def test_the_server_of_a_killed_owner_is_replaced(state: Path) -> None:
    program = "import sys; from api.postgres import Server; from pathlib import Path;"
    program += "Server(Path(sys.argv[1])).start(); print('up', flush=True); sys.stdin.read()"
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(state)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    owner.kill()
    owner.communicate()
    pid, sockets = _postmaster(state)
    assert pidfile.identity(pid) is not None

    server = Server(state)
    server.start()
    assert pidfile.identity(pid) is None
    assert not sockets.exists()
    assert _postmaster(state)[0] != pid
    server.stop()


def test_a_stale_pid_file_that_names_a_stranger_harms_nobody(state: Path) -> None:
    server = Server(state, durable=False)
    server.start()
    server.stop()
    file = state / "postgres/data/postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:  # noqa: S607
        file.write_text(f"{stranger.pid}\n{file.parent}\n1\n5432\n/nowhere\n\n\nready\n")
        os.chown(file, *_owner(file.parent))
        server.start()
        server.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_data_of_another_version_is_refused_and_kept(state: Path) -> None:
    server = Server(state, durable=False)
    server.start()
    server.stop()
    (state / "postgres/data/PG_VERSION").write_text("12\n")
    with pytest.raises(PostgresError, match=r"written by PostgreSQL 12.*POSTGRES_BIN_DIR"):
        server.start()
    assert (state / "postgres/data/base").is_dir()


def test_a_broken_cluster_is_reported_with_the_servers_own_words(state: Path) -> None:
    server = Server(state, durable=False)
    server.start()
    server.stop()
    (state / "postgres/data/global/pg_control").unlink()
    with pytest.raises(PostgresError, match=r"could not.*pg_control"):
        server.start()
    assert not server.alive()


def test_an_interrupted_creation_is_repeated(state: Path) -> None:
    partial = state / "postgres/data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")
    server = Server(state, durable=False)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()
    assert not partial.exists()


@as_root
def test_root_runs_the_server_as_somebody_else() -> None:
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        server = Server(Path(directory) / "open state", durable=False)
        server.start()
        uid = Path(f"/proc/{_postmaster(server.home.parent)[0]}").stat().st_uid
        server.stop()
    assert uid != 0


@as_root
@pytest.mark.parametrize("way", ["namespace", "capability"])
def test_root_serves_data_that_only_root_may_enter(state: Path, way: str) -> None:
    state.parent.chmod(0o700)
    identity = unprivileged()[1 if way == "namespace" else 2]
    server = Server(state, durable=False, identities=[unprivileged()[0], identity])
    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    pid = _postmaster(state)[0]
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(bytes(server.bin_dir))
    assert _owner(state / "postgres/data") == (identity.uid, identity.gid)
    assert state.parent.stat().st_mode & 0o777 == 0o700
    server.stop()


@as_root
def test_data_moves_with_the_account(state: Path) -> None:
    state.parent.chmod(0o700)
    rows = []
    for identity in unprivileged()[1:]:
        server = Server(state, durable=False, identities=[identity])
        with psycopg.connect(server.start()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
            connection.execute("INSERT INTO kept VALUES (7)")
            rows.append(connection.execute("SELECT sum(number) FROM kept").fetchone())
        server.stop()
    assert rows == [(7,), (14,)]


@as_root
def test_no_way_down_from_root_is_explained(state: Path) -> None:
    with pytest.raises(PostgresError, match="Run Mostrador as an ordinary user"):
        Server(state, identities=[]).start()


def _postmaster(state: Path) -> tuple[int, Path]:
    lines = (state / "postgres/data/postmaster.pid").read_text().splitlines()
    return int(lines[0]), Path(lines[4])


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid
