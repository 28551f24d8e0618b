"""Erasing a person: the row of an erasure, how it is asked for, and each pass over the tables.

    pending -> finished ; finished -> pending, when something of the person was still under way

Asking is one transaction: from then on the shopper's row is empty, sessions are ended, nothing is
allowed any more, and whoever signs in with the same address is a new shopper. The rest are passes,
each of many short transactions, safe to repeat and to break off anywhere. What an open order needs
(its contact, its messages) is emptied once nothing is open. A pass that found something is followed
by another, because a request that began before the erasure may have ended after it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import access, clienteling, consents, customers, messages
from commerce.customers import Person
from commerce.customers.personal import EMPTY_SHOPPERS, guest_contacts, own_contacts
from commerce.kernel import events, holdings, idempotency, ids
from commerce.kernel.clock import Clock
from commerce.kernel.errors import NotFound
from commerce.kernel.holdings import Holding, Scope
from commerce.kernel.sql import Connection, Database, Query, either
from commerce.messages import Address, NewMessage
from commerce.orders.personal import OF_PERSON
from commerce.privacy.registry import HOLDINGS
from commerce.privacy.waiting import Wait, waits_of
from commerce.tables import associate, erasure, orders

State = Literal["pending", "finished"]

LEASE = timedelta(minutes=2)
"""How long a pass has an erasure to itself, from its last step on."""
LOOK_AGAIN = timedelta(minutes=10)
"""After a pass that found something: longer than any request takes that began before."""
WAIT = timedelta(minutes=1)
"""For orders, returns and payments; what happens to an order wakes it sooner."""
MESSAGE_WAIT = timedelta(seconds=5)
PAGE = 100
STAFF_AT_ONCE = 50
WITH_REASONS = "%/cancel"
"""Routes whose answers to a guest hold what the guest has typed."""


class Erasure(msgspec.Struct, frozen=True):
    """What was asked for, and what has been done. Ids only, once it is finished."""

    id: UUID
    shopper_id: UUID
    shopper_ids: list[UUID]
    state: State
    requested_by: str
    requested_at: datetime
    waits_for: list[Wait]
    counts: dict[str, int]
    finished_at: datetime | None


class _Work(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID
    shopper_ids: list[UUID]
    addresses: list[str]
    guest_contact_ids: list[UUID] | None
    requested_at: datetime


_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)
_SHOWN = [erasure.c[name] for name in Erasure.__struct_fields__]
_WORK = [erasure.c[name] for name in _Work.__struct_fields__]
_THIS = erasure.c.id == bindparam("of")

BY_ID = Query(select(*_SHOWN).where(_THIS), Erasure)
OF_SHOPPER = Query(select(*_SHOWN).where(erasure.c.shopper_id == bindparam("shopper")), Erasure)
NEWEST_FIRST = Query(
    select(*_SHOWN)
    .where(either(erasure.c.id < bindparam("before"), "before", Uuid()))
    .order_by(erasure.c.id.desc())
    .limit(bindparam("page", type_=BigInteger())),
    Erasure,
)
INSERT = Query(
    upsert(erasure)
    .values(
        id=bindparam("erasure_id", type_=Uuid()),
        shopper_id=bindparam("shopper", type_=Uuid()),
        shopper_ids=bindparam("all_ids", type_=ARRAY(Uuid())),
        state="pending",
        requested_by=bindparam("by", type_=Text()),
        requested_at=_NOW,
        addresses=bindparam("reached_at", type_=ARRAY(Text())),
        waits_for=bindparam("waits", type_=JSONB()),
        next_pass_at=_NOW,
        listed_at=case((bindparam("listed", type_=Text()) == "yes", _NOW), else_=null()),
    )
    .returning(*_SHOWN),
    Erasure,
)
_DUE = erasure.c.next_pass_at <= _NOW
_LEASED = {"next_pass_at": bindparam("until", type_=_MOMENT)}
DUE = Query(select(erasure.c.id).where(_DUE).order_by(erasure.c.next_pass_at).limit(PAGE), UUID)
TAKE = Query(update(erasure).where(_THIS, _DUE).values(**_LEASED).returning(*_WORK), _Work)
REMEMBER_GUESTS = Query(
    update(erasure)
    .where(_THIS)
    .values(guest_contact_ids=bindparam("guests", type_=ARRAY(Uuid())), **_LEASED)
)
_NAME = bindparam("of_table", type_=Text())
COUNT = Query(
    update(erasure)
    .where(_THIS)
    .values(
        counts=erasure.c.counts.concat(
            func.jsonb_build_object(
                _NAME,
                func.coalesce(cast(erasure.c.counts[_NAME].astext, Integer), 0)
                + bindparam("rows", type_=Integer()),
            )
        ),
        **_LEASED,
    )
)
NOTE_WAITS = Query(
    update(erasure)
    .where(_THIS)
    .values(
        state="pending",
        finished_at=null(),
        waits_for=bindparam("waits", type_=JSONB()),
        **_LEASED,
    )
)
LOCK = Query(select(erasure.c.state).where(_THIS).with_for_update(key_share=True), str)
FINISH = Query(
    update(erasure)
    .where(_THIS)
    .values(
        state="finished",
        finished_at=func.coalesce(erasure.c.finished_at, _NOW),
        addresses=cast(literal("{}"), ARRAY(Text())),
        waits_for=cast(literal("[]"), JSONB),
        next_pass_at=bindparam("again_at", type_=_MOMENT),
    )
)
_TOUCHED = exists().where(
    orders.c.id == any_(bindparam("order_ids", type_=ARRAY(Uuid()))),
    orders.c.shopper_id == any_(erasure.c.shopper_ids),
)
WAKE = Query(
    update(erasure)
    .where(erasure.c.state == "pending", erasure.c.next_pass_at > _NOW, _TOUCHED)
    .values(next_pass_at=_NOW)
    .returning(erasure.c.id),
    UUID,
)
GUEST_KEYS = Query(
    select(orders.c.key_id)
    .distinct()
    .where(orders.c.id.in_(OF_PERSON), orders.c.shopper_id.is_(None)),
    UUID,
)
STAFF = Query(select(associate.c.id).order_by(associate.c.id), UUID)


async def request(
    conn: Connection, shopper_id: UUID, *, actor: str, now: datetime, listed: bool = False
) -> Erasure:
    """Ask for the erasure of a person, by any of their ids; answers what it waits for.

    Repeating it gives the same erasure. `listed`: it stands on the list outside of the database
    already. Raises `NotFound`.
    """
    person = await customers.lock_person(conn, shopper_id)
    if person.erased:
        known = await conn.first(OF_SHOPPER, shopper=person.id)
        if known is None:  # once merged into whoever was erased, and taken off again since
            raise NotFound(kind="shopper", id=str(shopper_id))
        return known
    addresses = [*person.emails, *person.phones]
    scope = Scope(list(person.ids), [], addresses, until=now, now=now)
    waits = await waits_of(conn, scope)
    erasure_id = ids.uuid7()
    await _tell(conn, person, erasure_id, waits, now)
    await consents.withdraw_all(conn, person.id, "erasure", actor, now)
    await access.end_of_shopper(conn, person.ids, actor=actor, now=now)
    await clienteling.end_of_person(conn, person.ids, actor=actor, now=now)
    await conn.run(EMPTY_SHOPPERS, **scope.values_for(EMPTY_SHOPPERS))
    asked = await conn.one(
        INSERT,
        erasure_id=erasure_id,
        shopper=person.id,
        all_ids=list(person.ids),
        by=actor,
        reached_at=addresses,
        waits=msgspec.to_builtins(waits),
        listed="yes" if listed else "no",
        now=now,
    )
    await events.record(conn, [_fact("erasure.requested", asked.id, actor)], now=now)
    return asked


async def by_id(conn: Connection, erasure_id: UUID) -> Erasure:
    """One erasure. Raises `NotFound`."""
    found = await conn.first(BY_ID, of=erasure_id)
    if found is None:
        raise NotFound(kind="erasure", id=str(erasure_id))
    return found


async def newest(conn: Connection, *, before: UUID | None, page: int) -> list[Erasure]:
    """The newest erasures, or those before one of them."""
    return await conn.run(NEWEST_FIRST, before=before, page=page)


async def wake(conn: Connection, order_ids: Sequence[UUID], *, now: datetime) -> None:
    """Something happened to these orders: what waits for one of them is looked at again."""
    await conn.run(WAKE, order_ids=list(order_ids), now=now)


async def resume(db: Database, *, now: Clock) -> None:
    """Make a pass for each erasure that is due."""
    while True:
        async with db.reading() as conn:
            due = await conn.run(DUE, now=now())
        for erasure_id in due:
            await carry_on(db, erasure_id, now=now)
        if len(due) < PAGE:
            return


async def carry_on(db: Database, erasure_id: UUID, *, now: Clock) -> None:
    """One pass, if one is due and nobody is at it. Safe to break off and to repeat."""

    async def take(conn: Connection) -> _Work | None:
        return await conn.first(TAKE, of=erasure_id, now=now(), until=now() + LEASE)

    work = await db.commit(take)
    if work is None:
        return
    scope = await _scope(db, work, now)
    found = await _forget_answers(db, work, scope, now)
    found += await _empty(db, work, scope, [each for each in HOLDINGS if not each.waits], now)
    if await _waits(db, work, scope, now):
        return
    found += await _empty(db, work, scope, [each for each in HOLDINGS if each.waits], now)
    await _finish(db, work, found, now)


async def _scope(db: Database, work: _Work, now: Clock) -> Scope:
    """By what the person is found. Guests' contacts are looked for once, and then remembered."""
    guests = work.guest_contact_ids
    async with db.reading() as conn:
        own = await own_contacts(conn, work.shopper_ids)
        if guests is None:
            guests = await guest_contacts(conn, work.addresses, work.requested_at)
    if work.guest_contact_ids is None:
        async with db.transaction() as conn:
            await conn.run(REMEMBER_GUESTS, of=work.id, guests=guests, until=now() + LEASE)
    return Scope(work.shopper_ids, own + guests, work.addresses, until=work.requested_at, now=now())


