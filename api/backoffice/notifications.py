"""The outbox: what shoppers were told, or will be. Personal data, so each look is on record."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import QueryParameter

from api.auth import may
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from commerce import access, notifications
from commerce.access import Principal
from commerce.kernel.sql import Connection
from commerce.notifications import Notification, State


class NotificationView(msgspec.Struct, frozen=True):
    """A message to a shopper. Without a mail server it is `sent` when it stands here."""

    id: UUID
    event_id: UUID
    channel: str
    template: str
    recipient: str
    subject: str
    body: str
    state: State
    attempts: int
    created_at: datetime
    sent_at: datetime | None

    @classmethod
    def of(cls, row: Notification) -> "NotificationView":
        """As the back office sees it."""
        return msgspec.convert(row, cls, from_attributes=True)


@get("/v1/backoffice/notifications", guards=[may("notification.read")])
async def list_notifications(
    conn: Connection,
    who: Principal,
    now: datetime,
    in_state: Annotated[State | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[NotificationView]:
    """Messages to shoppers, newest first. The look is written into the staff record."""
    rows = await notifications.page(conn, state=in_state, before=decode_id(cursor), page=limit + 1)
    shown = page_of(rows, limit, view=NotificationView.of, key=lambda row: str(row.id))
    await access.record_staff(
        conn,
        who,
        action="notification.read",
        subject="notifications",
        changes={"shown": [str(each.id) for each in shown.items]},
        now=now,
    )
    return shown


ROUTES = [list_notifications]
