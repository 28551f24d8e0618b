"""A cart as it changes, for its shopper's devices and for the associate who has it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from litestar import Request
from litestar.types import ASGIApp

from api.feeds import LogReader
from api.services import Services
from api.streams import Feed, stream_of, types_for
from commerce import carts
from commerce.access import Principal
from commerce.carts import Owner
from commerce.kernel.errors import NotFound


async def follow(
    cart_id: UUID,
    request: Request[Any, Any, Any],
    services: Services,
    who: Principal,
    owner_of: Callable[[Principal], Owner],
    after: str | None,
) -> ASGIApp:
    """The stream of one cart, until the right to see it ends. Raises NotFound."""

    async def allowed(now: Principal) -> bool:
        try:
            async with services.database.reading() as conn:
                await carts.find(conn, cart_id, owner_of(now), now=services.now())
        except NotFound:
            return False
        return now.permissions >= who.permissions

    async with services.database.reading() as conn:
        await carts.find(conn, cart_id, owner_of(who), now=services.now())
    await services.part(LogReader).started()
    stream = stream_of(cart_id, who, types_for("cart"), frozenset({cart_id}))
    return Feed(services, request, stream, after=after, allowed=allowed,
                write=lambda entry: entry.for_shoppers)  # fmt: skip
