"""What shoppers do before they buy: told by their devices, shown to them, and removed by them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post, put
from litestar.types import ASGIApp

from api.answers import encoded
from api.auth import may
from api.contract import answers, no_key_needed, raises
from api.refusals import InvalidRequest, RateLimited
from api.services import Services, directory, services_of
from commerce import browsing
from commerce.access import Principal
from commerce.browsing import (
    Batch,
    BrowsingCounts,
    Dated,
    Event,
    Interest,
    PageView,
    Searched,
    Viewed,
    Visited,
)
from commerce.browsing.events import MAX_EVENTS
from commerce.kernel.coalesce import Coalescer
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection

BATCHES_PER_MINUTE = 120
"""Of one visitor with one key. A device that gathers events sends one every few seconds."""

_REFUSES = "1"
_SIGNALS = ("sec-gpc", "dnt")


class NewBrowsing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened on one device.

    `visitor_id` is a random UUID that the client keeps: whoever signs in with it gets its trail, so
    keep it as secret as a cookie, and make a new one when somebody signs out. `session_id` is the
    client's own: one stay, from opening to leaving.
    """

    visitor_id: UUID
    session_id: UUID
    device: Literal["web", "app", "kiosk"]
    events: Annotated[tuple[Event, ...], msgspec.Meta(min_length=1, max_length=MAX_EVENTS)]


class BrowsingView(msgspec.Struct, frozen=True):
    """What the signed-in shopper browsed in the last three months, newest first."""

    recording: bool
    viewed: list[Viewed]
    searches: list[Searched]
    interests: list[Interest]
    store_visits: list[Visited]


class BrowsingChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the shopper wants browsing to be recorded."""

    recording: bool


@post(
    "/v1/browsing-events",
    guards=[may("browsing.record")],
    status_code=200,
    opt=raises(InvalidField) | answers(BrowsingCounts),
)
@no_key_needed("events carry ids of their own")
async def record_browsing(request: Request[Any, Any, Any], data: NewBrowsing) -> ASGIApp:
    """Record 1 to 100 events of a device. Repeating events is harmless, and they are counted.

    Send an event again as it was: same `visitor_id`, `id` and `at`. A time after its receipt, or
    more than a week before, is replaced by the receipt and counted in `times_corrected`. A SKU or
    item may be unknown, a store may not. Events under a session are the shopper's; others are
    whose who signs in next with this `visitor_id`. Nothing is stored when the request carries
    `Sec-GPC: 1` or `DNT: 1`, or when the shopper has switched recording off: `not_recorded`.
    """
    # A busy route asks for its parts itself: injecting them costs a task group per request.
    services = services_of(request.scope)
    who: Principal = request.scope["user"]
    allowance = services.limiter.take(
        f"browsing:{who.key_id.hex}:{data.visitor_id.hex}", BATCHES_PER_MINUTE
    )
    if not allowance.allowed:
        raise RateLimited(retry_after_seconds=allowance.reset_seconds)
    await _check(data.events, who, services)
    if any(request.headers.get(name) == _REFUSES for name in _SIGNALS):
        return encoded(BrowsingCounts(not_recorded=len(data.events)))
    batch = Batch(
        data.visitor_id, data.session_id, data.device, data.events, who.person_ids, services.now()
    )
    return encoded(await services.part(_recordings).submit(browsing.dated(batch)))


@get("/v1/profile/browsing", guards=[may("browsing.read_own")])
async def read_browsing(who: Principal, reading: Connection, now: datetime) -> BrowsingView:
    """Recently viewed, searched, and of interest; whether recording is on."""
    found = await browsing.recent(reading, who.person_ids, now=now)
    wanted = await browsing.recording(reading, who.person_ids)
    return BrowsingView(wanted, found.viewed, found.searches, found.interests, found.store_visits)


@put("/v1/profile/browsing", guards=[may("browsing.write_own")])
async def choose_recording(
    data: BrowsingChoice, who: Principal, conn: Connection, now: datetime
) -> BrowsingChoice:
    """Switch recording on or off. Off also removes everything that was recorded."""
    await browsing.choose(conn, who.person_ids, recording=data.recording, now=now)
    return data


@delete("/v1/profile/browsing", guards=[may("browsing.write_own")])
async def clear_browsing(who: Principal, conn: Connection) -> None:
    """Remove everything that was recorded of the signed-in shopper, on all devices."""
    await browsing.clear(conn, who.person_ids)


def _recordings(services: Services) -> Coalescer[Dated, BrowsingCounts]:
    # Storing is one statement, so it needs no transaction around it, and wakes no reader of the
    # log, as there is nothing in the log.
    return Coalescer(
        services.database, browsing.record, weigh=lambda dated: len(dated.rows), writes=False
    )


async def _check(events: Sequence[Event], who: Principal, services: Services) -> None:
    """What the type alone cannot say. Raises InvalidRequest, InvalidField."""
    for index, event in enumerate(events):
        if isinstance(event, PageView):
            if event.item is None and event.sku is None:
                raise InvalidRequest(path=f"/events/{index}", reason="name the item or the SKU")
        elif (location_id := getattr(event, "location_id", None)) is not None:
            picture = await services.part(directory).stores()
            if not (picture.knows(location_id) and who.sees(location_id)):
                path = f"/events/{index}/location_id"
                raise InvalidField(path=path, reason="There is no such store.")


ROUTES = [record_browsing, read_browsing, choose_recording, clear_browsing]
