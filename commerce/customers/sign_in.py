"""Signing in by a one-time code, and showing by one that an address is one's own.

A shopper signs in by mail or phone: a code goes out, and who tells it back is the shopper. Whether
one exists is never told, and the first right code makes one. A code holds for ten minutes and five
tries, and belongs to the sign-in that asked for it, so nobody can use up another's tries. It is
stored only as a keyed digest; its text stands in the message that carries it and nowhere else.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    LargeBinary,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access import Principal, StartedSession, start_shopper_session
from commerce.customers.addresses import normal_email, normal_phone
from commerce.customers.persons import Locale, Person, Shopper, person_of, put_shopper
from commerce.customers.profile import set_address
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.sql import Connection, Database, Query
from commerce.tables.people import one_time_code

CODE_LIFETIME = timedelta(minutes=10)
CODE_TRIES = 5
CODES_PER_HOUR = 5
CODE_PAUSE = timedelta(seconds=30)
_CODE_DIGITS = 6
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class CodeRefused(CommerceError):
    """The code is wrong, used, too old, or was tried too often. Ask for a new one."""

    code = "code_refused"


class TooManyCodes(CommerceError):
    """This recipient was sent enough codes for now."""

    code = "too_many_codes"
    retry_after_seconds: int


class StartedSignIn(msgspec.Struct, frozen=True):
    """A sign-in that waits for its code."""

    id: UUID
    expires_at: datetime
    recipient: str
    code: str
    """For the message to the recipient; nobody else gets to see it."""


Leaving = Callable[[Connection, Person, Sequence[str]], Awaitable[None]]
"""What is done about addresses that are a person's no longer, in the same transaction."""
Joining = Callable[[Connection, Person], Awaitable[None]]
"""What a sign-in brings along: done in its transaction."""


async def joins_nothing(_: Connection, __: Person) -> None:
    """A sign-in that brings nothing along."""


class _Code(msgspec.Struct, frozen=True):
    recipient: str
    code_hash: bytes


class _Sent(msgspec.Struct, frozen=True):
    count: int
    oldest: datetime | None
    latest: datetime | None


_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)
_PERSON_IDS = bindparam("person_ids", type_=ARRAY(Uuid()))

LOCK_RECIPIENT = Query(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("to", type_=Text()), 0))),
    type(None),
)
CODES_SENT = Query(
    select(
        func.count().label("count"),
        func.min(one_time_code.c.created_at).label("oldest"),
        func.max(one_time_code.c.created_at).label("latest"),
    ).where(
        one_time_code.c.recipient == bindparam("to"),
        one_time_code.c.created_at > bindparam("since", type_=_MOMENT),
    ),
    _Sent,
)
INSERT_CODE = Query(
    insert(one_time_code).values(
        id=bindparam("sign_in_id", type_=Uuid()),
        recipient=bindparam("to", type_=Text()),
        shopper_id=bindparam("whose", type_=Uuid()),
        code_hash=bindparam("hashed", type_=LargeBinary()),
        created_at=_NOW,
        expires_at=bindparam("until", type_=_MOMENT),
    )
)
TAKE_CODE_TRY = Query(
    update(one_time_code)
    .where(
        one_time_code.c.id == bindparam("sign_in_id"),
        one_time_code.c.used_at.is_(None),
        one_time_code.c.expires_at > _NOW,
        one_time_code.c.tries < CODE_TRIES,
        or_(
            one_time_code.c.shopper_id == any_(_PERSON_IDS),
            and_(one_time_code.c.shopper_id.is_(None), func.cardinality(_PERSON_IDS) == 0),
        ),
    )
    .values(tries=one_time_code.c.tries + 1)
    .returning(one_time_code.c.recipient, one_time_code.c.code_hash),
    _Code,
)
USE_CODE = Query(
    update(one_time_code)
    .where(one_time_code.c.id == bindparam("sign_in_id"), one_time_code.c.used_at.is_(None))
    .values(used_at=_NOW)
    .returning(one_time_code.c.id),
    UUID,
)
FORGET_SENT = Query(
    delete(one_time_code).where(
        one_time_code.c.recipient == any_(bindparam("to", type_=ARRAY(Text())))
    )
)
FORGET_CODES = Query(
    delete(one_time_code).where(one_time_code.c.expires_at < bindparam("before", type_=_MOMENT))
)


async def start_sign_in(
    conn: Connection,
    who: Principal,
    *,
    secret: bytes,
    email: str | None,
    phone: str | None,
    now: datetime,
    shopper_id: UUID | None = None,
) -> StartedSignIn:
    """Make a code for a mail address or a phone number; `secret` is the installation's.

    With `shopper_id` it does not sign in: it makes the address that shopper's (`finish_address`).
    `messages.start_sign_in` sends it. Answers the same whether there is such a shopper or not.
    Raises `InvalidField`, `TooManyCodes`.
    """
    if (email is None) == (phone is None):
        raise InvalidField(path="/email", reason="Give either an email address or a phone number.")
    recipient = normal_email(email) if email is not None else normal_phone(phone or "")
    await conn.run(LOCK_RECIPIENT, to=recipient)
    _check_pace(await conn.one(CODES_SENT, to=recipient, since=now - _HOUR), now)
    code = f"{secrets.randbelow(10**_CODE_DIGITS):0{_CODE_DIGITS}}"
    started = StartedSignIn(ids.uuid7(), now + CODE_LIFETIME, recipient, code)
    await conn.run(
        INSERT_CODE,
        sign_in_id=started.id,
        to=recipient,
        whose=shopper_id,
        hashed=_digest(secret, started.id, recipient, code),
        now=now,
        until=started.expires_at,
    )
    asked = events.Event("sign_in.code_requested", "sign_in", started.id, who.actor)
    await events.record(conn, [asked], now=now)
    return started


