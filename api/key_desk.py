"""Keys at the server's command line: made, shown, rotated, revoked, each on the staff record."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import click
import msgspec

from api.database import prepare
from commerce import access, stores
from commerce.access import OPERATOR, Channel, Key, KeyInvalid, KeyKind, KeyName, Origin
from commerce.kernel import clock
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.settings import OperatorError
from commerce.kernel.sql import Connection, Database

Work = Callable[[Connection], Awaitable[None]]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A key to be made."""

    kind: KeyKind
    name: KeyName
    channel: Channel
    origins: tuple[Origin, ...]
    requests_per_minute: int


def wanted(**given: object) -> Wanted:
    """What the command line asks for."""
    try:
        return msgspec.convert(given, Wanted)
    except msgspec.ValidationError as wrong:
        raise click.UsageError(
            f"{wrong}. A name has 1 to 120 characters, an origin looks like https://shop.example."
        ) from None


def run(dsn: str, work: Work) -> None:
    """Do it in one transaction. The database gets its schema if it has none yet."""
    asyncio.run(prepare(dsn))
    asyncio.run(_run(dsn, work))


def create(key: Wanted, store_code: str | None) -> Work:
    """Make a key and print its secret."""

    async def work(conn: Connection) -> None:
        location_id = None
        if store_code is not None:
            found = await stores.by_code(conn, [store_code])
            if store_code not in found:
                raise OperatorError(f"There is no store {store_code}.")
            location_id = found[store_code].location_id
        made, secret = await access.create_key(
            conn,
            OPERATOR,
            kind=key.kind,
            name=key.name,
            channel=key.channel,
            origins=key.origins,
            location_id=location_id,
            requests_per_minute=key.requests_per_minute,
            now=clock.now(),
        )
        _hand_out(made, secret)

    return work


async def show(conn: Connection) -> None:
    """One line per key."""
    now = clock.now()
    for key in await access.keys(conn):
        click.echo(f"{key.id}  {key.kind:11} {_state(key, now):28} ...{key.hint}  {key.name}")


def rotate(key_id: UUID, *, grace_hours: int) -> Work:
    """Make a key's successor and print its secret."""

    async def work(conn: Connection) -> None:
        grace = timedelta(hours=grace_hours)
        old, new, secret = await access.rotate_key(
            conn, OPERATOR, key_id, grace=grace, now=clock.now()
        )
        click.echo(f"The old key ...{old.hint} goes on until {_minute(old.expires_at)}.")
        _hand_out(new, secret)

    return work


def revoke(key_id: UUID) -> Work:
    """End a key."""

    async def work(conn: Connection) -> None:
        key = await access.revoke_key(conn, OPERATOR, key_id, now=clock.now())
        click.echo(f"{key.kind} key ...{key.hint}, {key.name}, is revoked.")

    return work


async def _run(dsn: str, work: Work) -> None:
    database = await Database.open(dsn, max_size=1, name="mostrador-keys")
    try:
        await database.commit(work)
    except InvalidField as refused:
        raise OperatorError(refused.reason) from None
    except NotFound as refused:
        raise OperatorError(f"There is no key {refused.id}. `mostrador keys list`") from None
    except KeyInvalid:
        raise OperatorError("This key has ended; make another one.") from None
    finally:
        await database.close()


def _hand_out(key: Key, secret: str) -> None:
    click.echo(f"{key.kind} key {key.id}, {key.name}. Its secret is shown only now:")
    click.echo(secret)


def _state(key: Key, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {_minute(key.revoked_at)}"
    if key.expires_at is None:
        return "active"
    return f"{'until' if key.expires_at > now else 'ended'} {_minute(key.expires_at)}"


def _minute(at: datetime | None) -> str:
    return "for ever" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
