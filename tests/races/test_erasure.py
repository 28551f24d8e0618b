"""Erasures that meet a merge, and withdrawals that meet an undo."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from commerce import consents, customers, privacy
from commerce.access import OPERATOR
from commerce.consents import Decision
from commerce.customers import merging
from commerce.customers.merging import token_of
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Database
from commerce.privacy import Erasure

NOW = datetime(2026, 11, 21, 18, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
MAIL = Decision("marketing", granted=True, channel="email")
NO_MAIL = Decision("marketing", granted=False, channel="email")


async def two(db: Database) -> tuple[UUID, UUID]:
    async with db.transaction() as conn:
        made = [
            await customers.put_shopper(
                conn, email=f"{uuid4().hex}@example.com", phone=None, locale="en", now=NOW,
                name="Ana",
            )
            for _ in range(2)
        ]  # fmt: skip
    return made[0].id, made[1].id


async def merge(db: Database, source: UUID, target: UUID) -> merging.Merge:
    async def work(conn: Connection) -> merging.Merge:
        seen = token_of(
            await customers.person_of(conn, source), await customers.person_of(conn, target)
        )
        return await merging.merge(
            conn, OPERATOR, source_id=source, target_id=target, seen=seen, now=NOW
        )

    return await db.commit(work)


async def erase(db: Database, shopper_id: UUID) -> Erasure:
    async def work(conn: Connection) -> Erasure:
        return await privacy.request(conn, shopper_id, actor="test", now=NOW)

    return await db.commit(work)


async def decide(db: Database, shopper_id: UUID, decision: Decision, now: datetime) -> None:
    async def work(conn: Connection) -> None:
        await consents.decide(conn, shopper_id, [decision], "profile", "test", now)

    await db.commit(work)


async def test_a_person_of_two_ids_is_erased_as_one_by_either(db: Database) -> None:
    source, target = await two(db)
    await merge(db, source, target)
    asked = await erase(db, source)
    assert (asked.shopper_id, asked.shopper_ids) == (target, [target, source])
    assert (await erase(db, target)).id == asked.id
    async with db.reading() as conn:
        rows = (await customers.person_of(conn, target)).rows
    assert [(row.name, row.email) for row in rows] == [(None, None)] * 2


@pytest.mark.parametrize("_", range(5))
async def test_a_merge_and_an_erasure_at_once_leave_nothing_half_erased(
    db: Database, _: int
) -> None:
    source, target = await two(db)
    merged, asked = await asyncio.gather(
        merge(db, source, target), erase(db, source), return_exceptions=True
    )
    assert isinstance(asked, Erasure)
    async with db.reading() as conn:
        person = await customers.person_of(conn, target)
        left = await customers.person_of(conn, source)
    if isinstance(merged, merging.Merge):
        assert asked.shopper_ids == [target, source]
        assert person.erased
    else:
        assert isinstance(merged, CommerceError)
        assert asked.shopper_ids == [source]
        assert not person.erased
    assert left.rows[-1].name is None
    assert left.erased


async def test_undoing_a_merge_brings_no_withdrawn_consent_back(db: Database) -> None:
    source, target = await two(db)
    await decide(db, source, MAIL, NOW)
    made = await merge(db, source, target)
    await decide(db, target, NO_MAIL, LATER)
    async with db.transaction() as conn:
        told = await consents.history(conn, [target, source], before=None, page=10)
        assert [each.granted for each in told] == [False, True]
        await merging.undo(conn, OPERATOR, made.id, now=LATER)
        assert not (await consents.of(conn, [source])).allows("marketing")
        assert not (await consents.of(conn, [target])).allows("marketing")


async def test_a_grant_to_a_person_of_two_stays_with_the_root(db: Database) -> None:
    source, target = await two(db)
    made = await merge(db, source, target)
    await decide(db, source, MAIL, NOW)
    async with db.transaction() as conn:
        assert (await consents.of(conn, [target, source])).allows("marketing", "email")
        await merging.undo(conn, OPERATOR, made.id, now=LATER)
        assert not (await consents.of(conn, [source])).allows("marketing")
        assert (await consents.of(conn, [target])).allows("marketing", "email")
