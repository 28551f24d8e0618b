"""Every statement of the system against the migrated schema.

It prepares, its columns are what its rows become, and its plan looks up what it reads.
"""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, time
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import asyncpg
import msgspec
import pytest

from commerce import fulfillment
from commerce.fulfillment import Cash
from commerce.kernel.money import Money
from commerce.kernel.sql import Database, Query
from tests import counter
from tests.carts import begun, completed, completion, full_cart
from tests.conftest import clone, drop
from tests.shop import Shop, make_shop
from tests.statements import statements

NATIVE: dict[type, set[str]] = {
    UUID: {"uuid"},
    str: {"text", "varchar", "bpchar", "pg_snapshot"},
    int: {"int2", "int4", "int8", "xid8"},
    bool: {"bool"},
    float: {"float8"},
    bytes: {"bytea"},
    datetime: {"timestamptz"},
    time: {"time"},
    NoneType: {"void"},
}
"""Types that the driver gives as they are; everything else comes as JSONB."""


@pytest.fixture
async def driver(dsn: str) -> AsyncIterator[Any]:
    database = await Database.open(dsn, max_size=1)
    async with database.pool.acquire() as driver:
        yield driver
    await database.close()


def kinds(annotation: Any) -> set[str] | None:
    """The column types that an annotated field can be read from; None: JSONB of any shape."""
    origin = get_origin(annotation)
    if origin is Literal:
        return NATIVE[type(get_args(annotation)[0])]
    if origin in (Union, UnionType):
        parts = [kinds(part) for part in get_args(annotation) if part is not NoneType]
        return None if None in parts else set().union(*(part or () for part in parts))
    if hasattr(annotation, "__metadata__"):
        return kinds(annotation.__origin__)
    if origin is list and (inner := kinds(get_args(annotation)[0])) is not None:
        return {f"{kind}[]" for kind in inner}
    return NATIVE.get(annotation)


def misfits(query: Query[Any], columns: list[asyncpg.Attribute]) -> Iterator[str]:
    """What of a statement's columns does not fit the type that it names."""
    returns: Any = query.returns
    if returns is None:
        return
    hints = {columns[0].name: returns} if len(columns) == 1 else {}
    if isinstance(returns, type) and issubclass(returns, msgspec.Struct):
        hints = get_type_hints(returns, include_extras=True)
        hints = {name: hints[name] for name in returns.__struct_fields__}
    named = [column.name for column in columns]
    if sorted(named) != sorted(hints):
        yield f"columns {named} for {list(hints)}"
        return
    for column in columns:
        expected = kinds(hints[column.name])
        if expected is None:
            expected = {"jsonb"} | {kind for each in NATIVE.values() for kind in each}
        if column.type.name not in expected:
            yield f"{column.name} is {column.type.name}, not {hints[column.name]}"


async def test_every_statement_prepares_and_its_columns_are_its_rows(driver: Any) -> None:
    wrong = []
    for name, query in statements().items():
        try:
            prepared = await driver.prepare(query.sql)
        except asyncpg.PostgresError as error:
            wrong.append(f"{name}: {error}")
            continue
        if len(prepared.get_parameters()) != len(query.names):
            wrong.append(f"{name}: parameters {query.names}")
        wrong += [f"{name}: {each}" for each in misfits(query, list(prepared.get_attributes()))]
    assert wrong == []
    assert len(statements()) > 200


