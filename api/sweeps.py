"""Work that nobody asks for: what has run out, what was left lying, what may be forgotten.

The process that leads runs them, each in a loop of its own, so a slow or failing one holds up no
other. Each is safe to repeat and to run twice at once, and notes its last success as a heartbeat.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from api import erased_list
from api.relay import Tell
from api.work import Work
from commerce import (
    access,
    browsing,
    carts,
    customers,
    follow_ups,
    fulfillment,
    privacy,
    settlement,
)
from commerce.kernel import deliveries, heartbeats, idempotency, partitions
from commerce.kernel.sql import Connection
from commerce.payments import PaymentRunning
from inventory import reservations

PAGE = 1_000
OFTEN_SECONDS = 5.0
HOUR_SECONDS = 3_600.0
DAY_SECONDS = 86_400.0


class Sweep(msgspec.Struct, frozen=True):
    """One of them: its heartbeat's name, how often, and what it does."""

    name: str
    seconds: float
    run: Callable[[Work], Awaitable[None]]


async def _expire_holds(work: Work) -> None:
    """Holds that have run out: they count as free already, now their rows say so."""
    while True:
        async with work.database.transaction() as conn:
            if not await reservations.sweep(conn, now=work.now()):
                return


async def _settle_payments(work: Work) -> None:
    await settlement.resume(work.database, work.gateway, now=work.now)


async def _expire_pickups(work: Work) -> None:
    for order_id in await fulfillment.expire(work.database, now=work.now()):
        try:
            await settlement.settle_order(work.database, work.gateway, order_id, now=work.now)
        except PaymentRunning:
            continue  # the sweep of payments goes on with it


async def _send_messages(work: Work) -> None:
    """What is due now: postponed, refused before, or left by a process that died."""
    work.courier.wake()


async def _follow_up(work: Work) -> None:
    """Whoever waits for goods that are there again is called; what is due is decided."""
    async with work.database.transaction() as conn:
        await follow_ups.call_waiting(conn, now=work.now())
    if await follow_ups.run_due(work.database, secret=work.secret, now=work.now):
        work.courier.wake()


async def _make_partitions(work: Work) -> None:
    async with work.database.transaction() as conn:
        await partitions.ensure(conn, now=work.now())


async def _forget_browsing(work: Work) -> None:
    """Whole months of browsing events that are older than the policy keeps them."""
    kept = work.settings.browsing_retention_months
    async with work.database.transaction() as conn:
        gone = await browsing.forget(conn, months_kept=kept, now=work.now())
    if gone:
        work.log.write("info", "browsing forgotten", partitions=gone, months_kept=kept)


async def _forget_keys(work: Work) -> None:
    await _in_pages(work, idempotency.forget)


async def _forget_access(work: Work) -> None:
    """Codes and sessions that have run out."""
    async with work.database.transaction() as conn:
        await customers.forget_codes(conn, now=work.now())
        await access.forget_sessions(conn, now=work.now())


async def _forget_deliveries(work: Work) -> None:
    await _in_pages(work, deliveries.forget)


async def _forget_carts(work: Work) -> None:
    """Abandoned carts, and how often claim codes were tried."""
    kept_for = timedelta(days=work.settings.cart_retention_days)

    async def forget(conn: Connection, *, now: datetime, page: int) -> int:
        return await carts.forget(conn, kept_for=kept_for, now=now, page=page)

    await _in_pages(work, forget)
    async with work.database.transaction() as conn:
        await carts.forget_tries(conn, now=work.now())


async def _in_pages(work: Work, forget: Callable[..., Awaitable[int]]) -> None:
    while True:
        async with work.database.transaction() as conn:
            if await forget(conn, now=work.now(), page=PAGE) < PAGE:
                return


async def _erase_persons(work: Work) -> None:
    """Erasures that wait or were broken off, and the list of them that outlives a restore."""
    await privacy.resume(work.database, now=work.now)
    await erased_list.keep(work.database, work.settings.erased_file, now=work.now)


async def _erase_restored(work: Work) -> None:
    """At each start, too: that is when a restore was before."""
    await erased_list.reapply(work.database, work.settings.erased_file, now=work.now)


SWEEPS = (
    Sweep("holds", OFTEN_SECONDS, _expire_holds),
    Sweep("payments", OFTEN_SECONDS, _settle_payments),
    Sweep("pickups", OFTEN_SECONDS, _expire_pickups),
    Sweep("messages", OFTEN_SECONDS, _send_messages),
    Sweep("follow_ups", OFTEN_SECONDS, _follow_up),
    Sweep("erasures", OFTEN_SECONDS, _erase_persons),
    Sweep("restored_persons", HOUR_SECONDS, _erase_restored),
    Sweep("idempotency_keys", HOUR_SECONDS, _forget_keys),
    Sweep("codes_and_sessions", HOUR_SECONDS, _forget_access),
    Sweep("carts", DAY_SECONDS, _forget_carts),
    Sweep("deliveries", HOUR_SECONDS, _forget_deliveries),
    Sweep("partitions", DAY_SECONDS, _make_partitions),
    Sweep("browsing", HOUR_SECONDS, _forget_browsing),
)


def failed_deliveries(tell: Tell) -> Sweep:
    """Tell actors again what they failed on and what is due. A message may be one too many."""

    async def tell_again(work: Work) -> None:
        async with work.database.transaction() as conn:
            due = await deliveries.take_due(conn, now=work.now(), page=PAGE)
        for actor, event_ids in due.items():
            await tell(actor, event_ids)

    return Sweep("failed_deliveries", OFTEN_SECONDS, tell_again)


async def run_all(work: Work, sweeps: tuple[Sweep, ...] = SWEEPS) -> None:
    """All of them, for ever."""
    async with asyncio.TaskGroup() as group:
        for sweep in sweeps:
            group.create_task(_repeat(work, sweep))


async def run_once(work: Work, sweep: Sweep) -> None:
    """One of them, once; its heartbeat tells that it succeeded."""
    await sweep.run(work)
    async with work.database.transaction() as conn:
        every = timedelta(seconds=sweep.seconds)
        await heartbeats.beat(conn, sweep.name, every=every, now=work.now())


async def _repeat(work: Work, sweep: Sweep) -> None:
    while True:
        try:
            await run_once(work, sweep)
        except Exception as error:  # noqa: BLE001  the heartbeat stops, and /health tells
            work.log.fault("sweep failed", error, sweep=sweep.name)
        await asyncio.sleep(sweep.seconds)
