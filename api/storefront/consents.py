"""The shopper's own consents: what is allowed now, decided by whom and when, and all that was."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get, put

from api.auth import may
from api.consent_views import ConsentsView, Decisions
from api.contract import raises
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.services import Services
from commerce import consents
from commerce.access import Principal
from commerce.consents import Consents, Decided, MessageChannel, Purpose, Source
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection


class DecisionView(msgspec.Struct, frozen=True):
    """A decision as it was made: by whom (`actor`), and through what (`source`)."""

    id: UUID
    purpose: Purpose
    channel: MessageChannel | None
    granted: bool
    source: Source
    actor: str
    at: datetime

    @classmethod
    def of(cls, decided: Decided) -> "DecisionView":
        """As the shopper sees it."""
        return msgspec.convert(decided, cls, from_attributes=True)


@get("/v1/profile/consents", guards=[may("consent.decide_own")], opt=raises())
async def read_consents(reading: Connection, who: Principal) -> ConsentsView:
    """What the signed-in shopper allows, purpose by purpose. Nothing is granted by default."""
    return ConsentsView.of(await consents.of(reading, who.person_ids))


@put("/v1/profile/consents", guards=[may("consent.decide_own")], opt=raises(InvalidField))
async def decide_consents(
    data: Decisions, who: Principal, services: Services, now: datetime
) -> ConsentsView:
    """Grant or withdraw, in the order given. Repeating it changes nothing.

    A withdrawal holds at once: an associate's open view loses what it no longer covers, and
    messages that wait are not sent.
    """
    shopper_id = who.shopper_id
    assert shopper_id is not None

    async def work(conn: Connection) -> Consents:
        return await consents.decide(conn, shopper_id, data.parsed(), "profile", who.actor, now)

    return ConsentsView.of(await services.commit(work))


@get("/v1/profile/consents/history", guards=[may("consent.decide_own")], opt=raises())
async def list_decisions(
    reading: Connection, who: Principal, cursor: Cursor = None, limit: PageSize = 50
) -> Page[DecisionView]:
    """Every decision of the signed-in shopper, newest first."""
    told = await consents.history(reading, who.person_ids, before=decode_id(cursor), page=limit + 1)
    return page_of(told, limit, view=DecisionView.of, key=lambda each: str(each.id))


ROUTES = [read_consents, decide_consents, list_decisions]
