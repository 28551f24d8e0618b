"""Erasing and exporting a person, verb by verb."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import consents, customers, lists, privacy
from commerce.consents import Decision
from commerce.kernel import events, idempotency
from commerce.kernel.errors import NotFound
from commerce.kernel.idempotency import Answer, Claim
from commerce.kernel.sql import Connection, Database
from commerce.privacy import Erasure
from commerce.privacy.erasing import LEASE

NOW = datetime(2026, 11, 21, 18, tzinfo=UTC)


def clock() -> datetime:
    return NOW


async def new_shopper(conn: Connection, email: str | None = None) -> UUID:
    made = await customers.put_shopper(
        conn, email=email or f"{uuid4().hex}@example.com", phone=None, locale="en", now=NOW,
        name="Ana Torres",
    )  # fmt: skip
    return made.id


async def ask(db: Database, shopper_id: UUID) -> Erasure:
    async def work(conn: Connection) -> Erasure:
        return await privacy.request(conn, shopper_id, actor="test", now=NOW)

    return await db.commit(work)


async def test_an_erased_person_is_empty_at_once_and_signs_in_as_somebody_new(
    db: Database,
) -> None:
    email = f"{uuid4().hex}@example.com"
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn, email)
        served = Decision("personal_service", granted=True)
        await consents.decide(conn, shopper_id, [served], "profile", "test", NOW)
    asked = await ask(db, shopper_id)
    assert (asked.state, asked.shopper_ids, asked.waits_for) == ("pending", [shopper_id], [])
    async with db.transaction() as conn:
        person = await customers.person_of(conn, shopper_id)
        assert (person.erased, person.name, person.email) == (True, None, None)
        assert not (await consents.of(conn, [shopper_id])).allows("personal_service")
        assert await new_shopper(conn, email) != shopper_id
        with pytest.raises(NotFound):
            await consents.decide(conn, shopper_id, [served], "profile", "test", NOW)


async def test_asked_twice_at_once_it_is_one_erasure(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
    asked = await asyncio.gather(*(ask(db, shopper_id) for _ in range(4)))
    assert len({each.id for each in asked}) == 1
    await asyncio.gather(*(privacy.carry_on(db, asked[0].id, now=clock) for _ in range(4)))
    async with db.transaction() as conn:
        log = await events.timeline(conn, asked[0].id)
    assert [each.type for each in log] == ["erasure.requested"]


async def test_an_export_is_one_document_with_a_list_for_each_table(db: Database) -> None:
    email = f"{uuid4().hex}@example.com"
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn, email)
    async with db.snapshot() as conn:
        pieces = [each async for each in privacy.export(conn, shopper_id, now=NOW)]
    told = msgspec.json.decode(b"".join(pieces))
    assert told["shopper_ids"] == [str(shopper_id)]
    assert [row["email"] for row in told["held"]["shopper"]] == [email]
    assert told["held"]["orders"] == []


async def empty_outbox(db: Database, *shopper_ids: UUID) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE message SET state = 'sent' WHERE state = 'queued' AND reason IN"
            " (SELECT id FROM erasure WHERE shopper_id = ANY($1))",
            shopper_ids,
        )


async def test_what_comes_in_late_is_emptied_by_another_pass_and_then_there_is_none(
    db: Database,
) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
    asked = await ask(db, shopper_id)
    await empty_outbox(db, shopper_id)
    await privacy.carry_on(db, asked.id, now=clock)
    async with db.transaction() as conn:
        first = await privacy.by_id(conn, asked.id)
        await lists.create(
            conn, shopper_id, uuid4(), name="Of a request that was under way", now=NOW
        )
    assert first.state == "finished"
    assert "shopping_list" not in first.counts

    def soon() -> datetime:
        return NOW + timedelta(minutes=9)

    def later() -> datetime:
        return NOW + timedelta(minutes=11)

    def much_later() -> datetime:
        return NOW + timedelta(minutes=22)

    await privacy.carry_on(db, asked.id, now=soon)
    async with db.reading() as conn:
        assert (await privacy.by_id(conn, asked.id)).counts == first.counts
    await privacy.carry_on(db, asked.id, now=later)
    await privacy.carry_on(db, asked.id, now=much_later)
    async with db.reading() as conn:
        last = await privacy.by_id(conn, asked.id)
        assert await lists.of_person(conn, [shopper_id]) == []
        left = await conn.driver.fetchval(
            "SELECT next_pass_at FROM erasure WHERE id = $1", asked.id
        )
    assert last.counts == {**first.counts, "shopping_list": 1}
    assert (last.finished_at, left) == (NOW, None)


async def test_a_pass_that_was_broken_off_is_carried_on_by_the_next(db: Database) -> None:
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
        await lists.create(conn, shopper_id, uuid4(), name="Birthday", now=NOW)
    asked = await ask(db, shopper_id)
    await empty_outbox(db, shopper_id)

    readings = 0

    class Killed(BaseException):
        """The process is gone."""

    def dying() -> datetime:
        nonlocal readings
        readings += 1
        if readings > 6:
            raise Killed
        return NOW

    with pytest.raises(Killed):
        await privacy.carry_on(db, asked.id, now=dying)

    def after_the_lease() -> datetime:
        return NOW + LEASE

    await privacy.carry_on(db, asked.id, now=clock)
    async with db.reading() as conn:
        assert (await privacy.by_id(conn, asked.id)).state == "pending"
    await privacy.carry_on(db, asked.id, now=after_the_lease)
    async with db.reading() as conn:
        done = await privacy.by_id(conn, asked.id)
    assert (done.state, done.counts["shopping_list"]) == ("finished", 1)


async def test_answers_that_name_the_person_are_forgotten_and_no_others(db: Database) -> None:
    staff, name = uuid4(), f"marker-{uuid4().hex}"
    claims = [Claim(staff, "POST /v1/store/notes", str(n), b"hash") for n in range(3)]
    bodies = [b'{"id": "%s"}' % name.encode(), b"{}", b'{"about": "someone"}']
    async with db.transaction() as conn:
        answers = [Answer(c, 201, body) for c, body in zip(claims, bodies, strict=True)]
        await idempotency.store(conn, answers, now=NOW)
        assert await idempotency.forget_naming(conn, [staff], {name, "nobody"}) == 1
        assert await idempotency.forget_naming(conn, [uuid4()], {"someone"}) == 0
        left = await idempotency.claim(conn, claims)
        assert [each is None for each in left] == [True, False, False]
        assert await idempotency.forget_of(conn, [staff]) == 2
