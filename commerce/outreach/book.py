"""Client books: whom an associate serves, and when they last heard from them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal, in_scope, record_staff
from commerce.clienteling import View
from commerce.consents import WRITING, MessageChannel
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query, either
from commerce.messages.people import Reachable, shoppers
from commerce.tables import (
    associate,
    associate_store,
    client_book_entry,
    outreach,
    shopper,
)

SUGGESTED_AFTER = timedelta(days=30)
"""From the last contact to the next."""

EndReason = Literal["removed", "passed_on", "consent_withdrawn", "erased"]


class ClientOfColleague(CommerceError):
    """Another associate of this store serves this shopper. A manager can pass the client on."""

    code = "client_of_colleague"


class Entry(msgspec.Struct, frozen=True):
    """A shopper in an associate's book, at a store."""

    id: UUID
    location_id: UUID
    associate_id: UUID
    shopper_id: UUID
    added_at: datetime


class Client(msgspec.Struct, frozen=True):
    """An entry as the associate sees it. `channels`: by which of them the shopper lets us write."""

    id: UUID
    location_id: UUID
    associate_id: UUID
    associate_active: bool
    added_at: datetime
    name: str | None
    channels: list[MessageChannel]
    last_contact_at: datetime | None
    suggested_at: datetime


class Clients(msgspec.Struct, frozen=True):
    """A page of them, and the entry behind which the next page begins."""

    shown: list[Client]
    after: UUID | None


class _Listed(Entry, frozen=True):
    """An entry with what the list says of it."""

    name: str | None
    associate_active: bool
    last_contact_at: datetime | None


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_SHOWN = [client_book_entry.c[name] for name in Entry.__struct_fields__]
_OPEN = client_book_entry.c.ended_at.is_(None)
_IS = client_book_entry.c.id == bindparam("of")

OPEN_OF_PERSON = Query(
    select(*_SHOWN)
    .where(
        client_book_entry.c.location_id == bindparam("at"),
        client_book_entry.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid))),
        _OPEN,
    )
    .order_by(client_book_entry.c.id),
    Entry,
)
_ADD = {
    "id": bindparam("new_id", type_=Uuid()),
    "location_id": bindparam("at", type_=Uuid()),
    "associate_id": bindparam("by", type_=Uuid()),
    "shopper_id": bindparam("of", type_=Uuid()),
    "added_at": _NOW,
}
ADD = Query(upsert(client_book_entry).values(_ADD).on_conflict_do_nothing())
PASS_ON = Query(insert(client_book_entry).values(_ADD))
LOCK = Query(
    select(*_SHOWN)
    .where(_IS, _OPEN, in_scope(client_book_entry.c.location_id))
    .with_for_update(key_share=True),
    Entry,
)
_end = {"ended_at": _NOW, "end_reason": bindparam("because", type_=Text())}
END = Query(update(client_book_entry).where(_IS, _OPEN).values(_end))
END_OF_PERSONS = Query(
    update(client_book_entry)
    .where(
        client_book_entry.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid))), _OPEN
    )
    .values(_end)
)
_last_contact = (
    select(func.max(outreach.c.written_at))
    .where(outreach.c.shopper_id == client_book_entry.c.shopper_id)
    .scalar_subquery()
)
_BY = bindparam("by", type_=Uuid())
_root = shopper.alias("root")
CLIENTS = Query(
    select(
        *_SHOWN,
        func.coalesce(_root.c.name, shopper.c.name).label("name"),
        associate.c.active.label("associate_active"),
        _last_contact.label("last_contact_at"),
    )
    .join(associate, associate.c.id == client_book_entry.c.associate_id)
    .join(shopper, shopper.c.id == client_book_entry.c.shopper_id)
    .join(_root, _root.c.id == func.coalesce(shopper.c.merged_into, shopper.c.id))
    .where(
        _OPEN,
        client_book_entry.c.location_id == bindparam("at"),
        either(client_book_entry.c.associate_id == _BY, "by", Uuid()),
        client_book_entry.c.id > bindparam("after"),
    )
    .order_by(client_book_entry.c.id)
    .limit(bindparam("page", type_=Integer())),
    _Listed,
)
WORKS_THERE = Query(
    select(associate.c.id)
    .join(associate_store, associate_store.c.associate_id == associate.c.id)
    .where(
        associate.c.id == bindparam("of"),
        associate.c.active,
        associate_store.c.location_id == bindparam("at"),
    ),
    UUID,
)


