"""Keys of programs: made, listed, rotated, revoked.

Making and rotating take no `Idempotency-Key`, because the kept answer would hold the secret. After
a lost answer list the keys, revoke the one whose secret nobody saw, and make another.
"""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post

from api.auth import may
from api.contract import no_key_needed, raises
from api.once import once
from api.services import Services
from commerce import access
from commerce.access import Channel, Key, KeyInvalid, KeyKind, KeyName, Origin, Principal
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection

MAX_GRACE_SECONDS = 30 * 86_400


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key for a program.

    `storefront`: public, in web pages and apps, used by scripts of its `origins`. `integration`:
    on a server. `tablet`: in a store, of no use until an associate signs in. `backoffice`: all.
    """

    kind: KeyKind
    name: KeyName
    channel: Channel
    origins: Annotated[tuple[Origin, ...], msgspec.Meta(max_length=50)] = ()
    location_id: UUID | None = None
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 6_000
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key goes on."""

    grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=MAX_GRACE_SECONDS, examples=[86_400])]


class KeyView(msgspec.Struct, frozen=True):
    """A key; `hint` is the end of its secret."""

    id: UUID
    kind: KeyKind
    name: str
    hint: str
    channel: Channel
    origins: list[str]
    location_id: UUID | None
    requests_per_minute: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: Key) -> "KeyView":
        """As the back office sees it."""
        return msgspec.convert(key, cls, from_attributes=True)


class KeyWithSecret(msgspec.Struct, frozen=True):
    """A new key. The secret is shown only here."""

    key: KeyView
    secret: Annotated[str, msgspec.Meta(examples=["pk_Zb3..."])]


class RotatedKey(msgspec.Struct, frozen=True):
    """The new key with its secret, which is shown only here, and the old one with its end."""

    key: KeyView
    secret: str
    ending: KeyView


class KeyList(msgspec.Struct, frozen=True):
    """Every key, also those that were revoked or have run out."""

    items: list[KeyView]


@post("/v1/backoffice/keys", guards=[may("key.write")], opt=raises(InvalidField))
@no_key_needed("the kept answer would hold the secret")
async def create_key(
    data: NewKey, conn: Connection, who: Principal, now: datetime
) -> KeyWithSecret:
    """Make a key."""
    key, secret = await access.create_key(
        conn,
        who,
        kind=data.kind,
        name=data.name,
        channel=data.channel,
        origins=data.origins,
        location_id=data.location_id,
        requests_per_minute=data.requests_per_minute,
        expires_at=data.expires_at,
        now=now,
    )
    return KeyWithSecret(KeyView.of(key), secret)


@get("/v1/backoffice/keys", guards=[may("key.write")])
async def list_keys(reading: Connection) -> KeyList:
    """The keys, oldest first, without their secrets."""
    return KeyList([KeyView.of(key) for key in await access.keys(reading)])


@post(
    "/v1/backoffice/keys/{key_id:uuid}/rotate",
    guards=[may("key.write")],
    opt=raises(NotFound, KeyInvalid),
)
@no_key_needed("the kept answer would hold the secret")
async def rotate_key(
    key_id: UUID, data: Rotation, conn: Connection, who: Principal, now: datetime
) -> RotatedKey:
    """Replace a key: the new one is good at once, the old one until its grace is over."""
    grace = timedelta(seconds=data.grace_seconds)
    ending, key, secret = await access.rotate_key(conn, who, key_id, grace=grace, now=now)
    return RotatedKey(KeyView.of(key), secret, KeyView.of(ending))


@post(
    "/v1/backoffice/keys/{key_id:uuid}/revoke",
    guards=[may("key.write")],
    status_code=200,
    opt=raises(NotFound),
)
@once
async def revoke_key(
    key_id: UUID, conn: Connection, who: Principal, services: Services, now: datetime
) -> KeyView:
    """End a key now, and every session that was started with it."""
    key = await access.revoke_key(conn, who, key_id, now=now)
    services.keyring.forget(key_id)
    return KeyView.of(key)


ROUTES = [create_key, list_keys, rotate_key, revoke_key]