async def _empty(
    db: Database, work: _Work, scope: Scope, parts: Sequence[Holding], now: Clock
) -> int:
    """Empty tables, each in transactions of its own until nothing is left; counts the rows."""
    total = 0
    for holding in parts:
        while holding.erase is not None:
            rows = await db.commit(
                partial(_empty_some, work=work, scope=scope, of=holding, now=now)
            )
            total += rows
            if not rows:
                break
    return total


async def _empty_some(
    conn: Connection, *, work: _Work, scope: Scope, of: Holding, now: Clock
) -> int:
    rows = await holdings.erase(conn, of, scope)
    if rows:
        await _count(conn, work, of.table, rows, now)
    return rows


async def _forget_answers(db: Database, work: _Work, scope: Scope, now: Clock) -> int:
    """Kept answers to the person, and those to staff that name anything of the person."""
    async with db.reading() as conn:
        named = {str(each) for each in (*scope.shopper_ids, *scope.contact_ids)}
        for holding in HOLDINGS:
            if holding.ids is not None:
                rows = await conn.run(holding.ids, **scope.values_for(holding.ids))
                named |= {str(each) for each in rows}
        staff = await conn.run(STAFF)
        guest_keys = await conn.run(GUEST_KEYS, **scope.values_for(GUEST_KEYS))

    async def forget(conn: Connection) -> int:
        rows = await idempotency.forget_of(conn, work.shopper_ids)
        for start in range(0, len(staff), STAFF_AT_ONCE):
            some = staff[start : start + STAFF_AT_ONCE]
            rows += await idempotency.forget_naming(conn, some, named | set(scope.addresses))
        if guest_keys:
            rows += await idempotency.forget_naming(conn, guest_keys, named, routes=WITH_REASONS)
        if rows:
            await _count(conn, work, "idempotency_key", rows, now)
        return rows

    return await db.commit(forget)


