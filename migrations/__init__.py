"""The schema's history. `upgrade` brings an older or an empty database to the newest revision.

Revisions live in `versions/`, one file each, and are never edited once released. A new one is
drafted by `DATABASE_URL=... alembic revision --autogenerate -m "what it does"`.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from commerce.kernel.events import Xid8
from commerce.kernel.settings import OperatorError
from commerce.kernel.sql import metadata

TABLE_MODULES = ("commerce.tables", "inventory.tables", "pos_sync.tables", "api.tables")

_LOCK_KEY = 7_236_014_905
"""One upgrade at a time per database; other starters wait for it."""


class MigrationError(OperatorError):
    """The database cannot be brought to this version's schema."""


def upgrade(dsn: str) -> list[str]:
    """Run the revisions that are missing and name them. Any number of starters may call it at once.

    A statement that cannot get its lock within five seconds fails the upgrade rather than queueing
    everybody else behind it; nothing of that revision stays, and upgrading again is safe.
    """
    scripts = ScriptDirectory.from_config(_config())
    with _connect(dsn) as connection:
        connection.execute(text("SET lock_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        missing = _missing(scripts, _current(connection))
        if missing:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK_KEY})
        connection.commit()
        return missing


def drift(dsn: str) -> list[str]:
    """Where the database differs from the tables that the code declares; empty when they agree."""
    register_tables()
    with _connect(dsn) as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": include_name(connection),
        }
        context = MigrationContext.configure(connection, opts=options)
        return [repr(difference) for difference in compare_metadata(context, metadata)]


def register_tables() -> None:
    """Import every module that declares tables, so that the shared metadata is complete."""
    PGDialect.ischema_names["xid8"] = Xid8  # else a comparison cannot read the event log's column
    for name in TABLE_MODULES:
        if find_spec(name) is not None:
            import_module(name)


def include_name(connection: Connection) -> Callable[[str | None, str, object], bool]:
    """What a comparison looks at: tables that the code declares, not their partitions."""
    partitions = set(
        connection.execute(
            text("SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')")
        ).scalars()
    )

    def included(name: str | None, kind: str, _: object) -> bool:
        return not (kind == "table" and name in partitions)

    return included


def _config() -> Config:
    config = Config()
    # Percent signs would be read as interpolation by the file format that alembic imitates.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _connect(dsn: str) -> Connection:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool
    )
    return engine.connect()


def _current(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return revision


def _missing(scripts: ScriptDirectory, current: str | None) -> list[str]:
    """The revisions after `current`, oldest first."""
    known: Sequence[str] = [script.revision for script in scripts.walk_revisions()][::-1]
    if current is None:
        return list(known)
    if current not in known:
        raise MigrationError(
            f"This database has revision {current}, which this version of Mostrador does not know: "
            "a newer version wrote it. Start that version or a later one."
        )
    return list(known[known.index(current) + 1 :])