FILL = """
CREATE TEMPORARY TABLE made AS
SELECT n, md5('order' || n)::uuid AS order_id, md5('pickup' || n)::uuid AS pickup_id,
       s.location_id, k.sku, to_timestamp(1795000000 + n) AS at
FROM generate_series(1, 10000) AS n
JOIN (SELECT location_id, row_number() OVER () - 1 AS i FROM store) AS s ON s.i = n % 20
JOIN (SELECT sku, row_number() OVER () - 1 AS i FROM sku) AS k ON k.i = n % 500;
INSERT INTO orders (id, number, state, channel, key_id, location_id, currency, tax_included,
  subtotal_minor, discount_minor, tax_minor, total_minor, tender, created_at, placed_at)
SELECT order_id, 'N' || n, CASE WHEN n % 9 = 0 THEN 'placed' ELSE 'completed' END, 'web',
  order_id, location_id, 'MXN', true, 100, 0, 14, 100, 'cash', at, at FROM made;
INSERT INTO order_line (order_id, line_number, fulfillment_id, sku, name, quantity,
  unit_price_minor, discount_minor, tax_rate_bp, tax_minor, total_minor, units, final_sale,
  return_window_days)
SELECT order_id, 1, pickup_id, sku, 'Item', 1, 100, 0, 1600, 14, 100, '[[1, 0, 14]]', false, 30
FROM made;
INSERT INTO fulfillment (id, order_id, location_id, demand_id, kind, state, requested_at, closed_at)
SELECT pickup_id, order_id, location_id, pickup_id, 'pickup',
  CASE WHEN n % 9 = 0 THEN 'ready' ELSE 'collected' END, at, at FROM made;
INSERT INTO reservation (demand_id, location_id, sku, quantity, hold_class, state, expires_at,
  created_at)
SELECT pickup_id, location_id, sku, 1, 'order',
  (ARRAY['held', 'committed', 'fulfilled', 'released', 'expired'])[1 + n % 5], at, at FROM made;
INSERT INTO stock_ledger (id, at, location_id, sku, kind, on_hand_delta, reserved_delta, actor)
SELECT order_id, at, location_id, sku, 'hold', 0, 1, 'fill' FROM made;
INSERT INTO payment (id, order_id, fulfillment_id, tender, state, currency, amount_minor,
  captured_minor, authorized_minor, created_at, updated_at)
SELECT order_id, order_id, pickup_id, 'cash', 'captured', 'MXN', 100, 100, 100, at, at FROM made;
INSERT INTO idempotency_key (principal_id, route, key, body_hash, status, answer, created_at)
SELECT order_id, 'POST /v1/orders', n::text, 'x', 201, 'x', at FROM made;
INSERT INTO cart (id, key_id, state, revision, location_id, lines, created_at, updated_at)
SELECT order_id, order_id, 'open', 1, location_id, '{}', at, at FROM made;
INSERT INTO event (id, type, version, aggregate, aggregate_id, location_id, actor, payload, at)
SELECT order_id, 'order.placed', 1, 'order', order_id, location_id, 'fill', '{}', at FROM made;
"""
STORES, SKUS = 20, 500

WHOLE = {
    "commerce.access.keys.ALL": "few keys",
    "commerce.access.keys.ORIGINS": "few keys",
    "commerce.access.record.NEWEST_FIRST": "a page of all, in its order",
    "commerce.access.sessions.FORGET": "once an hour",
    "commerce.browsing.trails.FORGET_LINKS": "once an hour",
    "commerce.carts.claiming.FORGET_TRIES": "once a day",
    "commerce.catalog.ITEMS": "a page of the catalog, in its order",
    "commerce.customers.sign_in.FORGET_CODES": "once an hour",
    "commerce.clienteling.access_log.ALL_LOOKS": "a page of all, in its order",
    "commerce.clienteling.looking_up.ALL_LOOK_UPS": "a page of all, in its order",
    "commerce.follow_ups.answers.NEWEST_FIRST": "a page of all, in its order",
    "commerce.follow_ups.settings.ALL": "few triggers",
    "commerce.installation.SECRET": "one row",
    "commerce.kernel.auditing": "an audit reads everything",
    "commerce.kernel.generations": "few rows; events anew after a restore",
    "commerce.kernel.heartbeats.HEARTBEATS": "few processes",
    "commerce.kernel.readers.PRESENT": "few generations, the newest one",
    "commerce.messages.outbox.NEWEST_FIRST": "a page of all, in its order",
    "commerce.privacy.erasing.NEWEST_FIRST": "a page of all, in its order",
    "commerce.privacy.erasing.STAFF": "all who work here, once an erasure",
    "commerce.stores.ALL_STORES": "few stores, kept for a minute",
}
"""What reads all of a table that stays small, or all of a large one once in a while."""


@pytest.fixture(scope="module")
async def full(template_dsn: str) -> AsyncIterator[tuple[Database, Shop]]:
    """A shop after ten thousand orders."""
    cloned = clone(template_dsn)
    opened = await Database.open(cloned, max_size=1)
    shop = await make_shop(opened, skus=SKUS, stores=STORES, on_hand=1_000)
    async with opened.pool.acquire() as driver:
        await driver.execute(FILL)
        await driver.execute("ANALYZE")
    yield opened, shop
    await opened.close()
    drop(cloned)


