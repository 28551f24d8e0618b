"""The sweep: goes on with what nobody did, whoever died between which steps."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import DateTime, Integer, bindparam, select

from commerce import orders, payments
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database, Query
from commerce.provider import Gateway, ProviderUnavailable
from commerce.settlement import inbox
from commerce.settlement.carrying_out import look, run
from commerce.settlement.consequences import SYSTEM
from commerce.tables import orders as orders_table
from commerce.tables import payment

Thing = TypeVar("Thing")

AT_ONCE = 8
"""Calls to the provider at the same time."""

UNPAID = Query(
    select(payment.c.order_id)
    .distinct()
    .join(orders_table, orders_table.c.id == payment.c.order_id)
    .where(
        payment.c.state.in_(("pending", "requires_action")),
        payment.c.deadline_at <= bindparam("now", type_=DateTime(timezone=True)),
        orders_table.c.state == "pending_payment",
    )
    .limit(bindparam("page", type_=Integer())),
    UUID,
)


async def resume(db: Database, gateway: Gateway, *, now: Clock, limit: int = 100) -> int:
    """Carry out what is due, up to `limit` of each kind; returns how much there was.

    Operations whose lease or wait has run out; webhooks not applied yet; orders whose time to pay
    is over (cancelled, and voided should an authorization still come); holds that must have lapsed.
    Any number of processes may run it at once.
    """
    moment = now()
    async with db.reading() as conn:
        late = await conn.run(UNPAID, now=moment, page=limit)
    for order_id in late:
        await _give_up(db, order_id, moment)
    async with db.reading() as conn:
        due = await payments.due(conn, now=moment, limit=limit)
        lapsing = await payments.lapsing(conn, now=moment, limit=limit)
        told = await inbox.open_events(conn, now=moment, limit=limit)
    await _each(due, lambda operation_id: run(db, gateway, operation_id, now=now))
    await _each(told, lambda event_id: _apply(db, gateway, event_id, now))
    await _each(lapsing, lambda payment_id: _look(db, gateway, payment_id, now))
    return len(late) + len(due) + len(told) + len(lapsing)


async def _give_up(db: Database, order_id: UUID, now: datetime) -> None:
    async def work(conn: Connection) -> None:
        order = await orders.lock(conn, order_id)
        waiting = [each for each in await payments.of_order(conn, order_id) if each.waits_for_card]
        late = all(each.deadline_at and each.deadline_at <= now for each in waiting)
        if order.head.state == "pending_payment" and late:  # no other card was tried meanwhile
            await orders.cancel(conn, order_id, reason="payment_expired", actor=SYSTEM, now=now)

    await db.commit(work)


async def _look(db: Database, gateway: Gateway, payment_id: UUID, now: Clock) -> None:
    try:
        await look(db, gateway, payment_id, now=now)
    except ProviderUnavailable:
        return  # the next sweep looks again


async def _apply(db: Database, gateway: Gateway, event_id: str, now: Clock) -> None:
    try:
        await inbox.apply(db, gateway, event_id, now=now)
    except ProviderUnavailable:
        return  # it stays in the inbox


async def _each(todo: list[Thing], work: Callable[[Thing], Awaitable[None]]) -> None:
    """All of them, a few at once. A fault of one does not hold back the others; it is raised."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(thing: Thing) -> None:
        async with slots:
            await work(thing)

    done = await asyncio.gather(*(one(thing) for thing in todo), return_exceptions=True)
    faults = [fault for fault in done if isinstance(fault, Exception)]
    if faults:
        raise ExceptionGroup("the sweep met faults", faults)
