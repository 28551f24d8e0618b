"""`mostrador backup` and `mostrador restore`: the whole database as one file of PostgreSQL's own.

A backup is one consistent moment and may be taken while everything runs. A restore needs the
services stopped. It goes into a database without tables; `--replace` restores beside the existing
one and swaps them at the end, so that a broken file costs nothing. The next start migrates a
backup of an older version, and opens a new generation of event cursors.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api import state
from api.postgres import Server, find_programs
from commerce.kernel import settings
from commerce.kernel.settings import OperatorError, Settings

_TABLE = re.compile(r'(?:dumping contents of|processing data for) table "([^"]+)"')
_LAST_WORDS_LINES = 5


class BackupError(OperatorError):
    """The backup or restore did not happen. What was there before is still there."""


@click.command(name="backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup_command(file: Path) -> None:
    """Write the whole database to FILE, also while everything runs."""
    configured = settings.load()
    with state.database(configured) as dsn:
        backup(dsn, file, bin_dir=configured.postgres_bin_dir)
    click.echo(f"Wrote {file}, {file.stat().st_size / 1e6:.1f} MB.")


@click.command(name="restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Give up what the database holds now.")
def restore_command(file: Path, *, replace: bool) -> None:
    """Fill the database from FILE. The services must be stopped."""
    configured = settings.load()
    with _stopped_database(configured) as dsn:
        restore(dsn, file, replace=replace, bin_dir=configured.postgres_bin_dir)
    click.echo(f"Restored {file}. The next start brings it to this version's schema.")


def backup(dsn: str, file: Path, *, bin_dir: Path | None = None) -> None:
    """Write one consistent moment of the database; the file appears only when it is complete."""
    if file.exists():
        raise BackupError(f"{file} exists already. Choose another name.")
    if not file.absolute().parent.is_dir():
        raise BackupError(f"{file.absolute().parent} is not a directory.")
    partial = file.with_name(file.name + ".partial")
    partial.touch(mode=0o600)
    try:
        _run(bin_dir, "pg_dump", dsn, ["--format=custom", f"--file={partial}"])
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


def restore(dsn: str, file: Path, *, replace: bool, bin_dir: Path | None = None) -> None:
    """Fill a database without tables; with `replace`, put a restored one in its place."""
    _refuse_while_in_use(dsn)
    if not replace and _has_tables(dsn):
        raise BackupError(
            "The database is not empty. `--replace` gives up what it holds; "
            "`mostrador backup` keeps it first."
        )
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    if not replace:
        _run(bin_dir, "pg_restore", dsn, [*options, str(file)])
        return
    name = str(conninfo_to_dict(dsn)["dbname"])
    beside = f"{name}_restoring"
    _maintain(dsn, "DROP DATABASE IF EXISTS {} WITH (FORCE)", beside)
    _maintain(dsn, "CREATE DATABASE {} TEMPLATE template0", beside)
    try:
        _run(bin_dir, "pg_restore", make_conninfo(dsn, dbname=beside), [*options, str(file)])
    except BaseException:
        _maintain(dsn, "DROP DATABASE {} WITH (FORCE)", beside)
        raise
    _refuse_while_in_use(dsn)
    _maintain(dsn, "DROP DATABASE {}", name)
    _maintain(dsn, "ALTER DATABASE {} RENAME TO {}", beside, name)


@contextmanager
def _stopped_database(configured: Settings) -> Iterator[str]:
    if configured.database_url:
        yield configured.direct_url
        return
    with state.own(configured.state_dir):
        server = Server(configured.state_dir, bin_dir=configured.postgres_bin_dir)
        try:
            yield server.start(click.echo)
        finally:
            server.stop()


def _refuse_while_in_use(dsn: str) -> None:
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    count = _scalar(dsn, others)
    if count:
        raise BackupError(f"{count} connections use the database. Stop the services first.")


def _has_tables(dsn: str) -> bool:
    tables = (
        "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\\_%' "
        " AND nspname <> 'information_schema')"
    )
    return bool(_scalar(dsn, tables))


def _scalar(dsn: str, statement: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def _maintain(dsn: str, statement: str, *names: str) -> None:
    """Databases are created and dropped from another one."""
    quoted = sql.SQL(statement).format(*map(sql.Identifier, names))
    try:
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            connection.execute(quoted)
    except psycopg.errors.InsufficientPrivilege as refused:
        raise BackupError(
            f"{refused} Create an empty database, and restore into it without --replace."
        ) from None


def _run(bin_dir: Path | None, program: str, dsn: str, options: Sequence[str]) -> None:
    """Run a client program of PostgreSQL and name each table that it works on."""
    parameters = conninfo_to_dict(dsn)
    password = str(parameters.pop("password", "") or "")
    address = make_conninfo("", **parameters)
    command = [_find(bin_dir, program), "--verbose", f"--dbname={address}", *options]
    # A password on the command line would be visible to every user of the machine.
    environ = settings.inherited() | {"LC_ALL": "C", "PGPASSWORD": password}
    began = time.monotonic()
    last_words: list[str] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            table = _TABLE.search(line)
            if table:
                click.echo(f"[{time.monotonic() - began:6.2f} s] {table.group(1)}")
            last_words = [*last_words, line.strip()][-_LAST_WORDS_LINES:]
    if running.returncode:
        raise BackupError("\n".join([f"{program} failed:", *last_words]))


def _find(bin_dir: Path | None, program: str) -> str:
    bundled = (bin_dir or find_programs()) / program
    found = str(bundled) if bundled.exists() else shutil.which(program)
    if found is None:
        raise BackupError(f"There is no {program} here. Install PostgreSQL's client programs.")
    return found
