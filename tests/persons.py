"""Shoppers in tests: made, and looked at as persons."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import DateTime, bindparam, null, update

from commerce import customers
from commerce.access import OPERATOR
from commerce.customers import Merge, Person, Shopper
from commerce.kernel.sql import Database, Query
from commerce.tables import shopper

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ERASED = Query(
    update(shopper)
    .where(shopper.c.id == bindparam("of"))
    .values(
        email=null(),
        phone=null(),
        name=null(),
        erased_at=bindparam("now", type_=DateTime(timezone=True)),
        revision=shopper.c.revision + 1,
    )
)


async def make_shopper(db: Database, **told: Any) -> Shopper:
    """Somebody with an address of their own."""
    async with db.transaction() as conn:
        return await customers.put_shopper(
            conn,
            **{"email": f"{uuid4().hex}@example.com", "phone": None, "locale": "es", "now": NOW}
            | told,
        )


async def person(db: Database, shopper_id: UUID) -> Person:
    """Whom a row belongs to."""
    async with db.reading() as conn:
        return await customers.person_of(conn, shopper_id)


async def seen(db: Database, source_id: UUID, target_id: UUID) -> str:
    """What whoever looks at the two gets to know them by."""
    async with db.reading() as conn:
        return (await customers.compared(conn, source_id, target_id))[2]


async def merge(db: Database, source_id: UUID, target_id: UUID, token: str | None = None) -> Merge:
    """Make one person of two, looked at just before."""
    token = token or await seen(db, source_id, target_id)

    async def work(conn: Any) -> Merge:
        return await customers.merge(
            conn, OPERATOR, source_id=source_id, target_id=target_id, seen=token, now=NOW
        )

    return await db.commit(work)


async def undo(db: Database, merge_id: UUID) -> Merge:
    """Make two of one again."""

    async def work(conn: Any) -> Merge:
        return await customers.undo(conn, OPERATOR, merge_id, now=NOW)

    return await db.commit(work)


async def erase(db: Database, shopper_id: UUID) -> None:
    """What an erasure does to a profile."""

    async def work(conn: Any) -> None:
        await customers.lock_person(conn, shopper_id)
        await conn.run(ERASED, of=shopper_id, now=NOW)

    await db.commit(work)
