"""The staff record: every write of staff, with who did it, to what, and what changed.

Changes hold old and new values of plain fields; never secrets, PINs or a shopper's data. What staff
gave as a reason in their own words (`WORDS`) may name a person, so it is erased with the person.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    DateTime,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commerce.access.principal import Principal
from commerce.kernel import ids
from commerce.kernel.holdings import Holding
from commerce.kernel.sql import Connection, Query, either
from commerce.tables.people import staff_record

WORDS = ("why", "override_reason")


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


def words_about(subjects: Mapping[str, Select[tuple[UUID]]]) -> Holding:
    """What staff wrote about a person's things: by their kinds, the selects of their ids."""
    named = union_all(
        *(
            select(literal(f"{kind}:") + cast(of.subquery().c.id, Text))
            for kind, of in subjects.items()
        )
    )
    return Holding(
        table="staff_record",
        erase=Query(
            update(staff_record)
            .where(
                staff_record.c.subject.in_(named),
                or_(*(staff_record.c.changes.has_key(word) for word in WORDS)),
            )
            .values(changes=staff_record.c.changes.op("-")(cast(list(WORDS), ARRAY(Text()))))
            .returning(staff_record.c.id),
            UUID,
        ),
        waits=True,
        stays="What staff did, and to which id; associates answer for it.",
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
