"""The conversation with a shopper, through an open view: the story, notes, and answers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post

from api.auth import may
from api.contract import raises
from api.entries import key_of, position_of
from api.once import once
from api.pages import Cursor, PageSize, page_of
from commerce import clienteling, messages, stores
from commerce.access import Principal
from commerce.clienteling import ConsentMissing, ViewOver
from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.messages import MAX_NOTE, ConversationOver, Entry, Note

MAX_ANSWER = 1_000


class Timeline(msgspec.Struct, frozen=True):
    """Part of a shopper's story, newest first, and the cursor to what was before; null at the end.

    `kind` tells the entries apart.
    """

    items: list[Entry]
    next_cursor: str | None = None


class NewNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the next associate should know. The shopper can read it in their data."""

    body: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=MAX_NOTE, pattern=r"^[^\x00]*\S[^\x00]*$",
            examples=["Prefers linen; looking for a dress for a wedding in June."],
        ),
    ]  # fmt: skip


class NoteView(msgspec.Struct, frozen=True):
    """A note as it was written."""

    id: UUID
    associate_id: UUID
    location_id: UUID
    body: str
    created_at: datetime

    @classmethod
    def of(cls, written: Note) -> "NoteView":
        """Without the shopper's id, which the view stands for."""
        return cls(
            written.id, written.associate_id, written.location_id, written.body, written.created_at
        )


class NewAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to a message that the shopper sent (`state` is `received`)."""

    message_id: UUID
    text: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=MAX_ANSWER, pattern=r"^[^\x00]*\S[^\x00]*$",
            examples=["We have it in blue. Shall I put it aside for you?"],
        ),
    ]  # fmt: skip


class AnswerView(msgspec.Struct, frozen=True):
    """An answer on its way."""

    message_id: UUID
    channel: str


@get(
    "/v1/store/shopper-views/{view_id:uuid}/timeline",
    guards=[may("shopper.view")],
    opt=raises(NotFound, ViewOver),
)
async def read_timeline(
    view_id: UUID,
    conn: Connection,
    who: Principal,
    now: datetime,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Timeline:
    """Messages both ways, notes, and what became of orders, newest first.

    Without the shopper's consent, or for a purpose that is not shown their notes, only what is
    about the order in hand. The look is on record.
    """
    view = await clienteling.viewing(conn, view_id, who, now, needs=None)
    standing = await clienteling.standing(conn, view_id, who, now)
    before, page = position_of(cursor), limit + 1
    advising = view.purpose in clienteling.FIELDS["notes"].purposes
    if advising and standing.granted.allows("personal_service"):
        shown = await messages.timeline(conn, view.person_ids, before=before, page=page)
    elif view.order_id is not None:
        shown = await messages.order_timeline(
            conn, view.person_ids, view.order_id, before=before, page=page
        )
    else:
        shown = []
    await clienteling.record_shown(conn, view, ["timeline"], now=now)
    part = page_of(shown, limit, view=lambda entry: entry, key=key_of)
    return Timeline(part.items, part.next_cursor)


@post(
    "/v1/store/shopper-views/{view_id:uuid}/notes",
    guards=[may("shopper.view")],
    opt=raises(NotFound, ViewOver, ConsentMissing),
)
@once
async def write_note(
    view_id: UUID, data: NewNote, conn: Connection, who: Principal, now: datetime
) -> NoteView:
    """Write a note on the shopper. It needs their consent to personal service."""
    view = await clienteling.viewing(conn, view_id, who, now)
    written = await messages.add_note(
        conn, who, view.shopper_id, location_id=view.location_id, body=data.body, now=now
    )
    return NoteView.of(written)


@post(
    "/v1/store/shopper-views/{view_id:uuid}/answers",
    guards=[may("shopper.view")],
    opt=raises(NotFound, ViewOver, ConsentMissing, ConversationOver),
)
@once
async def answer_shopper(
    view_id: UUID, data: NewAnswer, conn: Connection, who: Principal, now: datetime
) -> AnswerView:
    """Answer what the shopper wrote, by the channel that it came by, within seven days."""
    view = await clienteling.viewing(conn, view_id, who, now)
    places = await stores.by_ids(conn, [view.location_id])
    outcome = await messages.answer(
        conn,
        who,
        view.person_ids,
        data.message_id,
        reason=ids.uuid7(),
        text=data.text,
        at=places[view.location_id],
        now=now,
    )
    assert outcome.channel is not None, "it goes to where the message came from"
    return AnswerView(outcome.id, outcome.channel)


ROUTES = [read_timeline, write_note, answer_shopper]
