"""The shopper's own data: all of it as a document, and its erasure. Both need a fresh sign-in."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import delete, get
from litestar.types import ASGIApp

from api.auth import may
from api.contract import answers, raises
from api.person_export import PersonExport, export_response
from api.refusals import RateLimited
from api.services import Services
from commerce import access, privacy
from commerce.access import FreshSignInRequired, Principal
from commerce.kernel.sql import Connection
from commerce.privacy import Erasure, State, Wait

EXPORTS_PER_MINUTE = 3


class ErasureAccepted(msgspec.Struct, frozen=True):
    """The erasure goes on by itself. What an open order needs is erased when that is settled."""

    id: UUID
    state: State
    requested_at: datetime
    waits_for: list[Wait]

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureAccepted":
        """As the shopper sees it."""
        return msgspec.convert(erasure, cls, from_attributes=True)


@get(
    "/v1/profile/export",
    guards=[may("profile.export_own")],
    opt=raises(FreshSignInRequired) | answers(PersonExport),
)
async def export_profile(who: Principal, services: Services, now: datetime) -> ASGIApp:
    """Everything that is held about the signed-in shopper, table by table.

    Only within fifteen minutes of signing in.
    """
    assert who.shopper_id is not None
    allowance = services.limiter.take(f"export:{who.shopper_id}", EXPORTS_PER_MINUTE)
    if not allowance.allowed:
        raise RateLimited(retry_after_seconds=allowance.reset_seconds)
    async with services.database.reading() as conn:
        await access.require_fresh(conn, who, now=now)
    return await export_response(services.database, who.shopper_id, now=now)


@delete(
    "/v1/profile",
    guards=[may("profile.erase_own")],
    status_code=202,
    opt=raises(FreshSignInRequired),
)
async def erase_profile(who: Principal, services: Services, now: datetime) -> ErasureAccepted:
    """Erase the signed-in shopper: every session ends, and nothing is left but the orders' books.

    Only within fifteen minutes of signing in. It cannot be undone. Orders that are under way go on;
    what they need is erased when they are settled. Repeating it gives the same erasure.
    """
    shopper_id = who.shopper_id
    assert shopper_id is not None

    async def work(conn: Connection) -> Erasure:
        await access.require_fresh(conn, who, now=now)
        return await privacy.request(conn, shopper_id, actor=who.actor, now=now)

    asked = await services.commit(work)
    if who.session_id is not None:
        services.keyring.forget(who.session_id)
    return ErasureAccepted.of(asked)


ROUTES = [export_profile, erase_profile]
