"""Events are written: many batches of many devices in one statement."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import (
    JSON,
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, array, insert

from commerce.browsing.choices import off
from commerce.browsing.events import Batch, BrowsingCounts, Dated, Row
from commerce.kernel.sql import Connection, Query, records, records_of
from commerce.tables import browsing_event

_MOMENT = DateTime(timezone=True)
_BATCHES = records_of(
    "batches",
    visitor_id=Uuid(),
    shopper_id=Uuid(),
    session_id=Uuid(),
    device=Text(),
    received_at=_MOMENT,
    events=JSON(),
)
# What is the same for a batch is sent once for it.
_EVENTS = (
    func.json_to_recordset(_BATCHES.c.events)
    .table_valued(
        column("id", Uuid()),
        column("type", Text()),
        column("sku", Text()),
        column("item", Text()),
        column("query", Text()),
        column("location_id", Uuid()),
        column("at", _MOMENT),
        name="events",
    )
    .render_derived(with_types=True)
    .lateral()
)
_NEW = [*(c for c in _BATCHES.c if c.name != "events"), *_EVENTS.c]
_STORED = (
    insert(browsing_event)
    .from_select([c.name for c in _NEW], select(*_NEW).order_by(_EVENTS.c.id))
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


class _Sent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    visitor_id: UUID
    session_id: UUID
    device: str
    received_at: datetime
    events: list[Row]
    shopper_id: UUID | None = None


async def record(conn: Connection, batches: Sequence[Dated]) -> list[BrowsingCounts]:
    """Store the events of many batches; an answer for each batch, in order.

    Repeating events is harmless, also at the same time. Whose shopper has switched recording off is
    answered as not recorded. Each statement is good by itself, so no transaction is needed.
    """
    unwilling = await _unwilling(conn, [each.batch for each in batches])
    taken = [each for each in batches if unwilling.isdisjoint(each.batch.person_ids)]
    stored = await _store(conn, taken, await _present(conn, taken)) if taken else None
    counts = []
    for each in batches:
        given = len(each.rows)
        if not unwilling.isdisjoint(each.batch.person_ids):
            counts.append(BrowsingCounts(not_recorded=given))
        elif stored is None:
            counts.append(BrowsingCounts(given, 0, each.times_corrected))
        else:
            mine = stored & {row.id for row in each.rows}
            stored -= mine  # who of several brought it first, has stored it
            counts.append(BrowsingCounts(len(mine), given - len(mine), each.times_corrected))
    return counts


async def _unwilling(conn: Connection, batches: Sequence[Batch]) -> frozenset[UUID]:
    people = [each.person_ids for each in batches if each.person_ids]
    return await off(conn, people) if people else frozenset()


async def _present(conn: Connection, batches: Sequence[Dated]) -> frozenset[str]:
    """Which other ids of events with an impossible time are there already."""
    asked = [UUID(id_) for each in batches for ids in each.elsewhere.values() for id_ in ids]
    return frozenset([id_.hex for id_ in await conn.run(PRESENT, ids=asked)] if asked else ())


async def _store(
    conn: Connection, batches: Sequence[Dated], present: frozenset[str]
) -> set[str] | None:
    """The ids of those that were not there; None when that is all of them."""
    sent = [_sent(each, present) for each in batches]
    given = sum(len(each.rows) for each in batches)
    (stored,) = await conn.run(STORE, batches=records(sent), given=given)
    return None if stored.ids is None else {id_.hex for id_ in stored.ids}


def _sent(dated: Dated, present: frozenset[str]) -> _Sent:
    batch, rows = dated.batch, dated.rows
    if dated.elsewhere:
        rows = [row for row in rows if present.isdisjoint(dated.elsewhere.get(row.id, ()))]
    return _Sent(
        batch.visitor_id,
        batch.session_id,
        batch.device,
        batch.received_at,
        rows,
        batch.person_ids[0] if batch.person_ids else None,
    )
