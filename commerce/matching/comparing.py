"""Two persons side by side, for who decides whether they are one: masked, and on record."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Table, Text, Uuid, any_, bindparam, func, literal, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import customers
from commerce.access import Principal, record_staff
from commerce.customers import Person
from commerce.kernel.sql import Connection, Query
from commerce.matching.traits import Reason, in_common
from commerce.tables import metadata, shopper_identity, shopper_trait

Side = Literal["source", "target"]

COUNTED_UPTO = 1_000

COUNTED: tuple[Table, ...] = tuple(
    table
    for _, table in sorted(metadata.tables.items())
    if "shopper_id" in table.c
    and table not in (shopper_trait, shopper_identity)
    and any(next(iter(index.columns)).name == "shopper_id" for index in table.indexes)
)
"""What is kept under the id of a shopper, and found by it: all of it comes along in a merge."""


class Sighting(msgspec.Struct, frozen=True):
    """A person as staff who compare see them: enough to decide, too little to write to."""

    shopper_id: UUID
    name: str | None
    since: datetime


class Compared(msgspec.Struct, frozen=True):
    """One of two persons: how they are known, and how much is kept of them, up to 1,000 each."""

    shopper: Sighting
    shopper_ids: list[UUID]
    emails: list[str]
    phones: list[str]
    external_identities: int
    brings: dict[str, int]


class Field(msgspec.Struct, frozen=True):
    """Whose word would count for a field of the profile."""

    name: str
    taken_from: Side


class Preview(msgspec.Struct, frozen=True):
    """What a merge would do. `seen` stands for the two as they were looked at."""

    source: Compared
    target: Compared
    fields: list[Field]
    reasons: list[Reason]
    seen: str


class _Count(msgspec.Struct, frozen=True):
    what: str
    quantity: int


_IDS = bindparam("ids", type_=ARRAY(Uuid()))

IDENTITIES = Query(
    select(func.count())
    .select_from(shopper_identity)
    .where(shopper_identity.c.shopper_id == any_(_IDS)),
    int,
)
BROUGHT = Query(
    union_all(
        *(
            select(
                literal(str(table.name), Text()).label("what"),
                select(func.count())
                .select_from(
                    select(literal(1))
                    .select_from(table)
                    .where(table.c.shopper_id == any_(_IDS))
                    .limit(COUNTED_UPTO)
                    .subquery()
                )
                .scalar_subquery()
                .label("quantity"),
            )
            for table in COUNTED
        )
    ),
    _Count,
)


async def preview(
    conn: Connection, who: Principal, *, source_id: UUID, target_id: UUID, now: datetime
) -> Preview:
    """What merging the source into the target would do; that somebody looked is on record.

    Raises NotFound, AlreadyOnePerson.
    """
    source, target, seen = await customers.compared(conn, source_id, target_id)
    shown = Preview(
        await _compared(conn, source),
        await _compared(conn, target),
        _fields(source, target),
        [Reason.of(kind) for kind in await in_common(conn, source.ids, target.ids)],
        seen,
    )
    await record_staff(
        conn, who, action="shopper.merge_previewed", subject=f"shopper:{target.id}",
        changes={"source_id": str(source.id)}, now=now,
    )  # fmt: skip
    return shown


def masked(name: str | None) -> str | None:
    """A name by its initials: what helps to compare, and does not tell who it is."""
    return " ".join(f"{word[0]}***" for word in name.split()) if name else None


def _masked_email(email: str) -> str:
    name, _, domain = email.rpartition("@")
    return f"{name[0]}***@{domain}"


def _masked_phone(phone: str) -> str:
    return f"{phone[:3]}***{phone[-2:]}"


async def _compared(conn: Connection, person: Person) -> Compared:
    person_ids = list(person.ids)
    counts = await conn.run(BROUGHT, ids=person_ids)
    return Compared(
        Sighting(person.id, masked(person.name), min(row.created_at for row in person.rows)),
        person_ids,
        [_masked_email(each) for each in person.emails],
        [_masked_phone(each) for each in person.phones],
        await conn.one(IDENTITIES, ids=person_ids),
        {each.what: each.quantity for each in counts},
    )


def _fields(source: Person, target: Person) -> list[Field]:
    """Whose word counts: the target's, and where it says nothing, the source's."""
    ours = _fields_of(target)
    return [
        Field(name, "target" if name in ours else "source")
        for name in sorted(ours | _fields_of(source))
    ]


def _fields_of(person: Person) -> set[str]:
    """The fields that a person says something about; each size and preference by itself."""
    plain = {name for name in ("name", "email", "phone", "time_zone") if getattr(person, name)}
    words = {f"sizes/{key}" for key in person.sizes}
    return plain | words | {f"preferences/{key}" for key in person.preferences}
