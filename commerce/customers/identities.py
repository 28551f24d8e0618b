"""Shoppers who sign in with an external issuer (OpenID Connect): whose identity is whose.

An identity is an issuer and its subject, kept as a digest. The first time, an email address that
the issuer has *verified* joins the shopper who has it; an unverified one is worth nothing, and a
shopper of its own begins. From then on the identity counts, whatever its address says.
"""

from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, LargeBinary, Text, Uuid, bindparam, func, insert, select

from commerce.access import Principal, StartedSession
from commerce.customers.addresses import normal_email
from commerce.customers.persons import Locale, Person, add_shopper, put_shopper
from commerce.customers.sign_in import Joining, begin_session, joins_nothing
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection, Query
from commerce.tables.people import shopper_identity


class Claims(msgspec.Struct, frozen=True):
    """What a genuine token says about its bearer."""

    issuer: str
    subject: str
    verified_email: str | None = None


_HASH = bindparam("hashed", type_=LargeBinary())
LOCK_IDENTITY = Query(
    select(func.pg_advisory_xact_lock(func.hashtextextended(func.encode(_HASH, "hex"), 0))),
    type(None),
)
FIND = Query(
    select(shopper_identity.c.shopper_id).where(
        shopper_identity.c.issuer == bindparam("by"), shopper_identity.c.subject_hash == _HASH
    ),
    UUID,
)
ADD = Query(
    insert(shopper_identity).values(
        issuer=bindparam("by", type_=Text()),
        subject_hash=_HASH,
        shopper_id=bindparam("shopper", type_=Uuid()),
        created_at=bindparam("now", type_=DateTime(timezone=True)),
    )
)


async def sign_in_externally(
    conn: Connection,
    who: Principal,
    claims: Claims,
    *,
    locale: Locale,
    now: datetime,
    joining: Joining = joins_nothing,
) -> tuple[StartedSession, Person]:
    """A session for the bearer of a verified token. Each call starts another one."""
    hashed = sha256(f"{claims.issuer}\0{claims.subject}".encode()).digest()
    await conn.run(LOCK_IDENTITY, hashed=hashed)
    known = await conn.first(FIND, by=claims.issuer, hashed=hashed)
    if known is None:
        known = await _shopper(conn, claims, locale, now)
        await conn.run(ADD, by=claims.issuer, hashed=hashed, shopper=known, now=now)
    return await begin_session(conn, who, known, joining=joining, now=now)


async def _shopper(conn: Connection, claims: Claims, locale: Locale, now: datetime) -> UUID:
    email = _email(claims)
    if email is not None:
        return (await put_shopper(conn, email=email, phone=None, locale=locale, now=now)).id
    made = await add_shopper(conn, email=None, phone=None, locale=locale, now=now)
    assert made is not None, "nobody else has no address"
    return made.id


def _email(claims: Claims) -> str | None:
    """The verified address; none where it is not one."""
    try:
        return normal_email(claims.verified_email) if claims.verified_email else None
    except InvalidField:
        return None
