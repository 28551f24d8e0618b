"""`mostrador migrate`: bring the database to this version's schema."""

import asyncio
import sys

import click

from api import state
from commerce.kernel import settings


@click.command(name="migrate")
@click.option("--check", is_flag=True, help="Change nothing; fail if schema and code differ.")
def command(*, check: bool) -> None:
    """Bring the database to this version's schema. Safe to repeat, and to run beside others."""
    from api.database import prepare  # slow to import, and `--help` needs none of it
    from migrations.schema import drift

    with state.database(settings.load()) as dsn:
        if check:
            differences = drift(dsn)
            click.echo("\n".join(differences) or "The schema is what the code declares.")
            sys.exit(1 if differences else 0)
        applied = asyncio.run(prepare(dsn))
    click.echo(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")
