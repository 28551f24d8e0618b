"""The short numbers of orders, drawn from the database in blocks.

A block belongs to one process; what a process did not use when it ends is never used. Drawing is
not undone with a transaction, so no number comes twice.
"""

from sqlalchemy import Integer, bindparam, func, select

from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query
from commerce.tables.sales import order_number

BLOCK = 256

DRAW = Query(
    select(order_number.next_value()).select_from(
        func.generate_series(1, bindparam("count", type_=Integer()))
    ),
    int,
)


class Numbers:
    """The numbers that one process has in hand, permuted by the installation's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._drawn: list[int] = []

    async def take(self, conn: Connection, count: int) -> list[str]:
        """So many new numbers."""
        while len(self._drawn) < count:  # others may take some while this waits
            drawn = await conn.run(DRAW, count=max(count, BLOCK))
            # A server that dies before the next commit hands out the same numbers again.
            conn.driver.add_termination_listener(self._forget)
            self._drawn += drawn
        taken, self._drawn = self._drawn[:count], self._drawn[count:]
        return [ids.order_number(self._secret, each) for each in taken]

    def _forget(self, _: object) -> None:
        self._drawn = []
