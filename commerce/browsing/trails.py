"""Whose events are whose: trails are joined at sign-in, read, and removed.

    anonymous, anonymous, SIGN-IN of Ana, anonymous, SIGN-IN of Eva
    `------- Ana's ------------------'  `------- Eva's ----------'

A sign-in takes what its device did since the sign-in before, by the server's clock, and writes that
span down; events are not touched. What a session sends is its shopper's, whatever the device is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.browsing.choices import CHOOSE, off
from commerce.browsing.summary import Browsing, Goods, Seen, summarize
from commerce.kernel import partitions
from commerce.kernel.sql import Connection, Query
from commerce.tables import browsing_event, browsing_link, item, sku

RECENT = timedelta(days=90)
"""How far a summary looks back, in few partitions."""

NEWEST = 200
"""How many events a summary is made of, at most; as many are read per id and per device."""

DEVICES = 20
"""From how many of the last spans of devices."""

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)
_LONGEST_MONTH = timedelta(days=31)
_MOMENT = DateTime(timezone=True)
_PERSON = bindparam("person_ids", type_=ARRAY(Uuid()))
_SINCE, _UNTIL = bindparam("since", type_=_MOMENT), bindparam("until", type_=_MOMENT)


class _Last(msgspec.Struct, frozen=True):
    since: datetime
    until: datetime
    shopper_id: UUID


LOCK_VISITOR = Query(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("of", type_=Text()), 1))),
    type(None),
)
LAST_LINK = Query(
    select(browsing_link.c.since, browsing_link.c.until, browsing_link.c.shopper_id)
    .where(browsing_link.c.visitor_id == bindparam("visitor"))
    .order_by(browsing_link.c.since.desc())
    .limit(1),
    _Last,
)
LINK = Query(
    insert(browsing_link).values(
        visitor_id=bindparam("visitor", type_=Uuid()),
        since=_SINCE,
        until=_UNTIL,
        shopper_id=bindparam("shopper", type_=Uuid()),
    )
)
EXTEND_LINK = Query(
    update(browsing_link)
    .where(browsing_link.c.visitor_id == bindparam("visitor"), browsing_link.c.since == _SINCE)
    .values(until=_UNTIL)
)

_SEEN = [browsing_event.c[name] for name in Seen.__struct_fields__]
_NEW_ENOUGH = browsing_event.c.id >= bindparam("oldest", type_=Uuid())
_LIMIT = bindparam("newest", type_=Integer())
_ID = func.unnest(_PERSON).table_valued(column("id", Uuid()), name="person").render_derived()
_SPAN = (
    select(browsing_link.c.visitor_id, browsing_link.c.since, browsing_link.c.until)
    .where(browsing_link.c.shopper_id == any_(_PERSON))
    .order_by(browsing_link.c.until.desc())
    .limit(bindparam("devices", type_=Integer()))
    .subquery("span")
)
_SIGNED_IN = (
    select(*_SEEN, browsing_event.c.received_at)
    .where(browsing_event.c.shopper_id == _ID.c.id, _NEW_ENOUGH)
    .order_by(browsing_event.c.received_at.desc())
    .limit(_LIMIT)
    .lateral("signed_in")
)
_ANONYMOUS = (
    select(*_SEEN, browsing_event.c.received_at)
    .where(
        browsing_event.c.shopper_id.is_(None),
        browsing_event.c.visitor_id == _SPAN.c.visitor_id,
        browsing_event.c.received_at > _SPAN.c.since,
        browsing_event.c.received_at <= _SPAN.c.until,
        _NEW_ENOUGH,
    )
    .order_by(browsing_event.c.received_at.desc())
    .limit(_LIMIT)
    .lateral("anonymous")
)
_BOTH = union_all(
    select(_SIGNED_IN).select_from(_ID.join(_SIGNED_IN, literal_column("true"))),
    select(_ANONYMOUS).select_from(_SPAN.join(_ANONYMOUS, literal_column("true"))),
).subquery("trail")
TRAIL = Query(
    select(*(_BOTH.c[name] for name in Seen.__struct_fields__))
    .order_by(_BOTH.c.received_at.desc())
    .limit(_LIMIT),
    Seen,
)
GOODS = Query(
    union_all(
        select(sku.c.sku, item.c.code.label("item"), item.c.name, item.c.department)
        .join(item, item.c.code == sku.c.item_code)
        .where(sku.c.sku == any_(bindparam("skus", type_=ARRAY(Text())))),
        select(cast(null(), Text()), item.c.code, item.c.name, item.c.department).where(
            item.c.code == any_(bindparam("items", type_=ARRAY(Text())))
        ),
    ),
    Goods,
)

CLEAR_SIGNED_IN = Query(delete(browsing_event).where(browsing_event.c.shopper_id == any_(_PERSON)))
CLEAR_ANONYMOUS = Query(
    delete(browsing_event).where(
        browsing_event.c.shopper_id.is_(None),
        browsing_event.c.visitor_id == browsing_link.c.visitor_id,
        browsing_event.c.received_at > browsing_link.c.since,
        browsing_event.c.received_at <= browsing_link.c.until,
        browsing_link.c.shopper_id == any_(_PERSON),
    )
)

FORGET_LINKS = Query(
    delete(browsing_link).where(browsing_link.c.until < bindparam("before", type_=_MOMENT))
)


async def link(
    conn: Connection, visitor_id: UUID, person_ids: Sequence[UUID], *, now: datetime
) -> None:
    """Give a shopper who signs in what the device did since somebody last signed in on it.

    Repeating it changes nothing but the end of the span. Whoever has switched recording off takes
    the span as well, so that nobody else gets it, and it is emptied.
    """
    await conn.run(LOCK_VISITOR, of=visitor_id.hex)
    last = await conn.first(LAST_LINK, visitor=visitor_id)
    if last is not None and last.shopper_id == person_ids[0]:
        until = max(now, last.until)
        await conn.run(EXTEND_LINK, visitor=visitor_id, since=last.since, until=until)
    else:
        since = last.until if last is not None else _BEGINNING
        until = max(now, since + _INSTANT)
        await conn.run(LINK, visitor=visitor_id, since=since, until=until, shopper=person_ids[0])
    if await off(conn, [person_ids]):
        await clear(conn, person_ids)


async def recent(conn: Connection, person_ids: Sequence[UUID], *, now: datetime) -> Browsing:
    """What a person browsed in the last three months, from at most the newest 200 events.

    Costs the same however many events there are: two statements, and a bounded look along an index
    per month, id and device.
    """
    trail = await conn.run(
        TRAIL,
        person_ids=list(person_ids),
        oldest=partitions.bound(now - RECENT),
        newest=NEWEST,
        devices=DEVICES,
    )
    skus = {seen.sku for seen in trail} - {None}
    items = {seen.item for seen in trail} - {None}
    found = await conn.run(GOODS, skus=list(skus), items=list(items)) if skus or items else []
    goods = {(each.sku, None if each.sku else each.item): each for each in found}
    return summarize(trail, goods, now=now)


async def clear(conn: Connection, person_ids: Sequence[UUID]) -> None:
    """Remove every event of a person, of all time. What comes in from now on is recorded anew.

    The spans stay: they keep what was this person's from ever becoming another's.
    """
    await conn.run(CLEAR_SIGNED_IN, person_ids=list(person_ids))
    await conn.run(CLEAR_ANONYMOUS, person_ids=list(person_ids))


async def choose(
    conn: Connection, person_ids: Sequence[UUID], *, recording: bool, now: datetime
) -> None:
    """Switch recording on or off. Off also removes what was recorded. Repeating it is harmless."""
    await conn.run(CHOOSE, shopper=person_ids[0], wanted=recording, now=now)
    if not recording:
        await clear(conn, person_ids)


async def forget(conn: Connection, *, months_kept: int, now: datetime) -> list[str]:
    """Drop whole months of events, and the spans in which nothing can be left; the months' names.

    Repeating it is harmless. An event may be a month ahead of its receipt, so spans stay longer.
    """
    months = await partitions.drop(conn, "browsing_event", months_kept=months_kept, now=now)
    await conn.run(FORGET_LINKS, before=now - (months_kept + 2) * _LONGEST_MONTH)
    return months
