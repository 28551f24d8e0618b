"""Recurring work: what each sweep does, and that one that fails holds up no other."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from api import database, sweeps
from api.health import KEPT_SECONDS, Examiner
from api.log import Log
from api.sweeps import SWEEPS, Sweep, run_once
from api.work import Work
from commerce import access, messages
from commerce.access import OPERATOR
from commerce.kernel import events, heartbeats, ids, partitions
from commerce.kernel.heartbeats import Heartbeat
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Database
from commerce.shortfalls import warn
from inventory import reservations, stock
from inventory.demands import Demand, Want
from inventory.stock import Movement
from tests import counter
from tests.background import SECRET, until, work_of
from tests.shop import Shop, make_shop
from tests.simulation.story import Moment


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, stores=1, skus=1, on_hand=10)


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def work(db: Database, clock: Moment) -> Work:
    return work_of(db, now=clock)


def sweep(name: str) -> Sweep:
    (found,) = [each for each in SWEEPS if each.name == name]
    return found


async def beats(db: Database) -> list[Heartbeat]:
    async with db.reading() as conn:
        return await heartbeats.last(conn)


async def test_every_sweep_finds_nothing_to_do_and_says_so(work: Work, clock: Moment) -> None:
    for each in SWEEPS:
        await run_once(work, each)
    told = {beat.name: beat for beat in await beats(work.database)}
    assert told.keys() == {each.name for each in SWEEPS}
    assert {beat.at for beat in told.values()} == {clock()}
    assert told["holds"].overdue_at == clock() + timedelta(seconds=40)


async def test_a_failing_sweep_holds_up_no_other_and_its_heartbeat_stops(
    work: Work, db: Database
) -> None:
    rounds = 0

    async def fails(_: Work) -> None:
        raise ValueError

    async def works(_: Work) -> None:
        nonlocal rounds
        rounds += 1

    task = asyncio.create_task(
        sweeps.run_all(work, (Sweep("bad", 0.01, fails), Sweep("good", 0.01, works)))
    )

    async def thrice() -> bool:
        return rounds >= 3

    await until(thrice)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert [beat.name for beat in await beats(db)] == ["good"]


async def test_dead_holds_are_swept_until_none_is_left(
    db: Database, shop: Shop, work: Work, clock: Moment
) -> None:
    at = shop.stores[0].location_id
    demands = [
        Demand(
            id=ids.uuid7(), hold_class="guest", actor="test",
            expires_at=clock() + timedelta(minutes=10), wants=(Want(at, shop.skus[0].sku, 1),),
        )
        for _ in range(5)
    ]  # fmt: skip
    async with db.transaction() as conn:
        await reservations.hold(conn, demands, now=clock())
    assert await counter.counters(db, shop) == (10, 5)
    clock.pass_by(minutes=11)
    await run_once(work, sweep("holds"))
    assert await counter.counters(db, shop) == (10, 0)
    async with db.reading() as conn:
        assert await reservations.oldest_expiry(conn) is None


async def test_pickups_that_nobody_collects_expire(
    db: Database, shop: Shop, work: Work, clock: Moment
) -> None:
    placed = await counter.order(db, shop, (0, 1), total_minor=10_000)
    pickup = await counter.ready(db, counter.associate(shop), placed.fulfillments[0].id)
    assert pickup.head.expires_at is not None
    clock.at = pickup.head.expires_at - timedelta(seconds=1)
    await run_once(work, sweep("pickups"))
    clock.pass_by(seconds=1)
    before = await counter.facts(db, placed.id)
    await run_once(work, sweep("pickups"))
    assert "order.cancelled" not in before
    assert "order.cancelled" in await counter.facts(db, placed.id)
    assert await counter.counters(db, shop) == (10, 0)


async def test_partitions_are_made_ahead(db: Database, work: Work, clock: Moment) -> None:
    clock.pass_by(days=200)
    await run_once(work, sweep("partitions"))
    names = [f"event_{start:%Y%m}" for start, _ in partitions.months(clock())]
    found = await db.pool.fetch("SELECT relname FROM pg_class WHERE relname = ANY($1)", names)
    assert {row["relname"] for row in found} == set(names)


async def test_browsing_is_forgotten_by_whole_months_and_the_log_says_which(
    db: Database, work: Work, clock: Moment
) -> None:
    began = f"browsing_event_{clock():%Y%m}"
    out = io.BytesIO()
    policy = msgspec.structs.replace(work.settings, browsing_retention_months=2)
    log = Log("info", clock, out)
    work = msgspec.structs.replace(work, settings=policy, log=log)

    async def swept() -> list[list[str]]:
        await run_once(work, sweep("browsing"))
        log.flush()
        return [msgspec.json.decode(line)["partitions"] for line in out.getvalue().splitlines()]

    await run_once(work, sweep("partitions"))
    clock.pass_by(days=62)
    assert await swept() == []
    clock.pass_by(days=31)
    assert await swept() == [[began]]
    async with db.reading() as conn:
        assert await conn.driver.fetchval("SELECT to_regclass($1) IS NULL", began)


async def test_codes_and_sessions_that_ran_out_long_ago_are_forgotten(
    db: Database, work: Work, clock: Moment
) -> None:
    async with db.transaction() as conn:
        await messages.start_sign_in(
            conn, OPERATOR, secret=SECRET, email="ana@example.com", phone=None, locale="en",
            now=clock(),
        )  # fmt: skip
        key, _ = await access.create_key(
            conn, OPERATOR, kind="storefront", name="test", channel="web",
            requests_per_minute=1, now=clock(),
        )  # fmt: skip
        who = msgspec.structs.replace(OPERATOR, key_id=key.id)
        started = await access.start_shopper_session(conn, who, ids.uuid7(), now=clock())

    async def left() -> tuple[int, int]:
        row = await db.pool.fetchrow(
            "SELECT (SELECT count(*) FROM one_time_code), (SELECT count(*) FROM session)"
        )
        return row[0], row[1]

    await run_once(work, sweep("codes_and_sessions"))
    assert await left() == (1, 1)
    clock.pass_by(days=1, minutes=11)
    await run_once(work, sweep("codes_and_sessions"))
    assert await left() == (0, 1)
    clock.at = started.expires_at + timedelta(days=30, seconds=1)
    await run_once(work, sweep("codes_and_sessions"))
    assert await left() == (0, 0)


async def test_a_shortfall_puts_the_latest_promised_pickups_at_risk(
    db: Database, shop: Shop, clock: Moment
) -> None:
    """Ten units, four pickups of two; with five left the last gets none, the one before it one."""
    placed = [
        await counter.order(
            db, shop, (0, 2), total_minor=20_000, now=counter.NOW + timedelta(hours=number)
        )
        for number in range(4)
    ]
    at, sku = shop.stores[0].location_id, shop.skus[0].sku
    async with db.transaction() as conn:
        await stock.move(conn, [Movement(at, sku, "adjust", -5, "test", reason="lost")],
                         now=clock())  # fmt: skip
    rows = await db.pool.fetch("SELECT id FROM event WHERE type = 'stock.shortfall'")
    async with db.transaction() as conn:
        told = await events.by_ids(conn, [row["id"] for row in rows])
        await warn(conn, told, now=clock())
    async with db.reading() as conn:
        lines = {each.id: await events.timeline(conn, each.id) for each in placed}
    at_risk = {
        order_id: [fact.payload["short"] for fact in facts if fact.type == "pickup.at_risk"]
        for order_id, facts in lines.items()
    }
    assert at_risk == {placed[0].id: [], placed[1].id: [], placed[2].id: [1], placed[3].id: [2]}


async def test_a_shortfall_that_was_made_good_warns_of_nothing(
    db: Database, shop: Shop, clock: Moment
) -> None:
    placed = await counter.order(db, shop, (0, 2), total_minor=20_000)
    at, sku = shop.stores[0].location_id, shop.skus[0].sku
    async with db.transaction() as conn:
        await stock.move(conn, [Movement(at, sku, "adjust", -9, "test", reason="lost")],
                         now=clock())  # fmt: skip
        await stock.move(conn, [Movement(at, sku, "receive", 5, "test")], now=clock())
    rows = await db.pool.fetch("SELECT id FROM event WHERE type = 'stock.shortfall'")
    assert len(rows) == 1
    async with db.transaction() as conn:
        await warn(conn, await events.by_ids(conn, [rows[0]["id"]]), now=clock())
    assert "pickup.at_risk" not in await counter.facts(db, placed.id)


async def test_a_sweep_that_stopped_makes_the_product_unhealthy(
    work: Work, db: Database, clock: Moment
) -> None:
    """A process gives the sweeps half a minute first, so that a start after a night is healthy."""
    clock.at = datetime.now(UTC)
    await run_once(work, sweep("payments"))
    last = clock()
    clock.pass_by(hours=9)
    services: Any = SimpleNamespace(database=db, settings=Settings(), now=clock, log=work.log)
    examiner = Examiner(services)
    assert (await examiner.health()).reasons == []
    clock.pass_by(seconds=31)
    assert (await Examiner(services).health()).reasons == []
    await asyncio.sleep(KEPT_SECONDS)
    assert (await examiner.health()).reasons == [
        f"The sweep of payments last succeeded at {last:%Y-%m-%d %H:%M:%S}Z."
    ]
    await run_once(work, sweep("payments"))
    await asyncio.sleep(KEPT_SECONDS)
    assert (await examiner.health()).reasons == []
