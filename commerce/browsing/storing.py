"""Events are written: many batches of many devices in one statement."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Text, Uuid, any_, bindparam, case, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY, array, insert

from commerce.browsing.choices import off
from commerce.browsing.events import Batch, Counts, Dated, Row, dated
from commerce.kernel.sql import Connection, Query, records, records_of
from commerce.tables import browsing_event

_MOMENT = DateTime(timezone=True)
_NEW = records_of(
    "e",
    id=Uuid(),
    visitor_id=Uuid(),
    shopper_id=Uuid(),
    session_id=Uuid(),
    device=Text(),
    type=Text(),
    sku=Text(),
    item=Text(),
    query=Text(),
    location_id=Uuid(),
    at=_MOMENT,
    received_at=_MOMENT,
)
_STORED = (
    insert(browsing_event)
    .from_select([c.name for c in _NEW.c], select(_NEW).order_by(_NEW.c.id))
    .on_conflict_do_nothing()
    .returning(browsing_event.c.id)
    .cte("stored")
)


class _Stored(msgspec.Struct, frozen=True):
    ids: list[UUID] | None


# Nearly always everything is new, and then a count says so; ids come when it is not.
STORE = Query(
    select(
        case(
            (func.count() == bindparam("given", type_=Integer()), None),
            else_=func.coalesce(func.array_agg(_STORED.c.id), cast(array([]), ARRAY(Uuid()))),
        ).label("ids")
    ).select_from(_STORED),
    _Stored,
)
PRESENT = Query(
    select(browsing_event.c.id).where(
        browsing_event.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))
    ),
    UUID,
)


async def record(conn: Connection, batches: Sequence[Batch]) -> list[Counts]:
    """Store the events of many batches; an answer for each batch, in order.

    Repeating events is harmless, also at the same time. Whose shopper has switched recording off is
    answered as not recorded. Each statement is good by itself, so no transaction is needed.
    """
    unwilling = await _unwilling(conn, batches)
    made = [[] if _among(unwilling, each) else list(dated(each)) for each in batches]
    present = await _present(conn, made)
    new: dict[str, Row] = {}
    counts = []
    firsts: list[list[str]] = []
    for events in made:
        mine = []
        for each in events:
            row = each.row
            if row.id not in new and present.isdisjoint(each.elsewhere):
                new[row.id] = row
                mine.append(row.id)
        firsts.append(mine)
    stored = await _store(conn, new)
    for batch, events, mine in zip(batches, made, firsts, strict=True):
        if not events:
            counts.append(Counts(not_recorded=len(batch.events)))
            continue
        kept = len(mine) if stored is None else sum(id_ in stored for id_ in mine)
        corrected = sum(each.corrected for each in events)
        counts.append(Counts(kept, len(events) - kept, corrected))
    return counts


async def _unwilling(conn: Connection, batches: Sequence[Batch]) -> frozenset[UUID]:
    people = [each.person_ids for each in batches if each.person_ids]
    return await off(conn, people) if people else frozenset()


def _among(unwilling: frozenset[UUID], batch: Batch) -> bool:
    return bool(batch.person_ids) and batch.person_ids[0] in unwilling


async def _present(conn: Connection, made: Sequence[Sequence[Dated]]) -> frozenset[str]:
    """Which of the other ids of events with an impossible time are there already."""
    asked = [id_ for events in made for each in events for id_ in each.elsewhere]
    found = await conn.run(PRESENT, ids=[UUID(id_) for id_ in asked]) if asked else []
    return frozenset(id_.hex for id_ in found)


async def _store(conn: Connection, new: Mapping[str, Row]) -> frozenset[str] | None:
    """The ids of those that were not there; None when that is all of them."""
    if not new:
        return None
    (stored,) = await conn.run(STORE, e=records(list(new.values())), given=len(new))
    return None if stored.ids is None else frozenset(id_.hex for id_ in stored.ids)
