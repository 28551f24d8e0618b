"""The audit: silent about a healthy shop; each invariant that is broken is found, and only that."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from api import audit
from commerce.kernel import auditing, ids
from commerce.kernel.auditing import Finding, Loose
from commerce.kernel.sql import Connection, Database
from commerce.stripe_gateway import StripeGateway
from tests.broken import BREAKS, rows
from tests.conftest import clone, drop
from tests.everything import Everything, make_everything
from tests.simulation.story import Moment


@pytest.fixture(scope="module")
async def db(template_dsn: str) -> AsyncIterator[Database]:
    cloned = clone(template_dsn)
    opened = await Database.open(cloned)
    yield opened
    await opened.close()
    drop(cloned)


@pytest.fixture(scope="module")
async def shop(db: Database, gateway: StripeGateway) -> Everything:
    return await make_everything(db, gateway, Moment())


DRIFTS = (
    "goods without an entry",
    "a reserved counter that drifted",
    "a level that is gone",
    "a ledger entry that is gone",
    "unsellable units without an entry",
    "a dead hold that came back",
)


async def found(conn: Connection) -> list[tuple[str, str, str]]:
    """Row, expected and found of every finding."""
    await auditing.begin(conn)
    return [
        (each.subject, each.expected, each.found)
        for check in audit.checks()
        async for each in auditing.findings(conn, check)
    ]


@pytest.mark.usefixtures("shop")
async def test_a_shop_in_which_everything_happened_is_in_order(db: Database) -> None:
    async with db.snapshot() as conn:
        assert await found(conn) == []


class Undone(Exception):
    """Takes back what a test broke."""


@pytest.fixture(scope="module")
async def named(db: Database, shop: Everything) -> dict[str, str]:
    return await rows(db, shop)


@pytest.mark.parametrize("name", BREAKS)
async def test_what_is_broken_is_found_and_nothing_else(
    db: Database, named: dict[str, str], name: str
) -> None:
    case = BREAKS[name]
    findings: list[tuple[str, ...]] = []
    with suppress(Undone):
        async with db.transaction() as conn:
            await conn.driver.execute(case.statements.format(**named))
            findings = sorted(await found(conn))
            raise Undone
    expected = [tuple(part.format(**named) for part in each) for each in case.expected]
    assert findings == sorted(expected)


REFERENCES = {
    "stock levels have a location": "stock_level.location_id",
    "reservations have a location": "reservation.location_id",
    "ledger entries have a location": "stock_ledger.location_id",
    "unsellable units have a location": "unsellable_stock.location_id",
    "stock levels have a SKU": "stock_level.sku",
    "reservations have a SKU": "reservation.sku",
    "ledger entries have a SKU": "stock_ledger.sku",
    "lines have a SKU": "order_line.sku",
    "lines have an order": "order_line.order_id",
    "fulfillments have an order": "fulfillment.order_id",
    "fulfillments have a store": "fulfillment.location_id",
    "orders have a store": "orders.location_id",
    "orders have their contact": "orders.contact_id",
    "orders have their shopper": "orders.shopper_id",
    "orders have their cart": "orders.cart_id",
    "ordered carts have an order": "cart.order_id",
    "payments have a fulfillment": "payment.fulfillment_id",
    "refunds have their return": "payment_operation.return_id",
    "returns have a store": "return.location_id",
    "baskets have a store": "basket.location_id",
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.usefixtures("shop")
async def test_a_reference_to_nothing_is_found(db: Database, name: str) -> None:
    table, column = REFERENCES[name].split(".")
    (check,) = (each for each in audit.checks() if each.name == name)
    lost = str(ids.uuid7())
    findings: list[Finding] = []
    with suppress(Undone):
        async with db.transaction() as conn:
            await conn.driver.execute("SET LOCAL session_replication_role = replica")
            await conn.driver.execute(
                f"UPDATE \"{table}\" SET {column} = '{lost}' WHERE (tableoid, ctid) = ("  # noqa: S608
                f' SELECT tableoid, ctid FROM "{table}" ORDER BY {column} NULLS LAST LIMIT 1)'
            )
            findings = [each async for each in auditing.findings(conn, check)]
            raise Undone
    (finding,) = findings
    assert (finding.subject.strip('"'), finding.found) == (f"{table}.{column} = {lost}", "none")


def test_each_check_is_broken_above() -> None:
    references = {each.name for each in audit.checks() if each.query.returns is Loose}
    assert references == REFERENCES.keys()


async def test_a_broken_stock_is_made_to_agree_again(
    own_db: Database, gateway: StripeGateway
) -> None:
    shop = await make_everything(own_db, gateway, Moment())
    named = await rows(own_db, shop)
    for name in DRIFTS:
        async with own_db.transaction() as conn:
            await conn.driver.execute(BREAKS[name].statements.format(**named))
    repaired = await audit.repair(own_db)
    async with own_db.snapshot() as conn:
        assert await found(conn) == []
        booked = await conn.driver.fetch(
            "SELECT location_id, sku, on_hand_delta, reserved_delta, unsellable_delta, reason,"
            " reference FROM stock_ledger WHERE actor = 'audit'"
        )
        levels = await conn.driver.fetch(
            "SELECT location_id, sku, on_hand, reserved FROM stock_level WHERE location_id = $1",
            shop.shop.stores[0].location_id,
        )
    at, there, sku, other = (named[name] for name in ("at", "there", "sku", "other_sku"))
    assert repaired == 3
    assert {tuple(map(str, row)) for row in booked} == {
        (at, sku, "4", "0", "0", "unexplained", "None"),
        (at, sku, "0", "2", "0", "unexplained", named["pickup"]),
        (at, other, "0", "2", "0", "unexplained", named["dead"]),
        (there, sku, "0", "0", "1", "damaged", "None"),
    }
    assert {(str(row["location_id"]), row["sku"]): tuple(row)[2:] for row in levels} == {
        (at, sku): (48, 6),
        (at, other): (50, 3),
        (at, shop.shop.skus[2].sku): (48, 1),
    }
    assert await audit.repair(own_db) == 0
