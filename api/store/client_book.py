"""An associate's client book, and what is written from it.

Nobody sees an address or a number here: names, by which channels a client can be written to, when
they last heard from the store, and what came of it.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post, put

from api.auth import may
from api.contract import raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode_id, encode, page_of
from api.store.places import store_of
from commerce import clienteling, outreach
from commerce.access import Principal, StoreNotAllowed
from commerce.clienteling import ConsentMissing, ViewOver
from commerce.consents import MessageChannel
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection
from commerce.outreach import (
    Client,
    ClientOfColleague,
    Entry,
    Outcome,
    Outreach,
    OutreachCapReached,
    ShopperUnreachable,
    Stage,
    Template,
)

CREATED = 201
FIRST = UUID(int=0)
LAST = UUID(int=2**128 - 1)


class EntryView(msgspec.Struct, frozen=True):
    """A shopper is in an associate's book."""

    id: UUID
    location_id: UUID
    associate_id: UUID
    added_at: datetime

    @classmethod
    def of(cls, entry: Entry) -> "EntryView":
        """Without whose it is: that is told to the associate only, by the list."""
        return cls(entry.id, entry.location_id, entry.associate_id, entry.added_at)


class ClientView(msgspec.Struct, frozen=True):
    """A client. `channels`: by which of them something may be written; none: not at all.

    `associate_active` is false when the associate is out of service; a manager passes the client
    on then. `suggested_at`: when to write next.
    """

    id: UUID
    location_id: UUID
    associate_id: UUID
    associate_active: bool
    name: str | None
    channels: list[MessageChannel]
    added_at: datetime
    last_contact_at: datetime | None
    suggested_at: datetime

    @classmethod
    def of(cls, client: Client) -> "ClientView":
        """As the associate sees them."""
        return msgspec.convert(client, cls, from_attributes=True)


class PassOn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who serves the client from now on."""

    associate_id: UUID


class NewOutreach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to write. `sku`: what a suggestion is about; `line`: a word of one's own."""

    template: Template
    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    line: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=200,
                pattern=r"^[^\n\r]*(?!\n)$",
                description="One line of the associate's own.",
                examples=["¡Te espero!"],
            ),
        ]
        | None
    ) = None


class WrittenOutreach(msgspec.Struct, frozen=True):
    """It is on its way; in quiet hours it waits until `send_at`."""

    id: UUID
    entry_id: UUID
    template: Template
    channel: MessageChannel
    send_at: datetime


class NoteOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the client said. The note is personal, and erased with the person."""

    outcome: Outcome
    note: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None


class OutreachView(msgspec.Struct, frozen=True):
    """One message to a client and how far it has come; `order_id` is what they bought then."""

    id: UUID
    entry_id: UUID
    associate_id: UUID
    template: Template
    stage: Stage
    written_at: datetime
    replied_at: datetime | None
    visited_at: datetime | None
    order_id: UUID | None
    outcome: Outcome | None
    note: str | None
    outcome_at: datetime | None

    @classmethod
    def of(cls, tracked: Outreach) -> "OutreachView":
        """As the store sees it."""
        return msgspec.convert(tracked, cls, from_attributes=True)


@post(
    "/v1/store/shopper-views/{view_id:uuid}/client-book-entry",
    guards=[may("client_book.use_own")],
    status_code=CREATED,
    opt=raises(NotFound, ViewOver, ConsentMissing, ClientOfColleague),
)
@once
async def add_client(view_id: UUID, conn: Connection, who: Principal, now: datetime) -> EntryView:
    """Put the shopper of an open view into one's client book, if they allow personal service."""
    view = await clienteling.viewing(conn, view_id, who, now)
    return EntryView.of(await outreach.add_client(conn, who, view, now=now))


@get("/v1/store/client-book", guards=[may("client_book.use_own")])
async def list_clients(
    conn: Connection, who: Principal, now: datetime, cursor: Cursor = None, limit: PageSize = 50
) -> Page[ClientView]:
    """One's clients, first added first. Who allows no personal service any more is not shown."""
    return await _clients(conn, who, store_of(who, None), who.associate_id, cursor, limit, now)


