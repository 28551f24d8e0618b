"""The sweep over follow-ups that are due: look at each as it stands, decide, write messages.

Whoever sweeps takes some, skipping what others have taken; decisions, messages and states are one
transaction, so whoever dies leaves everything as it was. Two sweeps never decide about the same
person at once, or each would count the cap without the other.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import consents, customers, messages, stores
from commerce.consents import Consents
from commerce.follow_ups import watches
from commerce.follow_ups.deciding import Case, Decision, Send, Skip, Stop, Wait, decide
from commerce.follow_ups.settings import IN_HAND, Settings, Trigger, settings
from commerce.follow_ups.subjects import Due, Ids, Subject, subjects
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database, Query, rows_of
from commerce.messages import NewMessage
from commerce.tables import follow_up, shopper

PAGE = 100
FALLBACK_ZONE = "UTC"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
GONE = Subject(open=False, since=_LONG_AGO, not_before=_LONG_AGO, location_id=None)
"""What a follow-up is about that is not there any more."""


class _Sent(msgspec.Struct, frozen=True):
    shopper_id: UUID
    trigger: Trigger
    decided_at: datetime


class _Row(msgspec.Struct, frozen=True):
    id: UUID
    name: str | None
    time_zone: str | None
    erased_at: datetime | None


class _Person(msgspec.Struct, frozen=True):
    """What the message of a person needs, from whichever row of theirs tells it; root first."""

    id: UUID
    name: str | None
    time_zone: str | None
    erased: bool
    consents: Consents
    sent: Mapping[Trigger, Sequence[datetime]]


class _Known(msgspec.Struct, frozen=True):
    """A follow-up with all that its decision and its message depend on."""

    due: Due
    case: Case
    parameters: Mapping[str, Any]
    time_zone: str


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_IDS = any_(bindparam("ids", type_=ARRAY(Uuid)))

TAKE = Query(
    select(*(follow_up.c[name] for name in Due.__struct_fields__))
    .where(follow_up.c.state == "scheduled", follow_up.c.due_at <= _NOW)
    .order_by(follow_up.c.due_at)
    .limit(bindparam("page", type_=Integer()))
    .with_for_update(key_share=True, skip_locked=True),
    Due,
)
_ONE = rows_of("p", person=Text())
LOCK_PERSONS = Query(
    select(func.pg_advisory_xact_lock(func.hashtextextended(_ONE.c.person, 7_236_014_912))),
    type(None),
)
SENT = Query(
    select(follow_up.c.shopper_id, follow_up.c.trigger, follow_up.c.decided_at).where(
        follow_up.c.shopper_id == _IDS,
        follow_up.c.state == "sent",
        follow_up.c.decided_at > bindparam("since", type_=_TIME),
    ),
    _Sent,
)
ROWS = Query(
    select(*(shopper.c[name] for name in _Row.__struct_fields__)).where(shopper.c.id == _IDS), _Row
)
_LATER = rows_of("l", id=Uuid(), due_at=_TIME)
WAIT = Query(update(follow_up).values(due_at=_LATER.c.due_at).where(follow_up.c.id == _LATER.c.id))
_ENDS = rows_of("e", id=Uuid(), state=Text(), reason=Text())
END = Query(
    update(follow_up)
    .values(state=_ENDS.c.state, reason=_ENDS.c.reason, decided_at=_NOW)
    .where(follow_up.c.id == _ENDS.c.id, follow_up.c.state == "scheduled")
)


async def run_due(db: Database, *, secret: bytes, now: Clock) -> int:
    """Decide about all that are due; returns how many. Any number of processes may run it at once.

    `secret` is the installation's, for pickup codes.
    """
    decided = 0
    while True:
        count = await db.commit(lambda conn: _decide_some(conn, secret=secret, now=now()))
        decided += count
        if count < PAGE:
            return decided


async def _decide_some(conn: Connection, *, secret: bytes, now: datetime) -> int:
    due = await conn.run(TAKE, now=now, page=PAGE)
    if not due:
        return 0
    ids = await customers.persons_of(
        conn, sorted({each.shopper_id for each in due if each.shopper_id})
    )
    await conn.run(LOCK_PERSONS, person=sorted({str(each[0]) for each in ids.values()}))
    of = await settings(conn)
    known = await _known(conn, due, ids, of, secret=secret, now=now)
    decisions = decide([each.case for each in known], of, now=now)
    await _note(conn, due, await _send(conn, known, decisions, of, now), now)
    return len(due)


async def _known(
    conn: Connection,
    due: Sequence[Due],
    ids: Ids,
    of: Mapping[Trigger, Settings],
    *,
    secret: bytes,
    now: datetime,
) -> list[_Known]:
    """Everything about each that its decision depends on."""
    found = await subjects(conn, due, ids, of, secret=secret, now=now)
    since = now - max(each.cap_window for each in of.values())
    persons = await _persons(conn, ids, since=since)
    location_ids = {each.location_id for each in found.values() if each.location_id is not None}
    places = await stores.by_ids(conn, sorted(location_ids))
    quiet = await consents.quiet_window(conn)
    known = []
    for each in due:
        person = persons.get(each.shopper_id) if each.shopper_id is not None else None
        subject = found.get(each.subject_id, GONE)
        at = places.get(subject.location_id) if subject.location_id is not None else None
        own = person.time_zone if person is not None else None
        zone = own or (at.time_zone if at is not None else FALLBACK_ZONE)
        case = Case(
            id=each.id,
            trigger=each.trigger,
            person=person.id if person is not None else each.id,
            about=_about(each, person, subject),
            since=subject.since,
            not_before=subject.not_before,
            may_send_at=consents.may_send_at(zone, now, quiet),
            allowed=_allowed(of[each.trigger], person),
            bought_at=subject.bought_at,
            sent_before=tuple(person.sent.get(each.trigger, ())) if person is not None else (),
        )
        name = person.name if person is not None else None
        known.append(_Known(each, case, {"name": name, "store": at, **subject.parameters}, zone))
    return known


def _about(due: Due, person: _Person | None, subject: Subject) -> Literal["open", "over", "erased"]:
    """A reminder of a pickup outlives the wish to be erased, which waits for the order as well."""
    needs_person = due.trigger not in IN_HAND
    if needs_person and (person is None or person.erased):
        return "erased"
    return "open" if subject.open else "over"


def _allowed(of: Settings, person: _Person | None) -> bool:
    if of.trigger in IN_HAND:
        return True
    return person is not None and person.consents.allows("follow_up", of.channel)


async def _persons(conn: Connection, ids: Ids, *, since: datetime) -> dict[UUID, _Person]:
    """By each id that was asked for."""
    roots = {members[0]: members for members in ids.values()}
    every = sorted({member for members in roots.values() for member in members})
    rows = {row.id: row for row in await conn.run(ROWS, ids=every)}
    granted = await consents.of_many(conn, roots)
    sent: dict[UUID, list[_Sent]] = {}
    for each in await conn.run(SENT, ids=every, since=since):
        sent.setdefault(each.shopper_id, []).append(each)

    def person(members: Sequence[UUID]) -> _Person:
        own = [rows[member] for member in (members[0], *sorted(members[1:]))]
        by_trigger: dict[Trigger, list[datetime]] = {}
        for each in (each for member in members for each in sent.get(member, ())):
            by_trigger.setdefault(each.trigger, []).append(each.decided_at)
        return _Person(
            members[0],
            next((row.name for row in own if row.name), None),
            next((row.time_zone for row in own if row.time_zone), None),
            own[0].erased_at is not None,
            granted[members[0]],
            by_trigger,
        )

    return {asked: person(members) for asked, members in ids.items()}


async def _send(
    conn: Connection,
    known: Sequence[_Known],
    decisions: Sequence[Decision],
    of: Mapping[Trigger, Settings],
    now: datetime,
) -> list[Decision]:
    """Write the messages; a decision to send that cannot be kept is one to skip."""
    going = [
        each for each, decision in zip(known, decisions, strict=True) if isinstance(decision, Send)
    ]
    written = await messages.write(
        conn, [_message(each, of[each.due.trigger]) for each in going], now
    )
    why = {each.due.id: outcome.why for each, outcome in zip(going, written, strict=True)}
    return [
        Skip(refused)
        if (refused := why.get(each.due.id)) in ("no_consent", "unreachable")
        else decision
        for each, decision in zip(known, decisions, strict=True)
    ]


def _message(known: _Known, of: Settings) -> NewMessage:
    due = known.due
    in_hand = due.trigger in IN_HAND
    return NewMessage(
        template=due.trigger,
        parameters=known.parameters,
        reason=due.id,
        shopper_id=None if in_hand else due.shopper_id,
        contact_id=due.contact_id if in_hand else None,
        purpose="service" if in_hand else "follow_up",
        channel=of.channel,
        time_zone=known.time_zone,
    )


async def _note(
    conn: Connection, due: Sequence[Due], decisions: Sequence[Decision], now: datetime
) -> None:
    """Write down what was decided, and what becomes of the watches that it was about."""
    ends: list[tuple[UUID, str, str | None]] = []
    waits: list[tuple[UUID, datetime]] = []
    ended: list[UUID] = []
    waiting: list[UUID] = []
    for each, decision in zip(due, decisions, strict=True):
        match decision:
            case Wait(until=until):
                waits.append((each.id, until))
                continue
            case Send():
                ends.append((each.id, "sent", None))
            case Stop(reason=reason):
                ends.append((each.id, "stopped", reason))
            case Skip(reason=refused):
                ends.append((each.id, "skipped", refused))
        if each.trigger == "back_in_stock":
            (waiting if decision == Stop("over") else ended).append(each.subject_id)
    if waits:
        later = list(map(list, zip(*waits, strict=True)))
        await conn.run(WAIT, id=later[0], due_at=later[1])
    if ends:
        decided = list(map(list, zip(*ends, strict=True)))
        await conn.run(END, id=decided[0], state=decided[1], reason=decided[2], now=now)
    await watches.settle(conn, ended=ended, waiting=waiting, now=now)
