"""Who is calling, and whether the route lets them.

Every route carries one guard: `may("pickup.hand_over")` (or several, any of which is enough), or
`public()`. A route without one is refused when the application is built. The key comes as
`X-API-Key`, a session beside it as `Authorization: Bearer`.

A verified principal is kept for a few seconds, so that a busy key costs no query per request; what
is revoked is forgotten as soon as the log reader sees it, and after these seconds in any case.
"""

import asyncio
from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api.refusals import KeyMissing
from commerce import access
from commerce.access import PERMISSIONS, KeyInvalid, Principal, SessionInvalid
from commerce.kernel.clock import Clock
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Database

KEPT_SECONDS = 5.0
MAX_KEPT = 10_000
_BEARER = "bearer "
_GUARD = "guard"


class Guard:
    """What a route asks for: one of its permissions, or nothing."""

    def __init__(self, permissions: tuple[str, ...]) -> None:
        unknown = set(permissions) - PERMISSIONS.keys()
        assert not unknown, f"no such permission: {sorted(unknown)}"
        self.permissions = permissions

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
    ) -> None:
        """Let the request pass, or raise why not."""
        if not self.permissions:
            return
        who = connection.scope["user"]
        if who is None:
            raise KeyMissing
        if isinstance(who, CommerceError):
            raise who
        self.admit(who)

    def admit(self, who: Principal) -> None:
        """Let a principal pass who has one of the permissions. Raises why not."""
        for permission in self.permissions:
            if permission in who.permissions:
                return
        who.require(self.permissions[0])


def may(*permissions: str) -> Guard:
    """Whoever holds one of these permissions (see `commerce.access.PERMISSIONS`)."""
    assert permissions, "public() is for everybody"
    return Guard(permissions)


def public() -> Guard:
    """Everybody, without a key."""
    return Guard(())


async def authorize(request: Request[Any, Any, Any]) -> None:
    """Ask the route's guard. Runs before the route does anything.

    The framework would call guards itself, and copy the whole handler for each call, which costs
    as much as everything else that we do around a request.
    """
    handler = request.route_handler
    guard: Guard | None = handler.opt.get(_GUARD)
    if guard is not None:
        await guard(request, handler)


def guard_of(handler: BaseRouteHandler) -> Guard:
    """The one guard of a route, which `authorize` will ask. Without one the route is a bug."""
    if _GUARD not in handler.opt:
        guards = handler.resolve_guards()
        ours = [guard for guard in guards if isinstance(guard, Guard)]
        assert len(ours) == 1, f"{handler} needs one guard: may(...) or public()"
        assert guards == ours, f"{handler} has a guard that is not ours"
        handler.opt[_GUARD] = ours[0]
        guards.clear()
    guard: Guard = handler.opt[_GUARD]
    return guard


class Keyring:
    """Principals that were verified in the last seconds, and those that were refused."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now
        self._kept: dict[bytes, tuple[float, Principal | CommerceError]] = {}
        self._origins: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._asking: dict[bytes, asyncio.Task[Principal | CommerceError]] = {}

    def kept(self, digest: bytes) -> Principal | CommerceError | None:
        """What was found out in the last seconds about these two headers."""
        found = self._kept.get(digest)
        if found is None or found[0] <= asyncio.get_running_loop().time():
            return None
        return found[1]

    async def verify(
        self, digest: bytes, key: bytes, authorization: bytes
    ) -> Principal | CommerceError:
        """Who presents these two headers, or why they are nobody. Kept under their digest.

        However many requests wait for the same answer, the database is asked once.
        """
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, key, authorization))
            self._asking[digest] = asking
            asking.add_done_callback(lambda _: self._asking.pop(digest))
        return await asyncio.shield(asking)

    async def _ask(
        self, digest: bytes, key: bytes, authorization: bytes
    ) -> Principal | CommerceError:
        verified = await self._verify(key.decode("latin-1"), authorization.decode("latin-1"))
        self._kept.pop(digest, None)
        if len(self._kept) >= MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[digest] = (asyncio.get_running_loop().time() + KEPT_SECONDS, verified)
        return verified

    async def origins(self) -> frozenset[str]:
        """Web origins that any valid key allows, for preflights."""
        until, origins = self._origins
        moment = asyncio.get_running_loop().time()
        if until <= moment:
            async with self._database.reading() as conn:
                origins = await access.all_origins(conn, now=self._now())
            self._origins = (moment + KEPT_SECONDS, origins)
        return origins

    def forget(self, subject_id: UUID) -> None:
        """Verify a key, a session, an associate or a shopper anew with the next request."""
        self._origins = (0.0, frozenset())
        for digest, (_, who) in list(self._kept.items()):
            if isinstance(who, Principal) and subject_id in who.subjects:
                del self._kept[digest]

    async def _verify(self, key: str, authorization: str) -> Principal | CommerceError:
        session: str | None = None
        if authorization:
            if not authorization.lower().startswith(_BEARER):
                return SessionInvalid()
            session = authorization[len(_BEARER) :].strip()
        try:
            async with self._database.reading() as conn:
                return await access.authenticate(
                    conn, key_secret=key, session_secret=session, now=self._now()
                )
        except (KeyInvalid, SessionInvalid) as refused:
            return type(refused)()
