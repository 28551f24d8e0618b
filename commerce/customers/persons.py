"""Shoppers, and the person that several of them may be.

A row of `shopper` stands for one way in: a mail address, a phone number, an external identity. When
two turn out to be one person, the one row points at the other, its *root*; rows that point nowhere
are roots. Nothing else moves: what was written under an id stays with it, and whoever reads asks
for all ids of the person. So undoing a merge gives both back exactly.

Pointers are flat, never a chain. Whoever changes a person locks the root first (`lock_person`),
so nobody else merges, undoes or erases meanwhile.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, Uuid, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel import events, ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, LostRace, Query
from commerce.tables.people import shopper

Locale = Literal["en", "es"]
Words = dict[str, str | None]
"""Known keys with what the shopper says; None: said once, and taken back."""

MAX_ROWS = 20
"""Of one person. Whoever has more ways in than that is not one."""
LOYALTY_CODE_LENGTH = 10

Told = TypeVar("Told")


class Shopper(msgspec.Struct, frozen=True):
    """A known shopper. Personal data: only for the shopper and for who may see it."""

    id: UUID
    email: str | None
    phone: str | None
    name: str | None
    locale: str
    time_zone: str | None
    loyalty_code: str
    other_loyalty_code: str | None
    sizes: Words
    preferences: Words
    created_at: datetime
    merged_into: UUID | None
    revision: int
    erased_at: datetime | None


class Person(msgspec.Struct, frozen=True):
    """All that is known of one person, whatever the number of rows; `rows` begin with the root.

    Where rows differ the root's word counts; what the root does not tell, the oldest other does.
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
    def erased(self) -> bool:
        """Whether nothing is left of the person but the ids."""
        return self.rows[0].erased_at is not None

    @property
    def locale(self) -> str:
        """The language to write in."""
        return self.rows[0].locale

    @property
    def name(self) -> str | None:
        """What the person is called."""
        return self._first(lambda row: row.name)

    @property
    def email(self) -> str | None:
        """Where to write."""
        return self._first(lambda row: row.email)

    @property
    def phone(self) -> str | None:
        """Where to call."""
        return self._first(lambda row: row.phone)

    @property
    def emails(self) -> list[str]:
        """Every address that signs the person in."""
        return [row.email for row in self.rows if row.email is not None]

    @property
    def phones(self) -> list[str]:
        """Every number that signs the person in."""
        return [row.phone for row in self.rows if row.phone is not None]

    @property
    def time_zone(self) -> str | None:
        """Where the person's clock is, by its IANA name."""
        return self._first(lambda row: row.time_zone)

    @property
    def loyalty_code(self) -> str:
        """What the person shows at a till."""
        return self.rows[0].loyalty_code

    @property
    def sizes(self) -> dict[str, str]:
        """Known sizes by kind of goods."""
        return self._words(lambda row: row.sizes)

    @property
    def preferences(self) -> dict[str, str]:
        """What the person likes."""
        return self._words(lambda row: row.preferences)

    def _first(self, told: Callable[[Shopper], Told | None]) -> Told | None:
        found: Iterator[Told | None] = (told(row) for row in self.rows)
        return next((each for each in found if each is not None), None)

    def _words(self, told: Callable[[Shopper], Words]) -> dict[str, str]:
        """Key by key; what the root took back stays away."""
        words: Words = {}
        for row in reversed(self.rows):
            words |= told(row)
        return {key: word for key, word in words.items() if word is not None}


class _OfPerson(msgspec.Struct, frozen=True):
    asked: UUID
    ids: list[UUID]


_MOMENT = DateTime(timezone=True)
COLUMNS = [shopper.c[name] for name in Shopper.__struct_fields__]
_ASKED = any_(bindparam("ids", type_=ARRAY(Uuid())))
_row = shopper.alias("row")

