"""Notes of associates on a shopper: what the next one should know. Personal data."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import insert

from commerce.access import Principal, record_staff
from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query
from commerce.tables import note

MAX_NOTE = 2_000


class Note(msgspec.Struct, frozen=True):
    """What an associate wrote down, at which store."""

    id: UUID
    shopper_id: UUID
    associate_id: UUID
    location_id: UUID
    body: str
    created_at: datetime


INSERT_NOTE = Query(
    insert(note).returning(*(note.c[name] for name in Note.__struct_fields__)), Note
)


async def add_note(
    conn: Connection,
    who: Principal,
    shopper_id: UUID,
    *,
    location_id: UUID,
    body: str,
    now: datetime,
) -> Note:
    """Write a note on a person, named by its root. The record of staff says that, not what."""
    assert who.associate_id is not None, "notes are written by people"
    written = await conn.one(
        INSERT_NOTE,
        id=ids.uuid7(),
        shopper_id=shopper_id,
        associate_id=who.associate_id,
        location_id=location_id,
        body=body,
        created_at=now,
    )
    await record_staff(
        conn, who, action="note.written", subject=f"shopper:{shopper_id}",
        changes={"note_id": str(written.id)}, now=now,
    )  # fmt: skip
    return written
