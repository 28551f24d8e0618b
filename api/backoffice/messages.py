"""The outbox: what shoppers were told, or will be. Personal data, so each look is on record."""

from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import QueryParameter

from api.auth import may
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.services import Services
from commerce import access, messages
from commerce.access import Principal
from commerce.consents import MessageChannel
from commerce.kernel.sql import Connection
from commerce.messages import State, Written


class MessageView(msgspec.Struct, frozen=True):
    """A message to a shopper, or from one. Without a carrier it is `sent` when it stands here.

    `body` is shown only then. Where messages really go out, the codes in them are for those who
    get them: nobody signs in, or picks up, as somebody else.
    """

    id: UUID
    reason: UUID
    purpose: str
    channel: MessageChannel
    template: str
    recipient: str
    subject: str
    body: str | None
    state: State
    why: str | None
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None

    @classmethod
    def of(cls, row: Written, *, with_body: bool) -> "MessageView":
        """As the back office sees it."""
        shown: MessageView = msgspec.convert(row, cls, from_attributes=True)
        return shown if with_body else msgspec.structs.replace(shown, body=None)


@get("/v1/backoffice/messages", guards=[may("message.read")])
async def list_messages(
    conn: Connection,
    who: Principal,
    now: datetime,
    services: Services,
    in_state: Annotated[State | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[MessageView]:
    """Messages to shoppers, newest first. The look is written into the staff record."""
    rows = await messages.page(conn, state=in_state, before=decode_id(cursor), page=limit + 1)
    view = partial(MessageView.of, with_body=not services.settings.smtp_url)
    shown = page_of(rows, limit, view=view, key=lambda row: str(row.id))
    await access.record_staff(
        conn,
        who,
        action="message.read",
        subject="messages",
        changes={"shown": [str(each.id) for each in shown.items]},
        now=now,
    )
    return shown


ROUTES = [list_messages]
