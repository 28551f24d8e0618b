"""The number that may be promised, its reason, and what stands behind it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.kernel import ids
from commerce.kernel.sql import Connection, Database
from inventory import availability, reservations, stock
from inventory.availability import Availability, StockAvailability
from inventory.demands import Demand, Held, Want
from inventory.stock import Key, Movement

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
UNITS = st.integers(-1_000, 1_000)
COUNTS = st.integers(0, 1_000)


async def stocked(db: Database, **units: int) -> UUID:
    location_id = ids.uuid7()
    moves = [Movement(location_id, sku, "receive", n, "test") for sku, n in units.items()]
    async with db.transaction() as conn:
        await stock.move(conn, moves, now=NOW)
    return location_id


async def hold(conn: Connection, key: Key, quantity: int, expires_at: datetime) -> None:
    demand = Demand(ids.uuid7(), (Want(*key, quantity),), "guest", "test", expires_at)
    (outcome,) = await reservations.hold(conn, [demand], now=NOW)
    assert isinstance(outcome, Held)


@pytest.mark.parametrize(
    ("on_hand", "reserved", "safety_stock", "available", "reason"),
    [
        (5, 2, 1, 2, "available"),
        (0, 0, 0, 0, "none_on_hand"),
        (-1, 2, 3, 0, "none_on_hand"),
        (2, 2, 0, 0, "all_reserved"),
        (2, 3, 5, 0, "all_reserved"),
        (3, 1, 2, 0, "safety_stock"),
        (3, 1, 9, 0, "safety_stock"),
    ],
)
def test_number_and_reason(
    on_hand: int, reserved: int, safety_stock: int, available: int, reason: str
) -> None:
    found = availability.decide(on_hand, reserved, safety_stock)
    assert (found.available_to_promise, found.reason) == (available, reason)


@given(on_hand=UNITS, reserved=COUNTS, safety_stock=COUNTS)
def test_only_an_available_number_is_above_zero(
    on_hand: int, reserved: int, safety_stock: int
) -> None:
    found = availability.decide(on_hand, reserved, safety_stock)
    assert found.available_to_promise == max(0, on_hand - reserved - safety_stock)
    assert (found.reason == "available") == (found.available_to_promise > 0)


async def test_many_skus_are_answered_in_order_by_one_statement(db: Database) -> None:
    north, south = await stocked(db, mug=5, cup=1), await stocked(db, mug=2)
    both, nowhere = [south, north], ids.uuid7()
    async with db.transaction() as conn:
        await stock.set_safety_stock(conn, {(north, "cup"): 1})
        statements = conn.statements
        found = await availability.of_skus(
            conn,
            [
                ("cup", both),
                ("mug", both),
                ("mug", [north, nowhere, north]),
                ("mug", []),
                ("hat", [north]),
            ],
            now=NOW,
        )
        assert conn.statements == statements + 1
    never, five = Availability(0, 0, 0, 0, "not_stocked"), Availability(5, 0, 0, 5, "available")
    assert found == [
        [never, Availability(1, 0, 1, 0, "safety_stock")],
        [Availability(2, 0, 0, 2, "available"), five],
        [five, never, five],
        [],
        [never],
    ]


async def number(conn: Connection, key: Key, now: datetime) -> StockAvailability:
    location_id, sku = key
    ((found,),) = await availability.of_skus(conn, [(sku, [location_id])], now=now)
    return found


async def test_expired_hold_counts_as_free_before_the_sweep(db: Database) -> None:
    at = await stocked(db, mug=5)
    key = at, "mug"
    async with db.transaction() as conn:
        await hold(conn, key, 3, NOW + timedelta(minutes=1))
        await hold(conn, key, 2, NOW + timedelta(minutes=2))
        found = [
            await number(conn, key, NOW + timedelta(seconds=seconds))
            for seconds in (0, 59, 60, 120)
        ]
        levels = await stock.levels(conn, [key])
    assert found == [
        Availability(5, 5, 0, 0, "all_reserved"),
        Availability(5, 5, 0, 0, "all_reserved"),
        Availability(5, 2, 0, 3, "available"),
        Availability(5, 0, 0, 5, "available"),
    ]
    assert levels[key].reserved == 5


async def test_released_and_committed_promises_count_as_they_should(db: Database) -> None:
    at = await stocked(db, mug=5)
    key = at, "mug"
    order = Demand(ids.uuid7(), (Want(*key, 2),), "order", "test", None)
    async with db.transaction() as conn:
        await reservations.hold(conn, [order], now=NOW)
        late = NOW + timedelta(days=30)
        assert (await number(conn, key, late)).available_to_promise == 3
        await reservations.release(conn, order.id, actor="test", now=NOW)
        assert (await number(conn, key, late)).available_to_promise == 5


async def test_explanation_shows_the_ledger_behind_the_number(db: Database) -> None:
    at = await stocked(db, mug=5)
    key = at, "mug"
    async with db.transaction() as conn:
        await stock.move(conn, [Movement(*key, "sale", 1, "till")], now=NOW)
        await hold(conn, key, 3, NOW + timedelta(minutes=1))
        after = NOW + timedelta(minutes=1)
        whole = await availability.explain(conn, key, now=after)
        page = await availability.explain(conn, key, now=NOW, page=1)
        rest = await availability.explain(conn, key, now=NOW, before=page.entries[-1].id)
    assert whole.availability == Availability(4, 0, 0, 4, "available")
    assert whole.expired == 3
    assert [(e.kind, e.on_hand_delta, e.reserved_delta, e.actor) for e in whole.entries] == [
        ("hold", 0, 3, "test"),
        ("sale", -1, 0, "till"),
        ("receive", 5, 0, "test"),
    ]
    assert (page.availability.reserved, page.expired) == (3, 0)
    assert page.entries + rest.entries == whole.entries


async def test_explanation_of_what_was_never_there_is_empty(db: Database) -> None:
    async with db.reading() as conn:
        found = await availability.explain(conn, (ids.uuid7(), "mug"), now=NOW)
    assert (found.availability, found.entries) == (availability.NOT_STOCKED, [])


async def test_query_looks_everything_up_in_indexes(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute("SET LOCAL enable_seqscan = off")
        await conn.driver.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await conn.driver.execute(f"PREPARE hot AS {availability.COUNTERS.sql}")
        plan = await conn.driver.fetch("EXPLAIN EXECUTE hot(NULL, NULL, NULL, NULL, NULL)")
        await conn.driver.execute("DEALLOCATE hot")
    lines = [row[0].strip() for row in plan]
    assert not [line for line in lines if "Seq Scan" in line]
    conditions = [line for line in lines if line.startswith("Index Cond")]
    assert len(conditions) == 2, lines
    assert "(sku = " in conditions[0]
    assert "(location_id = stock_level.location_id) AND (sku = stock_level.sku)" in conditions[1]
