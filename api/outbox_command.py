"""`mostrador outbox`: what shoppers were told, for who tries the product on this machine."""

import asyncio

import click

from api import state
from commerce.kernel import settings
from commerce.kernel.settings import Settings

MAX_SHOWN = 200


@click.command(name="outbox")
@click.option("--limit", type=click.IntRange(1, MAX_SHOWN), default=10, show_default=True)
def command(limit: int) -> None:
    """Print the newest messages to shoppers, newest last.

    Without a carrier for its channel a message stays here, and its words are shown, codes too.
    Messages that really go out are shown without them. The look is on record.
    """
    from api.database import prepare

    configured = settings.load()
    with state.database(configured) as dsn:
        asyncio.run(prepare(dsn))
        asyncio.run(_show(dsn, configured, limit))


async def _show(dsn: str, configured: Settings, limit: int) -> None:
    from api.carriers import carried_channels
    from commerce import messages
    from commerce.access import OPERATOR, record_staff
    from commerce.installation import installation_secret
    from commerce.kernel import clock
    from commerce.kernel.sql import Database
    from commerce.messages import Link, Links

    carried = carried_channels(configured)
    database = await Database.open(dsn, max_size=1, name="mostrador-outbox")
    try:
        async with database.transaction() as conn:
            links = Links(await installation_secret(conn), configured.links_url)
            found = await messages.page(conn, state=None, before=None, page=limit)
            shown = {"shown": [str(each.id) for each in found]}
            await record_staff(
                conn, OPERATOR, action="message.read", subject="messages", changes=shown,
                now=clock.now(),
            )  # fmt: skip
    finally:
        await database.close()
    for each in reversed(found):
        click.echo(f"{each.created_at:%Y-%m-%d %H:%M:%S}  {each.state}  {each.channel}"
                   f"  {each.template}  {each.recipient}")  # fmt: skip
        if each.channel in carried:
            continue
        if each.subject:
            click.echo(f"  {each.subject}\n")
        click.echo("".join(f"  {line}\n" for line in each.body.splitlines()))
        if each.shopper_id is not None and each.state != "received":
            link = Link(each.shopper_id, each.purpose, each.channel)
            click.echo(f"  {links.preferences(link)}\n")
