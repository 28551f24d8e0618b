"""A process that lives through a story of payments and dies where it is told to.

The steps are what people do: each looks how things stand and does what is missing, so the story can
be told again from the beginning, as a client repeats a request that was never answered.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from commerce import fulfillment, orders, payments, returns, settlement
from commerce.access import Principal
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Database
from commerce.payments import PaymentRunning
from commerce.provider import Gateway
from commerce.returns import Arrival
from commerce.stripe_gateway import StripeGateway
from tests import counter
from tests.shop import Shop
from tests.simulation import story
from tests.simulation.story import Moment, answer_the_bank
from tests.simulation.watching import Boundary, WatchedDatabase, WatchedGateway
from tests.stripe_server import WEBHOOK_SECRET

DECLINED = "pm_card_chargeDeclined"
ASKS = "pm_card_authenticationRequired"
BETWEEN_SWEEPS = timedelta(seconds=80)
"""Longer than a lease, so that each sweep takes over whatever was left lying."""

A_FEW, MANY = 3, 30


class Scene(msgspec.Struct, frozen=True):
    """Where a story plays: its database, its provider, its shop, and the ids of what will be."""

    dsn: str
    stripe_url: str
    shop: Shop
    who: Principal
    order_id: UUID
    at: datetime
    boundaries: Path
    """Every boundary that was reached, one a line, also by a process that died there."""


class People(msgspec.Struct, frozen=True):
    """Who acts: with which database and provider, at which time."""

    scene: Scene
    db: Database
    gateway: Gateway
    clock: Moment

    async def place(self, card: str, *, units: int = 1) -> None:
        """The shopper orders, unless the order is there."""
        async with self.db.reading() as conn:
            try:
                await orders.by_id(conn, self.scene.order_id)
            except NotFound:
                pass
            else:
                return
        await story.place(
            self.db,
            self.scene.shop,
            now=self.clock(),
            card=card,
            units=units,
            order_id=self.scene.order_id,
        )

    async def settle(self) -> None:
        """What waits for the provider is carried out; who repeats too early comes back later."""
        try:
            await settlement.settle_order(
                self.db, self.gateway, self.scene.order_id, now=self.clock
            )
        except PaymentRunning:
            await self.sweep(A_FEW)

    async def sweep(self, times: int) -> None:
        """Sweep, and let time pass, until nothing is left to do, at most so many times."""
        for _ in range(times):
            self.clock.at += BETWEEN_SWEEPS
            if not await settlement.resume(self.db, self.gateway, now=self.clock):
                return

    async def standing(self) -> story.Standing:
        """How the order stands."""
        return await story.standing(self.db, self.scene.order_id)

    async def try_card(self, card: str) -> None:
        """The shopper tries another card, if the last one was declined."""
        (paid,) = (await self.standing()).payments
        if paid.state == "pending" and paid.decline_code is not None:
            async with self.db.transaction() as conn:
                await settlement.try_card(
                    conn,
                    self.scene.order_id,
                    payment_method=card,
                    return_url=story.RETURN_URL,
                    actor=story.ACTOR,
                    now=self.clock(),
                )
        await self.settle()

    async def come_back_from_the_bank(self) -> None:
        """The shopper approves, if asked, and the shop looks."""
        (paid,) = (await self.standing()).payments
        if paid.redirect_url is not None:
            answer_the_bank(paid.redirect_url, "approve")
            await settlement.look(self.db, self.gateway, paid.id, now=self.clock)

    async def collect(self) -> None:
        """An associate picks and hands over, as far as that has not been done."""
        (share,) = (await self.standing()).order.fulfillments
        if share.state == "requested":
            await counter.ready(self.db, self.scene.who, share.id, now=self.clock())
        elif share.state == "picking":
            async with self.db.transaction() as conn:
                await fulfillment.finish_picking(
                    conn,
                    self.scene.who,
                    share.id,
                    staging_location="A1",
                    short=[],
                    now=self.clock(),
                )
        if share.state != "collected":
            async with self.db.transaction() as conn:
                await fulfillment.hand_over(
                    conn,
                    self.scene.who,
                    share.id,
                    secret=counter.SECRET,
                    code=fulfillment.pickup_code(counter.SECRET, share.id),
                    override_reason=None,
                    tender=None,
                    now=self.clock(),
                )
        await self.settle()

    async def bring_back(self) -> None:
        """The shopper brings one unit back, unless it came back already."""
        async with self.db.reading() as conn:
            back = await returns.of_order(conn, self.scene.order_id)
        if not back:
            async with self.db.transaction() as conn:
                await returns.take_back(
                    conn,
                    self.scene.who,
                    self.scene.order_id,
                    [Arrival(1, "restock", 1)],
                    location_id=self.scene.shop.stores[0].location_id,
                    reason=None,
                    now=self.clock(),
                )
        await self.settle()

    async def cancel(self) -> None:
        """The shopper calls the order off."""
        await story.cancel(self.db, self.scene.order_id, now=self.clock())
        await self.settle()

    async def let_the_hold_lapse(self) -> None:
        """The bank takes the hold back before anybody captures it."""
        (paid,) = (await self.standing()).payments
        if paid.state == "authorized" and paid.captured_minor == 0:
            story.lapse(self.scene.stripe_url, paid.provider_id or "")


async def bought_and_brought_back(people: People) -> None:
    """Ordered by card, collected, one of two units brought back."""
    await people.place("pm_card_visa", units=2)
    await people.settle()
    await people.collect()
    await people.bring_back()


async def bought_with_the_third_card(people: People) -> None:
    """A declined card, another declined one, then one that asks the shopper to authenticate."""
    await people.place(DECLINED)
    await people.settle()
    await people.try_card(ASKS)
    await people.come_back_from_the_bank()


async def called_off(people: People) -> None:
    """Ordered by card and cancelled."""
    await people.place("pm_card_visa")
    await people.settle()
    await people.cancel()


async def paid_too_late(people: People) -> None:
    """The shopper never answers the bank, and the order is given up."""
    await people.place(ASKS)
    await people.settle()
    people.clock.pass_by(minutes=40)
    await people.sweep(MANY)


async def lapsed_at_the_counter(people: People) -> None:
    """The hold lapses unseen, the goods leave, and the capture fails."""
    await people.place("pm_card_visa")
    await people.settle()
    await people.let_the_hold_lapse()
    await people.collect()


STORIES: dict[str, Callable[[People], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        bought_and_brought_back,
        bought_with_the_third_card,
        called_off,
        paid_too_late,
        lapsed_at_the_counter,
    )
}


def live(scene: Scene, name: str, die_at: int | None, victim: int) -> None:
    """Tell a story; at boundary number `die_at` (from 1) the victim is killed (0: ourselves)."""
    asyncio.run(_live(scene, name, die_at, victim))


def sweep(scene: Scene, die_at: int | None) -> None:
    """Take over what a dead process left lying; die at that boundary of it, too."""
    asyncio.run(_sweep(scene, die_at))


def finish(scene: Scene, name: str) -> None:
    """What comes after a crash: the sweep, everybody repeats what was not answered, the sweep."""
    asyncio.run(_finish(scene, name))


async def _live(scene: Scene, name: str, die_at: int | None, victim: int) -> None:
    deadly = _deadly(scene.boundaries, die_at, victim)
    async with _people(scene, deadly, Moment(scene.at)) as people:
        await STORIES[name](people)


async def _sweep(scene: Scene, die_at: int | None) -> None:
    deadly = _deadly(scene.boundaries.with_suffix(".sweep"), die_at, 0)
    async with _people(scene, deadly, Moment(scene.at + timedelta(minutes=2))) as people:
        await people.sweep(A_FEW)


async def _finish(scene: Scene, name: str) -> None:
    clock = Moment(scene.at + timedelta(minutes=7))
    async with _people(scene, lambda _: None, clock) as people:
        await people.sweep(A_FEW)
        await STORIES[name](people)
        await people.sweep(MANY)


def _deadly(boundaries: Path, die_at: int | None, victim: int) -> Boundary:
    """Notes each boundary, and kills at one of them."""
    reached = 0

    def boundary(at: str) -> None:
        nonlocal reached
        reached += 1
        with boundaries.open("a") as log:
            log.write(f"{at}\n")
        if reached == die_at:
            os.kill(victim or os.getpid(), signal.SIGKILL)

    return boundary


@asynccontextmanager
async def _people(scene: Scene, boundary: Boundary, clock: Moment) -> AsyncGenerator[People]:
    db = WatchedDatabase(await Database.open(scene.dsn, max_size=4), boundary)
    gateway = StripeGateway(
        api_key="sk_test_crashes", api_base=scene.stripe_url, webhook_secret=WEBHOOK_SECRET
    )
    yield People(scene, db, WatchedGateway(gateway, boundary), clock)
    await gateway.close()
    await db.close()


async def end_of(scene: Scene, db: Database) -> dict[str, Any]:
    """Everything that must not depend on where somebody died."""
    it = await story.standing(db, scene.order_id)
    async with db.reading() as conn:
        back = await returns.of_order(conn, scene.order_id)
        timeline = await events.timeline(conn, scene.order_id)
        open_operations = [op for op in it.operations if op.open]
        left = await payments.due(conn, now=scene.at + timedelta(days=365), limit=10)
    return {
        "order": (it.order.head.state, it.order.head.cancel_reason),
        "payments": [
            (p.state, p.authorized_minor, p.captured_minor, p.refunded_minor) for p in it.payments
        ],
        "fulfillments": [share.state for share in it.order.fulfillments],
        "returns": [(each.head.state, each.head.refund_minor) for each in back],
        "stock": await counter.counters(db, scene.shop),
        "events": sorted(each.type for each in timeline),
        "open": [*open_operations, *left],
        "books": story.books_of(scene.stripe_url, scene.order_id),
    }
