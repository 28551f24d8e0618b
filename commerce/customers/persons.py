"""Shoppers, and the person that several of them may be.

A row of `shopper` stands for one way in: a mail address, a phone number, an external identity. When
two turn out to be one person, the one row points at the other, its *root*; rows that point nowhere
are roots. Nothing else moves: what was written under an id stays with it, and whoever reads asks
for all ids of the person. So undoing a merge gives both back exactly.

Pointers are flat, never a chain, and all rows of a person are locked together, sorted by id.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, Uuid, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query
from commerce.tables.people import shopper

Locale = Literal["en", "es"]


class Shopper(msgspec.Struct, frozen=True):
    """A known shopper. Personal data: only for the shopper and for who may see it."""

    id: UUID
    email: str | None
    phone: str | None
    name: str | None
    locale: str
    created_at: datetime
    merged_into: UUID | None = None


class Person(msgspec.Struct, frozen=True):
    """All that is known of one person, whatever the number of rows; `rows` begin with the root.

    Where rows differ the root's word counts; what the root does not have, the oldest other tells.
    """

    rows: tuple[Shopper, ...]

    @property
    def id(self) -> UUID:
        """The root, by which others name the person."""
        return self.rows[0].id

    @property
    def ids(self) -> tuple[UUID, ...]:
        """Every id that something of this person may be written under, root first."""
        return tuple(row.id for row in self.rows)

    @property
    def locale(self) -> str:
        """The language to write in."""
        return self.rows[0].locale

    @property
    def name(self) -> str | None:
        """What the person is called."""
        return next((row.name for row in self.rows if row.name is not None), None)

    @property
    def email(self) -> str | None:
        """Where to write."""
        return next((row.email for row in self.rows if row.email is not None), None)

    @property
    def phone(self) -> str | None:
        """Where to call."""
        return next((row.phone for row in self.rows if row.phone is not None), None)


class _OfPerson(msgspec.Struct, frozen=True):
    asked: UUID
    ids: list[UUID]


_MOMENT = DateTime(timezone=True)
COLUMNS = [shopper.c[name] for name in Shopper.__struct_fields__]
_ASKED = any_(bindparam("ids", type_=ARRAY(Uuid())))
_root = shopper.alias("root")
_row = shopper.alias("row")

INSERT_SHOPPER = Query(
    upsert(shopper)
    .values(
        id=bindparam("shopper_id", type_=Uuid()),
        email=bindparam("mail", type_=Text()),
        phone=bindparam("number", type_=Text()),
        name=bindparam("called", type_=Text()),
        locale=bindparam("language", type_=Text()),
        created_at=bindparam("now", type_=_MOMENT),
    )
    .on_conflict_do_nothing()
)
SHOPPER_BY_EMAIL = Query(select(*COLUMNS).where(shopper.c.email == bindparam("of")), Shopper)
SHOPPER_BY_PHONE = Query(select(*COLUMNS).where(shopper.c.phone == bindparam("of")), Shopper)
SHOPPER_BY_ID = Query(select(*COLUMNS).where(shopper.c.id == bindparam("of")), Shopper)
ROWS_OF_ROOT = Query(
    select(*COLUMNS)
    .where(or_(shopper.c.id == bindparam("root"), shopper.c.merged_into == bindparam("root")))
    .order_by(shopper.c.merged_into.is_not(None), shopper.c.id)
    .limit(1_000),
    Shopper,
)
_ROOT_OF_ASKED = func.coalesce(shopper.c.merged_into, shopper.c.id)
IDS_OF_PERSONS = Query(
    select(
        shopper.c.id.label("asked"),
        func.array_prepend(
            _ROOT_OF_ASKED,
            select(func.array_agg(_row.c.id))
            .where(_row.c.merged_into == _ROOT_OF_ASKED)
            .scalar_subquery(),
        ).label("ids"),
    ).where(shopper.c.id == _ASKED),
    _OfPerson,
)


async def shopper_by_id(conn: Connection, shopper_id: UUID) -> Shopper | None:
    """One row as it was written, whoever it points at."""
    return await conn.first(SHOPPER_BY_ID, of=shopper_id)


async def person_of(conn: Connection, shopper_id: UUID) -> Person:
    """The person that a row belongs to, merged or not. Raises NotFound."""
    row = await conn.first(SHOPPER_BY_ID, of=shopper_id)
    if row is None:
        raise NotFound(kind="shopper", id=str(shopper_id))
    return Person(tuple(await conn.run(ROWS_OF_ROOT, root=row.merged_into or row.id)))


async def persons_of(conn: Connection, shopper_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    """All ids of the person of each of these rows, root first. Unknown ids are left out."""
    found = await conn.run(IDS_OF_PERSONS, ids=list(shopper_ids))
    return {each.asked: tuple(each.ids) for each in found}


async def put_shopper(
    conn: Connection,
    *,
    email: str | None,
    phone: str | None,
    locale: Locale,
    now: datetime,
    name: str | None = None,
) -> Shopper:
    """The shopper with this address or number; a new one where there was none."""
    await conn.run(
        INSERT_SHOPPER,
        shopper_id=ids.uuid7(),
        mail=email,
        number=phone,
        called=name,
        language=locale,
        now=now,
    )
    by = (SHOPPER_BY_EMAIL, email) if email is not None else (SHOPPER_BY_PHONE, phone)
    return await conn.one(by[0], of=by[1])
