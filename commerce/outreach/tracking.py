"""What came of outreach: delivered, read, answered; visited, bought; and what is noted by hand."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Text, Uuid, bindparam, select, update

from commerce import consents, customers
from commerce.access import Principal, in_scope, record_staff
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query, either
from commerce.tables import message, outreach

Outcome = Literal["replied", "reply_later", "not_interested"]
Stage = Literal["bought", "visited", "replied", "read", "delivered", "sent", "queued", "failed"]


class Outreach(msgspec.Struct, frozen=True):
    """One message of an associate to a client, and what came of it. `note` is personal."""

    id: UUID
    entry_id: UUID
    associate_id: UUID
    shopper_id: UUID
    template: str
    purpose: str
    written_at: datetime
    message_state: str | None
    replied_at: datetime | None
    visited_at: datetime | None
    order_id: UUID | None
    outcome: str | None
    note: str | None
    outcome_at: datetime | None

    @property
    def stage(self) -> Stage:
        """How far it has come; a message that was erased with its shopper counts as sent."""
        if self.order_id is not None:
            return "bought"
        if self.visited_at is not None:
            return "visited"
        if self.replied_at is not None or self.outcome == "replied":
            return "replied"
        stages: dict[str | None, Stage] = {
            "read": "read",
            "delivered": "delivered",
            "queued": "queued",
            "failed": "failed",
            "suppressed": "failed",
        }
        return stages.get(self.message_state, "sent")


_OWN = [c for c in outreach.c if c.name in Outreach.__struct_fields__]
_TRACKED = select(*_OWN, message.c.state.label("message_state")).outerjoin(
    message, message.c.id == outreach.c.message_id
)
_BY = either(outreach.c.associate_id == bindparam("by", type_=Uuid()), "by", Uuid())
PAGE = Query(
    _TRACKED.where(
        outreach.c.location_id == bindparam("at"),
        _BY,
        either(outreach.c.entry_id == bindparam("entry"), "entry", Uuid()),
        either(outreach.c.outcome == bindparam("ended", type_=Text()), "ended", Text()),
        outreach.c.id < bindparam("before"),
    )
    .order_by(outreach.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Outreach,
)
BY_ID = Query(_TRACKED.where(outreach.c.id == bindparam("of")), Outreach)
NOTE = Query(
    update(outreach)
    .where(outreach.c.id == bindparam("of"), _BY, in_scope(outreach.c.location_id))
    .values(
        outcome=bindparam("ended", type_=Text()),
        note=bindparam("words", type_=Text()),
        outcome_at=bindparam("now", type_=DateTime(timezone=True)),
    )
    .returning(outreach.c.shopper_id),
    UUID,
)


async def outreach_page(
    conn: Connection,
    location_id: UUID,
    *,
    associate_id: UUID | None,
    entry_id: UUID | None,
    outcome: Outcome | None,
    before: UUID,
    page: int,
) -> list[Outreach]:
    """What was written from a store, newest first; by one associate, to one client, with an end.

    Without the words of who allows no personal service (any more).
    """
    rows = await conn.run(
        PAGE,
        at=location_id,
        by=associate_id,
        entry=entry_id,
        ended=outcome,
        before=before,
        page=page,
    )
    persons = await customers.persons_of(conn, sorted({row.shopper_id for row in rows}))
    granted = await consents.of_many(conn, persons)
    return [
        row
        if row.shopper_id in granted and granted[row.shopper_id].allows("personal_service")
        else msgspec.structs.replace(row, note=None)
        for row in rows
    ]


async def note_outcome(
    conn: Connection,
    who: Principal,
    outreach_id: UUID,
    *,
    outcome: Outcome,
    note: str | None,
    now: datetime,
) -> Outreach:
    """Note what the shopper said. The last note counts. Raises NotFound for another's outreach."""
    by = None if who.role == "manager" else who.associate_id
    shopper_id = await conn.first(
        NOTE, of=outreach_id, by=by, scope=who.scope, ended=outcome, words=note, now=now
    )
    if shopper_id is None:
        raise NotFound(kind="outreach", id=str(outreach_id))
    await record_staff(
        conn,
        who,
        action="outreach.outcome_noted",
        subject=f"shopper:{shopper_id}",
        changes={"outreach": str(outreach_id), "outcome": outcome},
        now=now,
    )
    return await conn.one(BY_ID, of=outreach_id)
