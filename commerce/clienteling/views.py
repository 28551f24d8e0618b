"""Views of shoppers: opened from a candidate, for a purpose and a reason, over in a quarter hour.

A view belongs to one associate in one session at one store. It ends when it is closed or runs out,
with the session, when the person is merged, taken apart or erased, and when the consent that it
stood on is withdrawn; a view for a pickup or a return stands on the contract and goes on, showing
less. All this is read off the present state with each use, so a view is over at once.

Everything that an associate sees of a shopper, or does about one, goes through an open view.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    Boolean,
    DateTime,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import TypeEngine

from commerce import consents, customers
from commerce.access import Principal
from commerce.consents import Consents
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query
from commerce.tables import shopper, shopper_access, shopper_candidate, shopper_view

ViewPurpose = Literal["serve_in_store", "pickup", "return", "follow_up"]
Ending = Literal["closed", "expired", "session_ended", "consent_withdrawn", "merged", "erased"]

VIEW_LIFETIME = timedelta(minutes=15)
CONTRACT: frozenset[ViewPurpose] = frozenset({"pickup", "return"})
"""Purposes that stand on a contract: without consent there is less to see, but no end."""


class CandidateUsed(CommerceError):
    """A candidate opens one view, and this one has. Read that view, or look up again."""

    code = "candidate_used"
    view_id: UUID


class CandidateExpired(CommerceError):
    """A candidate is good for a few minutes. Look up again."""

    code = "candidate_expired"


class PersonMerged(CommerceError):
    """The person was merged with another since the look-up. Look up again."""

    code = "person_merged"


class ViewOver(CommerceError):
    """The view has ended; `ending` says why. Look the shopper up again if there is still need."""

    code = "view_over"
    view_id: UUID
    ending: Ending


class ConsentMissing(CommerceError):
    """The shopper does not allow this. Ask the shopper, or do without."""

    code = "consent_missing"
    purpose: str


class View(msgspec.Struct, frozen=True):
    """Who looks at whom, where and why. `person_ids`: all ids of the person, root first."""

    id: UUID
    shopper_id: UUID
    person_ids: list[UUID]
    order_id: UUID | None
    associate_id: UUID
    session_id: UUID
    location_id: UUID
    purpose: ViewPurpose
    reason: str
    consented: bool
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ending: Ending | None = None


class Standing(msgspec.Struct, frozen=True):
    """A view and what its shopper allows now; `ending` where it is over."""

    view: View
    granted: Consents
    ending: Ending | None
    shown: frozenset[str] = frozenset()
    """Parts of the shopper that were shown through it before, and are on record."""


class _Found(View, frozen=True, kw_only=True):
    """A view with the ids that its person has now, and with what was shown through it."""

    present_ids: list[UUID]
    shown: list[str]


class _Candidate(msgspec.Struct, frozen=True):
    shopper_id: UUID
    order_id: UUID | None
    expires_at: datetime
    view_id: UUID | None


_MOMENT = DateTime(timezone=True)
_NOW = bindparam("now", type_=_MOMENT)
_COLUMNS = [shopper_view.c[name] for name in View.__struct_fields__]
_PRESENT = (
    select(func.array_agg(shopper.c.id))
    .where(
        or_(
            and_(shopper.c.id == shopper_view.c.shopper_id, shopper.c.merged_into.is_(None)),
            shopper.c.merged_into == shopper_view.c.shopper_id,
        )
    )
    .correlate(shopper_view)
    .scalar_subquery()
)
_part = func.unnest(shopper_access.c.shown).table_valued("part").render_derived("parts")
SHOWN = (
    select(func.array_agg(aggregate_order_by(_part.c.part.distinct(), _part.c.part)))
    .select_from(shopper_access)
    .join(_part, shopper_access.c.view_id == shopper_view.c.id)
    .correlate(shopper_view)
    .scalar_subquery()
)
"""Every part that was shown through a view, once."""
FIND = Query(
    select(
        *_COLUMNS,
        func.coalesce(_PRESENT, cast([], ARRAY(Uuid()))).label("present_ids"),
        func.coalesce(SHOWN, cast([], ARRAY(Text()))).label("shown"),
    ).where(shopper_view.c.id == bindparam("of")),
    _Found,
)
LOCK_CANDIDATE = Query(
    select(*(shopper_candidate.c[name] for name in _Candidate.__struct_fields__))
    .where(
        shopper_candidate.c.id == bindparam("of"),
        shopper_candidate.c.session_id == bindparam("session"),
    )
    .with_for_update(key_share=True),
    _Candidate,
)
USE_CANDIDATE = Query(
    update(shopper_candidate)
    .where(shopper_candidate.c.id == bindparam("of"))
    .values(view_id=bindparam("opened", type_=Uuid()))
)
_TYPES: dict[str, TypeEngine[Any]] = {
    "person_ids": ARRAY(Uuid()),
    "purpose": Text(),
    "reason": Text(),
    "consented": Boolean(),
    "opened_at": _MOMENT,
    "expires_at": _MOMENT,
}
OPEN = Query(
    insert(shopper_view).values(
        {
            name: bindparam(f"new_{name}", type_=_TYPES.get(name, Uuid()))
            for name in View.__struct_fields__
            if name not in {"ended_at", "ending"}
        }
    )
)
_END = (
    update(shopper_view)
    .where(shopper_view.c.ended_at.is_(None))
    .values(ended_at=_NOW, ending=bindparam("because", type_=Text()))
)
END = Query(_END.where(shopper_view.c.id == bindparam("of")).returning(shopper_view.c.id), UUID)
END_OF_PERSON = Query(
    _END.where(
        shopper_view.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid())))
    ).returning(shopper_view.c.id),
    UUID,
)


async def open_view(
    conn: Connection,
    who: Principal,
    candidate_id: UUID,
    *,
    purpose: ViewPurpose,
    reason: str,
    now: datetime,
) -> Standing:
    """Open a view of a candidate. Without consent it shows what is in hand, and what is withheld.

    Raises NotFound, also for a candidate of another session and for who was erased meanwhile;
    CandidateUsed with the view that it opened, CandidateExpired, PersonMerged.
    """
    assert who.associate_id is not None
    assert who.session_id is not None
    assert who.location_ids
    found = await conn.first(LOCK_CANDIDATE, of=candidate_id, session=who.session_id)
    if found is None:
        raise NotFound(kind="candidate", id=str(candidate_id))
    if found.view_id is not None:
        raise CandidateUsed(view_id=found.view_id)
    if found.expires_at <= now:
        raise CandidateExpired
    person = await customers.person_of(conn, found.shopper_id)
    if person.erased:
        raise NotFound(kind="candidate", id=str(candidate_id))
    if person.id != found.shopper_id:
        raise PersonMerged
    granted = await consents.of(conn, person.ids)
    view = View(
        id=ids.uuid7(),
        shopper_id=found.shopper_id,
        person_ids=list(person.ids),
        order_id=found.order_id,
        associate_id=who.associate_id,
        session_id=who.session_id,
        location_id=who.location_ids[0],
        purpose=purpose,
        reason=reason,
        consented=granted.allows("personal_service"),
        opened_at=now,
        expires_at=now + VIEW_LIFETIME,
    )
    fields = msgspec.structs.asdict(view)
    stored = {name: value for name, value in fields.items() if name not in {"ended_at", "ending"}}
    await conn.run(OPEN, **{f"new_{name}": value for name, value in stored.items()})
    await conn.later(USE_CANDIDATE, of=candidate_id, opened=view.id)
    await events.record(conn, [_fact("shopper_view.opened", view.id, who.actor)], now=now)
    return Standing(view, granted, None)


async def standing(conn: Connection, view_id: UUID, who: Principal, now: datetime) -> Standing:
    """A view of this associate as it stands. Raises NotFound, also for another's."""
    found = await conn.first(FIND, of=view_id)
    if found is None or found.associate_id != who.associate_id:
        raise NotFound(kind="shopper_view", id=str(view_id))
    granted = await consents.of(conn, found.person_ids)
    ending = _ending(found, granted, who, now)
    return Standing(found, granted, ending, frozenset(found.shown))


