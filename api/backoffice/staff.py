"""The staff record: who wrote what, newest first."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import get

from api.auth import may
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from commerce import access
from commerce.access import StaffEntry
from commerce.kernel.sql import Connection


class StaffEntryView(msgspec.Struct, frozen=True):
    """One write of staff: `key.revoked` of `key:...` by `associate:...`."""

    id: UUID
    at: datetime
    actor: str
    key_id: UUID | None
    location_id: UUID | None
    action: str
    subject: str
    changes: dict[str, Any]

    @classmethod
    def of(cls, entry: StaffEntry) -> "StaffEntryView":
        """As the back office sees it."""
        return msgspec.convert(entry, cls, from_attributes=True)


@get("/v1/backoffice/staff-record", guards=[may("staff_record.read")])
async def list_staff_record(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[StaffEntryView]:
    """Every write of staff, newest first."""
    before = decode_id(cursor)
    rows = await access.staff_record_page(reading, before=before, page=limit + 1)
    return page_of(rows, limit, view=StaffEntryView.of, key=lambda row: str(row.id))


ROUTES = [list_staff_record]