async def _waits(db: Database, work: _Work, scope: Scope, now: Clock) -> bool:
    async def look(conn: Connection) -> bool:
        waits = await waits_of(conn, scope)
        if waits:
            until = now() + (MESSAGE_WAIT if any(w.kind == "message" for w in waits) else WAIT)
            named = msgspec.to_builtins(waits)
            await conn.run(NOTE_WAITS, of=work.id, waits=named, until=until)
        return bool(waits)

    return await db.commit(look)


async def _finish(db: Database, work: _Work, found: int, now: Clock) -> None:
    again_at = now() + LOOK_AGAIN if found else None

    async def finish(conn: Connection) -> None:
        before = await conn.one(LOCK, of=work.id)
        await conn.run(FINISH, of=work.id, now=now(), again_at=again_at)
        if before == "pending":
            done = _fact("erasure.finished", work.id, "system")
            await events.record(conn, [done], now=now())

    await db.commit(finish)


async def _count(conn: Connection, work: _Work, table: str, rows: int, now: Clock) -> None:
    await conn.run(COUNT, of=work.id, of_table=table, rows=rows, until=now() + LEASE)


async def _tell(
    conn: Connection, person: Person, erasure_id: UUID, waits: Sequence[Wait], now: datetime
) -> None:
    """The last message: that it has begun, and what it waits for."""
    if person.email is not None:
        address = Address("email", person.email, person.locale)
    elif person.phone is not None:
        address = Address("sms", person.phone, person.locale)
    else:
        return
    numbers = sorted(each.number for each in waits if each.number is not None)
    told = NewMessage(
        template="erasure_requested",
        parameters={"numbers": numbers},
        reason=erasure_id,
        address=address,
    )
    await messages.write(conn, [told], now)


def _fact(kind: str, erasure_id: UUID, actor: str) -> events.Event:
    return events.Event(kind, "erasure", erasure_id, actor)
