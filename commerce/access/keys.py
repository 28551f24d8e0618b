"""Keys of programs: made, listed, rotated, revoked. The secret is shown once and never again.

active -> expired   a rotated one, when its grace is over; its sessions go on under the new one
active -> revoked   at once; its sessions end with it
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access.principal import Channel, KeyKind, Principal
from commerce.access.record import record_staff
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, InvalidField, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.tables.goods import store
from commerce.tables.people import api_key

PREFIXES: dict[str, str] = {
    "storefront": "pk",
    "integration": "sk",
    "tablet": "tk",
    "backoffice": "bk",
}
_HINT_LENGTH = 4

KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=120, examples=["Web shop"])]
Origin = Annotated[
    str,
    msgspec.Meta(
        max_length=253, pattern=r"^https?://[a-z0-9.:-]+$", examples=["https://shop.example"]
    ),
]
"""Of a web page: scheme, host, and port where it is not the scheme's own."""


class KeyInvalid(CommerceError):
    """There is no such key, or it was revoked or has run out."""

    code = "api_key_invalid"


class Key(msgspec.Struct, frozen=True):
    """A key without its secret; `hint` is the secret's end, to tell keys apart."""

    id: UUID
    kind: str
    name: str
    hint: str
    channel: str
    origins: list[str]
    location_id: UUID | None
    requests_per_minute: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


_MOMENT = DateTime(timezone=True)
_SHOWN = [c for c in api_key.c if c.name != "secret_hash"]
_VALID = (
    api_key.c.revoked_at.is_(None),
    func.coalesce(api_key.c.expires_at, "infinity") > bindparam("now", type_=_MOMENT),
)

INSERT = Query(
    insert(api_key)
    .values(
        id=bindparam("key_id", type_=Uuid()),
        kind=bindparam("of_kind", type_=Text()),
        name=bindparam("called", type_=Text()),
        secret_hash=bindparam("digest", type_=LargeBinary()),
        hint=bindparam("end", type_=Text()),
        channel=bindparam("over", type_=Text()),
        origins=bindparam("from_origins", type_=ARRAY(Text())),
        location_id=bindparam("at_store", type_=Uuid()),
        requests_per_minute=bindparam("per_minute", type_=Integer()),
        created_at=bindparam("now", type_=_MOMENT),
        expires_at=bindparam("until", type_=_MOMENT),
    )
    .returning(*_SHOWN),
    Key,
)
ALL = Query(select(*_SHOWN).order_by(api_key.c.id).limit(1_000), Key)
LOCK = Query(
    select(*_SHOWN).where(api_key.c.id == bindparam("key_id")).with_for_update(key_share=True), Key
)
EXPIRE = Query(
    update(api_key)
    .where(api_key.c.id == bindparam("key_id"))
    .values(
        expires_at=func.least(
            func.coalesce(api_key.c.expires_at, "infinity"), bindparam("until", type_=_MOMENT)
        )
    )
    .returning(*_SHOWN),
    Key,
)
REVOKE = Query(
    update(api_key)
    .where(api_key.c.id == bindparam("key_id"))
    .values(revoked_at=bindparam("now", type_=_MOMENT))
    .returning(*_SHOWN),
    Key,
)
ORIGINS = Query(select(func.unnest(api_key.c.origins)).where(*_VALID).distinct(), str)
VALID_KEY = Query(select(*_SHOWN).where(api_key.c.secret_hash == bindparam("digest"), *_VALID), Key)
STORE_EXISTS = Query(
    select(store.c.location_id).where(store.c.location_id == bindparam("location")), UUID
)


