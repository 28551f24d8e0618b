"""Associates: put in place by the back office, signed in at a tablet with their code and PIN.

PINs are short, so guessing is what counts: five wrong ones lock the associate for a quarter of an
hour, counted in the database before the PIN is looked at, so that parallel guesses count too. An
unknown code, a wrong PIN and a locked associate get the same answer after the same work.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import (
    Boolean,
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access import sessions
from commerce.access.principal import Principal, Role
from commerce.access.record import record_staff
from commerce.access.sessions import StartedSession
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.sql import Connection, Database, Query
from commerce.tables.goods import store
from commerce.tables.people import associate, associate_store

PIN_TRIES = 5
PIN_LOCKED_FOR = timedelta(minutes=15)
_threads = ThreadPoolExecutor(2, "pin")
"""Each hash takes 19 MiB and a core; a queue is better than a machine that swaps."""


class SignInRefused(CommerceError):
    """Code and PIN do not fit, or the associate is locked after too many tries."""

    code = "sign_in_refused"


class StoreNotAllowed(CommerceError):
    """The associate does not work at this store."""

    code = "store_not_allowed"
    location_id: UUID


class Associate(msgspec.Struct, frozen=True):
    """Somebody who works in stores."""

    id: UUID
    code: str
    name: str
    role: str
    active: bool
    location_ids: list[UUID]


class _Stored(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    role: str
    active: bool
    pin_hash: str


class _Try(msgspec.Struct, frozen=True):
    id: UUID
    role: str
    pin_hash: str


_MOMENT = DateTime(timezone=True)
_MINE = (
    select(func.array_agg(associate_store.c.location_id).label("ids"))
    .where(associate_store.c.associate_id == associate.c.id)
    .scalar_subquery()
)
ALL = Query(
    select(
        associate.c.id,
        associate.c.code,
        associate.c.name,
        associate.c.role,
        associate.c.active,
        func.coalesce(_MINE, cast([], ARRAY(Uuid()))).label("location_ids"),
    )
    .where(associate.c.code > bindparam("after", type_=Text()))
    .order_by(associate.c.code)
    .limit(bindparam("page", type_=Integer())),
    Associate,
)
LOCK = Query(
    select(
        associate.c.id, associate.c.name, associate.c.role, associate.c.active, associate.c.pin_hash
    )
    .where(associate.c.code == bindparam("of_code"))
    .with_for_update(key_share=True),
    _Stored,
)
INSERT = Query(
    insert(associate).values(
        id=bindparam("associate_id", type_=Uuid()),
        code=bindparam("of_code", type_=Text()),
        name=bindparam("called", type_=Text()),
        role=bindparam("as_role", type_=Text()),
        active=bindparam("is_active", type_=Boolean()),
        pin_hash=bindparam("hashed", type_=Text()),
    )
)
UPDATE = Query(
    update(associate)
    .where(associate.c.id == bindparam("associate_id"))
    .values(
        name=bindparam("called", type_=Text()),
        role=bindparam("as_role", type_=Text()),
        active=bindparam("is_active", type_=Boolean()),
        pin_hash=bindparam("hashed", type_=Text()),
        pin_tries=0,
        pin_locked_until=null(),
    )
)
STORES = Query(
    select(associate_store.c.location_id).where(
        associate_store.c.associate_id == bindparam("associate_id")
    ),
    UUID,
)
KNOWN_STORES = Query(
    select(store.c.location_id).where(
        store.c.location_id == any_(bindparam("ids", type_=ARRAY(Uuid())))
    ),
    UUID,
)
KNOWN = Query(
    select(associate.c.code).where(
        associate.c.code == any_(bindparam("codes", type_=ARRAY(Text())))
    ),
    str,
)
CLEAR_STORES = Query(
    delete(associate_store).where(associate_store.c.associate_id == bindparam("associate_id"))
)
SET_STORES = Query(
    insert(associate_store).from_select(
        ["associate_id", "location_id"],
        select(
            bindparam("associate_id", type_=Uuid()),
            func.unnest(bindparam("ids", type_=ARRAY(Uuid()))),
        ),
    )
)
_TRIES = case((associate.c.pin_locked_until.is_(None), associate.c.pin_tries + 1), else_=1)
TAKE_TRY = Query(
    update(associate)
    .where(
        associate.c.code == bindparam("of_code"),
        associate.c.active,
        or_(
            associate.c.pin_locked_until.is_(None),
            associate.c.pin_locked_until <= bindparam("now", type_=_MOMENT),
        ),
    )
    .values(
        pin_tries=_TRIES,
        pin_locked_until=case(
            (_TRIES >= PIN_TRIES, bindparam("locked_until", type_=_MOMENT)), else_=null()
        ),
    )
    .returning(associate.c.id, associate.c.role, associate.c.pin_hash),
    _Try,
)
FORGET_TRIES = Query(
    update(associate)
    .where(
        associate.c.id == bindparam("associate_id"),
        associate.c.active,
        associate.c.pin_hash == bindparam("tried"),
    )
    .values(pin_tries=0, pin_locked_until=null())
    .returning(associate.c.id),
    UUID,
)


async def associates(conn: Connection, *, after: str = "", page: int = 100) -> list[Associate]:
    """Associates by code, those after a code."""
    return await conn.run(ALL, after=after, page=page)


async def put_associate(
    conn: Connection,
    who: Principal,
    *,
    code: str,
    name: str,
    role: Role,
    location_ids: Sequence[UUID],
    now: datetime,
    pin: str | None = None,
    pin_hash: str | None = None,
    active: bool = True,
) -> Associate:
    """Make or change the associate with this code. Repeating it changes nothing.

    A new one needs a PIN (`pin_hash`: its hash, where `hash_new_pins` has made it already);
    without `pin` the old one stays. Every change ends the associate's sessions and lifts a lock.
    Raises `InvalidField`.
    """
    wanted = sorted(set(location_ids))
    if len(await conn.run(KNOWN_STORES, ids=wanted)) != len(wanted):
        raise InvalidField(path="/location_ids", reason="One of these is not a store.")
    stored = await conn.first(LOCK, of_code=code)
    associate_id = stored.id if stored is not None else ids.uuid7()
    result = Associate(associate_id, code, name, role, active, wanted)
    if stored is None:
        await _create(conn, result, pin, pin_hash)
        changes: dict[str, Any] = {"created": True}
    else:
        changes = await _change(conn, stored, result, pin)
    if not changes:
        return result
    changes |= {"name": name, "role": role, "active": active, "stores": [str(w) for w in wanted]}
    await record_staff(
        conn, who, action="associate.put", subject=f"associate:{code}", changes=changes, now=now
    )
    await sessions.end_of_associate(conn, associate_id, actor=who.actor, now=now)
    changed = events.Event("associate.changed", "associate", associate_id, who.actor)
    await events.record(conn, [changed], now=now)
    return result


async def sign_in(
    db: Database, who: Principal, *, code: str, pin: str, location_id: UUID, now: datetime
) -> StartedSession:
    """Start the session of an associate at one store, on the tablet whose key is `who`.

    Raises `SignInRefused`, or `StoreNotAllowed` once code and PIN were right. A try is counted
    and committed before the PIN is looked at; a right one starts the count again.
    """

    async def take(conn: Connection) -> _Try | None:
        return await conn.first(TAKE_TRY, of_code=code, now=now, locked_until=now + PIN_LOCKED_FOR)

    taken = await db.commit(take)
    fits = await _fits(taken.pin_hash if taken is not None else None, pin)
    if taken is None or not fits:
        raise SignInRefused

    async def start(conn: Connection) -> StartedSession:
        if not await conn.run(FORGET_TRIES, associate_id=taken.id, tried=taken.pin_hash):
            raise SignInRefused  # who they are has changed while the PIN was looked at
        if location_id not in await conn.run(STORES, associate_id=taken.id):
            raise StoreNotAllowed(location_id=location_id)
        return await sessions.start(
            conn,
            who,
            kind="associate",
            associate_id=taken.id,
            location_id=location_id,
            lifetime=sessions.ASSOCIATE_LIFETIME,
            now=now,
        )

    return await db.commit(start)


async def hash_new_pins(conn: Connection, pins: Mapping[str, str]) -> dict[str, str]:
    """Hash the PINs, given by code, of associates that do not exist yet: side by side, for many."""
    known = set(await conn.run(KNOWN, codes=list(pins)))
    new = [code for code in pins if code not in known]
    hashes = await asyncio.gather(*(hash_pin(pins[code]) for code in new))
    return dict(zip(new, hashes, strict=True))


async def hash_pin(pin: str) -> str:
    """A PIN as it is stored. Takes a core for a moment, so it runs in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher().hash, pin)


