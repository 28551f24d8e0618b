"""Two shoppers who are one person are merged, and taken apart again when they were not.

Each merge points one root at another. Merges that are not undone are a forest, and `merged_into`
of a row is the root of its tree, kept with the row so that nobody has to climb. Undoing a merge
takes its branch off, whatever was merged before or after, and in any order: the rows below the
branch point at its own root again, and no other row changes.

Who merges has seen two persons. If either has changed since, or is being merged by somebody else,
the merge is refused (`MergeStale`), so nobody is joined to somebody they were not compared with.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Text, Uuid, any_, bindparam, insert, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access import Principal, record_staff
from commerce.customers.persons import MAX_ROWS, Person, lock_person, lock_persons, person_of
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.events import Event
from commerce.kernel.events import record as record_events
from commerce.kernel.sql import Connection, Query
from commerce.tables.people import shopper, shopper_merge

TOKEN_LENGTH = 32


class MergeStale(CommerceError):
    """One of the two has changed since they were compared. Look at them again."""

    code = "merge_stale"


class AlreadyOnePerson(CommerceError):
    """The two are one person already."""

    code = "already_one_person"
    shopper_id: UUID


class PersonTooLarge(CommerceError):
    """So many shoppers are not one person."""

    code = "person_too_large"
    limit: int


class Merge(msgspec.Struct, frozen=True):
    """One root that was pointed at another, until it was undone."""

    id: UUID
    source_id: UUID
    target_id: UUID
    merged_at: datetime
    merged_by: str
    undone_at: datetime | None
    undone_by: str | None


_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)
_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_live = shopper_merge.c.undone_at.is_(None)

POINT = Query(
    update(shopper)
    .where(shopper.c.id == any_(_IDS))
    .values(merged_into=bindparam("root", type_=Uuid()), revision=shopper.c.revision + 1)
)
ADD = Query(
    insert(shopper_merge)
    .values(
        id=bindparam("merge_id", type_=Uuid()),
        source_id=bindparam("source", type_=Uuid()),
        target_id=bindparam("target", type_=Uuid()),
        merged_at=_NOW,
        merged_by=bindparam("by", type_=Text()),
    )
    .returning(*shopper_merge.c),
    Merge,
)
UNDO = Query(
    update(shopper_merge)
    .where(shopper_merge.c.id == bindparam("of"), _live)
    .values(undone_at=_NOW, undone_by=bindparam("by", type_=Text()))
    .returning(*shopper_merge.c),
    Merge,
)
BY_ID = Query(select(shopper_merge).where(shopper_merge.c.id == bindparam("of")), Merge)
LIVE_OF = Query(select(shopper_merge).where(shopper_merge.c.source_id == any_(_IDS), _live), Merge)
OF_PERSON = Query(
    select(shopper_merge)
    .where(or_(shopper_merge.c.source_id == any_(_IDS), shopper_merge.c.target_id == any_(_IDS)))
    .order_by(shopper_merge.c.id.desc())
    .limit(100),
    Merge,
)
NEWEST_FIRST = Query(
    select(shopper_merge)
    .where(shopper_merge.c.id < bindparam("before"))
    .order_by(shopper_merge.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Merge,
)


def token_of(source: Person, target: Person) -> str:
    """Stands for the two as they are now; it is another one as soon as either has changed."""
    rows = (f"{row.id}:{row.revision}" for person in (source, target) for row in person.rows)
    return sha256(" ".join(rows).encode()).hexdigest()[:TOKEN_LENGTH]


async def merge(
    conn: Connection, who: Principal, *, source_id: UUID, target_id: UUID, seen: str, now: datetime
) -> Merge:
    """Make one person of two; the target's root stands for it. `seen` is their `token_of`.

    Repeating it answers the merge that was made. Raises NotFound, AlreadyOnePerson, MergeStale,
    PersonTooLarge.
    """
    source, target = await lock_persons(conn, [source_id, target_id])
    if source.id == target.id:
        for made in await conn.run(LIVE_OF, ids=[source_id]):
            if made.target_id == target_id:
                return made
        raise AlreadyOnePerson(shopper_id=source.id)
    for each in (source, target):
        if each.erased:
            raise NotFound(kind="shopper", id=str(each.id))
    if seen != token_of(source, target):
        raise MergeStale
    if len(source.rows) + len(target.rows) > MAX_ROWS:
        raise PersonTooLarge(limit=MAX_ROWS)
    await conn.run(POINT, ids=sorted(source.ids), root=target.id)
    await conn.run(POINT, ids=[target.id], root=None)
    made = await conn.one(
        ADD, merge_id=ids.uuid7(), source=source.id, target=target.id, by=who.actor, now=now
    )
    await _tell(conn, who, "shopper.merged", made, root_id=target.id, now=now)
    return made


async def undo(conn: Connection, who: Principal, merge_id: UUID, *, now: datetime) -> Merge:
    """Take a branch off again, with all that was below it before the merge or came below it since.

    What was written after the merge stays with the id it was written under. Repeating it changes
    nothing. Raises NotFound.
    """
    found = await conn.first(BY_ID, of=merge_id)
    if found is None:
        raise NotFound(kind="merge", id=str(merge_id))
    person = await lock_person(conn, found.source_id)
    undone = await conn.first(UNDO, of=merge_id, by=who.actor, now=now)
    if undone is None:
        return await conn.one(BY_ID, of=merge_id)
    live = await conn.run(LIVE_OF, ids=list(person.ids))
    below = branch({each.source_id: each.target_id for each in live}, found.source_id)
    await conn.run(POINT, ids=sorted(below), root=found.source_id)
    await conn.run(POINT, ids=[found.source_id, person.id], root=None)
    await _tell(conn, who, "shopper.merge_undone", undone, root_id=person.id, now=now)
    return undone


def branch(parents: Mapping[UUID, UUID], root: UUID) -> set[UUID]:
    """Those below `root` in a forest of live merges, without itself."""

    def below(row: UUID) -> bool:
        while row in parents:
            row = parents[row]
            if row == root:
                return True
        return False

    return {row for row in parents if below(row)}


async def merges_of(conn: Connection, person_ids: Sequence[UUID]) -> list[Merge]:
    """What was merged into or out of a person, newest first; at most 100."""
    return await conn.run(OF_PERSON, ids=list(person_ids))


async def merges(conn: Connection, *, before: UUID, page: int) -> list[Merge]:
    """Merges of everybody, newest first."""
    return await conn.run(NEWEST_FIRST, before=before, page=page)


async def compared(
    conn: Connection, source_id: UUID, target_id: UUID
) -> tuple[Person, Person, str]:
    """Two persons who might be merged, and the token of having seen them so.

    Raises NotFound, AlreadyOnePerson.
    """
    source, target = await person_of(conn, source_id), await person_of(conn, target_id)
    if source.id == target.id:
        raise AlreadyOnePerson(shopper_id=source.id)
    for each in (source, target):
        if each.erased:
            raise NotFound(kind="shopper", id=str(each.id))
    return source, target, token_of(source, target)


async def _tell(
    conn: Connection, who: Principal, kind: str, about: Merge, *, root_id: UUID, now: datetime
) -> None:
    """On the staff record, and as an event of the person who gained or lost a row."""
    changes = {"source_id": str(about.source_id), "target_id": str(about.target_id)}
    await record_staff(
        conn, who, action=kind, subject=f"shopper:{root_id}",
        changes={"merge_id": str(about.id), **changes}, now=now,
    )  # fmt: skip
    payload = {"merge_id": about.id, "shopper_id": about.source_id}
    await record_events(conn, [Event(kind, "shopper", root_id, who.actor, payload)], now=now)
