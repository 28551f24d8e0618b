"""Shoppers, the contacts of orders, and signing in by a one-time code.

A shopper signs in by mail or phone: a code goes out, and who tells it back is the shopper. Whether
one exists is never told, and the first right code makes one. A code holds for ten minutes and five
tries, and belongs to the sign-in that asked for it, so nobody can use up another's tries. It is
stored only as a keyed digest; its text stands in the queued message and nowhere else.

A contact is who to tell about one order, signed in or not. Personal data stands in these tables
and in the messages, nowhere else.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal
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
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal, StartedSession, start_shopper_session
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.sql import Connection, Database, Query, records, records_of
from commerce.tables.people import contact, notification, one_time_code, shopper

Locale = Literal["en", "es"]

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


class Shopper(msgspec.Struct, frozen=True):
    """A known shopper. Personal data: only for the shopper and for who may see it."""

    id: UUID
    email: str | None
    phone: str | None
    name: str | None
    locale: str
    created_at: datetime


class Contact(msgspec.Struct, frozen=True):
    """Who to tell about an order."""

    id: UUID
    name: str
    shopper_id: UUID | None = None
    email: str | None = None
    phone: str | None = None
    locale: str = "en"


class StartedSignIn(msgspec.Struct, frozen=True):
    """A sign-in that waits for its code."""

    id: UUID
    expires_at: datetime


class _Code(msgspec.Struct, frozen=True):
    recipient: str
    code_hash: bytes


class _Sent(msgspec.Struct, frozen=True):
    count: int
    oldest: datetime | None
    latest: datetime | None


_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)

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
        code_hash=bindparam("hashed", type_=LargeBinary()),
        created_at=_NOW,
        expires_at=bindparam("until", type_=_MOMENT),
    )
)
QUEUE_MESSAGE = Query(
    insert(notification).values(
        id=bindparam("message_id", type_=Uuid()),
        event_id=bindparam("because", type_=Uuid()),
        contact_id=bindparam("sign_in_id", type_=Uuid()),
        channel=bindparam("by", type_=Text()),
        template="sign_in_code",
        recipient=bindparam("to", type_=Text()),
        subject=bindparam("title", type_=Text()),
        body=bindparam("content", type_=Text()),
        state="queued",
        created_at=_NOW,
    )
)
TAKE_CODE_TRY = Query(
    update(one_time_code)
    .where(
        one_time_code.c.id == bindparam("sign_in_id"),
        one_time_code.c.used_at.is_(None),
        one_time_code.c.expires_at > _NOW,
        one_time_code.c.tries < CODE_TRIES,
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
FORGET_CODES = Query(
    delete(one_time_code).where(one_time_code.c.expires_at < bindparam("before", type_=_MOMENT))
)
INSERT_SHOPPER = Query(
    upsert(shopper)
    .values(
        id=bindparam("shopper_id", type_=Uuid()),
        email=bindparam("mail", type_=Text()),
        phone=bindparam("number", type_=Text()),
        name=bindparam("called", type_=Text()),
        locale=bindparam("language", type_=Text()),
        created_at=_NOW,
    )
    .on_conflict_do_nothing()
)
SHOPPER_BY_EMAIL = Query(select(shopper).where(shopper.c.email == bindparam("of")), Shopper)
SHOPPER_BY_PHONE = Query(select(shopper).where(shopper.c.phone == bindparam("of")), Shopper)
SHOPPER_BY_ID = Query(select(shopper).where(shopper.c.id == bindparam("of")), Shopper)

_NEW = records_of(
    "contacts",
    id=Uuid(),
    shopper_id=Uuid(),
    **{name: Text() for name in ("name", "email", "phone", "locale")},
)
_NEW_COLUMNS = list(_NEW.c)
INSERT_CONTACTS = Query(
    upsert(contact)
    .from_select([c.name for c in _NEW_COLUMNS], select(*_NEW_COLUMNS).order_by(_NEW.c.id))
    .on_conflict_do_nothing()
)
CONTACTS = Query(
    select(contact).where(contact.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))), Contact
)


async def start_sign_in(
    conn: Connection,
    who: Principal,
    *,
    secret: bytes,
    email: str | None,
    phone: str | None,
    locale: Locale,
    now: datetime,
) -> StartedSignIn:
    """Queue a code for a mail address or a phone number; `secret` is the installation's.

    Answers the same whether there is such a shopper or not. Raises `InvalidField`, `TooManyCodes`.
    """
    if (email is None) == (phone is None):
        raise InvalidField(path="/email", reason="Give either an email address or a phone number.")
    recipient = normal_email(email) if email is not None else normal_phone(phone or "")
    await conn.run(LOCK_RECIPIENT, to=recipient)
    _check_pace(await conn.one(CODES_SENT, to=recipient, since=now - _HOUR), now)
    started = StartedSignIn(ids.uuid7(), now + CODE_LIFETIME)
    code = f"{secrets.randbelow(10**_CODE_DIGITS):0{_CODE_DIGITS}}"
    await conn.run(
        INSERT_CODE,
        sign_in_id=started.id,
        to=recipient,
        hashed=_digest(secret, started.id, recipient, code),
        now=now,
        until=started.expires_at,
    )
    asked = events.Event("sign_in.code_requested", "sign_in", started.id, who.actor)
    event_ids = await events.record(conn, [asked], now=now)
    subject, body = _message(code, locale)
    await conn.run(
        QUEUE_MESSAGE,
        message_id=ids.uuid7(),
        because=event_ids[0],
        sign_in_id=started.id,
        by="email" if email is not None else "sms",
        to=recipient,
        title=subject,
        content=body,
        now=now,
    )
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
) -> tuple[StartedSession, Shopper]:
    """The session of the shopper who told the right code; a new shopper where there was none.

    One transaction, which also commits the try of a wrong code. Raises `CodeRefused`.
    """

    async def work(conn: Connection) -> tuple[StartedSession, Shopper] | CodeRefused:
        sent = await conn.first(TAKE_CODE_TRY, sign_in_id=sign_in_id, now=now)
        recipient = sent.recipient if sent is not None else ""
        given = _digest(secret, sign_in_id, recipient, ids.normal_code(code))
        if sent is None or not hmac.compare_digest(given, sent.code_hash):
            return CodeRefused()
        await conn.one(USE_CODE, sign_in_id=sign_in_id, now=now)
        known = await _shopper(conn, recipient, locale, now)
        return await start_shopper_session(conn, who, known.id, now=now), known

    outcome = await db.commit(work)
    if isinstance(outcome, CodeRefused):
        raise outcome
    return outcome


async def forget_codes(conn: Connection, *, now: datetime) -> None:
    """Drop codes of yesterday: they open nothing, and the pace of new ones looks back an hour."""
    await conn.run(FORGET_CODES, before=now - _DAY)


async def shopper_by_id(conn: Connection, shopper_id: UUID) -> Shopper | None:
    """One shopper."""
    return await conn.first(SHOPPER_BY_ID, of=shopper_id)


async def put_shopper(
    conn: Connection,
    *,
    email: str | None,
    phone: str | None,
    locale: Locale,
    now: datetime,
    name: str | None = None,
) -> Shopper:
    """The shopper with this address or number; a new one where there was none."""
    await conn.run(
        INSERT_SHOPPER,
        shopper_id=ids.uuid7(),
        mail=email,
        number=phone,
        called=name,
        language=locale,
        now=now,
    )
    by = (SHOPPER_BY_EMAIL, email) if email is not None else (SHOPPER_BY_PHONE, phone)
    return await conn.one(by[0], of=by[1])


async def add_contacts(conn: Connection, contacts: Sequence[Contact]) -> None:
    """Keep the contacts of many orders at once. Repeating an id changes nothing."""
    if contacts:
        await conn.later(INSERT_CONTACTS, contacts=records(contacts))


async def contacts_by_ids(conn: Connection, contact_ids: Sequence[UUID]) -> list[Contact]:
    """The contacts of these ids, in no order."""
    return await conn.run(CONTACTS, ids=list(contact_ids))


def normal_email(text: str) -> str:
    """The one form of a mail address: lower case. Raises `InvalidField` for what is none."""
    address = text.strip().lower()
    name, at, domain = address.rpartition("@")
    if not (at and name and "." in domain.strip(".")) or len(address.split()) != 1:
        raise InvalidField(path="/email", reason="This is not an email address.")
    return address


@lru_cache(maxsize=10_000)
def normal_phone(text: str) -> str:
    """The E.164 form of an international phone number (+52 55 1234 5678). Raises `InvalidField`."""
    import phonenumbers  # 23 MB and 0.1 s: only who reads a phone number pays for it

    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        reason = "This is not an international phone number, such as +525512345678."
        raise InvalidField(path="/phone", reason=reason)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


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


def _message(code: str, locale: Locale) -> tuple[str, str]:
    if locale == "es":
        return "Tu código para entrar", f"Tu código es {code}. Vale diez minutos; no lo compartas."
    return (
        "Your sign-in code",
        f"Your code is {code}. It is valid for ten minutes; share it with nobody.",
    )
