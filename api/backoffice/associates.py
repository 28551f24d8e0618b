"""Associates: who works in which stores, in which role, with which PIN."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, put
from litestar.params import PathParameter

from api.auth import may
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode, page_of
from api.services import Services
from commerce import access
from commerce.access import Associate, Principal, Role
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection

Pin = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4,8}(?!\n)$", examples=["4711"])]


class PutAssociate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An associate as they are to be. Without `pin` the present one stays."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120, examples=["Ana Torres"])]
    role: Role
    location_ids: Annotated[tuple[UUID, ...], msgspec.Meta(max_length=500)]
    pin: Pin | None = None
    active: bool = True


class AssociateView(msgspec.Struct, frozen=True):
    """Somebody who works in stores."""

    id: UUID
    code: str
    name: str
    role: Role
    active: bool
    location_ids: list[UUID]

    @classmethod
    def of(cls, associate: Associate) -> "AssociateView":
        """As the back office sees them."""
        return msgspec.convert(associate, cls, from_attributes=True)


@put(
    "/v1/backoffice/associates/{code:str}",
    guards=[may("associate.write")],
    opt=raises(InvalidField),
)
async def put_associate(
    *,
    code: Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}(?!\n)$")],
    data: PutAssociate,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
) -> AssociateView:
    """Make or change an associate. A change ends their sessions; a new PIN lifts a lock."""
    put_in_place = await access.put_associate(
        conn,
        who,
        code=code,
        name=data.name,
        role=data.role,
        location_ids=data.location_ids,
        pin=data.pin,
        active=data.active,
        now=now,
    )
    services.keyring.forget(put_in_place.id)
    return AssociateView.of(put_in_place)


@get("/v1/backoffice/associates", guards=[may("associate.write")])
async def list_associates(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[AssociateView]:
    """Associates by code."""
    after = decode(cursor) or ""
    rows = await access.associates(reading, after=after, page=limit + 1)
    return page_of(rows, limit, view=AssociateView.of, key=lambda row: row.code)


ROUTES = [put_associate, list_associates]
