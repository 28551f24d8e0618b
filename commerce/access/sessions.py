"""Sessions of people: started, verified with each request, ended.

A session's secret is good only beside a key of the kind that it was started with. It dies when it
runs out, when it is ended, when its key is revoked, when its associate is no longer active, or when
its shopper is erased.
A shopper's session is one of the person, under whichever of the person's ids it was started.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    LargeBinary,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from commerce.access.keys import Key, valid_key
from commerce.access.principal import Principal, permissions_of
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Query
from commerce.tables.people import api_key, associate, session, shopper

SHOPPER_LIFETIME = timedelta(days=30)
ASSOCIATE_LIFETIME = timedelta(hours=12)
"""A shift; a tablet that was left lying about is of no use the next day."""
FRESH = timedelta(minutes=15)
_KEPT = timedelta(days=30)


class SessionInvalid(CommerceError):
    """There is no such session, or it has ended. Sign in again."""

    code = "session_invalid"


class FreshSignInRequired(CommerceError):
    """This needs a session that has only just begun. Sign in again, and repeat it."""

    code = "fresh_sign_in_required"
    within_seconds: int


class StartedSession(msgspec.Struct, frozen=True):
    """A new session with its secret, which is shown once."""

    id: UUID
    secret: str
    expires_at: datetime


class _Live(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    person_ids: list[UUID]
    associate_id: UUID | None
    location_id: UUID | None
    role: str | None
    key_kind: str


class _Ended(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    location_id: UUID | None


_MOMENT = DateTime(timezone=True)

_ROOT = func.coalesce(shopper.c.merged_into, session.c.shopper_id)
_row = shopper.alias("row")
_PERSON_IDS = func.array_remove(
    func.array_prepend(
        _ROOT,
        select(func.array_agg(aggregate_order_by(_row.c.id, _row.c.id)))
        .where(_row.c.merged_into == _ROOT)
        .scalar_subquery(),
    ),
    None,
)
LIVE = Query(
    select(
        session.c.id,
        session.c.kind,
        _PERSON_IDS.label("person_ids"),
        session.c.associate_id,
        session.c.location_id,
        associate.c.role,
        api_key.c.kind.label("key_kind"),
    )
    .join(api_key, api_key.c.id == session.c.key_id)
    .outerjoin(associate, associate.c.id == session.c.associate_id)
    .outerjoin(shopper, shopper.c.id == session.c.shopper_id)
    .where(
        session.c.secret_hash == bindparam("digest"),
        session.c.ended_at.is_(None),
        session.c.expires_at > bindparam("now", type_=_MOMENT),
        api_key.c.revoked_at.is_(None),
        or_(associate.c.id.is_(None), associate.c.active),
        shopper.c.erased_at.is_(None),
    ),
    _Live,
)
START = Query(
    insert(session).values(
        id=bindparam("session_id", type_=Uuid()),
        kind=bindparam("of_kind", type_=Text()),
        secret_hash=bindparam("digest", type_=LargeBinary()),
        key_id=bindparam("with_key", type_=Uuid()),
        shopper_id=bindparam("shopper", type_=Uuid()),
        associate_id=bindparam("associate", type_=Uuid()),
        location_id=bindparam("at_store", type_=Uuid()),
        created_at=bindparam("now", type_=_MOMENT),
        expires_at=bindparam("until", type_=_MOMENT),
    )
)
_ENDING = update(session).values(ended_at=bindparam("now", type_=_MOMENT))
_SHOWN = (session.c.id, session.c.kind, session.c.location_id)
END = Query(
    _ENDING.where(
        session.c.id == any_(bindparam("ids", type_=ARRAY(Uuid()))), session.c.ended_at.is_(None)
    ).returning(*_SHOWN),
    _Ended,
)
FORGET = Query(delete(session).where(session.c.expires_at < bindparam("before", type_=_MOMENT)))
OF_ASSOCIATE = Query(
    select(session.c.id)
    .where(session.c.associate_id == bindparam("associate"), session.c.ended_at.is_(None))
    .order_by(session.c.id)
    .with_for_update(key_share=True),
    UUID,
)


OF_SHOPPERS = Query(
    select(session.c.id)
    .where(
        session.c.shopper_id == any_(bindparam("shopper_ids", type_=ARRAY(Uuid()))),
        session.c.ended_at.is_(None),
    )
    .order_by(session.c.id)
    .with_for_update(key_share=True),
    UUID,
)
BEGAN = Query(select(session.c.created_at).where(session.c.id == bindparam("of")), datetime)


async def authenticate(
    conn: Connection, *, key_secret: str, session_secret: str | None, now: datetime
) -> Principal:
    """Who presents this key, and this session beside it.

    Raises `KeyInvalid`, `SessionInvalid`. Two look-ups, so callers keep the answer for a while.
    """
    key = await valid_key(conn, key_secret, now=now)
    if session_secret is None:
        return _principal(key)
    live = await conn.first(LIVE, digest=ids.digest(session_secret), now=now)
    fits = live is not None and live.key_kind == key.kind
    if live is None or not fits or key.location_id not in (None, live.location_id):
        raise SessionInvalid
    return _principal(key, live)


async def start_shopper_session(
    conn: Connection, who: Principal, shopper_id: UUID, *, now: datetime
) -> StartedSession:
    """Sign a shopper in with the key of `who`. Each call starts another session."""
    return await start(
        conn, who, kind="shopper", shopper_id=shopper_id, lifetime=SHOPPER_LIFETIME, now=now
    )


async def end_session(conn: Connection, who: Principal, *, now: datetime) -> None:
    """End the session of `who`. Repeating it changes nothing."""
    if who.session_id is not None:
        await end(conn, [who.session_id], actor=who.actor, now=now)


async def forget_sessions(conn: Connection, *, now: datetime) -> None:
    """Drop sessions that ran out a month ago; events and the staff record name them by id only."""
    await conn.run(FORGET, before=now - _KEPT)


async def start(
    conn: Connection,
    who: Principal,
    *,
    kind: str,
    lifetime: timedelta,
    now: datetime,
    shopper_id: UUID | None = None,
    associate_id: UUID | None = None,
    location_id: UUID | None = None,
) -> StartedSession:
    """Write a session and the fact that it began."""
    started = StartedSession(
        ids.uuid7(), ids.secret("ss" if kind == "shopper" else "as"), now + lifetime
    )
    await conn.run(
        START,
        session_id=started.id,
        of_kind=kind,
        digest=ids.digest(started.secret),
        with_key=who.key_id,
        shopper=shopper_id,
        associate=associate_id,
        at_store=location_id,
        now=now,
        until=started.expires_at,
    )
    subject = f"{kind}:{shopper_id or associate_id}"
    event = events.Event(
        "session.started", "session", started.id, subject, {"kind": kind}, location_id
    )
    await events.record(conn, [event], now=now)
    return started


async def end(conn: Connection, session_ids: Sequence[UUID], *, actor: str, now: datetime) -> None:
    """End these sessions, those that have not ended yet."""
    ended = await conn.run(END, ids=sorted(session_ids), now=now)
    await events.record(
        conn,
        [
            events.Event(
                "session.ended", "session", each.id, actor, {"kind": each.kind}, each.location_id
            )
            for each in ended
        ],
        now=now,
    )


async def end_of_associate(
    conn: Connection, associate_id: UUID, *, actor: str, now: datetime
) -> None:
    """End every session of an associate."""
    await end(conn, await conn.run(OF_ASSOCIATE, associate=associate_id), actor=actor, now=now)


async def end_of_shopper(
    conn: Connection, person_ids: Sequence[UUID], *, actor: str, now: datetime
) -> None:
    """End every session of a person."""
    ended = await conn.run(OF_SHOPPERS, shopper_ids=list(person_ids))
    await end(conn, ended, actor=actor, now=now)


async def require_fresh(conn: Connection, who: Principal, *, now: datetime) -> None:
    """For what a lost phone must not do. Raises `FreshSignInRequired`."""
    began = await conn.first(BEGAN, of=who.session_id)
    if began is None or began + FRESH < now:
        raise FreshSignInRequired(within_seconds=int(FRESH.total_seconds()))


def _principal(key: Key, live: _Live | None = None) -> Principal:
    holders = [key.kind]
    if live is not None:
        holders.append(live.role or live.kind)
    location_id = live.location_id if live is not None else key.location_id
    return Principal(
        key_id=key.id,
        key_kind=key.kind,
        channel=key.channel,
        permissions=permissions_of(*holders),
        requests_per_minute=key.requests_per_minute,
        origins=frozenset(key.origins),
        session_id=live.id if live is not None else None,
        person_ids=tuple(live.person_ids) if live is not None else (),
        associate_id=live.associate_id if live is not None else None,
        role=live.role if live is not None else None,
        location_ids=None if location_id is None else (location_id,),
    )