async def viewing(
    conn: Connection,
    view_id: UUID,
    who: Principal,
    now: datetime,
    *,
    needs: consents.Purpose | None = "personal_service",
) -> View:
    """The open view through which somebody sees or does something about a shopper.

    Raises NotFound for a view that is not theirs, ViewOver, and ConsentMissing when the shopper
    does not allow what it `needs`. Whoever shows something says so by `record_shown`.
    """
    found = await standing(conn, view_id, who, now)
    if found.ending is not None:
        raise ViewOver(view_id=view_id, ending=found.ending)
    if needs is not None and not found.granted.allows(needs):
        raise ConsentMissing(purpose=needs)
    return found.view


async def end(
    conn: Connection, who: Principal, view_id: UUID, ending: Ending, *, now: datetime
) -> None:
    """Put the end of a view on record. Repeating it changes nothing."""
    if await conn.first(END, of=view_id, because=ending, now=now) is not None:
        await events.record(conn, [_fact("shopper_view.ended", view_id, who.actor)], now=now)


async def close(conn: Connection, who: Principal, view_id: UUID, *, now: datetime) -> None:
    """The associate is done. Raises NotFound for another's; repeating it changes nothing."""
    await standing(conn, view_id, who, now)
    await end(conn, who, view_id, "closed", now=now)


async def end_of_person(
    conn: Connection, person_ids: Sequence[UUID], *, actor: str, now: datetime
) -> None:
    """End all views of a person who is erased."""
    ended = await conn.run(END_OF_PERSON, person_ids=list(person_ids), because="erased", now=now)
    facts = [_fact("shopper_view.ended", view_id, actor) for view_id in sorted(ended)]
    await events.record(conn, facts, now=now)


def _ending(found: _Found, granted: Consents, who: Principal, now: datetime) -> Ending | None:
    """Why a view is over, if it is."""
    if found.ending is not None:
        return found.ending
    if found.session_id != who.session_id:
        return "session_ended"
    if set(found.present_ids) != set(found.person_ids):
        return "merged"
    lost = found.consented and not granted.allows("personal_service")
    if lost and found.purpose not in CONTRACT:
        return "consent_withdrawn"
    return "expired" if found.expires_at <= now else None


def _fact(kind: str, view_id: UUID, actor: str) -> Event:
    return Event(kind, "shopper_view", view_id, actor)
