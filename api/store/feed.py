"""What happens in a store, as it happens."""

from typing import Any
from uuid import UUID

from litestar import Request, get
from litestar.types import ASGIApp

from api.auth import may
from api.contract import answers, raises
from api.feeds import BLOCKS, LogReader
from api.services import Services
from api.store.places import store_of
from api.streams import EVENT_STREAM, After, Feed, LastEventId, stream_of, types_for
from commerce.access import Principal, StoreNotAllowed
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Busy


@get(
    "/v1/store/feed",
    guards=[may("feed.read")],
    opt=answers(BLOCKS, EVENT_STREAM) | raises(Busy, InvalidField, StoreNotAllowed),
)
async def follow_store(
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    location_id: UUID | None = None,
    after: After = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Follow one store as server-sent events: its orders, pickups, returns and shortfalls.

    The first event is `open`; fetch the present state then. `start_over` says the same again.
    """
    store_id = store_of(who, location_id, path="?location_id")
    await services.part(LogReader).started()

    async def allowed(now: Principal) -> bool:
        return "feed.read" in now.permissions and now.sees(store_id)

    stream = stream_of(store_id, who, types_for("store"))
    return Feed(services, request, stream, after=last_event_id or after, allowed=allowed,
                write=lambda entry: entry.for_staff)  # fmt: skip


ROUTES = [follow_store]
