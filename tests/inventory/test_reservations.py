"""Holds, commits and releases on a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from commerce.kernel import ids
from commerce.kernel.sql import Database
from inventory import reservations, stock
from inventory.demands import Demand, Held, HoldExpired, Refused, Shortage, Want
from inventory.stock import Movement

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=10)
LATER = NOW + timedelta(minutes=11)


@pytest.fixture(scope="module")
async def database(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


async def stocked(database: Database, **units: int) -> UUID:
    """A new location with these units of these SKUs."""
    location_id = ids.uuid7()
    async with database.transaction() as conn:
        await stock.move(
            conn,
            [Movement(location_id, sku, "receive", n, "test") for sku, n in units.items()],
            now=NOW,
        )
    return location_id


def demand(
    location_id: UUID, *, expires_at: datetime | None = SOON, demand_id: UUID | None = None,
    **units: int,
) -> Demand:  # fmt: skip
    wants = tuple(Want(location_id, sku, n) for sku, n in units.items())
    return Demand(demand_id or ids.uuid7(), wants, "guest", "test", expires_at)


async def counters(database: Database, location_id: UUID, sku: str) -> tuple[int, int]:
    async with database.reading() as conn:
        level = (await stock.levels(conn, [(location_id, sku)]))[location_id, sku]
    return level.on_hand, level.reserved


async def ledger(database: Database, location_id: UUID, sku: str) -> list[tuple[str, int, int]]:
    async with database.reading() as conn:
        rows = await stock.history(conn, (location_id, sku))
    return [(row.kind, row.on_hand_delta, row.reserved_delta) for row in reversed(rows)]


async def test_hold_reserves_and_writes_one_ledger_row(database: Database) -> None:
    at = await stocked(database, mug=5)
    wanted = demand(at, mug=3)
    async with database.transaction() as conn:
        assert await reservations.hold(conn, [wanted], now=NOW) == [Held(wanted.id)]
    assert await counters(database, at, "mug") == (5, 3)
    assert await ledger(database, at, "mug") == [("receive", 5, 0), ("hold", 0, 3)]


async def test_refused_demand_takes_nothing_of_any_line(database: Database) -> None:
    at = await stocked(database, mug=5, cup=1)
    wanted = demand(at, mug=2, cup=2)
    async with database.transaction() as conn:
        outcomes = await reservations.hold(conn, [wanted], now=NOW)
    assert outcomes == [Refused(wanted.id, (Shortage(at, "cup", 2, 1),))]
    assert await counters(database, at, "mug") == (5, 0)
    assert await ledger(database, at, "mug") == [("receive", 5, 0)]


async def test_second_hold_on_the_last_unit_is_refused(database: Database) -> None:
    at = await stocked(database, mug=1)
    first, second = demand(at, mug=1), demand(at, mug=1)
    async with database.transaction() as conn:
        outcomes = await reservations.hold(conn, [first, second], now=NOW)
    assert outcomes == [Held(first.id), Refused(second.id, (Shortage(at, "mug", 1, 0),))]


async def test_repeating_a_demand_reserves_once(database: Database) -> None:
    at = await stocked(database, mug=5)
    wanted = demand(at, mug=2)
    for _ in range(2):
        async with database.transaction() as conn:
            assert await reservations.hold(conn, [wanted], now=NOW) == [Held(wanted.id)]
    assert await counters(database, at, "mug") == (5, 2)


async def test_expired_hold_is_reclaimed_by_a_demand_that_needs_it(database: Database) -> None:
    at = await stocked(database, mug=1)
    old, new = demand(at, mug=1), demand(at, expires_at=None, mug=1)
    async with database.transaction() as conn:
        await reservations.hold(conn, [old], now=NOW)
    async with database.transaction() as conn:
        assert await reservations.hold(conn, [new], now=LATER) == [Held(new.id)]
    assert await counters(database, at, "mug") == (1, 1)
    assert await ledger(database, at, "mug") == [
        ("receive", 1, 0), ("hold", 0, 1), ("expire", 0, -1), ("hold", 0, 1),
    ]  # fmt: skip


async def test_dead_hold_stays_dead(own_dsn: str) -> None:
    database = await Database.open(own_dsn)
    at = await stocked(database, mug=1)
    old = demand(at, mug=1)
    async with database.transaction() as conn:
        await reservations.hold(conn, [old], now=NOW)
    for now in (LATER, NOW):
        async with database.transaction() as conn:
            assert await reservations.sweep(conn, now=LATER) == (1 if now == LATER else 0)
            (outcome,) = await reservations.hold(conn, [old], now=now)
            assert isinstance(outcome, HoldExpired)
            assert await reservations.extend(conn, [old.id], until=LATER, now=now) == set()
            assert await reservations.commit(conn, {old.id: None}, now=now) == set()
    assert await counters(database, at, "mug") == (1, 0)
    await database.close()


async def test_committed_demand_is_fulfilled_once(database: Database) -> None:
    at = await stocked(database, mug=4)
    wanted = demand(at, mug=3)
    async with database.transaction() as conn:
        await reservations.hold(conn, [wanted], now=NOW)
        committed = await reservations.commit(conn, {wanted.id: LATER}, now=NOW)
        assert committed == {wanted.id}
        left = await reservations.fulfill(conn, wanted.id, actor="test", now=LATER)
        assert [(each.sku, each.quantity) for each in left] == [("mug", 3)]
        assert await reservations.fulfill(conn, wanted.id, actor="test", now=LATER) == []
        assert await reservations.release(conn, wanted.id, actor="test", now=LATER) == []
    assert await counters(database, at, "mug") == (1, 0)


async def test_release_gives_back_what_was_promised(database: Database) -> None:
    at = await stocked(database, mug=4, cup=4)
    wanted = demand(at, expires_at=None, mug=3, cup=1)
    async with database.transaction() as conn:
        await reservations.hold(conn, [wanted], now=NOW)
        assert len(await reservations.release(conn, wanted.id, actor="test", now=NOW)) == 2
    assert await counters(database, at, "mug") == (4, 0)
    assert await counters(database, at, "cup") == (4, 0)


async def test_part_of_a_promise_is_given_back(database: Database) -> None:
    at = await stocked(database, mug=4, cup=4)
    wanted = demand(at, expires_at=None, mug=3, cup=1)
    async with database.transaction() as conn:
        await reservations.hold(conn, [wanted], now=NOW)
        short = [Want(at, "mug", 1), Want(at, "cup", 1)]
        await reservations.release_part(conn, wanted.id, short, actor="test", now=NOW)
        left = await reservations.fulfill(conn, wanted.id, actor="test", now=NOW)
    assert [(each.sku, each.quantity) for each in left] == [("mug", 2)]
    assert await counters(database, at, "mug") == (2, 0)
    assert await counters(database, at, "cup") == (4, 0)


async def test_a_batch_costs_as_many_statements_as_one(database: Database) -> None:
    at = await stocked(database, mug=100, cup=100)
    counts = []
    for size in (1, 64):
        async with database.transaction() as conn:
            wanted = [demand(at, mug=1, cup=1) for _ in range(size)]
            await reservations.hold(conn, wanted, now=NOW)
            await conn.flush()
            counts.append(conn.statements)
    assert counts == [3, 3]


async def test_fact_below_what_is_promised_is_recorded_and_published(database: Database) -> None:
    at = await stocked(database, mug=3)
    wanted = demand(at, expires_at=None, mug=3)
    async with database.transaction() as conn:
        await reservations.hold(conn, [wanted], now=NOW)
        moved = await stock.move(conn, [Movement(at, "mug", "sale", 1, "test")], now=NOW)
        await conn.flush()
        facts = await conn.driver.fetch(
            "SELECT type, payload FROM event WHERE aggregate_id = $1", at
        )
    assert moved[at, "mug"].short == 1
    assert [(row["type"], row["payload"]) for row in facts] == [
        ("stock.shortfall", {"sku": "mug", "short": 1, "demand_ids": [str(wanted.id)]})
    ]


async def test_count_writes_the_difference_and_unsellable_units_stand_apart(
    database: Database,
) -> None:
    at = await stocked(database, mug=3)
    async with database.transaction() as conn:
        await stock.move(
            conn,
            [
                Movement(at, "mug", "count", 7, "test", reason="cycle_count"),
                Movement(at, "mug", "return", 2, "test", unsellable="damaged"),
            ],
            now=NOW,
        )
    assert await counters(database, at, "mug") == (7, 0)
    async with database.reading() as conn:
        (latest, *_) = await stock.history(conn, (at, "mug"))
        unsellable = await conn.driver.fetchval(
            "SELECT quantity FROM unsellable_stock WHERE location_id = $1", at
        )
    assert (latest.kind, latest.unsellable_delta, latest.reason) == ("return", 2, "damaged")
    assert unsellable == 2


async def test_hold_that_lost_one_sku_is_dead_as_a_whole(database: Database) -> None:
    at = await stocked(database, mug=1, cup=1)
    held = demand(at, mug=1, cup=1)
    rival = demand(at, expires_at=None, mug=1)
    async with database.transaction() as conn:
        await reservations.hold(conn, [held], now=NOW)
    async with database.transaction() as conn:
        assert await reservations.hold(conn, [rival], now=LATER) == [Held(rival.id)]
    # Another process, whose clock is behind or whose request has waited.
    async with database.transaction() as conn:
        assert await reservations.extend(conn, [held.id], until=LATER, now=NOW) == set()
        assert await reservations.commit(conn, {held.id: None}, now=NOW) == set()
        (outcome,) = await reservations.hold(conn, [held], now=NOW)
        assert isinstance(outcome, HoldExpired)
    assert await counters(database, at, "cup") == (1, 1)


async def test_one_demand_twice_in_a_batch_reserves_once(database: Database) -> None:
    at = await stocked(database, mug=5)
    wanted = demand(at, mug=2)
    async with database.transaction() as conn:
        outcomes = await reservations.hold(conn, [wanted, wanted], now=NOW)
    assert outcomes == [Held(wanted.id), Held(wanted.id)]
    assert await counters(database, at, "mug") == (5, 2)