async def finish_sign_in(
    db: Database,
    who: Principal,
    sign_in_id: UUID,
    *,
    secret: bytes,
    code: str,
    locale: Locale,
    now: datetime,
    joining: Joining = joins_nothing,
) -> tuple[StartedSession, Person]:
    """A session for who told the right code; a new shopper where there was none.

    One transaction, which also commits the try of a wrong code, and `joining`. Raises
    `CodeRefused`.
    """

    async def work(conn: Connection) -> tuple[StartedSession, Person] | None:
        recipient = await _take(conn, sign_in_id, secret=secret, code=code, person_ids=(), now=now)
        if recipient is None:
            return None
        known = await _shopper(conn, recipient, locale, now)
        return await begin_session(conn, who, known.id, joining=joining, now=now)

    outcome = await db.commit(work)
    if outcome is None:
        raise CodeRefused
    return outcome


async def begin_session(
    conn: Connection, who: Principal, shopper_id: UUID, *, joining: Joining, now: datetime
) -> tuple[StartedSession, Person]:
    """Sign in who has shown to be this shopper, and join what they did before."""
    person = await person_of(conn, shopper_id)
    started = await start_shopper_session(conn, who, shopper_id, now=now)
    await joining(conn, person)
    return started, person


async def finish_address(
    db: Database,
    who: Principal,
    change_id: UUID,
    *,
    secret: bytes,
    code: str,
    leaving: Leaving,
    now: datetime,
) -> Person:
    """The address that the code went to becomes one of the shopper who has signed in.

    One transaction, which also commits the try of a wrong code, and `leaving`: what is kept under
    the address that it replaces would be found by nobody. `messages.finish_address` sees to that.
    Raises `CodeRefused`, `AddressTaken`.
    """
    assert who.shopper_id is not None

    async def work(conn: Connection) -> Person | None:
        before = await person_of(conn, who.person_ids[0])
        recipient = await _take(
            conn, change_id, secret=secret, code=code, person_ids=who.person_ids, now=now
        )
        if recipient is None:
            return None
        after = await set_address(conn, who, who.person_ids[0], recipient, now=now)
        left = sorted({*before.emails, *before.phones} - {*after.emails, *after.phones})
        if left:
            await conn.run(FORGET_SENT, to=left)
            await leaving(conn, after, left)
        return after

    outcome = await db.commit(work)
    if outcome is None:
        raise CodeRefused
    return outcome


async def _take(
    conn: Connection,
    of: UUID,
    *,
    secret: bytes,
    code: str,
    person_ids: Sequence[UUID],
    now: datetime,
) -> str | None:
    """Use a code up: where it was sent to, and nobody else may become known by that meanwhile."""
    sent = await conn.first(TAKE_CODE_TRY, sign_in_id=of, person_ids=list(person_ids), now=now)
    recipient = sent.recipient if sent is not None else ""
    given = _digest(secret, of, recipient, ids.normal_code(code))
    if sent is None or not hmac.compare_digest(given, sent.code_hash):
        return None
    await conn.one(USE_CODE, sign_in_id=of, now=now)
    await conn.run(LOCK_RECIPIENT, to=recipient)
    return recipient


async def forget_codes(conn: Connection, *, now: datetime) -> None:
    """Drop codes of yesterday: they open nothing, and the pace of new ones looks back an hour."""
    await conn.run(FORGET_CODES, before=now - _DAY)


def _check_pace(sent: _Sent, now: datetime) -> None:
    """At most five codes an hour, half a minute apart."""
    if sent.oldest is None or sent.latest is None:
        return
    free_at = sent.latest + CODE_PAUSE
    if sent.count >= CODES_PER_HOUR:
        free_at = max(free_at, sent.oldest + _HOUR)
    if free_at > now:
        raise TooManyCodes(retry_after_seconds=int((free_at - now).total_seconds()) + 1)


async def _shopper(conn: Connection, recipient: str, locale: Locale, now: datetime) -> Shopper:
    by_mail = "@" in recipient
    return await put_shopper(
        conn,
        email=recipient if by_mail else None,
        phone=None if by_mail else recipient,
        locale=locale,
        now=now,
    )


def _digest(secret: bytes, sign_in_id: UUID, recipient: str, code: str) -> bytes:
    """Keyed, because six digits alone are guessed from a plain digest in a moment."""
    text = b"sign-in\0" + sign_in_id.bytes + recipient.encode() + b"\0" + code.encode()
    return hmac.digest(secret, text, hashlib.sha256)
