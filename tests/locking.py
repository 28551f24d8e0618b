"""Which rows a transaction locks, in which order, and whether that order is the one for all.

Rows are locked by statements, so the order is read off the statements of each transaction. Parts of
an aggregate (an order's lines, pickups, returns and payments) are guarded by its own row: whoever
has that may lock them at any time, and nobody else may lock anything after them. Rows that a
transaction has written itself are nobody else's yet; so are events, which nobody ever locks.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from commerce.kernel.sql import Connection, Database, Query, Row

ORDER = ("cart", "basket", "orders", "stock_level", "reservation", "coupon")
PARTS = {
    "order_line": "orders",
    "fulfillment": "orders",
    "payment": "orders",
    "payment_operation": "payment",
    "return": "orders",
    "return_line": "return",
    "unsellable_stock": "stock_level",
}
"""Tables whose rows are locked under the row of another."""

_WRITING = re.compile(r"(?:^|\()\s*(UPDATE|DELETE FROM|INSERT INTO) \"?(\w+)", re.MULTILINE)
_SELECTED = re.compile(r"FROM \"?(\w+)")
_OF = re.compile(r"FOR NO KEY UPDATE OF \"?(\w+)")


class ObservedDatabase(Database):
    """A database that notes the statements of each transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.pool, database.dsn)
        self.transactions: list[list[Query[Any]]] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """As the real one."""
        async with super().transaction() as conn:
            statements: list[Query[Any]] = []
            self.transactions.append(statements)
            observed = ObservedConnection(conn, statements)
            yield observed
            await observed.flush()


class ObservedConnection(Connection):
    """A connection that notes its statements."""

    def __init__(self, conn: Connection, statements: list[Query[Any]]) -> None:
        super().__init__(conn.driver)
        self._statements = statements

    async def run(self, query: Query[Row], /, **values: Any) -> list[Row]:
        """As the real one."""
        self._statements.append(query)
        return await super().run(query, **values)

    async def later(self, query: Query[Any], /, **values: Any) -> None:
        """As the real one."""
        self._statements.append(query)
        await super().later(query, **values)


def locked_by(query: Query[Any]) -> list[str]:
    """The tables of which a statement locks rows that others may want too."""
    tables = [
        table
        for verb, table in _WRITING.findall(query.sql)
        if verb != "INSERT INTO" or "ON CONFLICT" in query.sql
    ]
    if "FOR NO KEY UPDATE" in query.sql or "FOR UPDATE" in query.sql:
        of = _OF.search(query.sql) or _SELECTED.search(query.sql)
        assert of is not None, query.sql
        tables.insert(0, of[1])
    return [table for table in tables if table in ORDER or table in PARTS]


def out_of_order(statements: list[Query[Any]]) -> list[str]:
    """What a transaction locked too late, as sentences. To lock again what it has is harmless."""
    wrong: list[str] = []
    held: list[str] = []
    for query in statements:
        for table in locked_by(query):
            if table not in held and not _guarded(table, held):
                wrong += [f"{table} after {each}" for each in held if _before(table, each, held)]
            held.append(table)
        held += [table for _, table in _WRITING.findall(query.sql)]
    return wrong


def _before(table: str, other: str, held: list[str]) -> bool:
    """Whether a table must be locked before another that is held already."""
    if other in PARTS:
        alone = not _guarded(other, held[: held.index(other)])
        return alone and _root(other) != table
    return other in ORDER and ORDER.index(_root(table)) < ORDER.index(other)


def _guarded(table: str, held: list[str]) -> bool:
    parent = PARTS.get(table)
    return parent is not None and (parent in held or _guarded(parent, held))


def _root(table: str) -> str:
    while table in PARTS:
        table = PARTS[table]
    return table