async def add_client(conn: Connection, who: Principal, view: View, *, now: datetime) -> Entry:
    """Put the shopper of an open view into the associate's book. Repeating it changes nothing.

    The view is one that stands on consent to personal service. Raises ClientOfColleague.
    """
    assert who.associate_id is not None
    known = {"at": view.location_id, "person_ids": view.person_ids}
    entry = await conn.first(OPEN_OF_PERSON, **known)
    if entry is None:
        await conn.run(
            ADD,
            new_id=ids.uuid7(),
            at=view.location_id,
            by=who.associate_id,
            of=view.shopper_id,
            now=now,
        )
        entry = await conn.one(OPEN_OF_PERSON, **known)
        await _on_record(conn, who, "client.added", entry, now)
    if entry.associate_id != who.associate_id:
        raise ClientOfColleague
    return entry


async def clients(
    conn: Connection,
    who: Principal,
    location_id: UUID,
    *,
    associate_id: UUID | None,
    after: UUID,
    page: int,
    now: datetime,
) -> Clients:
    """A store's clients, or those of one associate, first added first. The look is on record.

    Whoever allows no personal service any more is left out, though their entry may not have ended
    yet. A page may so be shorter than asked for.
    """
    rows = await conn.run(CLIENTS, at=location_id, by=associate_id, after=after, page=page + 1)
    rows, more = rows[:page], len(rows) > page
    people = await shoppers(conn, [row.shopper_id for row in rows])
    served = [
        row
        for row in rows
        if row.shopper_id in people and people[row.shopper_id].consents.allows("personal_service")
    ]
    await record_staff(
        conn,
        who,
        action="client_book.read",
        subject=f"store:{location_id}",
        changes={"shown": [str(row.shopper_id) for row in served]},
        now=now,
        location_id=location_id,
    )
    shown = [_client(row, people[row.shopper_id]) for row in served]
    return Clients(shown, rows[-1].id if more else None)


async def pass_on(
    conn: Connection, who: Principal, entry_id: UUID, associate_id: UUID, *, now: datetime
) -> Entry:
    """Give a client to another associate of the store. Raises NotFound for either of them."""
    entry = await own_entry(conn, who, entry_id, whole_store=True)
    if await conn.first(WORKS_THERE, of=associate_id, at=entry.location_id) is None:
        raise NotFound(kind="associate", id=str(associate_id))
    if entry.associate_id == associate_id:
        return entry
    await conn.run(END, of=entry.id, because="passed_on", now=now)
    given = Entry(ids.uuid7(), entry.location_id, associate_id, entry.shopper_id, now)
    await conn.run(
        PASS_ON,
        new_id=given.id,
        at=given.location_id,
        by=associate_id,
        of=given.shopper_id,
        now=now,
    )
    await _on_record(conn, who, "client.passed_on", given, now)
    return given


async def remove_client(conn: Connection, who: Principal, entry_id: UUID, *, now: datetime) -> None:
    """Take a client out of the book. Raises NotFound for one that is not in it."""
    entry = await own_entry(conn, who, entry_id, whole_store=who.role == "manager")
    await conn.run(END, of=entry.id, because="removed", now=now)
    await _on_record(conn, who, "client.removed", entry, now)


async def end_of_persons(
    conn: Connection, person_ids: Sequence[UUID], reason: EndReason, *, now: datetime
) -> None:
    """Take people out of every book."""
    await conn.run(END_OF_PERSONS, person_ids=list(person_ids), because=reason, now=now)


async def own_entry(
    conn: Connection, who: Principal, entry_id: UUID, *, whole_store: bool = False
) -> Entry:
    """An open entry of this associate (or of the whole store), locked. Raises NotFound."""
    entry = await conn.first(LOCK, of=entry_id, scope=who.scope)
    if entry is None or not (whole_store or entry.associate_id == who.associate_id):
        raise NotFound(kind="client", id=str(entry_id))
    return entry


def suggested_at(added_at: datetime, last_contact_at: datetime | None) -> datetime:
    """When to write next: soon to somebody new, and a month after each contact."""
    return added_at if last_contact_at is None else last_contact_at + SUGGESTED_AFTER


def writable(person: Reachable) -> list[MessageChannel]:
    """The channels that reach somebody and that they allow for some purpose of writing."""
    return [
        channel
        for channel in person.addresses
        if any(person.consents.allows(purpose, channel) for purpose in WRITING)
    ]


def _client(row: _Listed, person: Reachable) -> Client:
    return Client(
        id=row.id,
        location_id=row.location_id,
        associate_id=row.associate_id,
        associate_active=row.associate_active,
        added_at=row.added_at,
        name=row.name,
        channels=writable(person),
        last_contact_at=row.last_contact_at,
        suggested_at=suggested_at(row.added_at, row.last_contact_at),
    )


async def _on_record(
    conn: Connection, who: Principal, action: str, entry: Entry, now: datetime
) -> None:
    await record_staff(
        conn,
        who,
        action=action,
        subject=f"shopper:{entry.shopper_id}",
        changes={"entry": str(entry.id), "associate": str(entry.associate_id)},
        now=now,
        location_id=entry.location_id,
    )
