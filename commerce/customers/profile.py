"""What shoppers say about themselves, and the code by which the counter finds them.

Changes are written to the root of the person, so they stay there when a merge is undone. An email
address or a phone number is added or replaced only by who receives a code there; one that belongs
to somebody else is refused (`AddressTaken`): the two may be one person, which staff decides.

The code of a profile is signed and good for a few minutes, so a picture of it is soon worth
nothing. It tells nothing but an id, and nothing is stored for it.
"""

import base64
import binascii
import hmac
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from sqlalchemy import Text, bindparam, exists, func, or_, update
from sqlalchemy.dialects.postgresql import JSONB

from commerce.access import Principal
from commerce.customers.persons import (
    COLUMNS,
    Locale,
    Person,
    Shopper,
    Words,
    lock_person,
    person_of,
)
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, InvalidField, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.tables.people import shopper

CODE_LIFETIME = timedelta(minutes=3)
_SIGNATURE_BYTES = 12
_CODE_BYTES = 16 + 4 + _SIGNATURE_BYTES


class AddressTaken(CommerceError):
    """Another shopper signs in with this address or number."""

    code = "address_taken"


class ProfileCodeRefused(CommerceError):
    """The code was not made here, or its few minutes are over. Let the shopper show a new one."""

    code = "profile_code_refused"


class ProfileCode(msgspec.Struct, frozen=True):
    """What a shopper shows at the counter."""

    text: str
    expires_at: datetime


class ProfileChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different; None, and keys that are absent: as it is. A None word is unsaid."""

    name: str | None = None
    locale: Locale | None = None
    time_zone: str | None = None
    other_loyalty_code: str | None = None
    sizes: Words = {}
    preferences: Words = {}


def _or_as_it_is(column: str) -> object:
    return func.coalesce(bindparam(f"new_{column}", type_=Text()), shopper.c[column])


_ROOT = shopper.c.id == bindparam("root")
CHANGE = Query(
    update(shopper)
    .where(_ROOT)
    .values(
        **{
            name: _or_as_it_is(name)
            for name in ("name", "locale", "time_zone", "other_loyalty_code")
        },
        sizes=shopper.c.sizes.op("||")(bindparam("new_sizes", type_=JSONB())),
        preferences=shopper.c.preferences.op("||")(bindparam("new_preferences", type_=JSONB())),
        revision=shopper.c.revision + 1,
    )
)
_other = shopper.alias("other")
_MAIL, _NUMBER = bindparam("mail", type_=Text()), bindparam("number", type_=Text())
SET_ADDRESS = Query(
    update(shopper)
    .where(
        _ROOT,
        ~exists().where(
            or_(_other.c.email == _MAIL, _other.c.phone == _NUMBER), _other.c.id != shopper.c.id
        ),
    )
    .values(
        email=func.coalesce(_MAIL, shopper.c.email),
        phone=func.coalesce(_NUMBER, shopper.c.phone),
        revision=shopper.c.revision + 1,
    )
    .returning(*COLUMNS),
    Shopper,
)


async def change_profile(
    conn: Connection, who: Principal, shopper_id: UUID, changes: ProfileChanges, *, now: datetime
) -> Person:
    """Write what is different. Raises NotFound, InvalidField."""
    if changes.time_zone is not None:
        _check_time_zone(changes.time_zone)
    person = await _locked(conn, shopper_id)
    new = {f"new_{name}": getattr(changes, name) for name in changes.__struct_fields__}
    if changes.other_loyalty_code is not None:
        new["new_other_loyalty_code"] = ids.normal_code(changes.other_loyalty_code)
    await conn.run(CHANGE, root=person.id, **new)
    return await _changed(conn, who, person, now)


async def set_address(
    conn: Connection, who: Principal, shopper_id: UUID, recipient: str, *, now: datetime
) -> Person:
    """Make an address or a number, which was shown to be the shopper's, one to sign in with.

    It replaces the root's of its kind. The person's own already: nothing changes. Raises NotFound,
    AddressTaken.
    """
    person = await _locked(conn, shopper_id)
    if recipient in (*person.emails, *person.phones):
        return person
    by_mail = "@" in recipient
    set_ = await conn.first(
        SET_ADDRESS,
        root=person.id,
        mail=recipient if by_mail else None,
        number=None if by_mail else recipient,
    )
    if set_ is None:
        raise AddressTaken
    return await _changed(conn, who, person, now)


def profile_code(secret: bytes, shopper_id: UUID, *, now: datetime) -> ProfileCode:
    """A code that finds the shopper for the next minutes."""
    until = now + CODE_LIFETIME
    seconds = int(until.timestamp())
    told = shopper_id.bytes + seconds.to_bytes(4, "big")
    text = base64.b32encode(told + _signature(secret, told)).decode().rstrip("=")
    return ProfileCode(text, datetime.fromtimestamp(seconds, UTC))


def shopper_of_code(secret: bytes, text: str, *, now: datetime) -> UUID:
    """Whom a code was made for. Raises ProfileCodeRefused for one that is forged or old."""
    try:
        given = base64.b32decode(text.strip().upper() + "=" * (-len(text.strip()) % 8))
    except (binascii.Error, ValueError):
        raise ProfileCodeRefused from None
    told, signature = given[:-_SIGNATURE_BYTES], given[-_SIGNATURE_BYTES:]
    genuine = hmac.compare_digest(signature, _signature(secret, told))
    if len(given) != _CODE_BYTES or not genuine:
        raise ProfileCodeRefused
    if int.from_bytes(told[16:], "big") <= now.timestamp():
        raise ProfileCodeRefused
    return UUID(bytes=told[:16])


def _signature(secret: bytes, told: bytes) -> bytes:
    return hmac.digest(secret, b"profile-code\0" + told, "sha256")[:_SIGNATURE_BYTES]


@cache
def _time_zones() -> frozenset[str]:
    """All names, read once: the system keeps each in a file."""
    return frozenset(available_timezones())


def _check_time_zone(name: str) -> None:
    if name not in _time_zones():
        reason = "This is no IANA time zone, such as America/Mexico_City."
        raise InvalidField(path="/time_zone", reason=reason)


async def _locked(conn: Connection, shopper_id: UUID) -> Person:
    person = await lock_person(conn, shopper_id)
    if person.erased:
        raise NotFound(kind="shopper", id=str(shopper_id))
    return person


async def _changed(conn: Connection, who: Principal, person: Person, now: datetime) -> Person:
    fact = events.Event("shopper.changed", "shopper", person.id, who.actor)
    await events.record(conn, [fact], now=now)
    return await person_of(conn, person.id)
