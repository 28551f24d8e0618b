"""Watches: somebody wants to know when a SKU can be had at a store again.

A watch begins while there is none, so coming in is a change. When there are some again, those who
have waited longest are called: a follow-up is scheduled for each, at most `CALLED_PER_UNIT` people
for a unit within `CALLED_WITHIN`, so that few come in vain. If the goods are gone before it is
sent, the watch waits on; once it is sent, or may not be, the watch has ended.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    insert,
    null,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import catalog, consents, stores
from commerce.access import Principal
from commerce.clienteling import ConsentMissing
from commerce.follow_ups.rows import New, schedule
from commerce.follow_ups.settings import settings
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.tables import watch
from inventory import availability

MAX_WATCHES = 50
"""Open ones of one person."""

CALLED_PER_UNIT = 3
CALLED_WITHIN = timedelta(hours=2)
_PAGE = 500
_LOCK = 7_236_014_911
_FIRST = UUID(int=0)


class InStock(CommerceError):
    """There are some now; nothing to wait for."""

    code = "in_stock"
    sku: str
    available: int


class TooManyWatches(CommerceError):
    """Nobody waits for more at once. End one first."""

    code = "too_many_watches"
    maximum: int = MAX_WATCHES


class Watch(msgspec.Struct, frozen=True):
    """Somebody waits for a SKU at a store."""

    id: UUID
    shopper_id: UUID
    sku: str
    location_id: UUID
    created_at: datetime


class _Wanted(msgspec.Struct, frozen=True):
    location_id: UUID
    sku: str


class _Called(msgspec.Struct, frozen=True):
    location_id: UUID
    sku: str
    count: int


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_SHOWN = [watch.c[name] for name in Watch.__struct_fields__]
_OPEN = watch.c.ended_at.is_(None)
_WAITING = _OPEN & watch.c.called_at.is_(None)
_PERSON = watch.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid)))
_IDS = watch.c.id == any_(bindparam("watch_ids", type_=ARRAY(Uuid)))

LOCK_PERSON = Query(
    select(
        func.pg_advisory_xact_lock(func.hashtextextended(bindparam("person", type_=Text()), _LOCK))
    ),
    type(None),
)
OF_PERSON = Query(
    select(*_SHOWN).where(_PERSON, _OPEN).order_by(watch.c.id).limit(MAX_WATCHES), Watch
)
INSERT = Query(
    insert(watch).values(
        id=bindparam("new_id", type_=Uuid()),
        shopper_id=bindparam("of", type_=Uuid()),
        sku=bindparam("code", type_=Text()),
        location_id=bindparam("at", type_=Uuid()),
        created_at=_NOW,
    )
)
END_OF_PERSON = Query(
    update(watch)
    .where(
        _PERSON,
        _OPEN,
        watch.c.sku == bindparam("code"),
        watch.c.location_id == bindparam("at"),
    )
    .values(ended_at=_NOW)
)
END = Query(update(watch).where(_IDS, _OPEN).values(ended_at=_NOW))
WAIT_ON = Query(update(watch).where(_IDS, _OPEN).values(called_at=null()))

ONE_AT_A_TIME = Query(select(func.pg_try_advisory_xact_lock(_LOCK)), bool)
_AFTER_LOCATION = bindparam("after_location", type_=Uuid())
_AFTER_SKU = bindparam("after_sku", type_=Text())
WANTED = Query(
    select(watch.c.location_id, watch.c.sku)
    .distinct()
    .where(
        _WAITING,
        tuple_(watch.c.location_id, watch.c.sku) > tuple_(_AFTER_LOCATION, _AFTER_SKU),
    )
    .order_by(watch.c.location_id, watch.c.sku)
    .limit(bindparam("page", type_=Integer())),
    _Wanted,
)
_KEYS = rows_of("k", location_id=Uuid(), sku=Text())
CALLED = Query(
    select(_KEYS.c.location_id, _KEYS.c.sku, func.count().label("count"))
    .join(watch, (watch.c.location_id == _KEYS.c.location_id) & (watch.c.sku == _KEYS.c.sku))
    .where(watch.c.called_at > bindparam("since", type_=_TIME))
    .group_by(_KEYS.c.location_id, _KEYS.c.sku),
    _Called,
)
_ROOM = rows_of("r", location_id=Uuid(), sku=Text(), room=Integer())
_first = (
    select(watch.c.id)
    .where(_WAITING, watch.c.location_id == _ROOM.c.location_id, watch.c.sku == _ROOM.c.sku)
    .order_by(watch.c.id)
    .limit(_ROOM.c.room)
    .lateral("first")
)
CALL = Query(
    update(watch)
    .where(
        watch.c.id
        == any_(
            func.array(
                select(_first.c.id).select_from(_ROOM.join(_first, true())).scalar_subquery(),
                type_=ARRAY(Uuid),
            )
        ),
        _WAITING,
    )
    .values(called_at=_NOW)
    .returning(*_SHOWN),
    Watch,
)


async def put_watch(
    conn: Connection, who: Principal, sku: str, location_id: UUID, *, now: datetime
) -> Watch:
    """Have the shopper told when there are some at this store. Repeating it changes nothing.

    Raises NotFound, ConsentMissing, InStock, TooManyWatches.
    """
    assert who.shopper_id is not None
    await conn.run(LOCK_PERSON, person=str(who.shopper_id))
    present = await watches(conn, who.person_ids)
    for each in present:
        if (each.sku, each.location_id) == (sku, location_id):
            return each
    at = await stores.by_id(conn, location_id)
    await catalog.sku_by_code(conn, sku, zone=at.price_zone)
    if not (await consents.of(conn, who.person_ids)).allows("follow_up"):
        raise ConsentMissing(purpose="follow_up")
    ((found,),) = await availability.of_skus(conn, [(sku, [location_id])], now=now)
    if found.available_to_promise:
        raise InStock(sku=sku, available=found.available_to_promise)
    if len(present) >= MAX_WATCHES:
        raise TooManyWatches
    made = Watch(ids.uuid7(), who.shopper_id, sku, location_id, now)
    await conn.run(INSERT, new_id=made.id, of=made.shopper_id, code=sku, at=location_id, now=now)
    return made


async def end_watch(
    conn: Connection, who: Principal, sku: str, location_id: UUID, *, now: datetime
) -> None:
    """Wait no more. Repeating it, or ending what was never begun, changes nothing."""
    await conn.run(
        END_OF_PERSON, person_ids=list(who.person_ids), code=sku, at=location_id, now=now
    )


async def watches(conn: Connection, person_ids: Sequence[UUID]) -> list[Watch]:
    """What a person waits for, oldest first."""
    return await conn.run(OF_PERSON, person_ids=list(person_ids))


async def call_waiting(conn: Connection, *, now: datetime) -> int:
    """Schedule a follow-up for whoever waits for what is there again; returns for how many.

    One process at a time does so; another finds nothing to do.
    """
    of = (await settings(conn))["back_in_stock"]
    if not of.enabled or not await conn.one(ONE_AT_A_TIME):
        return 0
    called = 0
    after = _Wanted(_FIRST, "")
    while wanted := await conn.run(
        WANTED, after_location=after.location_id, after_sku=after.sku, page=_PAGE
    ):
        after = wanted[-1]
        room = await _room(conn, wanted, now)
        first = await conn.run(
            CALL,
            location_id=[each.location_id for each, _ in room],
            sku=[each.sku for each, _ in room],
            room=[people for _, people in room],
            now=now,
        )
        new = [New(each.id, now + of.delay, now, shopper_id=each.shopper_id) for each in first]
        await schedule(conn, "back_in_stock", new)
        called += len(first)
        if len(wanted) < _PAGE:
            break
    return called


async def settle(
    conn: Connection, *, ended: Sequence[UUID], waiting: Sequence[UUID], now: datetime
) -> None:
    """End watches whose follow-up is decided, and let those wait on that were called in vain."""
    if ended:
        await conn.run(END, watch_ids=list(ended), now=now)
    if waiting:
        await conn.run(WAIT_ON, watch_ids=list(waiting))


async def _room(
    conn: Connection, wanted: Sequence[_Wanted], now: datetime
) -> list[tuple[_Wanted, int]]:
    """How many more people may be called for each: none where there are no units."""
    asked = [(each.sku, [each.location_id]) for each in wanted]
    units = [
        found.available_to_promise for (found,) in await availability.of_skus(conn, asked, now=now)
    ]
    rows = await conn.run(
        CALLED,
        location_id=[each.location_id for each in wanted],
        sku=[each.sku for each in wanted],
        since=now - CALLED_WITHIN,
    )
    called = Counter({_Wanted(each.location_id, each.sku): each.count for each in rows})
    room = [
        (each, CALLED_PER_UNIT * there - called[each])
        for each, there in zip(wanted, units, strict=True)
    ]
    return [(each, people) for each, people in room if people > 0]
