"""`mostrador keys`, as it is called; `api/key_desk.py`, which is slow to import, does it."""

from uuid import UUID

import click

from api import state
from commerce.kernel import settings

KINDS = ("storefront", "integration", "tablet", "backoffice")
CHANNELS = {"storefront": "web", "integration": "web", "tablet": "store", "backoffice": "web"}


@click.group(name="keys")
def keys() -> None:
    """Make, list, rotate and revoke the keys that programs use."""


@keys.command(name="create")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--channel",
    type=click.Choice(["web", "app", "store"]),
    help="Where sales through it are counted. Default: store for tablets, else web.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="A web origin whose scripts may use a storefront key. May be repeated.",
)
@click.option("--store", metavar="CODE", help="The store where a tablet stands.")
@click.option(
    "--requests-per-minute", type=click.IntRange(1, 10_000_000), default=6_000, show_default=True
)
def create(
    kind: str,
    name: str,
    *,
    channel: str | None,
    origins: tuple[str, ...],
    store: str | None,
    requests_per_minute: int,
) -> None:
    """Make a key called NAME and print its secret, once.

    storefront: public, for web pages and apps. integration: for another server. tablet: for a
    store's tablet, of no use until an associate signs in. backoffice: may do everything.
    """
    from api import key_desk

    wanted = key_desk.wanted(
        kind=kind,
        name=name,
        channel=channel or CHANNELS[kind],
        origins=origins,
        requests_per_minute=requests_per_minute,
    )
    with state.database(settings.load()) as dsn:
        key_desk.run(dsn, key_desk.create(wanted, store))


@keys.command(name="list")
def list_() -> None:
    """List the keys, oldest first; secrets are not kept, `...` shows how each ends."""
    from api import key_desk

    with state.database(settings.load()) as dsn:
        key_desk.run(dsn, key_desk.show)


@keys.command(name="rotate")
@click.argument("key_id", type=click.UUID, metavar="ID")
@click.option(
    "--grace-hours",
    type=click.IntRange(0, 720),
    default=24,
    show_default=True,
    help="How long the old key goes on.",
)
def rotate(key_id: UUID, *, grace_hours: int) -> None:
    """Make a successor with the same rights and print its secret, once."""
    from api import key_desk

    with state.database(settings.load()) as dsn:
        key_desk.run(dsn, key_desk.rotate(key_id, grace_hours=grace_hours))


@keys.command(name="revoke")
@click.argument("key_id", type=click.UUID, metavar="ID")
def revoke(key_id: UUID) -> None:
    """End a key now, with every session that was started with it."""
    from api import key_desk

    with state.database(settings.load()) as dsn:
        key_desk.run(dsn, key_desk.revoke(key_id))
