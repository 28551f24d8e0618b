"""Run by alembic: compares or upgrades over the connection that `migrations.upgrade` hands in.

Called from alembic's own command line there is no such connection; then `DATABASE_URL` is used.
"""

import psycopg
from alembic import context
from sqlalchemy import Connection, NullPool, create_engine

from commerce.kernel import settings
from commerce.kernel.sql import metadata
from migrations import include_name, register_tables


def run(connection: Connection) -> None:
    """Apply revisions, each in its own transaction."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        include_name=include_name(connection),
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


register_tables()
given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(settings.load().direct_url),
        poolclass=NullPool,
    )
    with engine.connect() as own:
        run(own)
