"""Queries, writes that wait, savepoints, repeated transactions: the thin layer over the driver."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    MetaData,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    update,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import JSONB

from commerce.kernel import ids
from commerce.kernel.sql import (
    ATTEMPTS,
    Connection,
    Database,
    LostRace,
    Query,
    columns_of,
    either,
    records,
    records_of,
    rows_of,
)  # fmt: skip
from tests.conftest import clone, drop

scratch = MetaData()
thing = Table(
    "thing",
    scratch,
    Column("id", Uuid, primary_key=True),
    Column("name", Text),
    Column("units", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True)),
    Column("tags", JSONB),
    CheckConstraint("units >= 0", name="units"),
)
note = Table("remark", scratch, Column("thing_id", Uuid, primary_key=True), Column("text", Text))
CREATE = """
CREATE TABLE thing (id uuid PRIMARY KEY, name text, units bigint NOT NULL CHECK (units >= 0),
                    at timestamptz, tags jsonb);
CREATE TABLE remark (thing_id uuid PRIMARY KEY, text text)
"""


class Thing(msgspec.Struct, frozen=True):
    """A row."""

    id: UUID
    name: str | None
    units: int
    at: datetime | None
    tags: Any = None


class Plain(msgspec.Struct, frozen=True):
    """Some columns of it, in another order."""

    units: int
    id: UUID


_ROWS = rows_of("t", id=Uuid(), name=Text(), units=BigInteger())
_RECORDS = records_of(
    "things", id=Uuid(), name=Text(), units=BigInteger(), at=DateTime(timezone=True), tags=JSONB()
)
ADD = Query(
    insert(thing).from_select(
        ["id", "name", "units"],
        select(_ROWS.c.id, _ROWS.c.name, _ROWS.c.units).order_by(_ROWS.c.position),
    )
)
ADD_RECORDS = Query(insert(thing).from_select([c.name for c in _RECORDS.c], select(*_RECORDS.c)))
WRITE_NOTE = Query(
    insert(note).values(thing_id=bindparam("of", type_=Uuid()), text=bindparam("what"))
)
MORE = Query(
    update(thing)
    .values(units=thing.c.units + bindparam("more", type_=BigInteger()))
    .where(thing.c.id == bindparam("of"))
)
BY_ID = Query(select(thing).where(thing.c.id == bindparam("of")), Thing)
PLAIN = Query(select(thing.c.id, thing.c.units).where(thing.c.id == bindparam("of")), Plain)
NOTE = Query(select(note.c.text).where(note.c.thing_id == bindparam("of")), str)
NAMED = Query(
    select(func.count())
    .select_from(thing)
    .where(either(thing.c.name == bindparam("name"), "name", Text())),
    int,
)
FEW = Query(select(thing).where(thing.c.units < 7, thing.c.id == bindparam("of")), Thing)
ALL = Query(select(thing).order_by(thing.c.units), Thing)
TWICE = Query(
    select(thing.c.id).where(
        (thing.c.name == bindparam("text", type_=Text()))
        | (thing.c.name == func.lower(bindparam("text", type_=Text())))
    ),
    UUID,
)


@pytest.fixture(scope="module")
async def db(template_dsn: str) -> AsyncIterator[Database]:
    cloned = clone(template_dsn)
    opened = await Database.open(cloned, max_size=3)
    async with opened.pool.acquire() as driver:
        await driver.execute(CREATE)
    yield opened
    await opened.close()
    drop(cloned)


async def add(conn: Connection, *units: int) -> list[UUID]:
    made = [uuid4() for _ in units]
    await conn.run(ADD, id=made, name=[str(n) for n in units], units=list(units))
    return made


async def units_of(db: Database, of: UUID) -> int | None:
    async with db.reading() as conn:
        found = await conn.first(BY_ID, of=of)
    return None if found is None else found.units


def test_constants_stand_in_the_text_and_parameters_once() -> None:
    assert "thing.units < 7" in FEW.sql
    assert (FEW.names, TWICE.names) == (("of",), ("text",))
    assert TWICE.sql.count("$1") == 2
    assert (MORE.writes, WRITE_NOTE.writes, BY_ID.writes) == ("thing", "remark", None)


def test_a_wrong_name_of_a_parameter_is_a_bug() -> None:
    for given_values in ({}, {"id": 1}, {"of": 1, "more": 2}):
        with pytest.raises(AssertionError, match="given for"):
            BY_ID.arguments(given_values)


async def test_rows_become_structs_by_name(db: Database) -> None:
    async with db.transaction() as conn:
        (one,) = await add(conn, 3)
        assert await conn.run(BY_ID, of=one) == [Thing(one, "3", 3, None)]
        assert await conn.run(PLAIN, of=one) == [Plain(3, one)]
        assert await conn.run(NAMED, name="nobody") == [0]
        assert await conn.one(NAMED, name=None) >= 1
        assert await conn.first(BY_ID, of=uuid4()) is None
        with pytest.raises(AssertionError, match="expected one row, got 0"):
            await conn.one(BY_ID, of=uuid4())


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001
TIMES = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
THINGS = st.lists(
    st.builds(
        Thing,
        id=st.uuids(),
        name=st.none() | TEXTS,
        units=st.integers(0, 2**63 - 1),
        at=st.none() | TIMES,
        tags=st.none() | st.lists(st.integers(-(2**53), 2**53) | TEXTS, max_size=3),
    ),
    max_size=4,
    unique_by=lambda each: each.id,
)  # fmt: skip


@settings(max_examples=settings().max_examples // 5)  # each is some round trips
@given(THINGS)
async def test_a_batch_that_travels_as_json_is_what_was_sent(
    db: Database, things: list[Thing]
) -> None:
    async with db.transaction() as conn:
        await conn.run(ADD_RECORDS, things=records(things))
        stored = [(await conn.run(BY_ID, of=each.id))[0] for each in things]
        gathered = await conn.gather(
            *((BY_ID, {"of": each.id}) for each in things[:2]), (BY_ID, {"of": uuid4()})
        )
        await conn.driver.execute("DELETE FROM thing")
    assert stored == things
    assert gathered == [*([each] for each in things[:2]), []]


async def test_writes_that_wait_travel_together_and_before_what_follows(db: Database) -> None:
    async with db.transaction() as conn:
        (one,) = await add(conn, 1)
        before = conn.statements
        await conn.later(MORE, of=one, more=2)
        await conn.later(WRITE_NOTE, of=one, what="first $1")
        assert conn.statements == before
        assert await conn.run(NOTE, of=one) == ["first $1"]
        assert conn.statements == before + 2
        await conn.later(MORE, of=one, more=3)
        await conn.later(MORE, of=one, more=4)
        assert conn.statements == before + 3
    assert await units_of(db, one) == 10


async def test_the_driver_is_not_given_out_while_writes_wait(db: Database) -> None:
    async with db.transaction() as conn:
        (one,) = await add(conn, 1)
        await conn.later(MORE, of=one, more=1)
        with pytest.raises(AssertionError, match="flush"):
            _ = conn.driver
        with pytest.raises(AssertionError, match="only a write"):
            await conn.later(BY_ID, of=one)


async def spoil(conn: Connection, of: UUID) -> None:
    """Writes of which the last, that waits, breaks a rule."""
    await conn.run(MORE, of=of, more=100)
    await conn.later(WRITE_NOTE, of=of, what="never")
    await conn.later(MORE, of=of, more=-1_000)


async def test_a_write_that_fails_late_undoes_the_whole(db: Database) -> None:
    async with db.transaction() as conn:
        (one,) = await add(conn, 1)
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction() as conn:
            await spoil(conn, one)
    assert await units_of(db, one) == 1
    async with db.reading() as conn:
        assert await conn.run(NOTE, of=one) == []


async def test_a_savepoint_undoes_what_waits_in_it_and_keeps_what_waited_before(
    db: Database,
) -> None:
    async def give_up(conn: Connection) -> None:
        await conn.run(MORE, of=one, more=100)
        await conn.later(WRITE_NOTE, of=one, what="undone")
        raise ZeroDivisionError

    async with db.transaction() as conn:
        (one,) = await add(conn, 1)
        await conn.later(MORE, of=one, more=10)
        with pytest.raises(ZeroDivisionError):
            async with conn.savepoint():
                await give_up(conn)
        with pytest.raises(asyncpg.CheckViolationError):
            async with conn.savepoint():
                await spoil(conn, one)
        await conn.later(WRITE_NOTE, of=one, what="kept")
    assert await units_of(db, one) == 11
    async with db.reading() as conn:
        assert await conn.run(NOTE, of=one) == ["kept"]


async def test_rows_are_streamed_one_by_one(db: Database) -> None:
    async with db.transaction() as conn:
        made = await add(conn, *range(2_500))
        await conn.later(MORE, of=made[0], more=7)
        streamed = [each.units async for each in conn.stream(ALL)]
    assert len(streamed) >= 2_500
    assert 7 in streamed


@pytest.mark.parametrize(
    "race", [LostRace, asyncpg.SerializationError, asyncpg.DeadlockDetectedError]
)
async def test_a_lost_race_is_repeated_as_a_whole(db: Database, race: type[Exception]) -> None:
    made: list[UUID] = []

    async def work(conn: Connection) -> UUID:
        made.extend(await add(conn, 1))
        if len(made) < 3:
            raise race
        return made[-1]

    assert await db.commit(work) == made[2]
    assert [await units_of(db, each) for each in made] == [None, None, 1]


@pytest.mark.parametrize(
    ("error", "times"),
    [(LostRace, ATTEMPTS), (asyncpg.UniqueViolationError, 1), (ZeroDivisionError, 1)],
)
async def test_what_cannot_succeed_ends(db: Database, error: type[Exception], times: int) -> None:
    tried = 0

    async def work(_: Connection) -> None:
        nonlocal tried
        tried += 1
        raise error

    with pytest.raises(error):
        await db.commit(work)
    assert tried == times


async def test_two_that_wait_for_each_other_both_succeed(db: Database) -> None:
    async with db.transaction() as conn:
        one, other = await add(conn, 0, 0)
    both = asyncio.Barrier(2)
    waits = iter([True, True])

    async def crossing(first: UUID, second: UUID) -> None:
        async def work(conn: Connection) -> None:
            await conn.run(MORE, of=first, more=1)
            if next(waits, False):
                await both.wait()
            await conn.run(MORE, of=second, more=1)

        await db.commit(work)

    await asyncio.gather(crossing(one, other), crossing(other, one))
    assert [await units_of(db, one), await units_of(db, other)] == [2, 2]


async def test_a_commit_is_told_and_a_failure_is_not(db: Database) -> None:
    told: list[int] = []
    listening = Database(db.pool, db.dsn)
    listening.on_commit = lambda: told.append(1)
    async with listening.transaction() as conn:
        await add(conn, 1)
        assert told == []
    with pytest.raises(ZeroDivisionError):
        async with listening.transaction():
            raise ZeroDivisionError
    assert told == [1]


async def test_columns_become_parameters_in_order() -> None:
    made = [Plain(1, ids.uuid7()), Plain(2, ids.uuid7())]
    assert columns_of(made, "units", "id") == {
        "units": [1, 2], "id": [each.id for each in made],
    }  # fmt: skip
