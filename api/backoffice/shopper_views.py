"""The log of looks: which associates looked shoppers up, and whom they saw."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get

from api.auth import may
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from commerce import clienteling
from commerce.clienteling import Ending, Look, LookedUp, LookUpKind, ViewPurpose
from commerce.kernel.sql import Connection


class StaffLookView(msgspec.Struct, frozen=True):
    """One view: who looked at whom, where, why, which parts were shown, and how it ended."""

    id: UUID
    shopper_id: UUID
    associate_id: UUID
    associate_name: str
    location_id: UUID
    store_name: str
    purpose: ViewPurpose
    reason: str
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ending: Ending | None
    shown: list[str]

    @classmethod
    def of(cls, look: Look) -> "StaffLookView":
        """From the log."""
        return msgspec.convert(look, cls, from_attributes=True)


class LookUpView(msgspec.Struct, frozen=True):
    """One look-up: by what kind of knowledge, what for, and how many people it found."""

    id: UUID
    associate_id: UUID
    location_id: UUID
    kind: LookUpKind
    purpose: ViewPurpose
    reason: str
    found: int
    at: datetime

    @classmethod
    def of(cls, made: LookedUp) -> "LookUpView":
        """From the record."""
        return msgspec.convert(made, cls, from_attributes=True)


@get("/v1/backoffice/shopper-views", guards=[may("shopper_view.read")], opt=raises())
async def list_shopper_views(
    *,
    reading: Connection,
    location_id: UUID | None = None,
    associate_id: UUID | None = None,
    shopper_id: UUID | None = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[StaffLookView]:
    """Who looked at whom, newest first; of one store, associate or shopper if they are named."""
    looks = await clienteling.looks(
        reading,
        location_id=location_id,
        associate_id=associate_id,
        shopper_id=shopper_id,
        before=decode_id(cursor),
        page=limit + 1,
    )
    return page_of(looks, limit, view=StaffLookView.of, key=lambda each: str(each.id))


@get("/v1/backoffice/shopper-look-ups", guards=[may("shopper_view.read")], opt=raises())
async def list_shopper_look_ups(
    *,
    reading: Connection,
    location_id: UUID | None = None,
    associate_id: UUID | None = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[LookUpView]:
    """Who looked shoppers up, newest first, also in vain; of one store or associate if named."""
    made = await clienteling.look_ups(
        reading,
        location_id=location_id,
        associate_id=associate_id,
        before=decode_id(cursor),
        page=limit + 1,
    )
    return page_of(made, limit, view=LookUpView.of, key=lambda each: str(each.id))


ROUTES = [list_shopper_views, list_shopper_look_ups]
