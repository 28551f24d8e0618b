"""The schema's history. `upgrade` brings an older or an empty database to the newest revision.

Revisions live in `versions/`, one file each, and are never edited once released. A new one is
drafted by `DATABASE_URL=... alembic revision --autogenerate -m "what it does"`.
"""

import re
from pathlib import Path

import psycopg

from commerce.kernel.settings import OperatorError

_VERSIONS = Path(__file__).parent / "versions"
_IDENTITY = re.compile(r'^(revision|down_revision)\b[^=]*= (?:"(\w+)"|None)$', re.MULTILINE)
_LOCK_KEY = 7_236_014_905
"""One upgrade at a time per database; other starters wait for it."""


class MigrationError(OperatorError):
    """The database cannot be brought to this version's schema."""


def upgrade(dsn: str) -> list[str]:
    """Run the revisions that are missing and name them. Any number of starters may call it at once.

    Each revision happens as a whole or not at all, so upgrading again is safe.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        if not _missing(connection):
            return []
        # The lock is the session's: it ends with the connection, whatever happens.
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
        missing = _missing(connection)
        if missing:
            from migrations import schema  # alembic is slow to import, and seldom needed

            schema.apply(dsn)
        return missing


def revisions() -> list[str]:
    """All revisions of this version, oldest first, as their files name themselves."""
    follows: dict[str | None, str] = {}
    for file in _VERSIONS.glob("*.py"):
        identity = {name: value or None for name, value in _IDENTITY.findall(file.read_text())}
        follows[identity["down_revision"]] = str(identity["revision"])
    known: list[str] = []
    while (known[-1] if known else None) in follows:
        known.append(follows[known[-1] if known else None])
    return known


def _missing(connection: psycopg.Connection) -> list[str]:
    """The revisions after the database's own, oldest first."""
    known = revisions()
    current = _current(connection)
    if current is None:
        return known
    if current not in known:
        raise MigrationError(
            f"This database has revision {current}, which this version of Mostrador does not know: "
            "a newer version wrote it. Start that version or a later one."
        )
    return known[known.index(current) + 1 :]


def _current(connection: psycopg.Connection) -> str | None:
    exists = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if exists != (True,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])
