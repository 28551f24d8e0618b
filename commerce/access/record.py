"""The staff record: every write of staff, with who did it, to what, and what changed.

Changes hold old and new values of plain fields; never secrets, PINs or a shopper's data.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, DateTime, Text, Uuid, bindparam, insert, select
from sqlalchemy.dialects.postgresql import JSONB

from commerce.access.principal import Principal
from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query, either
from commerce.tables.people import staff_record


class StaffEntry(msgspec.Struct, frozen=True):
    """One write of staff."""

    id: UUID
    at: datetime
    actor: str
    key_id: UUID | None
    location_id: UUID | None
    action: str
    subject: str
    changes: dict[str, Any]


WRITE = Query(
    insert(staff_record).values(
        id=bindparam("entry_id", type_=Uuid()),
        at=bindparam("now", type_=DateTime(timezone=True)),
        actor=bindparam("by", type_=Text()),
        key_id=bindparam("with_key", type_=Uuid()),
        location_id=bindparam("where", type_=Uuid()),
        action=bindparam("what", type_=Text()),
        subject=bindparam("to", type_=Text()),
        changes=bindparam("changed", type_=JSONB()),
    )
)
NEWEST_FIRST = Query(
    select(staff_record)
    .where(either(staff_record.c.id < bindparam("before"), "before", Uuid()))
    .order_by(staff_record.c.id.desc())
    .limit(bindparam("page", type_=BigInteger())),
    StaffEntry,
)


async def record_staff(
    conn: Connection,
    who: Principal,
    *,
    action: str,
    subject: str,
    changes: dict[str, Any],
    now: datetime,
    location_id: UUID | None = None,
) -> None:
    """Put a write of staff on record: `stock.counted` of `sku:TEE-M` at a location.

    A principal of one store is recorded with that store unless another is given.
    """
    at_store = who.location_ids[0] if who.location_ids else None
    await conn.run(
        WRITE,
        entry_id=ids.uuid7(),
        now=now,
        by=who.actor,
        with_key=None if who.key_kind == "operator" else who.key_id,
        where=location_id or at_store,
        what=action,
        to=subject,
        changed=changes,
    )


async def staff_record_page(
    conn: Connection, *, before: UUID | None, page: int
) -> list[StaffEntry]:
    """The newest entries, or those before an entry."""
    return await conn.run(NEWEST_FIRST, before=before, page=page)
