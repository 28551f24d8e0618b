"""The database of one process: made ready once per start of the product, opened by each process."""

import asyncpg

from commerce.installation import make_installation
from commerce.kernel import clock, partitions
from commerce.kernel.generations import open_generation
from commerce.kernel.settings import OperatorError, Settings
from commerce.kernel.sql import Database

_LOCK = 7_236_014_907


async def prepare(dsn: str) -> list[str]:
    """Bring the database to where processes may start; names the revisions that were applied.

    Schema, partitions for the coming months, the generation of transaction ids, the secret. Any
    number of starters may call it at once, and again. `dsn` must lead past a pooler.
    """
    import psycopg  # processes that only open the database start sooner without these two

    import migrations

    try:
        applied = migrations.upgrade(dsn)
    except psycopg.OperationalError as error:
        raise OperatorError(f"The database does not answer: {error}") from error
    database = await Database.open(dsn, max_size=1, name="mostrador-prepare")
    try:
        async with database.transaction() as conn:
            await conn.driver.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await partitions.ensure(conn, now=clock.now())
            await open_generation(conn, now=clock.now())
            await make_installation(conn)
    finally:
        await database.close()
    return applied


async def open_database(settings: Settings, *, name: str) -> Database:
    """The pool of this process, by its settings."""
    if not settings.database_url:
        raise OperatorError(
            "DATABASE_URL is not set. `mostrador run` starts everything with an embedded database."
        )
    try:
        return await Database.open(
            settings.database_url,
            max_size=settings.database_pool,
            cache_statements=settings.statement_cache,
            name=name,
        )
    except (OSError, asyncpg.PostgresError) as error:
        raise OperatorError(f"The database does not answer: {error}") from error