async def create_key(
    conn: Connection,
    who: Principal,
    *,
    kind: KeyKind,
    name: str,
    channel: Channel,
    now: datetime,
    origins: Sequence[str] = (),
    location_id: UUID | None = None,
    requests_per_minute: int = 6_000,
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """A new key and its secret. `origins` are web origins whose scripts may use it.

    Raises `InvalidField`. Not repeatable: each call makes another key.
    """
    if origins and kind != "storefront":
        reason = "Only a storefront key may be used by scripts of a web page."
        raise InvalidField(path="/origins", reason=reason)
    if location_id is not None:
        if kind != "tablet":
            raise InvalidField(path="/location_id", reason="Only a tablet belongs to a store.")
        if await conn.first(STORE_EXISTS, location=location_id) is None:
            raise InvalidField(path="/location_id", reason="There is no such store.")
    key, secret = await _insert(
        conn,
        kind=kind,
        name=name,
        channel=channel,
        origins=origins,
        location_id=location_id,
        requests_per_minute=requests_per_minute,
        expires_at=expires_at,
        now=now,
    )
    changes = {"kind": kind, "name": name, "hint": key.hint}
    await _written(conn, who, key, "key.created", changes=changes, now=now)
    return key, secret


async def keys(conn: Connection) -> list[Key]:
    """Every key, oldest first, revoked ones too; at most 1,000."""
    return await conn.run(ALL)


async def rotate_key(
    conn: Connection, who: Principal, key_id: UUID, *, grace: timedelta, now: datetime
) -> tuple[Key, Key, str]:
    """A successor with the same rights: the old key, valid for `grace` yet, the new, its secret.

    Sessions go on under the new key. Raises `NotFound`, `KeyInvalid` for one that is no longer
    valid.
    """
    old = await _locked(conn, key_id)
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise KeyInvalid
    new, secret = await _insert(
        conn,
        kind=old.kind,
        name=old.name,
        channel=old.channel,
        origins=old.origins,
        location_id=old.location_id,
        requests_per_minute=old.requests_per_minute,
        expires_at=old.expires_at,
        now=now,
    )
    ending = await conn.one(EXPIRE, key_id=key_id, until=now + grace)
    changes = {"successor": str(new.id), "expires_at": str(ending.expires_at)}
    await _written(conn, who, ending, "key.rotated", changes=changes, now=now)
    return ending, new, secret


async def revoke_key(conn: Connection, who: Principal, key_id: UUID, *, now: datetime) -> Key:
    """End a key and its sessions now. Repeating it changes nothing. Raises `NotFound`."""
    key = await _locked(conn, key_id)
    if key.revoked_at is not None:
        return key
    key = await conn.one(REVOKE, key_id=key_id, now=now)
    changes = {"name": key.name, "hint": key.hint}
    await _written(conn, who, key, "key.revoked", changes=changes, now=now)
    return key


async def all_origins(conn: Connection, *, now: datetime) -> frozenset[str]:
    """The web origins of all valid keys: what a browser's preflight may be told, without a key."""
    return frozenset(await conn.run(ORIGINS, now=now))


async def valid_key(conn: Connection, secret: str, *, now: datetime) -> Key:
    """The key that a secret opens. Raises `KeyInvalid`."""
    key = await conn.first(VALID_KEY, digest=ids.digest(secret), now=now)
    if key is None:
        raise KeyInvalid
    return key


async def _insert(
    conn: Connection,
    *,
    kind: str,
    name: str,
    channel: str,
    origins: Sequence[str],
    location_id: UUID | None,
    requests_per_minute: int,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[Key, str]:
    secret = ids.secret(PREFIXES[kind])
    key = await conn.one(
        INSERT,
        key_id=ids.uuid7(),
        of_kind=kind,
        called=name,
        digest=ids.digest(secret),
        end=secret[-_HINT_LENGTH:],
        over=channel,
        from_origins=list(origins),
        at_store=location_id,
        per_minute=requests_per_minute,
        now=now,
        until=expires_at,
    )
    return key, secret


async def _locked(conn: Connection, key_id: UUID) -> Key:
    key = await conn.first(LOCK, key_id=key_id)
    if key is None:
        raise NotFound(kind="key", id=str(key_id))
    return key


async def _written(
    conn: Connection, who: Principal, key: Key, what: str, *, changes: dict[str, str], now: datetime
) -> None:
    await record_staff(
        conn,
        who,
        action=what,
        subject=f"key:{key.id}",
        changes=changes,
        now=now,
        location_id=key.location_id,
    )
    event = events.Event(what, "key", key.id, who.actor, location_id=key.location_id)
    await events.record(conn, [event], now=now)
