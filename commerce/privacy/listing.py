"""The list of erased persons that is kept outside of the database.

A backup is older than the erasures that came after it, so restoring it brings those people back.
Whoever keeps the list applies it again after a restore: each person on it who is there and not
erased is asked to be erased anew. The list holds ids only.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Uuid, any_, bindparam, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.sql import Connection, Query
from commerce.privacy.erasing import request
from commerce.tables import erasure, shopper

RESTORED = "restore"
"""The actor of an erasure that was asked for again."""


class Listed(msgspec.Struct, frozen=True):
    """An erasure as it stands on the list."""

    id: UUID
    shopper_ids: list[UUID]
    requested_at: datetime


UNLISTED = Query(
    select(*(erasure.c[name] for name in Listed.__struct_fields__))
    .where(erasure.c.listed_at.is_(None))
    .order_by(erasure.c.id)
    .limit(bindparam("page", type_=Integer())),
    Listed,
)
LISTED = Query(
    update(erasure)
    .where(erasure.c.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))
    .values(listed_at=bindparam("now", type_=DateTime(timezone=True)))
)
BACK = Query(
    select(shopper.c.id)
    .where(
        shopper.c.id == any_(bindparam("ids", type_=ARRAY(Uuid()))), shopper.c.erased_at.is_(None)
    )
    .order_by(shopper.c.id),
    UUID,
)


async def unlisted(conn: Connection, *, page: int) -> list[Listed]:
    """Erasures that are not on the list yet."""
    return await conn.run(UNLISTED, page=page)


async def listed(conn: Connection, erasure_ids: Sequence[UUID], *, now: datetime) -> None:
    """These stand on the list now, for good."""
    await conn.run(LISTED, ids=list(erasure_ids), now=now)


async def reapply(conn: Connection, lines: Sequence[Listed], *, now: datetime) -> int:
    """Ask again for the erasure of whoever is back; returns how many. Repeating is harmless."""
    everybody = [shopper_id for line in lines for shopper_id in line.shopper_ids]
    back = await conn.run(BACK, ids=everybody)
    for shopper_id in back:
        await request(conn, shopper_id, actor=RESTORED, now=now, listed=True)
    return len(back)
