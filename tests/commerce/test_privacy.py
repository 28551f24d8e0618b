"""Erasing and exporting a person, verb by verb."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import consents, customers, privacy
from commerce.consents import Decision
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Database
from commerce.privacy import Erasure

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