def whole_reads(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Scans of a plan that look nothing up: the table, and how it is read."""
    for each in plan.get("Plans", ()):
        yield from whole_reads(each)
    kind = plan["Node Type"]
    if kind == "Seq Scan":
        yield plan["Relation Name"], "without an index"
    elif kind in {"Index Scan", "Index Only Scan"} and "Index Cond" not in plan:
        yield plan["Relation Name"], f"all along {plan['Index Name']}"


async def plan_of(driver: Any, query: Query[Any]) -> dict[str, Any]:
    """The generic plan, as the pool's connections make it."""
    await driver.execute(f"PREPARE checked AS {query.sql}")
    given = f"({', '.join(['NULL'] * len(query.names))})" if query.names else ""
    row = await driver.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE checked{given}")
    await driver.execute("DEALLOCATE checked")
    plan: dict[str, Any] = json.loads(row)[0].get("Plan", {"Node Type": "Utility"})
    return plan


async def test_every_table_can_be_looked_up(driver: Any) -> None:
    assert await whole_reads_of_statements(driver) == set()


async def test_large_tables_are_looked_up_by_plans_that_know_them(
    full: tuple[Database, Shop],
) -> None:
    async with full[0].pool.acquire() as driver:
        large = {
            row[0]
            for row in await driver.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= 5000"
            )
        }
        assert len(large) > 8
        found = await whole_reads_of_statements(driver)
    assert {each for each in found if each[1] in large} == set()


async def whole_reads_of_statements(driver: Any) -> set[tuple[str, str, str]]:
    """Statement, table and how it is read, of all that are to look up what they read."""
    partial = await driver.fetchval(
        "SELECT array_agg(indexrelid::regclass::text) FROM pg_index WHERE indpred IS NOT NULL"
    )
    waiting = {f"all along {each}" for each in partial}  # holds only what waits for somebody
    found = set()
    for name, query in statements().items():
        if not name.startswith(tuple(WHOLE)) and ".audit" not in name:
            reads = whole_reads(await plan_of(driver, query))
            found |= {(name, table, how) for table, how in reads if how not in waiting}
    return found


async def rows_read(db: Database) -> int:
    """How many index entries were read so far, by the one connection of this pool."""
    async with db.pool.acquire() as driver:
        await driver.execute("SELECT pg_stat_force_next_flush()")
        return int(await driver.fetchval("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"))


async def test_busy_verbs_read_few_rows_however_many_there_are(full: tuple[Database, Shop]) -> None:
    db, shop = full
    manager = counter.associate(shop, role="manager")
    read = [await rows_read(db)]
    made = await counter.order(db, shop, (3, 1), (400, 2), total_minor=833_000)
    read.append(await rows_read(db))
    cart = await full_cart(db, shop, (7, 1), (300, 2))
    await begun(db, cart.id)
    await completed(db, completion(cart.id, 637_000))
    read.append(await rows_read(db))
    await counter.ready(db, manager, made.fulfillments[0].id)
    async with db.transaction() as conn:
        await fulfillment.hand_over(
            conn, manager, made.fulfillments[0].id, secret=counter.SECRET, code=None,
            override_reason="lost phone", tender=Cash(Money(900_000, "MXN")), now=counter.NOW,
        )  # fmt: skip
    read.append(await rows_read(db))
    per_verb = [after - before for before, after in pairwise(read)]
    assert max(per_verb) <= 100, per_verb


async def test_counters_are_updated_in_place(full: tuple[Database, Shop]) -> None:
    db, shop = full
    await counter.order(db, shop, *((index, 1) for index in range(100)), total_minor=5_950_000)
    statement = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1"
    async with db.pool.acquire() as driver:
        await driver.execute("SELECT pg_stat_force_next_flush()")
        before = await driver.fetchrow(statement, "stock_level")
    for _ in range(3):
        await counter.order(db, shop, *((index, 1) for index in range(100)), total_minor=5_950_000)
    async with db.pool.acquire() as driver:
        await driver.execute("SELECT pg_stat_force_next_flush()")
        after = await driver.fetchrow(statement, "stock_level")
    updated, in_place = (later - sooner for later, sooner in zip(after, before, strict=True))
    assert updated == 300
    assert in_place >= 150  # a page without room gives rows to another page; no index hinders
