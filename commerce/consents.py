"""What a shopper allowed, per purpose and channel, and when nobody is written to.

A decision is a fact with a source and a time; it is never changed. The newest one of a purpose (and
channel) counts, and where there is none, nothing is granted. What a contract needs, an order or a
pickup in hand, asks for no consent.

A shopper may have several ids (see `customers`): then the newest decision among all of them counts.
A grant stands under the root only, a withdrawal under every id, so that undoing a merge never
brings back what the shopper has withdrawn meanwhile.

Promises of follow-ups and marketing are also kept to hours: `may_send_at` says when the next one
may go out by the shopper's own clock.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Literal, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Boolean, DateTime, Integer, Text, Time, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import customers
from commerce.access import Principal, record_staff
from commerce.kernel import events, ids
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Connection, Query, either, records, records_of, rows_of
from commerce.tables import consent_decision, quiet_hours

Purpose = Literal["personal_service", "browsing_insight", "follow_up", "marketing"]
MessageChannel = Literal["email", "sms", "whatsapp", "push"]
Source = Literal["profile", "counter", "unsubscribe", "preference_centre", "erasure"]

SERVING: frozenset[Purpose] = frozenset({"personal_service", "browsing_insight"})
"""Purposes of looking: what staff may see. They have no channel."""
WRITING: frozenset[Purpose] = frozenset({"follow_up", "marketing"})
"""Purposes of writing: granted channel by channel."""
CHANNELS: tuple[MessageChannel, ...] = get_args(MessageChannel)

_MOMENT = DateTime(timezone=True)
_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)


class Decision(msgspec.Struct, frozen=True):
    """One thing allowed or not. `channel` is named exactly for the purposes of writing."""

    purpose: Purpose
    granted: bool
    channel: MessageChannel | None = None


class Decided(msgspec.Struct, frozen=True):
    """A decision on record."""

    id: UUID
    purpose: Purpose
    channel: MessageChannel | None
    granted: bool
    source: Source
    actor: str
    at: datetime


class Consents(msgspec.Struct, frozen=True):
    """What holds now: the newest decision of each purpose and channel that has one."""

    decided: tuple[Decided, ...] = ()

    def allows(self, purpose: Purpose, channel: MessageChannel | None = None) -> bool:
        """Whether this is granted. Without a channel, writing is allowed if one channel is."""
        return any(
            each.granted and each.purpose == purpose and channel in {None, each.channel}
            for each in self.decided
        )

    def decision(self, purpose: Purpose, channel: MessageChannel | None = None) -> Decided | None:
        """The decision that counts, if there ever was one."""
        for each in self.decided:
            if (each.purpose, each.channel) == (purpose, channel):
                return each
        return None


class QuietHours(msgspec.Struct, frozen=True):
    """From when until when nobody is written to, by the shopper's clock; over midnight too.

    The same time twice means that there are none.
    """

    starts: time = time(21)
    ends: time = time(9)

    def hold(self, at: time) -> bool:
        """Whether it is quiet at this time of the day."""
        if self.starts <= self.ends:
            return self.starts <= at < self.ends
        return at >= self.starts or at < self.ends


class _Newest(msgspec.Struct, frozen=True):
    """`Decided` of one person among many."""

    person: UUID
    id: UUID
    purpose: Purpose
    channel: MessageChannel | None
    granted: bool
    source: Source
    actor: str
    at: datetime


class _New(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID
    purpose: Purpose
    channel: MessageChannel | None
    granted: bool
    source: Source
    actor: str
    at: datetime


_made = consent_decision.c
_SHOWN = [_made[name] for name in Decided.__struct_fields__]
_PERSONS = rows_of("persons", person=Uuid(), shopper=Uuid())
NEWEST = Query(
    select(_PERSONS.c.person, *_SHOWN)
    .ext(distinct_on(_PERSONS.c.person, _made.purpose, _made.channel))
    .join(consent_decision, _made.shopper_id == _PERSONS.c.shopper)
    .order_by(
        _PERSONS.c.person, _made.purpose, _made.channel, _made.at.desc(), _made.granted, _made.id
    ),
    _Newest,
)
_ALL = bindparam("shopper_ids", type_=ARRAY(Uuid()))
HISTORY = Query(
    select(*_SHOWN)
    .ext(distinct_on(_made.id))
    .where(_made.shopper_id == any_(_ALL), either(_made.id < bindparam("before"), "before", Uuid()))
    .order_by(_made.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Decided,
)
_ROWS = records_of(
    "made",
    id=Uuid(),
    shopper_id=Uuid(),
    purpose=Text(),
    channel=Text(),
    granted=Boolean(),
    source=Text(),
    actor=Text(),
    at=_MOMENT,
)
INSERT = Query(upsert(consent_decision).from_select([c.name for c in _ROWS.c], select(*_ROWS.c)))
QUIET = Query(
    select(quiet_hours.c.starts, quiet_hours.c.ends).where(quiet_hours.c.id == 1), QuietHours
)
_window = {"starts": bindparam("from_", type_=Time()), "ends": bindparam("until", type_=Time())}
SET_QUIET = Query(
    upsert(quiet_hours)
    .values(id=1, **_window)
    .on_conflict_do_update(index_elements=[quiet_hours.c.id], set_=_window)
)


async def of(conn: Connection, person_ids: Sequence[UUID]) -> Consents:
    """What a person allows. Nobody (no ids) allows nothing."""
    if not person_ids:
        return Consents()
    return (await of_many(conn, {person_ids[0]: person_ids}))[person_ids[0]]


async def of_many(conn: Connection, persons: Mapping[UUID, Sequence[UUID]]) -> dict[UUID, Consents]:
    """What many persons allow, each named by one id and given with all of its ids."""
    pairs = [(person, each) for person, of_person in persons.items() for each in of_person]
    rows = await conn.run(
        NEWEST, person=[person for person, _ in pairs], shopper=[each for _, each in pairs]
    )
    found: dict[UUID, list[Decided]] = {person: [] for person in persons}
    for row in rows:
        found[row.person].append(msgspec.convert(row, Decided, from_attributes=True))
    return {person: Consents(tuple(decided)) for person, decided in found.items()}


async def history(
    conn: Connection, person_ids: Sequence[UUID], *, before: UUID | None, page: int
) -> list[Decided]:
    """A person's decisions, newest first, or those before one of them."""
    return await conn.run(HISTORY, shopper_ids=list(person_ids), before=before, page=page)


