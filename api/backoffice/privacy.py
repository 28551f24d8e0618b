"""Persons' data at their request: exported, erased, and the report of what is left."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.types import ASGIApp

from api.auth import may
from api.contract import answers, raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.person_export import PersonExport, export_response
from api.services import Services
from commerce import access, privacy
from commerce.access import Principal
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.privacy import STAYS, Erasure, State, Wait


class ErasureReport(msgspec.Struct, frozen=True):
    """An erasure: rows emptied so far by table, what waits, and what stays for good, and why.

    It is `pending` while an order, a return, a payment or a last message is under way.
    """

    id: UUID
    shopper_id: UUID
    shopper_ids: list[UUID]
    state: State
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    waits_for: list[Wait]
    counts: dict[str, int]
    stays: dict[str, str]

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureReport":
        """As the back office sees it."""
        known = msgspec.structs.asdict(erasure)
        return cls(**known, stays=dict(STAYS))


@post(
    "/v1/backoffice/shoppers/{shopper_id:uuid}/erasures",
    guards=[may("privacy.erase")],
    status_code=202,
    opt=raises(NotFound),
)
@once
async def erase_shopper(
    shopper_id: UUID, conn: Connection, who: Principal, now: datetime
) -> ErasureReport:
    """Erase a person, by any of their ids. It cannot be undone, and goes on by itself.

    Asked for again, it is the same erasure.
    """
    asked = await privacy.request(conn, shopper_id, actor=who.actor, now=now)
    await access.record_staff(
        conn,
        who,
        action="shopper.erased",
        subject=f"shopper:{asked.shopper_id}",
        changes={"erasure_id": str(asked.id)},
        now=now,
    )
    return ErasureReport.of(asked)


@get("/v1/backoffice/erasures", guards=[may("privacy.erase")], opt=raises())
async def list_erasures(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[ErasureReport]:
    """All erasures, newest first."""
    found = await privacy.newest(reading, before=decode_id(cursor), page=limit + 1)
    return page_of(found, limit, view=ErasureReport.of, key=lambda each: str(each.id))


@get(
    "/v1/backoffice/erasures/{erasure_id:uuid}", guards=[may("privacy.erase")], opt=raises(NotFound)
)
async def read_erasure(erasure_id: UUID, reading: Connection) -> ErasureReport:
    """One erasure, as far as it has come."""
    return ErasureReport.of(await privacy.by_id(reading, erasure_id))


@get(
    "/v1/backoffice/shoppers/{shopper_id:uuid}/export",
    guards=[may("privacy.export")],
    opt=raises(NotFound) | answers(PersonExport),
)
async def export_shopper(
    shopper_id: UUID, who: Principal, services: Services, now: datetime
) -> ASGIApp:
    """Everything that is held about a person, by any of their ids. The look is on record."""
    document = await export_response(services.database, shopper_id, now=now)

    async def note(conn: Connection) -> None:
        await access.record_staff(
            conn,
            who,
            action="shopper.exported",
            subject=f"shopper:{shopper_id}",
            changes={},
            now=now,
        )

    await services.commit(note)
    return document


ROUTES = [erase_shopper, list_erasures, read_erasure, export_shopper]
