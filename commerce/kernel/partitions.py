"""Growing logs are cut by month. Their keys are UUIDv7, so a month is a range of keys.

Partitions exist three months ahead; a default partition catches what falls outside, and `stray`
counts it, so that `/health` can say so. Making partitions twice, or twice at once, is harmless.
"""

from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from commerce.kernel.sql import Connection

PARTITIONED = ("event", "stock_ledger")
MONTHS_AHEAD = 3
_LOCK = 7_236_014_906


def bound(moment: datetime) -> UUID:
    """The smallest UUIDv7-ordered id of a moment: its milliseconds in the upper 48 bits."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def months(now: datetime) -> list[tuple[datetime, datetime]]:
    """This month and the next three, as half-open intervals in UTC."""
    starts = []
    for ahead in range(MONTHS_AHEAD + 2):
        year, month = divmod(now.year * 12 + now.month - 1 + ahead, 12)
        starts.append(datetime(year, month + 1, 1, tzinfo=UTC))
    return list(pairwise(starts))


async def ensure(conn: Connection, *, now: datetime) -> None:
    """Make the partitions that are missing; rows of theirs that went astray move in."""
    await conn.driver.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    for table in PARTITIONED:
        for start, end in months(now):
            name = f"{table}_{start:%Y%m}"
            if await conn.driver.fetchval("SELECT to_regclass($1) IS NULL", name):
                await _make(conn, table, name, bound(start), bound(end))


async def _make(conn: Connection, table: str, name: str, start: UUID, end: UUID) -> None:
    like = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
    await conn.driver.execute(f"CREATE TABLE {name} (LIKE {table} {like})")
    await conn.driver.execute(
        f"WITH strays AS (DELETE FROM {table}_default WHERE id >= $1 AND id < $2 RETURNING *)"  # noqa: S608  constant names
        f" INSERT INTO {name} SELECT * FROM strays",
        start,
        end,
    )
    await conn.driver.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
    )


async def stray(conn: Connection) -> int:
    """Rows that no month's partition took, counted up to a thousand per table."""
    counts = [
        await conn.driver.fetchval(
            f"SELECT count(*) FROM (SELECT 1 FROM {table}_default LIMIT 1000) AS strays"  # noqa: S608  a constant name
        )
        for table in PARTITIONED
    ]
    return sum(counts)
