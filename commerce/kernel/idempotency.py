"""Each client command takes effect at most once per idempotency key.

A key belongs to a principal and a route. It is claimed first in the transaction that makes the
change, and the answer is stored in that same transaction: either both are there or neither is.
Business refusals are answers too; validation errors and faults of ours are not stored. Rules as in
the Agentic Commerce Protocol, the strictest that is published; kept 48 hours.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Query, metadata, rows_of

KEPT = timedelta(hours=48)
MAX_KEY_LENGTH = 255

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("principal_id", Uuid, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("answer", LargeBinary),
    Column("resource_id", Uuid),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("(status IS NULL) = (answer IS NULL)", name="answer"),
    CheckConstraint("status IS NOT NULL OR resource_id IS NOT NULL", name="running"),
)
Index("idempotency_key_age_idx", idempotency_key.c.created_at)


class KeyReused(CommerceError):
    """The same key came with another body. Use a new key for a new command."""

    code = "idempotency_key_reused"


class KeyRunning(CommerceError):
    """The first request with this key has not been answered yet. Ask again in a moment."""

    code = "idempotency_key_running"
    retry_after_seconds: int = 1


class Claim(msgspec.Struct, frozen=True):
    """One command: who sends it, to which route, under which key, with which body."""

    principal_id: UUID
    route: str
    key: str
    body_hash: bytes

    @property
    def lock(self) -> int:
        """The advisory lock of this key: a signed 64-bit number."""
        text = f"{self.principal_id}\0{self.route}\0{self.key}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


class Stored(msgspec.Struct, frozen=True):
    """What became of a key: an answer, or a saga that is under way for `resource_id`."""

    principal_id: UUID
    route: str
    key: str
    body_hash: bytes
    status: int | None
    answer: bytes | None
    resource_id: UUID | None


class _Answered(msgspec.Struct, frozen=True):
    principal_id: UUID
    route: str
    key: str
    answer: bytes


class Answer(msgspec.Struct, frozen=True):
    """An answer to store with its claim; without status it marks a saga as running."""

    claim: Claim
    status: int | None
    body: bytes | None
    resource_id: UUID | None = None


_LOCKS = rows_of("l", lock=BigInteger())
_KEYS = rows_of("k", principal_id=Uuid(), route=Text(), key=Text())
_ANSWERS = rows_of(
    "a",
    principal_id=Uuid(),
    route=Text(),
    key=Text(),
    body_hash=LargeBinary(),
    status=Integer(),
    answer=LargeBinary(),
    resource_id=Uuid(),
)

TRY_LOCKS = Query(
    select(func.pg_try_advisory_xact_lock(_LOCKS.c.lock)).order_by(_LOCKS.c.position), bool
)
# One look-up per key, whatever the statistics say: a burst fills this table faster than they learn.
_FOUND = (
    select(*(c for c in idempotency_key.c if c.name != "created_at"))
    .where(
        idempotency_key.c.principal_id == _KEYS.c.principal_id,
        idempotency_key.c.route == _KEYS.c.route,
        idempotency_key.c.key == _KEYS.c.key,
    )
    .limit(1)
    .lateral()
)
STORED = Query(select(_FOUND).select_from(_KEYS.join(_FOUND, true())), Stored)
STORE = Query(
    insert(idempotency_key).from_select(
        [*(c.name for c in _ANSWERS.c if c.name != "position"), "created_at"],
        select(
            *(c for c in _ANSWERS.c if c.name != "position"),
            bindparam("now", type_=DateTime(timezone=True)),
        ).order_by(_ANSWERS.c.principal_id, _ANSWERS.c.route, _ANSWERS.c.key),
    )
)
FINISH = Query(
    update(idempotency_key)
    .where(
        idempotency_key.c.principal_id == bindparam("principal"),
        idempotency_key.c.route == bindparam("of_route"),
        idempotency_key.c.key == bindparam("of_key"),
    )
    .values(
        status=func.coalesce(idempotency_key.c.status, bindparam("new_status", type_=Integer())),
        answer=func.coalesce(
            idempotency_key.c.answer, bindparam("new_answer", type_=LargeBinary())
        ),
    )
    .returning(idempotency_key.c.answer),
    bytes,
)
_PRIMARY = (idempotency_key.c.principal_id, idempotency_key.c.route, idempotency_key.c.key)
_OLD = (
    select(*_PRIMARY)
    .where(idempotency_key.c.created_at < bindparam("before", type_=DateTime(timezone=True)))
    .order_by(idempotency_key.c.created_at)
    .limit(bindparam("page", type_=Integer()))
)
FORGET = Query(
    delete(idempotency_key).where(tuple_(*_PRIMARY).in_(_OLD)).returning(idempotency_key.c.key), str
)

_OF_PRINCIPALS = idempotency_key.c.principal_id == any_(
    bindparam("principals", type_=ARRAY(Uuid()))
)
FORGET_OF = Query(
    delete(idempotency_key).where(_OF_PRINCIPALS).returning(idempotency_key.c.key), str
)
ANSWERS_OF = Query(
    select(*_PRIMARY, idempotency_key.c.answer).where(
        _OF_PRINCIPALS,
        idempotency_key.c.route.like(bindparam("routes", type_=Text())),
        idempotency_key.c.answer.is_not(None),
    ),
    _Answered,
)
_NAMED = rows_of("named", principal_id=Uuid(), route=Text(), key=Text())
FORGET_THESE = Query(
    delete(idempotency_key)
    .where(tuple_(*_PRIMARY).in_(select(*(_NAMED.c[column.name] for column in _PRIMARY))))
    .returning(idempotency_key.c.key),
    str,
)


async def claim(conn: Connection, claims: Sequence[Claim]) -> list[Stored | CommerceError | None]:
    """Take the keys for this transaction. Per claim: None (go ahead), what is stored, or a refusal.

    The lock comes in a statement before the look-up, so that the look-up sees what the former
    owner of the lock has committed. A key twice in one batch counts as running the second time.
    """
    if not claims:
        return []
    locks = [each.lock for each in claims]
    free = await conn.run(TRY_LOCKS, lock=locks)
    rows = await conn.run(
        STORED,
        principal_id=[each.principal_id for each in claims],
        route=[each.route for each in claims],
        key=[each.key for each in claims],
    )
    stored = {(row.principal_id, row.route, row.key): row for row in rows}
    seen: set[int] = set()
    outcomes: list[Stored | CommerceError | None] = []
    for each, lock, got in zip(claims, locks, free, strict=True):
        row = stored.get((each.principal_id, each.route, each.key))
        if row is not None and row.body_hash != each.body_hash:
            outcomes.append(KeyReused())
        elif row is not None and row.status is not None:
            outcomes.append(row)
        elif not got or lock in seen:
            outcomes.append(KeyRunning())
        else:
            outcomes.append(row)
        seen.add(lock)
    return outcomes


async def store(conn: Connection, answers: Sequence[Answer], *, now: datetime) -> None:
    """Keep the answers of claimed keys, in the transaction that made the change."""
    if not answers:
        return
    await conn.later(
        STORE,
        principal_id=[each.claim.principal_id for each in answers],
        route=[each.claim.route for each in answers],
        key=[each.claim.key for each in answers],
        body_hash=[each.claim.body_hash for each in answers],
        status=[each.status for each in answers],
        answer=[each.body for each in answers],
        resource_id=[each.resource_id for each in answers],
        now=now,
    )


async def finish(conn: Connection, claim: Claim, status: int, body: bytes) -> bytes:
    """Store the answer of a saga whose key was kept as running; returns the one that is kept.

    Two processes may carry on the same saga: the first answer stands for both.
    """
    return await conn.one(
        FINISH,
        principal=claim.principal_id,
        of_route=claim.route,
        of_key=claim.key,
        new_status=status,
        new_answer=body,
    )


async def forget(conn: Connection, *, now: datetime, page: int) -> int:
    """Drop keys older than 48 hours, at most `page`; returns how many."""
    return len(await conn.run(FORGET, before=now - KEPT, page=page))


async def forget_of(conn: Connection, principal_ids: Sequence[UUID]) -> int:
    """Drop all keys of these principals; returns how many."""
    return len(await conn.run(FORGET_OF, principals=list(principal_ids)))


async def forget_naming(
    conn: Connection,
    principal_ids: Sequence[UUID],
    names: Collection[str],
    *,
    routes: str = "%",
) -> int:
    """Drop the keys of these principals whose answers have one of these words; returns how many.

    Reads all answers to them on routes like these, which are those of two days.
    """
    wanted = re.compile(b"|".join(re.escape(name.encode()) for name in sorted(names)))
    found = [
        (each.principal_id, each.route, each.key)
        async for each in conn.stream(ANSWERS_OF, principals=list(principal_ids), routes=routes)
        if wanted.search(each.answer)
    ]
    if not found:
        return 0
    principals, found_on, keys = zip(*found, strict=True)
    rows = await conn.run(
        FORGET_THESE, principal_id=list(principals), route=list(found_on), key=list(keys)
    )
    return len(rows)
