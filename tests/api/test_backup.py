"""Backup and restore: a file brings everything back, and a refusal leaves everything there."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import migrations
from api.backup import BackupError, backup, restore
from migrations import schema

PROJECT = Path(__file__).parent.parent.parent


def test_a_restored_database_is_what_was_backed_up(
    own_dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    _note(own_dsn, "kept")
    file = tmp_path / "a shop.backup"
    backup(own_dsn, file)
    assert file.stat().st_mode & 0o777 == 0o600
    restore(empty_dsn, file, replace=False)
    assert _notes(empty_dsn) == ["kept"]
    assert migrations.upgrade(empty_dsn) == []
    assert schema.drift(empty_dsn) == []


def test_a_database_with_tables_is_replaced_only_on_request(own_dsn: str, tmp_path: Path) -> None:
    _note(own_dsn, "before")
    backup(own_dsn, tmp_path / "file")
    _note(own_dsn, "after")
    with pytest.raises(BackupError, match="not empty"):
        restore(own_dsn, tmp_path / "file", replace=False)
    assert _notes(own_dsn) == ["before", "after"]
    before = _database_oid(own_dsn)
    restore(own_dsn, tmp_path / "file", replace=True)
    assert _notes(own_dsn) == ["before"]
    # Another identity makes the next start open a new generation of event cursors.
    assert _database_oid(own_dsn) != before


def test_a_broken_file_costs_nothing(own_dsn: str, tmp_path: Path) -> None:
    _note(own_dsn, "kept")
    backup(own_dsn, tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupError, match="pg_restore failed"):
        restore(own_dsn, tmp_path / "file", replace=True)
    assert _notes(own_dsn) == ["kept"]
    with psycopg.connect(own_dsn) as connection:
        names = "SELECT count(*) FROM pg_database WHERE datname = current_database() || %s"
        assert connection.execute(names, ["_restoring"]).fetchone() == (0,)


def test_a_database_in_use_is_not_restored(own_dsn: str, tmp_path: Path) -> None:
    backup(own_dsn, tmp_path / "file")
    with (
        psycopg.connect(own_dsn),
        pytest.raises(BackupError, match="1 connections use the database"),
    ):
        restore(own_dsn, tmp_path / "file", replace=True)


def test_an_existing_file_is_not_overwritten(own_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the last backup")
    with pytest.raises(BackupError, match="exists already"):
        backup(own_dsn, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "the last backup"


def test_a_failed_backup_leaves_no_file(empty_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="pg_dump failed"):
        backup(empty_dsn.replace("@/test_", "@/absent_"), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_the_commands_use_the_embedded_database_while_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert _mostrador(tmp_path / "old", "migrate") == "Applied 0001.\n"
    assert "Wrote" in _mostrador(tmp_path / "old", "backup", str(tmp_path / "file"))
    assert "Restored" in _mostrador(tmp_path / "new", "restore", str(tmp_path / "file"))
    assert _mostrador(tmp_path / "new", "migrate") == "The schema is up to date.\n"


def _mostrador(state: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *words],
        env=os.environ | {"STATE_DIR": str(state)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _note(dsn: str, text: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS beside")
        connection.execute("CREATE TABLE IF NOT EXISTS beside.note (text text)")
        connection.execute("INSERT INTO beside.note VALUES (%s)", [text])


def _notes(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM beside.note")]


def _database_oid(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        oid = "SELECT oid::int FROM pg_database WHERE datname = current_database()"
        row = connection.execute(oid).fetchone()
    assert row is not None
    return int(row[0])
