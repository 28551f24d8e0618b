"""What outreach learns from events: a purchase, a visit, a reply; a consent that is withdrawn."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Interval,
    Uuid,
    any_,
    bindparam,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import consents, customers
from commerce.kernel.events import Recorded
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.outreach.book import end_of_persons
from commerce.tables import orders, outreach, shopper_view

ATTRIBUTED_WITHIN = timedelta(days=14)
"""A purchase or a visit within this time after outreach counts as its success."""


class _Fact(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID
    at: datetime


_TIME = DateTime(timezone=True)
_IDS = any_(bindparam("ids", type_=ARRAY(Uuid)))
BOUGHT = Query(
    select(orders.c.id, orders.c.shopper_id, orders.c.placed_at.label("at")).where(
        orders.c.id == _IDS,
        orders.c.state.in_(("placed", "completed")),
        orders.c.shopper_id.is_not(None),
    ),
    _Fact,
)
CAME = Query(
    select(
        shopper_view.c.id, shopper_view.c.shopper_id, shopper_view.c.opened_at.label("at")
    ).where(shopper_view.c.id == _IDS, shopper_view.c.purpose != "follow_up"),
    _Fact,
)
_FACTS = rows_of("f", fact_id=Uuid(), shopper_id=Uuid(), at=_TIME)
_WITHIN: ColumnElement[timedelta] = literal_column(
    f"interval '{ATTRIBUTED_WITHIN.days} days'", Interval()
)
_before = outreach.alias("before")
_newest = (
    select(_before.c.id)
    .where(
        _before.c.shopper_id == _FACTS.c.shopper_id,
        _before.c.written_at <= _FACTS.c.at,
        _before.c.written_at > _FACTS.c.at - _WITHIN,
    )
    .order_by(_before.c.id.desc())
    .limit(literal_column("1"))
    .lateral("newest")
)
_LED = (
    select(_newest.c.id, _FACTS.c.fact_id, _FACTS.c.at)
    .select_from(_FACTS.join(_newest, true()))
    .subquery("led")
)
"""The newest outreach to the shopper before something happened: that is what it is put down to."""

ATTRIBUTE = Query(
    update(outreach)
    .where(outreach.c.id == _LED.c.id, outreach.c.order_id.is_(None))
    .values(order_id=_LED.c.fact_id)
)
VISITED = Query(
    update(outreach)
    .where(outreach.c.id == _LED.c.id, outreach.c.visited_at.is_(None))
    .values(visited_at=_LED.c.at)
)
REPLIED = Query(
    update(outreach)
    .where(outreach.c.id == _LED.c.id, outreach.c.replied_at.is_(None))
    .values(replied_at=_LED.c.at)
)


async def hear(conn: Connection, new: Sequence[Recorded], *, now: datetime) -> None:
    """Track what outreach has led to, and empty books of whoever wants no service. Repeatable."""
    bought = await _facts(conn, BOUGHT, _aggregates(new, "order.placed"))
    await _track(conn, ATTRIBUTE, bought)
    await _track(conn, VISITED, await _facts(conn, CAME, _aggregates(new, "shopper_view.opened")))
    replies = [
        _Fact(each.id, each.aggregate_id, each.at)
        for each in new
        if each.type == "message.received"
    ]
    await _track(conn, REPLIED, replies)
    await _withdrawn(conn, _aggregates(new, "consent.changed"), now)


def _aggregates(new: Sequence[Recorded], kind: str) -> list[UUID]:
    return sorted({each.aggregate_id for each in new if each.type == kind})


async def _facts(conn: Connection, query: Query[_Fact], ids: Sequence[UUID]) -> list[_Fact]:
    return await conn.run(query, ids=list(ids)) if ids else []


async def _track(conn: Connection, query: Query[None], facts: Sequence[_Fact]) -> None:
    """Whoever was written to under one id may buy under another."""
    if not facts:
        return
    persons = await customers.persons_of(conn, sorted({each.shopper_id for each in facts}))
    rows = [
        (each.id, member, each.at)
        for each in facts
        for member in persons.get(each.shopper_id, (each.shopper_id,))
    ]
    fact_id, shopper_id, at = map(list, zip(*rows, strict=True))
    await conn.run(query, fact_id=fact_id, shopper_id=shopper_id, at=at)


async def _withdrawn(conn: Connection, shopper_ids: Sequence[UUID], now: datetime) -> None:
    if not shopper_ids:
        return
    persons = {each[0]: each for each in (await customers.persons_of(conn, shopper_ids)).values()}
    granted = await consents.of_many(conn, persons)
    gone = [
        member
        for root, members in persons.items()
        if not granted[root].allows("personal_service")
        for member in members
    ]
    if gone:
        await end_of_persons(conn, sorted(gone), "consent_withdrawn", now=now)
