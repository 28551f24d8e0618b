"""The outbox: what shoppers were told, or will be. Personal data, so each look is on record."""

from collections.abc import Collection
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
from commerce.messages import Link, Links, Purpose, State, Written


class MessageView(msgspec.Struct, frozen=True):
    """A message to a shopper, or from one. Without a carrier it is `sent` when it stands here.

    `body` is shown only then, with the link that a carrier would have added. Where messages of its
    channel really go out, the codes in them are for those who get them: nobody signs in, or picks
    up, as somebody else.
    """

    id: UUID
    reason: UUID
    purpose: Purpose
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
    preferences_url: str | None = None

    @classmethod
    def of(cls, row: Written, *, links: Links, carried: Collection[str]) -> "MessageView":
        """As the back office sees it."""
        shown: MessageView = msgspec.convert(row, cls, from_attributes=True)
        if row.channel in carried:
            return msgspec.structs.replace(shown, body=None)
        if row.shopper_id is None or row.state == "received":
            return shown
        link = Link(row.shopper_id, row.purpose, row.channel)
        return msgspec.structs.replace(shown, preferences_url=links.preferences(link))


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
    links = Links(services.secret, services.settings.links_url)
    from api.carriers import carried_channels  # with an HTTP client, that a start does not need

    view = partial(MessageView.of, links=links, carried=carried_channels(services.settings))
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
