"""An associate looks a shopper up, opens a view, and sees what purpose and consent allow."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post
from litestar.types import ASGIApp

from api.auth import may
from api.contract import answers, no_key_needed, raises
from api.feeds import FeedSignal, LogReader, Stream, block
from api.services import Services
from api.streams import EVENT_STREAM, After, Feed, LastEventId
from commerce import clienteling
from commerce.access import Principal
from commerce.clienteling import (
    CandidateExpired,
    CandidateUsed,
    Ending,
    LookUp,
    LookUpLimitReached,
    PersonMerged,
    Portrait,
    Search,
    Standing,
    ViewOver,
    ViewPurpose,
    Withheld,
)
from commerce.customers import ProfileCodeRefused
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.readers import Position
from commerce.kernel.sql import Busy, Connection

CHANGES = frozenset({"consent.changed", "shopper.changed"})
"""After these a view may show more, less or something else."""

Reason = Annotated[
    str,
    msgspec.Meta(
        min_length=3,
        max_length=200,
        pattern=r"\S.*\S",
        description="Why, in the associate's words. The shopper reads it.",
        examples=["Asked for help with a size"],
    ),
]


class NewLookUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is meant, what for, and why."""

    search: Search
    purpose: ViewPurpose
    reason: Reason


class NewView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The candidate whom the associate has in front of them, what for, and why."""

    candidate_id: UUID
    purpose: ViewPurpose
    reason: Reason


class ShopperView(msgspec.Struct, frozen=True):
    """An open view and what it shows now. `withheld` names each field that it does not show."""

    id: UUID
    purpose: ViewPurpose
    reason: str
    opened_at: datetime
    expires_at: datetime
    withheld: tuple[Withheld, ...]
    shopper: Portrait


class ViewSignal(msgspec.Struct, frozen=True):
    """The view has changed, or ended; `because` is what happened, or how it ended."""

    view_id: UUID
    because: str


@post(
    "/v1/store/shopper-look-ups",
    guards=[may("shopper.view")],
    opt=raises(InvalidField, LookUpLimitReached, ProfileCodeRefused),
)
@no_key_needed("each call is another look-up, and counts")
async def look_up(data: NewLookUp, who: Principal, services: Services, now: datetime) -> LookUp:
    """Find who may be meant, masked. Each candidate opens one view, within five minutes.

    Every look-up is on record, also a fruitless one; what was searched for is not kept.
    """

    async def work(conn: Connection) -> LookUp:
        return await clienteling.look_up(
            conn,
            who,
            data.search,
            purpose=data.purpose,
            reason=data.reason,
            secret=services.secret,
            now=now,
        )

    return await services.commit(work)


@post(
    "/v1/store/shopper-views",
    guards=[may("shopper.view")],
    opt=raises(NotFound, CandidateUsed, CandidateExpired, PersonMerged),
)
@no_key_needed("a candidate opens one view; used again, it names that view")
async def open_view(
    data: NewView, who: Principal, services: Services, now: datetime
) -> ShopperView:
    """Open a view of a candidate for a quarter of an hour, and see the shopper at once.

    Without consent it shows only what is in hand at this store: pickups, returns, carts.
    """

    async def work(conn: Connection) -> ShopperView:
        opened = await clienteling.open_view(
            conn, who, data.candidate_id, purpose=data.purpose, reason=data.reason, now=now
        )
        return await _shown(conn, opened, now)

    return await services.commit(work)


@get(
    "/v1/store/shopper-views/{view_id:uuid}",
    guards=[may("shopper.view")],
    opt=raises(NotFound, ViewOver),
)
async def read_view(
    view_id: UUID, who: Principal, services: Services, now: datetime
) -> ShopperView:
    """What the view shows now; what it shows for the first time goes on record."""
    async with services.database.reading() as conn:
        found = await clienteling.standing(conn, view_id, who, now)
        if found.ending is None:
            return await _shown(conn, found, now)
    over = ViewOver(view_id=view_id, ending=found.ending)

    async def work(conn: Connection) -> None:
        await clienteling.end(conn, who, view_id, over.ending, now=now)

    await services.commit(work)
    raise over


@delete(
    "/v1/store/shopper-views/{view_id:uuid}",
    guards=[may("shopper.view")],
    opt=raises(NotFound),
)
async def close_view(view_id: UUID, conn: Connection, who: Principal, now: datetime) -> None:
    """Close the view. Repeating it changes nothing."""
    await clienteling.close(conn, who, view_id, now=now)


@get(
    "/v1/store/shopper-views/{view_id:uuid}/feed",
    guards=[may("shopper.view")],
    opt=answers((ViewSignal, FeedSignal), EVENT_STREAM) | raises(Busy, NotFound, ViewOver),
)
async def follow_view(
    view_id: UUID,
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    now: datetime,
    after: After = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Follow an open view as server-sent events: `view.changed`, and `view.ended` as the last.

    The first event is `open`; read the view then, and after each `view.changed`.
    """
    async with services.database.reading() as conn:
        view = await clienteling.viewing(conn, view_id, who, now, needs=None)
    await services.part(LogReader).started()
    ending: Ending = "session_ended"

    async def allowed(now: Principal) -> bool:
        nonlocal ending
        async with services.database.reading() as conn:
            found = await clienteling.standing(conn, view_id, now, services.now())
        ending = found.ending or ending
        return found.ending is None

    def ended(position: Position) -> bytes:
        return _signal(position, "view.ended", ViewSignal(view_id, ending))

    subjects = who.subjects | {view_id, *view.person_ids}
    stream = Stream(frozenset({view.shopper_id}), types=CHANGES, subjects=subjects)
    return Feed(
        services,
        request,
        stream,
        after=last_event_id or after,
        allowed=allowed,
        write=lambda entry: _signal(
            entry.position, "view.changed", ViewSignal(view_id, entry.event.type)
        ),
        farewell=ended,
    )


async def _shown(conn: Connection, found: Standing, now: datetime) -> ShopperView:
    """What a view shows, put on record."""
    seen = await clienteling.show(conn, found, now=now)
    view = found.view
    return ShopperView(
        view.id,
        view.purpose,
        view.reason,
        view.opened_at,
        view.expires_at,
        seen.withheld,
        seen.portrait,
    )


def _signal(position: Position, kind: str, signal: ViewSignal) -> bytes:
    return block(position, kind, msgspec.json.encode(signal))


ROUTES = [look_up, open_view, read_view, close_view, follow_view]