async def decide(
    conn: Connection,
    shopper_id: UUID,
    decisions: Sequence[Decision],
    source: Source,
    actor: str,
    now: datetime,
) -> Consents:
    """Put decisions on record, in order, and tell who hangs on them; answers what holds now.

    What holds already is not written again, so repeating is harmless. Decisions of one person are
    made one after the other: the person is locked, and time never runs backwards between them.
    Raises `NotFound`, also for who was erased, and `InvalidField` for a channel that the purpose
    does not have.
    """
    for number, each in enumerate(decisions):
        _check(number, each)
    person = await customers.lock_person(conn, shopper_id)
    if person.erased:
        raise NotFound(kind="shopper", id=str(shopper_id))
    person_ids = person.ids
    current = {(each.purpose, each.channel): each for each in (await of(conn, person_ids)).decided}
    at = max((now, *(each.at + _TICK for each in current.values())))
    made: list[Decided] = []
    for each in decisions:
        key = (each.purpose, each.channel)
        if key in current and current[key].granted == each.granted:
            continue
        current[key] = Decided(
            ids.uuid7(), each.purpose, each.channel, each.granted, source, actor, at
        )
        made.append(current[key])
        at += _TICK
    if made:
        await conn.run(INSERT, made=records(_rows(made, person_ids)))
    await events.record(conn, [_changed(each, person_ids[0], actor) for each in made], now=now)
    return Consents(tuple(current.values()))


async def withdraw_all(
    conn: Connection, shopper_id: UUID, source: Source, actor: str, now: datetime
) -> None:
    """Withdraw whatever is granted. Repeating it changes nothing. Raises `NotFound`."""
    held = await of(conn, (await customers.lock_person(conn, shopper_id)).ids)
    granted = [each for each in held.decided if each.granted]
    withdrawn = [Decision(each.purpose, granted=False, channel=each.channel) for each in granted]
    await decide(conn, shopper_id, withdrawn, source, actor, now)


async def quiet_window(conn: Connection) -> QuietHours:
    """The retailer's quiet hours, or the default."""
    return await conn.first(QUIET) or QuietHours()


async def set_quiet_window(
    conn: Connection, who: Principal, window: QuietHours, *, now: datetime
) -> None:
    """Set the retailer's quiet hours. Messages that wait already keep their hour."""
    before = await quiet_window(conn)
    await conn.run(SET_QUIET, from_=window.starts, until=window.ends)
    changes = {"starts": [before.starts, window.starts], "ends": [before.ends, window.ends]}
    await record_staff(
        conn,
        who,
        action="quiet_hours.changed",
        subject="quiet_hours",
        changes={name: [str(value) for value in pair] for name, pair in changes.items()},
        now=now,
    )


def may_send_at(time_zone: str, now: datetime, quiet: QuietHours | None = None) -> datetime:
    """The first moment from `now` on that is outside the quiet hours there; `now` itself by day.

    When clocks are put forward over the very end of the quiet hours, they last that much longer;
    when they are put back over it, it may be quiet twice.
    """
    zone = ZoneInfo(time_zone)
    window = quiet or QuietHours()
    local = now.astimezone(zone)
    if not window.hold(local.time()):
        return now
    ends = (
        datetime.combine(local.date() + days, window.ends, zone).replace(fold=fold)
        for days in (timedelta(0), _DAY, 2 * _DAY)
        for fold in (0, 1)
    )
    moments = (each.astimezone(now.tzinfo) for each in ends)
    return min(
        each for each in moments if each >= now and not window.hold(each.astimezone(zone).time())
    )


def _check(number: int, decision: Decision) -> None:
    if (decision.purpose in WRITING) != (decision.channel is not None):
        names = ", ".join(CHANNELS)
        reason = (
            f"Name the channel: {names}."
            if decision.channel is None
            else "This purpose has no channel; leave it out."
        )
        raise InvalidField(path=f"/decisions/{number}/channel", reason=reason)


def _rows(made: Sequence[Decided], person_ids: Sequence[UUID]) -> list[_New]:
    return [
        _New(
            each.id, shopper_id, each.purpose, each.channel, each.granted, source=each.source,
            actor=each.actor, at=each.at,
        )
        for each in made
        for shopper_id in (person_ids[:1] if each.granted else person_ids)
    ]  # fmt: skip


def _changed(decided: Decided, root: UUID, actor: str) -> events.Event:
    what = {
        "purpose": decided.purpose,
        "channel": decided.channel,
        "granted": decided.granted,
    }
    return events.Event("consent.changed", "shopper", root, actor, what)


HOLDINGS = (
    Holding(
        table="consent_decision",
        export=Query(
            select(document(consent_decision)).where(_made.shopper_id == SHOPPER_IDS), str
        ),
        stays="Ids and closed words: what was allowed when, and that all was withdrawn.",
    ),
)
"""What is held about a person's decisions."""
