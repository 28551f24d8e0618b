"""The shopper reads who in the stores looked at their data, when, why, and what was shown."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get

from api.auth import may
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from commerce import clienteling
from commerce.access import Principal
from commerce.clienteling import Look, ViewPurpose
from commerce.kernel.sql import Connection


class LookView(msgspec.Struct, frozen=True):
    """One look: by whom, in which store, what for, and which parts of the profile were shown."""

    id: UUID
    associate_name: str
    store_name: str
    location_id: UUID
    purpose: ViewPurpose
    reason: str
    opened_at: datetime
    ended_at: datetime
    shown: list[str]

    @classmethod
    def of(cls, look: Look) -> "LookView":
        """As the shopper sees it; a view that nobody closed ended when it ran out."""
        return cls(
            look.id,
            look.associate_name,
            look.store_name,
            look.location_id,
            look.purpose,
            look.reason,
            look.opened_at,
            min(look.ended_at or look.expires_at, look.expires_at),
            look.shown,
        )


@get("/v1/profile/views", guards=[may("profile.read_own")], opt=raises())
async def list_views(
    reading: Connection, who: Principal, cursor: Cursor = None, limit: PageSize = 50
) -> Page[LookView]:
    """Who looked at the signed-in shopper, newest first."""
    looks = await clienteling.looks_at(
        reading, who.person_ids, before=decode_id(cursor), page=limit + 1
    )
    return page_of(looks, limit, view=LookView.of, key=lambda each: str(each.id))


ROUTES = [list_views]
