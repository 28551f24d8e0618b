"""Checks of a live database: what its rows must agree on, read in one moment, row by row.

Each layer states its own invariants as `CHECKS` in a module `audit`. A check streams the rows of
one query through a pure `judge`, so memory is bounded however large the database is. Nothing here
writes, and no check needs another one's answer.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, Table, Text, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from commerce.kernel.sql import Connection, Query

Row = TypeVar("Row")


class Finding(Struct, frozen=True):
    """One row that breaks an invariant, and what a person can do about it."""

    subject: str
    expected: str
    found: str
    remedy: str


class Check(Struct, Generic[Row], frozen=True):
    """One invariant: the rows to look at, and what is wrong with each, if anything is.

    `query` may return only what is wrong already, or every row.
    """

    name: str
    query: Query[Row]
    judge: Callable[[Row], Iterable[Finding]]


class Counted(Struct, frozen=True):
    """A kind of row, in the words of people, and how many there are."""

    words: str
    query: Query[int]


class Loose(Struct, frozen=True):
    """A reference to something that is not there."""

    value: str


class _Planning(Struct, frozen=True):
    enable_seqscan: str
    work_mem: str


# Made for look-ups, a connection refuses to scan; an audit reads everything, and only once.
_FULL_PASSES = Query(
    select(
        func.set_config("enable_seqscan", "on", True).label("enable_seqscan"),
        func.set_config("work_mem", "64MB", True).label("work_mem"),
    ),
    _Planning,
)


async def begin(conn: Connection) -> None:
    """Make this transaction ready for reading whole tables."""
    await conn.run(_FULL_PASSES)


async def findings(conn: Connection, check: Check[Any]) -> AsyncIterator[Finding]:
    """What one check finds, as it finds it."""
    async for row in conn.stream(check.query):
        for finding in check.judge(row):
            yield finding


async def rows(conn: Connection, counted: Counted) -> int:
    """How many rows of this kind there are."""
    return await conn.one(counted.query)


def count_of(words: str, table: Table) -> Counted:
    """To count the rows of a table."""
    return Counted(words, Query(select(func.count()).select_from(table), int))


def total(amount: ColumnElement[Any]) -> ColumnElement[int]:
    """A sum that is 0 without rows, and an int however large."""
    return cast(func.coalesce(func.sum(amount), 0), BigInteger())


def parts(of: type[Struct], table: Table, *where: ColumnElement[bool]) -> ScalarSelect[Any]:
    """Rows of another table, as a list within each row of the statement."""
    pairs = [part for name in of.__struct_fields__ for part in (name, table.c[name])]
    rows_ = func.jsonb_agg(func.jsonb_build_object(*pairs))
    return (
        select(func.coalesce(rows_, func.jsonb_build_array(), type_=JSONB()))
        .select_from(table)
        .where(*where)
        .correlate_except(table)
        .scalar_subquery()
    )


def reference(name: str, child: ColumnElement[Any], parent: ColumnElement[Any]) -> Check[Loose]:
    """That what a column names exists, where no foreign key says so."""
    exists = select(parent).where(parent == child).exists()
    query = Query(
        select(cast(child, Text).label("value")).where(child.is_not(None), ~exists).distinct(),
        Loose,
    )

    def judge(row: Loose) -> Iterable[Finding]:
        yield Finding(
            subject=f"{child} = {row.value}",
            expected=f"a row with {parent} = {row.value}",
            found="none",
            remedy="Restore the missing row from a backup.",
        )

    return Check(name, query, judge)
