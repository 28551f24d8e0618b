"""What a shopper allows aloud at the counter."""

from datetime import datetime
from uuid import UUID

from litestar import post

from api.auth import may
from api.consent_views import ConsentsView, Decisions
from api.contract import raises
from api.once import once
from commerce import clienteling
from commerce.access import Principal
from commerce.clienteling import ViewOver
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection


@post(
    "/v1/store/shopper-views/{view_id:uuid}/consents",
    guards=[may("shopper.view")],
    status_code=200,
    opt=raises(NotFound, ViewOver, InvalidField),
)
@once
async def record_consents(
    view_id: UUID, data: Decisions, conn: Connection, who: Principal, now: datetime
) -> ConsentsView:
    """Record what the shopper says, through an open view of them.

    The shopper is told by a message, and sees in the history who recorded it and when.
    """
    held = await clienteling.record_consents(conn, who, view_id, data.parsed(), now)
    return ConsentsView.of(held)


ROUTES = [record_consents]