INSERT_SHOPPER = Query(
    upsert(shopper)
    .values(
        id=bindparam("shopper_id", type_=Uuid()),
        email=bindparam("mail", type_=Text()),
        phone=bindparam("number", type_=Text()),
        name=bindparam("called", type_=Text()),
        locale=bindparam("language", type_=Text()),
        loyalty_code=bindparam("loyalty", type_=Text()),
        created_at=bindparam("now", type_=_MOMENT),
    )
    .on_conflict_do_nothing()
    .returning(*COLUMNS),
    Shopper,
)
SHOPPER_BY_EMAIL = Query(select(*COLUMNS).where(shopper.c.email == bindparam("of")), Shopper)
SHOPPER_BY_PHONE = Query(select(*COLUMNS).where(shopper.c.phone == bindparam("of")), Shopper)
SHOPPER_BY_ID = Query(select(*COLUMNS).where(shopper.c.id == bindparam("of")), Shopper)
_OF_ROOT = (
    select(func.coalesce(_row.c.merged_into, _row.c.id))
    .where(_row.c.id == bindparam("of"))
    .scalar_subquery()
)
ROWS_OF_PERSON = Query(
    select(*COLUMNS)
    .where(or_(shopper.c.id == _OF_ROOT, shopper.c.merged_into == _OF_ROOT))
    .order_by(shopper.c.merged_into.is_not(None), shopper.c.id)
    .limit(MAX_ROWS),
    Shopper,
)
LOCK = Query(
    select(shopper.c.id).where(shopper.c.id == _ASKED).order_by(shopper.c.id)
    .with_for_update(key_share=True),
    UUID,
)  # fmt: skip
_ROOT_OF_ASKED = func.coalesce(shopper.c.merged_into, shopper.c.id)
IDS_OF_PERSONS = Query(
    select(
        shopper.c.id.label("asked"),
        func.array_prepend(
            _ROOT_OF_ASKED,
            select(func.array_agg(aggregate_order_by(_row.c.id, _row.c.id)))
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
    """The person that a row belongs to, merged or erased or not. Raises NotFound."""
    rows = await conn.run(ROWS_OF_PERSON, of=shopper_id)
    if not rows:
        raise NotFound(kind="shopper", id=str(shopper_id))
    return Person(tuple(rows))


async def lock_person(conn: Connection, shopper_id: UUID) -> Person:
    """A person whom nobody else changes for the rest of the transaction. Raises NotFound."""
    (locked,) = await lock_persons(conn, [shopper_id])
    return locked


async def lock_persons(conn: Connection, shopper_ids: Sequence[UUID]) -> list[Person]:
    """These persons, locked; the same twice where two ids are of one. Raises NotFound.

    Whoever was merged while we waited has another root: then the transaction is to be repeated.
    """
    seen = [(await person_of(conn, each)).id for each in shopper_ids]
    await conn.run(LOCK, ids=sorted(set(seen)))
    locked = [await person_of(conn, each) for each in shopper_ids]
    if [each.id for each in locked] != seen:
        raise LostRace
    return locked


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
    made = await add_shopper(conn, email=email, phone=phone, locale=locale, now=now, name=name)
    if made is not None:
        return made
    by = (SHOPPER_BY_EMAIL, email) if email is not None else (SHOPPER_BY_PHONE, phone)
    return await conn.one(by[0], of=by[1])


async def add_shopper(
    conn: Connection,
    *,
    email: str | None,
    phone: str | None,
    locale: Locale,
    now: datetime,
    name: str | None = None,
) -> Shopper | None:
    """A new shopper; None where somebody has the address or the number."""
    made = await conn.first(
        INSERT_SHOPPER,
        shopper_id=ids.uuid7(),
        mail=email,
        number=phone,
        called=name,
        language=locale,
        loyalty="".join(secrets.choice(ids.ALPHABET) for _ in range(LOYALTY_CODE_LENGTH)),
        now=now,
    )
    if made is not None:
        joined = events.Event("shopper.joined", "shopper", made.id, f"shopper:{made.id}")
        await events.record(conn, [joined], now=now)
    return made
