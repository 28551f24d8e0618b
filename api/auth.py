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

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api.refusals import KeyMissing
from commerce import access
from commerce.access import PERMISSIONS, KeyInvalid, Principal, SessionInvalid
from commerce.kernel import ids
from commerce.kernel.clock import Clock
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Database

KEPT_SECONDS = 5.0
MAX_KEPT = 10_000
_BEARER = "bearer "


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
        if isinstance(who, CommerceError):
            raise who
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


class Keyring:
    """Principals that were verified in the last seconds, and those that were refused."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now
        self._kept: dict[bytes, tuple[float, Principal | CommerceError]] = {}
        self._origins: tuple[float, frozenset[str]] = (0.0, frozenset())

    async def principal(self, key: str, authorization: str) -> Principal | CommerceError:
        """Who presents these two headers, or why they are nobody. Empty: not sent."""
        if not key:
            return KeyMissing()
        digest = ids.digest(f"{key}\0{authorization}")
        kept = self._kept.get(digest)
        moment = asyncio.get_running_loop().time()
        if kept is not None and kept[0] > moment:
            return kept[1]
        verified = await self._verify(key, authorization)
        self._kept.pop(digest, None)
        if len(self._kept) >= MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[digest] = (moment + KEPT_SECONDS, verified)
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
        """Verify a key, a session or an associate anew with its next request."""
        self._origins = (0.0, frozenset())
        for digest, (_, who) in list(self._kept.items()):
            if isinstance(who, Principal) and subject_id in (
                who.key_id,
                who.session_id,
                who.associate_id,
            ):
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
