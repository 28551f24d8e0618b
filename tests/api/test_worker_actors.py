"""Actors: each event once whatever comes twice, a bad one alone, and what was given up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from api.actors import ACTORS, NAMES, DatabaseAway, EachAlone, Together, deliver
from api.sweeps import failed_deliveries, run_once
from api.work import Work
from commerce.kernel import deliveries, events
from commerce.kernel.deliveries import TRIES
from commerce.kernel.events import Event, Recorded
from commerce.kernel.sql import Connection, Database
from tests.background import work_of
from tests.simulation.story import Moment


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(own_dsn)
    yield database
    await database.close()


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def work(db: Database, clock: Moment) -> Work:
    return work_of(db, now=clock)


async def record(work: Work, count: int) -> list[UUID]:
    async with work.database.transaction() as conn:
        facts = [Event("order.placed", "order", uuid4(), "test", {"n": n}) for n in range(count)]
        return await events.record(conn, facts, now=work.now())


class Done:
    """What an actor has done: a row per event, in the transaction of the claim."""

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.bad = set(bad)
        self.told: list[UUID] = []

    async def together(self, conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
        """Write a fact about each, unless one is bad."""
        for event in new:
            if event.payload["n"] in self.bad:
                raise ValueError("a secret address")
        facts = [Event("test.done", "order", event.id, "test") for event in new]
        await events.record(conn, facts, now=work.now())

    async def alone(self, _: Work, event: Recorded) -> None:
        """Note it, unless it is bad."""
        if event.payload["n"] in self.bad:
            raise ValueError("a secret address")
        self.told.append(event.id)


async def done(db: Database) -> Counter[UUID]:
    rows = await db.pool.fetch("SELECT aggregate_id FROM event WHERE type = 'test.done'")
    return Counter(row["aggregate_id"] for row in rows)


async def test_an_event_told_twice_is_acted_on_once(db: Database, work: Work) -> None:
    made = await record(work, 5)
    actor = Together("test", Done().together)
    await deliver(work, actor, made[:3])
    await deliver(work, actor, made)
    await deliver(work, actor, made)
    assert await done(db) == Counter(made)
    await deliver(work, Together("another", Done().together), made)
    assert await done(db) == Counter(made * 2)


async def test_messages_that_race_act_once(db: Database, work: Work) -> None:
    made = await record(work, 40)
    actor = Together("test", Done().together)
    await asyncio.gather(
        *(deliver(work, actor, made[start : start + 25]) for start in (0, 5, 10, 15) * 3)
    )
    assert await done(db) == Counter(made)


async def test_a_bad_event_stands_alone_and_waits_longer_each_time(
    db: Database, work: Work, clock: Moment
) -> None:
    made = await record(work, 9)
    bad = Done(bad=[4])
    actor = Together("test", bad.together)
    await deliver(work, actor, made)
    assert await done(db) == Counter(set(made) - {made[4]})
    waits = []
    (row,) = await _open(db)
    while row.again_at is not None:
        assert (row.event_id, row.actor, row.fault) == (made[4], "test", "builtins.ValueError")
        waits.append((row.again_at - clock()).total_seconds())
        clock.at = row.again_at
        await deliver(work, actor, [made[4]])
        (row,) = await _open(db)
    assert (row.state, row.tries) == ("dead", TRIES)
    assert waits == [5, 10, 20, 40, 80, 160, 300]
    assert "secret" not in str(await _open(db))


async def test_a_dead_event_is_sent_again_by_a_person_and_then_done(
    db: Database, work: Work, clock: Moment
) -> None:
    made = await record(work, 2)
    bad = Done(bad=[0])
    actor = Together("test", bad.together)
    for _ in range(TRIES):
        await deliver(work, actor, made)
    told: list[tuple[str, list[UUID]]] = []

    async def tell(name: str, event_ids: Sequence[UUID]) -> None:
        told.append((name, list(event_ids)))

    sweep = failed_deliveries(tell)
    clock.pass_by(days=1)
    await run_once(work, sweep)
    assert told == [], "dead is dead"
    async with db.transaction() as conn:
        assert await deliveries.send_again(conn, "other", made, now=clock()) == []
        assert await deliveries.send_again(conn, "test", made, now=clock()) == [made[0]]
    await run_once(work, sweep)
    await run_once(work, sweep)
    assert told == [("test", [made[0]])], "told once; if nothing follows, again after the lease"
    clock.pass_by(minutes=6)
    await run_once(work, sweep)
    assert told == [("test", [made[0]])] * 2
    bad.bad.clear()
    await deliver(work, actor, [made[0]])
    assert await _open(db) == []
    assert await done(db) == Counter(made)


async def test_an_actor_that_speaks_to_others_claims_what_it_has_done(
    db: Database, work: Work
) -> None:
    made = await record(work, 4)
    spoken = Done(bad=[2])
    actor = EachAlone("test", spoken.alone)
    await deliver(work, actor, made)
    await deliver(work, actor, made[::-1])
    assert spoken.told == [made[0], made[1], made[3]]
    assert [row.event_id for row in await _open(db)] == [made[2]]


async def test_a_database_that_is_away_is_nobodys_fault(db: Database, work: Work) -> None:
    made = await record(work, 3)

    async def cut(conn: Connection, work: Work, new: Sequence[Recorded]) -> None:
        del work, new
        await conn.driver.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseAway):
        await deliver(work, Together("test", cut), made)
    assert await _open(db) == []
    await deliver(work, Together("test", Done().together), made)
    assert await done(db) == Counter(made)


async def test_what_was_done_long_ago_is_forgotten_and_what_was_given_up_is_not(
    db: Database, work: Work
) -> None:
    made = await record(work, 3)
    await deliver(work, Together("test", Done(bad=[1]).together), made)
    late = _time_of(made[0]) + deliveries.KEPT + timedelta(minutes=1)
    async with db.transaction() as conn:
        assert await deliveries.forget(conn, now=late - timedelta(minutes=5), page=10) == 0
        assert await deliveries.forget(conn, now=late, page=1) == 1
        assert await deliveries.forget(conn, now=late, page=10) == 1
        assert await deliveries.forget(conn, now=late, page=10) == 0
    assert [row.event_id for row in await _open(db)] == [made[1]]


def test_every_subscribed_actor_exists_under_its_name() -> None:
    assert {name for names in NAMES.values() for name in names} == set(ACTORS)
    assert all(actor.name == name for name, actor in ACTORS.items())


def _time_of(event_id: UUID) -> datetime:
    """When an id was made: the milliseconds in its upper 48 bits."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)


async def _open(db: Database) -> list[deliveries.Open]:
    async with db.reading() as conn:
        return await deliveries.open_page(conn, state=None, after=(UUID(int=0), ""), page=100)