async def _create(
    conn: Connection, wanted: Associate, pin: str | None, pin_hash: str | None
) -> None:
    if pin is None:
        raise InvalidField(path="/pin", reason="A new associate needs a PIN.")
    await conn.run(
        INSERT,
        associate_id=wanted.id,
        of_code=wanted.code,
        called=wanted.name,
        as_role=wanted.role,
        is_active=wanted.active,
        hashed=pin_hash or await hash_pin(pin),
    )
    await conn.run(SET_STORES, associate_id=wanted.id, ids=wanted.location_ids)


async def _change(
    conn: Connection, stored: _Stored, wanted: Associate, pin: str | None
) -> dict[str, Any]:
    """Write what differs; empty when nothing does."""
    before = sorted(await conn.run(STORES, associate_id=stored.id))
    new_pin = pin is not None and not await _fits(stored.pin_hash, pin)
    same = all(
        getattr(stored, name) == getattr(wanted, name) for name in ("name", "role", "active")
    )
    if same and before == wanted.location_ids and not new_pin:
        return {}
    await conn.run(
        UPDATE,
        associate_id=stored.id,
        called=wanted.name,
        as_role=wanted.role,
        is_active=wanted.active,
        hashed=await hash_pin(pin) if pin is not None and new_pin else stored.pin_hash,
    )
    if before != wanted.location_ids:
        await conn.run(CLEAR_STORES, associate_id=stored.id)
        await conn.run(SET_STORES, associate_id=stored.id, ids=wanted.location_ids)
    return {"pin_changed": new_pin}


async def _fits(pin_hash: str | None, pin: str) -> bool:
    """Whether the PIN is right; without a hash it takes as long and is never right."""

    def verify() -> bool:
        try:
            return _hasher().verify(pin_hash or _decoy(), pin)
        except VerifyMismatchError:
            return False

    return await asyncio.get_running_loop().run_in_executor(_threads, verify)


@lru_cache
def _hasher() -> PasswordHasher:
    # OWASP's parameters for argon2id. More would not help: a few digits are guarded by the lock.
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@lru_cache
def _decoy() -> str:
    return _hasher().hash(ids.secret("nobody"))
