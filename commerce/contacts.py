"""Contacts: whom to reach about one order. Personal data; everything else names it by id."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import Text, Uuid, any_, bindparam, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.tables import contact


class Contact(msgspec.Struct, frozen=True):
    """A person as one order names them: a name, and a mail address or a phone number (E.164)."""

    id: UUID
    shopper_id: UUID | None
    name: str
    email: str | None
    phone: str | None
    locale: str

    def __repr__(self) -> str:
        return f"Contact({self.id})"  # never a name in a log


_NEW = rows_of(
    "n",
    id=Uuid(),
    shopper_id=Uuid(),
    person=Text(),
    email=Text(),
    phone=Text(),
    locale=Text(),
)
ADD = Query(
    insert(contact).from_select(
        ["id", "shopper_id", "name", "email", "phone", "locale"],
        select(*(column for column in _NEW.c if column.name != "position")),
    )
)
BY_IDS = Query(
    select(contact).where(contact.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))), Contact
)


async def add(conn: Connection, contacts: Sequence[Contact]) -> None:
    """Write new contacts; one statement."""
    if contacts:
        await conn.run(ADD, **columns_of(contacts, *Contact.__struct_fields__))


async def by_ids(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, Contact]:
    """Those of the contacts that exist."""
    return {each.id: each for each in await conn.run(BY_IDS, ids=list(ids))}
