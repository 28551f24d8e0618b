"""Alembic's part: apply revisions, and compare a database with the tables that the code declares.

Apart from `migrations` itself, because alembic is slow to import and few starts need it.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from commerce.kernel.events import Xid8
from commerce.kernel.sql import metadata

TABLE_MODULES = ("commerce.tables", "inventory.tables", "pos_sync.tables", "api.tables")


def apply(dsn: str) -> None:
    """Bring the database to the newest revision. The caller holds the lock.

    A statement that cannot get its lock within five seconds fails its revision as a whole, rather
    than queueing everybody else behind it.
    """
    config = Config()
    # Percent signs would be read as interpolation by the file format that alembic imitates.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with connect(dsn) as connection:
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def drift(dsn: str) -> list[str]:
    """Where the database differs from the tables that the code declares; empty when they agree."""
    register_tables()
    with connect(dsn) as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": include_name(connection),
        }
        context = MigrationContext.configure(connection, opts=options)
        return [repr(difference) for difference in compare_metadata(context, metadata)]


def connect(dsn: str) -> Connection:
    """A connection of SQLAlchemy's, as alembic wants one."""
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool
    )
    return engine.connect()


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
