"""All that happens behind the shoppers' backs, on one page: which event makes which actor act.

An actor may be told of an event twice, late, and in any order. `deliver` makes that once: events
are claimed in the transaction of what is done with them. Actors read the present state and do
nothing about what is no longer so. An event that an actor fails on is told again, later each time;
the back office sees it, and when it is given up can send it again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec

from api.doorbell import BROKEN
from api.work import Work
from commerce import (
    follow_ups,
    matching,
    messages,
    outreach,
    privacy,
    settlement,
    shortfalls,
)
from commerce.kernel import deliveries, events
from commerce.kernel.events import Recorded
from commerce.kernel.sql import Busy, Connection
from commerce.payments import PaymentRunning

AFTER_REQUEST_MS = 2_000
"""Whoever wrote an intent of payment carries it out at once; this is for when they have died."""


class Together(msgspec.Struct, frozen=True):
    """An actor whose work is in the database: many events in one transaction."""

    name: str
    run: Callable[[Connection, Work, Sequence[Recorded]], Awaitable[None]]
    then: Callable[[Work], Awaitable[object]] | None = None
    """After the commit. What it leaves undone, a sweep does."""
    after_ms: int = 0


class EachAlone(msgspec.Struct, frozen=True):
    """An actor that speaks to others: one event after the other, outside of transactions.

    It is safe to repeat, because it may have been done when the claim was not.
    """

    name: str
    run: Callable[[Work, Recorded], Awaitable[None]]
    after_ms: int = 0


Actor = Together | EachAlone


async def _tell_shopper(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
    carried = work.courier.carriers
    await messages.tell(conn, new, secret=work.secret, now=work.now(), carried=carried)


async def _send_messages(work: Work) -> None:
    work.courier.wake()


async def _send_code(work: Work, _: Recorded) -> None:
    await _send_messages(work)


async def _settle_payments(work: Work, told: Recorded) -> None:
    try:
        await settlement.settle_order(work.database, work.gateway, told.aggregate_id, now=work.now)
    except PaymentRunning:
        return  # somebody is at it, and the sweep comes after them


async def _warn_of_shortfalls(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
    await shortfalls.warn(conn, new, now=work.now())


async def _match_shoppers(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
    await matching.learn(conn, new, secret=work.secret, now=work.now())


async def _wake_erasures(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
    order_ids = [each.aggregate_id for each in new if each.aggregate == "order"]
    await privacy.wake(conn, order_ids, now=work.now())


async def _erase(work: Work) -> None:
    await privacy.resume(work.database, now=work.now)


async def _schedule_follow_ups(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
    await follow_ups.hear(conn, new, now=work.now())


async def _track_outreach(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
    await outreach.hear(conn, new, now=work.now())


tell_shopper = Together("tell_shopper", _tell_shopper, then=_send_messages)
send_code = EachAlone("send_code", _send_code)
settle_payments = EachAlone("settle_payments", _settle_payments, after_ms=AFTER_REQUEST_MS)
warn_of_shortfalls = Together("warn_of_shortfalls", _warn_of_shortfalls)
match_shoppers = Together("match_shoppers", _match_shoppers)
schedule_follow_ups = Together("schedule_follow_ups", _schedule_follow_ups)
track_outreach = Together("track_outreach", _track_outreach)

erase_persons = Together("erase_persons", _wake_erasures, then=_erase)

SUBSCRIPTIONS: dict[str, tuple[Actor, ...]] = {
    "cart.changed": (schedule_follow_ups,),
    "cart.merged": (schedule_follow_ups,),
    "consent.changed": (track_outreach,),
    "message.received": (track_outreach,),
    "order.payment_requested": (settle_payments,),
    "order.placed": (tell_shopper, match_shoppers, schedule_follow_ups, track_outreach),
    "erasure.requested": (erase_persons,),
    "order.cancelled": (tell_shopper, settle_payments, erase_persons),
    "order.completed": (erase_persons, match_shoppers, schedule_follow_ups),
    "pickup.ready": (tell_shopper, schedule_follow_ups),
    "pickup.collected": (settle_payments,),
    "payment.refunded": (tell_shopper,),
    "return.received": (settle_payments,),
    "shopper.joined": (match_shoppers,),
    "shopper.changed": (match_shoppers,),
    "shopper_view.opened": (track_outreach,),
    "sign_in.code_requested": (send_code,),
    "stock.shortfall": (warn_of_shortfalls,),
}

ACTORS: dict[str, Actor] = {each.name: each for told in SUBSCRIPTIONS.values() for each in told}

NAMES: dict[str, tuple[str, ...]] = {
    kind: tuple(each.name for each in told) for kind, told in SUBSCRIPTIONS.items()
}


class DatabaseAway(Exception):
    """Nobody can act at the moment, and no event is to blame for it."""


async def deliver(work: Work, actor: Actor, event_ids: Sequence[UUID]) -> None:
    """Let an actor act on those of the events that it has not finished, in the order of the log.

    A failing event does not hold back the others. Raises DatabaseAway; then it is to be repeated.
    """
    try:
        async with work.database.reading() as conn:
            finished = await deliveries.done(conn, actor.name, event_ids)
            new = await events.by_ids(conn, [each for each in event_ids if each not in finished])
        new.sort(key=lambda event: event.sequence)
        faults: dict[UUID, Exception] = {}
        if isinstance(actor, Together):
            await _together(work, actor, new, faults)
        else:
            await _each_alone(work, actor, new, faults)
        if faults:
            await _fail(work, actor, faults)
        if isinstance(actor, Together) and actor.then is not None:
            await actor.then(work)
    except Exception as error:
        if _is_away(error):
            raise DatabaseAway from error
        raise


async def _together(
    work: Work, actor: Together, new: Sequence[Recorded], faults: dict[UUID, Exception]
) -> None:
    """One transaction; when it fails, by halves, until the bad event stands alone."""
    if not new:
        return

    async def act(conn: Connection) -> None:
        ids = [event.id for event in new]
        mine = await deliveries.claim(conn, actor.name, ids, now=work.now())
        if mine:
            await actor.run(conn, work, [event for event in new if event.id in mine])

    try:
        await work.database.commit(act)
    except Exception as error:
        if _is_away(error):
            raise
        if len(new) == 1:
            faults[new[0].id] = error
            return
        half = len(new) // 2
        await _together(work, actor, new[:half], faults)
        await _together(work, actor, new[half:], faults)


async def _each_alone(
    work: Work, actor: EachAlone, new: Sequence[Recorded], faults: dict[UUID, Exception]
) -> None:
    for event in new:
        try:
            await actor.run(work, event)
        except Exception as error:
            if _is_away(error):
                raise
            faults[event.id] = error
            continue
        async with work.database.transaction() as conn:
            await deliveries.claim(conn, actor.name, [event.id], now=work.now())


async def _fail(work: Work, actor: Actor, faults: Mapping[UUID, Exception]) -> None:
    for event_id, fault in faults.items():
        work.log.fault("actor failed", fault, actor=actor.name, event_id=event_id)
    kinds = {event_id: _kind(fault) for event_id, fault in faults.items()}
    async with work.database.transaction() as conn:
        await deliveries.fail(conn, actor.name, kinds, now=work.now())


def _is_away(error: Exception) -> bool:
    """Whether the database is to blame and not the event: gone, full, or stopping."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in ("08", "53", "57")
    return isinstance(error, (*BROKEN, Busy, TimeoutError))


def _kind(error: Exception) -> str:
    """A fault by its type; its text may hold what nobody else may read."""
    return f"{type(error).__module__}.{type(error).__qualname__}"
