"""What background actors have failed on: seen here, and sent again.

Both brokers' failures stand here, because an event that an actor fails on waits in the database. It
is told again by itself for about eleven minutes; then it is dead until somebody sends it again.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from api.auth import may
from api.contract import raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode, page_of
from api.refusals import InvalidRequest
from commerce import access
from commerce.access import Principal
from commerce.kernel import deliveries
from commerce.kernel.deliveries import Open, State
from commerce.kernel.sql import Connection

MAX_EVENTS = 500
_FIRST = (UUID(int=0), "")


class FailedDelivery(msgspec.Struct, frozen=True):
    """An event that an actor has failed on so far (`failed`) or for good (`dead`).

    `fault` is the kind of the last fault; its place stands in the worker's log, by the event's id.
    """

    event_id: UUID
    actor: str
    state: State
    fault: str
    tries: int
    again_at: datetime | None
    at: datetime
    type: str
    aggregate: str
    aggregate_id: UUID

    @classmethod
    def of(cls, row: Open) -> "FailedDelivery":
        """As the back office sees it."""
        return msgspec.convert(row, cls, from_attributes=True)


class SendAgain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dead events of one actor that it shall try once more."""

    actor: Annotated[str, msgspec.Meta(min_length=1, max_length=100, examples=["tell_shopper"])]
    event_ids: Annotated[tuple[UUID, ...], msgspec.Meta(min_length=1, max_length=MAX_EVENTS)]


class SentAgain(msgspec.Struct, frozen=True):
    """Those of the events that were dead. The worker tells them within seconds."""

    event_ids: list[UUID]


@get("/v1/backoffice/dead-messages", guards=[may("ops.read")])
async def list_dead_messages(
    reading: Connection,
    in_state: Annotated[State | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[FailedDelivery]:
    """What actors have failed on, oldest event first; those given up only with `state=dead`."""
    rows = await deliveries.open_page(reading, state=in_state, after=_after(cursor), page=limit + 1)
    return page_of(
        rows, limit, view=FailedDelivery.of, key=lambda row: f"{row.event_id} {row.actor}"
    )


@post(
    "/v1/backoffice/dead-messages/retry",
    guards=[may("ops.write")],
    status_code=200,
    opt=raises(InvalidRequest),
)
@once
async def retry_dead_messages(
    data: SendAgain, conn: Connection, who: Principal, now: datetime
) -> SentAgain:
    """Let an actor try dead events once more, as if it had not tried yet."""
    sent = await deliveries.send_again(conn, data.actor, data.event_ids, now=now)
    await access.record_staff(
        conn,
        who,
        action="dead_message.sent_again",
        subject=f"actor:{data.actor}",
        changes={"events": [str(each) for each in sent]},
        now=now,
    )
    return SentAgain(sent)


def _after(cursor: str | None) -> tuple[UUID, str]:
    key = decode(cursor)
    if key is None:
        return _FIRST
    event_id, _, actor = key.partition(" ")
    try:
        return UUID(event_id), actor
    except ValueError as error:
        raise InvalidRequest(path="?cursor", reason="Not a cursor of this list") from error


ROUTES = [list_dead_messages, retry_dead_messages]
