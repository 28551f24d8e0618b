"""Run by alembic: compares or upgrades over the connection that `schema.apply` hands in.

Called from alembic's own command line there is no such connection; then `DATABASE_URL` is used.
"""

from alembic import context
from sqlalchemy import Connection

from commerce.kernel import settings
from commerce.kernel.sql import metadata
from migrations.schema import connect, include_name, register_tables


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
    with connect(settings.load().direct_url) as own:
        run(own)
