"""Keys of commands: claimed, kept, running, reused, forgotten."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from commerce.kernel import ids
from commerce.kernel.idempotency import (
    KEPT,
    Answer,
    Claim,
    KeyReused,
    KeyRunning,
    Stored,
    claim,
    finish,
    forget,
    store,
)  # fmt: skip
from commerce.kernel.sql import Connection, Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def own_db(own_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


def command(*, body: bytes = b"body", route: str = "POST /v1/orders") -> Claim:
    return Claim(ids.uuid7(), route, ids.uuid7().hex, body)


async def keep(db: Database, *answers: Answer, now: datetime = NOW) -> None:
    async with db.transaction() as conn:
        assert await claim(conn, [each.claim for each in answers]) == [None] * len(answers)
        await store(conn, answers, now=now)


async def look(db: Database, *claims: Claim) -> list[object]:
    async with db.transaction() as conn:
        return list(await claim(conn, claims))


async def test_a_key_is_new_once_and_then_has_its_answer(db: Database) -> None:
    one = command()
    await keep(db, Answer(one, 201, b"made"))
    (found,) = await look(db, one)
    assert isinstance(found, Stored)
    assert (found.status, found.answer, found.resource_id) == (201, b"made", None)


async def test_another_body_is_refused_and_another_place_is_another_key(db: Database) -> None:
    one = command()
    await keep(db, Answer(one, 409, b"refused"))
    other_body = Claim(one.principal_id, one.route, one.key, b"other")
    other_route = Claim(one.principal_id, "POST /v1/carts", one.key, one.body_hash)
    other_person = Claim(ids.uuid7(), one.route, one.key, one.body_hash)
    first, *others = await look(db, other_body, other_route, other_person)
    assert isinstance(first, KeyReused)
    assert others == [None, None]


async def test_what_is_rolled_back_was_never_claimed(db: Database) -> None:
    one = command()

    async def fail(conn: Connection) -> None:
        await claim(conn, [one])
        await store(conn, [Answer(one, 201, b"made")], now=NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.commit(fail)
    assert await look(db, one) == [None]


async def test_a_key_that_somebody_works_on_is_running_until_they_are_done(db: Database) -> None:
    one, free = command(), command()
    async with db.transaction() as conn:
        assert await claim(conn, [one]) == [None]
        running, other = await look(db, one, free)
        assert isinstance(running, KeyRunning)
        assert other is None
        await store(conn, [Answer(one, 201, b"made")], now=NOW)
        await conn.flush()
        (running,) = await look(db, one)
        assert isinstance(running, KeyRunning)
    (found,) = await look(db, one)
    assert isinstance(found, Stored)


async def test_an_answer_is_told_even_while_somebody_asks_for_it(db: Database) -> None:
    one = command()
    await keep(db, Answer(one, 201, b"made"))
    async with db.transaction() as conn:
        await claim(conn, [one])
        (found,) = await look(db, one)
    assert isinstance(found, Stored)


async def test_a_key_twice_in_one_batch_runs_once(db: Database) -> None:
    one, other = command(), command()
    first, second, third = await look(db, one, one, other)
    assert (first, third) == (None, None)
    assert isinstance(second, KeyRunning)


async def test_a_batch_has_its_answers_in_its_order(db: Database) -> None:
    claims = [command() for _ in range(40)]
    kept = [Answer(each, 200 + number, b"%d" % number) for number, each in enumerate(claims)][::2]
    await keep(db, *kept[::-1])
    found = await look(db, *claims)
    assert [each.status if isinstance(each, Stored) else each for each in found] == [
        200 + number if number % 2 == 0 else None for number in range(40)
    ]


async def test_a_saga_is_gone_on_with_by_whoever_repeats_its_key(db: Database) -> None:
    one, order_id = command(), ids.uuid7()
    await keep(db, Answer(one, None, None, order_id))
    (running,) = await look(db, one)
    assert isinstance(running, Stored)
    assert (running.status, running.answer, running.resource_id) == (None, None, order_id)
    async with db.transaction() as conn:
        assert isinstance((await claim(conn, [one]))[0], Stored)
        (other,) = await look(db, one)
        assert isinstance(other, KeyRunning)
    for answer in (b"first", b"second"):
        async with db.transaction() as conn:
            assert await finish(conn, one, 201, answer) == b"first"
    (done,) = await look(db, one)
    assert isinstance(done, Stored)
    assert (done.status, done.answer) == (201, b"first")


@pytest.mark.parametrize(("status", "body"), [(201, None), (None, b"made"), (None, None)])
async def test_half_an_answer_cannot_be_kept(
    db: Database, status: int | None, body: bytes | None
) -> None:
    one = command()
    with pytest.raises(asyncpg.CheckViolationError):
        await keep(db, Answer(one, status, body))
    assert await look(db, one) == [None]


async def test_old_keys_are_forgotten_page_by_page_the_oldest_first(own_db: Database) -> None:
    claims = [command() for _ in range(5)]
    for age, each in enumerate(claims):
        await keep(own_db, Answer(each, 201, b"made"), now=NOW - timedelta(hours=age))
    later = NOW + KEPT - timedelta(minutes=90)
    forgotten = []
    for _ in range(3):
        async with own_db.transaction() as conn:
            forgotten.append(await forget(conn, now=later, page=2))
    assert forgotten == [2, 1, 0]
    found = await look(own_db, *claims)
    assert [isinstance(each, Stored) for each in found] == [True, True, False, False, False]
