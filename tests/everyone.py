"""Somebody of every kind who may call the API: keys, and people who have signed in with them."""

from typing import Any
from uuid import UUID, uuid4

from api.services import Services
from commerce import access, customers
from commerce.access import OPERATOR, Principal
from commerce.kernel.sql import Connection

PIN = "4711"
NOBODY = "nobody"
HOLDERS: dict[str, tuple[str, ...]] = {
    NOBODY: (),
    "storefront": ("storefront",),
    "shopper": ("storefront", "shopper"),
    "integration": ("integration",),
    "tablet": ("tablet",),
    "associate": ("tablet", "associate"),
    "manager": ("tablet", "manager"),
    "back_office": ("backoffice",),
}
"""The kind of key, and who has signed in with it."""

PRINCIPALS = tuple(HOLDERS)


async def headers_of(services: Services, who: str, location_id: UUID, **key: Any) -> dict[str, str]:
    """What a new principal of this kind sends; those of a store, of this one."""
    if who == NOBODY:
        return {}
    async with services.database.transaction() as conn:
        principal, secret = await _key(services, conn, HOLDERS[who][0], location_id, **key)
    headers = {"X-API-Key": secret}
    if who == "shopper":
        headers["Authorization"] = f"Bearer {await _shopper(services, principal)}"
    elif who in {"associate", "manager"}:
        session = await _associate(services, principal, who, location_id)
        headers["Authorization"] = f"Bearer {session}"
    return headers


async def _key(
    services: Services, conn: Connection, kind: Any, location_id: UUID, **fields: Any
) -> tuple[Principal, str]:
    _, secret = await access.create_key(
        conn,
        OPERATOR,
        kind=kind,
        name=f"{kind} {uuid4().hex}",
        channel="store" if kind == "tablet" else "web",
        location_id=location_id if kind == "tablet" else None,
        now=services.now(),
        **{"requests_per_minute": 1_000_000, **fields},
    )
    made = await access.authenticate(
        conn, key_secret=secret, session_secret=None, now=services.now()
    )
    return made, secret


async def _shopper(services: Services, key: Principal) -> str:
    async with services.database.transaction() as conn:
        known = await customers.put_shopper(
            conn, email=f"{uuid4().hex}@example.com", phone=None, name="Ana Torres", locale="es",
            now=services.now(),
        )  # fmt: skip
        session = await access.start_shopper_session(conn, key, known.id, now=services.now())
    return session.secret


async def _associate(services: Services, key: Principal, role: Any, location_id: UUID) -> str:
    code = f"A{uuid4().hex[:10]}"
    async with services.database.transaction() as conn:
        await access.put_associate(
            conn, OPERATOR, code=code, name="Eva", role=role, location_ids=[location_id], pin=PIN,
            now=services.now(),
        )  # fmt: skip
    session = await access.sign_in(
        services.database, key, code=code, pin=PIN, location_id=location_id, now=services.now()
    )
    return session.secret