@get(
    "/v1/store/clients",
    guards=[may("client_book.pass_on")],
    opt=raises(InvalidField, StoreNotAllowed),
)
async def list_clients_of_store(
    conn: Connection,
    who: Principal,
    now: datetime,
    location_id: UUID | None = None,
    associate_id: UUID | None = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[ClientView]:
    """The clients of a store, or of one of its associates."""
    at = store_of(who, location_id, path="?location_id")
    return await _clients(conn, who, at, associate_id, cursor, limit, now)


@delete(
    "/v1/store/client-book/{entry_id:uuid}",
    guards=[may("client_book.use_own")],
    opt=raises(NotFound),
)
async def remove_client(entry_id: UUID, conn: Connection, who: Principal, now: datetime) -> None:
    """Take a client out of one's book; a manager, out of any of the store's."""
    await outreach.remove_client(conn, who, entry_id, now=now)


@put(
    "/v1/store/clients/{entry_id:uuid}/associate",
    guards=[may("client_book.pass_on")],
    opt=raises(NotFound),
)
async def pass_on(
    entry_id: UUID, data: PassOn, conn: Connection, who: Principal, now: datetime
) -> EntryView:
    """Give a client to another associate of the store, as a new entry of theirs."""
    return EntryView.of(await outreach.pass_on(conn, who, entry_id, data.associate_id, now=now))


@post(
    "/v1/store/client-book/{entry_id:uuid}/outreach",
    guards=[may("client_book.use_own")],
    status_code=CREATED,
    opt=raises(NotFound, InvalidField, ConsentMissing, OutreachCapReached, ShopperUnreachable),
)
@once
async def write_outreach(
    entry_id: UUID, data: NewOutreach, conn: Connection, who: Principal, now: datetime
) -> WrittenOutreach:
    """Write to a client, by a channel that they allow. In quiet hours it waits for the morning."""
    sent = await outreach.write(
        conn, who, entry_id, template=data.template, sku=data.sku, line=data.line, now=now
    )
    return msgspec.convert(sent, WrittenOutreach, from_attributes=True)


@get("/v1/store/outreach", guards=[may("client_book.use_own")])
async def list_outreach(
    reading: Connection,
    who: Principal,
    entry_id: UUID | None = None,
    associate_id: UUID | None = None,
    outcome: Outcome | None = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[OutreachView]:
    """What was written and what came of it, newest first. A manager sees the whole store's."""
    rows = await outreach.outreach_page(
        reading,
        store_of(who, None),
        associate_id=associate_id if who.role == "manager" else who.associate_id,
        entry_id=entry_id,
        outcome=outcome,
        before=decode_id(cursor) or LAST,
        page=limit + 1,
    )
    return page_of(rows, limit, view=OutreachView.of, key=lambda row: str(row.id))


@put(
    "/v1/store/outreach/{outreach_id:uuid}/outcome",
    guards=[may("client_book.use_own")],
    opt=raises(NotFound),
)
async def note_outcome(
    outreach_id: UUID, data: NoteOutcome, conn: Connection, who: Principal, now: datetime
) -> OutreachView:
    """Note what the client said. The last note counts."""
    return OutreachView.of(
        await outreach.note_outcome(
            conn, who, outreach_id, outcome=data.outcome, note=data.note, now=now
        )
    )


async def _clients(
    conn: Connection,
    who: Principal,
    at: UUID,
    associate_id: UUID | None,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[ClientView]:
    found = await outreach.clients(
        conn,
        who,
        at,
        associate_id=associate_id,
        after=decode_id(cursor) or FIRST,
        page=limit,
        now=now,
    )
    following = None if found.after is None else encode(str(found.after))
    return Page([ClientView.of(each) for each in found.shown], following)


ROUTES = [
    add_client,
    list_clients,
    list_clients_of_store,
    remove_client,
    pass_on,
    write_outreach,
    list_outreach,
    note_outcome,
]
