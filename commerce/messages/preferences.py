"""The preference centre: what a person is written, by which channel, changed without signing in.

Who opens it has a link (see `links`), which stands for one person. It shows and changes what that
person allows, and nothing that says who the person is.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Text, Uuid, any_, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import consents
from commerce.consents import CHANNELS, Decision, MessageChannel, Purpose
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query
from commerce.messages import people
from commerce.messages.links import Link, LinkInvalid
from commerce.tables import preferred_channel

PURPOSES: tuple[Purpose, ...] = ("follow_up", "marketing")


class Choice(msgspec.Struct, frozen=True):
    """One thing that may be allowed."""

    purpose: Purpose
    channel: MessageChannel


class Preferences(msgspec.Struct, frozen=True):
    """What a person can choose among, and has chosen."""

    locale: str
    choices: tuple[Choice, ...]
    """Of the channels by which the person can be reached, and of those that are allowed anyway."""
    allowed: frozenset[Choice]
    preferred: MessageChannel | None


_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_BY = bindparam("by", type_=Text())
PREFER = Query(
    upsert(preferred_channel)
    .values(shopper_id=bindparam("of", type_=Uuid()), channel=_BY)
    .on_conflict_do_update(index_elements=[preferred_channel.c.shopper_id], set_={"channel": _BY})
)
FORGET_PREFERENCE = Query(
    delete(preferred_channel).where(preferred_channel.c.shopper_id == any_(_IDS))
)
PREFERENCE = Query(
    select(preferred_channel.c.channel)
    .where(preferred_channel.c.shopper_id == any_(_IDS))
    .order_by(func.array_position(_IDS, preferred_channel.c.shopper_id))
    .limit(1),
    str,
)


async def read(conn: Connection, link: Link) -> Preferences:
    """What the person of a link may choose. Raises `LinkInvalid` for nobody."""
    person = await _person(conn, link)
    held = await consents.of(conn, person.ids)
    preferred = await conn.first(PREFERENCE, ids=list(person.ids))
    every = [Choice(purpose, channel) for purpose in PURPOSES for channel in CHANNELS]
    allowed = frozenset(each for each in every if held.allows(each.purpose, each.channel))
    return Preferences(
        person.locale,
        tuple(each for each in every if each.channel in person.reached_by or each in allowed),
        allowed,
        next((each for each in CHANNELS if each == preferred), None),
    )


async def choose(
    conn: Connection,
    link: Link,
    *,
    shown: Collection[Choice],
    allowed: Collection[Choice],
    preferred: MessageChannel | None,
    now: datetime,
) -> None:
    """Keep what was chosen among what was shown. Repeating is harmless. Raises `LinkInvalid`."""
    person = await _person(conn, link)
    decisions = [
        Decision(each.purpose, granted=each in allowed, channel=each.channel)
        for each in sorted(shown, key=lambda each: (each.purpose, each.channel))
    ]
    await _decide(conn, person.ids[0], decisions, "preference_centre", now)
    await conn.run(FORGET_PREFERENCE, ids=list(person.ids))
    if preferred is not None:
        await conn.run(PREFER, of=person.ids[0], by=preferred)


async def unsubscribe(
    conn: Connection, link: Link, *, everything: bool = False, now: datetime
) -> None:
    """No more messages of the kind that the link came with, or none that may be refused at all.

    Repeating is harmless. Raises `LinkInvalid`.
    """
    person = await _person(conn, link)
    if everything or link.purpose == "service":
        ended = [Choice(purpose, channel) for purpose in PURPOSES for channel in CHANNELS]
    else:
        ended = [Choice(link.purpose, link.channel)]
    decisions = [Decision(each.purpose, granted=False, channel=each.channel) for each in ended]
    await _decide(conn, person.ids[0], decisions, "unsubscribe", now)


class _Person(msgspec.Struct, frozen=True):
    ids: tuple[UUID, ...]
    locale: str
    reached_by: frozenset[MessageChannel]


async def _person(conn: Connection, link: Link) -> _Person:
    found = (await people.shoppers(conn, [link.shopper_id])).get(link.shopper_id)
    if found is None or found.shopper_id is None:
        raise LinkInvalid
    return _Person(found.person_ids, found.locale, frozenset(found.addresses))


async def _decide(
    conn: Connection,
    shopper_id: UUID,
    decisions: list[Decision],
    source: consents.Source,
    now: datetime,
) -> None:
    try:
        await consents.decide(conn, shopper_id, decisions, source, f"shopper:{shopper_id}", now)
    except NotFound as erased:
        raise LinkInvalid from erased
