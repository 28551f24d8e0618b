"""Growing logs are cut by month. Their keys are UUIDv7, so a month is a range of keys.

Partitions exist from a week ago to three months ahead; a default partition catches what falls
outside, and `stray` counts it, so that `/health` can say so. Making partitions twice, or twice at
once, is harmless. Of a log that need not be kept for ever, `drop` takes whole months away.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from commerce.kernel.sql import Connection

PARTITIONED = ("browsing_event", "event", "stock_ledger")
MONTHS_AHEAD = 3
LATE = timedelta(days=7)
"""How old a key may be when it is written."""

_LOCK = 7_236_014_906


def bound(moment: datetime) -> UUID:
    """The smallest UUIDv7-ordered id of a moment: its milliseconds in the upper 48 bits."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def months(now: datetime) -> list[tuple[datetime, datetime]]:
    """This month, that of a week ago, and the next three, as half-open intervals in UTC."""
    begun, present = (each.year * 12 + each.month - 1 for each in (now - LATE, now))
    starts = []
    for number in range(begun, present + MONTHS_AHEAD + 2):
        year, month = divmod(number, 12)
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


async def drop(conn: Connection, table: str, *, months_kept: int, now: datetime) -> list[str]:
    """Take away the partitions of months that ended so long ago; their names.

    Waits at most two seconds for those who read the table, so that nobody waits behind it.
    """
    year, month = divmod(now.year * 12 + now.month - 1 - months_kept, 12)
    oldest = f"{table}_{datetime(year, month + 1, 1, tzinfo=UTC):%Y%m}"
    await conn.driver.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    await conn.driver.execute("SET LOCAL lock_timeout = '2s'")
    parts = await conn.driver.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = to_regclass($1) AND relname ~ '_[0-9]{6}$' AND relname < $2"
        " ORDER BY relname",
        table,
        oldest,
    )
    names = [row["relname"] for row in parts]
    for name in names:
        await conn.driver.execute(f"DROP TABLE {name}")
    return names


async def stray(conn: Connection) -> int:
    """Rows that no month's partition took, counted up to a thousand per table."""
    counts = [
        await conn.driver.fetchval(
            f"SELECT count(*) FROM (SELECT 1 FROM {table}_default LIMIT 1000) AS strays"  # noqa: S608  a constant name
        )
        for table in PARTITIONED
    ]
    return sum(counts)
