"""The contacts of orders: who to tell about one order, signed in or not."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import Text, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel.sql import Connection, Query, records, records_of
from commerce.tables.people import contact


class Contact(msgspec.Struct, frozen=True):
    """Who to tell about an order."""

    id: UUID
    name: str
    shopper_id: UUID | None = None
    email: str | None = None
    phone: str | None = None
    locale: str = "en"


_NEW = records_of(
    "contacts",
    id=Uuid(),
    shopper_id=Uuid(),
    **{name: Text() for name in ("name", "email", "phone", "locale")},
)
_NEW_COLUMNS = list(_NEW.c)
INSERT_CONTACTS = Query(
    upsert(contact)
    .from_select([c.name for c in _NEW_COLUMNS], select(*_NEW_COLUMNS).order_by(_NEW.c.id))
    .on_conflict_do_nothing()
)
CONTACTS = Query(
    select(contact).where(contact.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))), Contact
)


async def add_contacts(conn: Connection, contacts: Sequence[Contact]) -> None:
    """Keep the contacts of many orders at once. Repeating an id changes nothing."""
    if contacts:
        await conn.later(INSERT_CONTACTS, contacts=records(contacts))


async def contacts_by_ids(conn: Connection, contact_ids: Sequence[UUID]) -> list[Contact]:
    """The contacts of these ids, in no order."""
    return await conn.run(CONTACTS, ids=list(contact_ids))
