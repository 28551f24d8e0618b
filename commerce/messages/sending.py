"""Carrying messages: some are taken for a while, looked at again, sent, and then it is noted.

Each channel goes its own way, so a carrier that is slow or down holds up no other. Whoever dies
between sending and noting leaves its messages for the next one, so none is lost and one may come
twice; the carrier can tell by the id. What no carrier takes stays in the outbox, as sent.

What needs a consent is looked at once more when it is taken: consent may be withdrawn meanwhile,
an address may have turned out to be nobody's, or the quiet hours may have begun.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    Uuid,
    all_,
    any_,
    bindparam,
    case,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import consents, customers
from commerce.consents import Consents, MessageChannel, QuietHours
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database, Query, rows_of
from commerce.messages import stops, texts
from commerce.messages.links import Link, Links
from commerce.messages.writing import FALLBACK_ZONE, Purpose
from commerce.tables import message, stopped_address

SEND_AT_ONCE = 8
KEEP_AT_ONCE = 500
ATTEMPTS = 8
CARRIER_SECONDS = 20.0
"""A carrier that has not answered by then is taken to have failed."""
_LEASE = timedelta(minutes=2)
_FIRST_WAIT = timedelta(seconds=15)


class NotSent(Exception):
    """The carrier did not take the message. Says why without naming anybody.

    `gone`: there is nobody at this address; `final`: trying again will not help.
    """

    def __init__(self, why: str, *, gone: bool = False, final: bool = False) -> None:
        super().__init__(why)
        self.gone = gone
        self.final = final or gone


class Message(msgspec.Struct, frozen=True):
    """What a carrier gets. The links are there for known shoppers only."""

    id: UUID
    channel: MessageChannel
    recipient: str
    locale: str
    subject: str
    body: str
    html: str | None = None
    preferences_url: str | None = None
    unsubscribe_url: str | None = None


class Carrier(Protocol):
    """Carries messages of one channel to people: SMTP, HTTP, or whatever a test hands in."""

    async def send(self, message: Message) -> None:
        """Hand one message over; one with the same id may have come before. Raises NotSent."""


Carriers = Mapping[MessageChannel, Carrier]
"""Who carries what. Messages of other channels stay in the outbox."""


class _Taken(msgspec.Struct, frozen=True):
    id: UUID
    purpose: Purpose
    channel: MessageChannel
    recipient: str
    locale: str
    subject: str
    body: str
    html: str | None
    attempts: int
    shopper_id: UUID | None
    time_zone: str | None
    stopped: bool


class _Noted(msgspec.Struct, frozen=True):
    """What became of a message that was taken."""

    id: UUID
    attempts: int
    state: str
    why: str | None
    again_at: datetime


_NOW = bindparam("now", type_=DateTime(timezone=True))
_CHANNELS = bindparam("channels", type_=ARRAY(Text))
_NEXT = (
    select(message.c.id)
    .where(message.c.state == "queued", message.c.due_at <= _NOW)
    .order_by(message.c.due_at)
    .limit(bindparam("page", type_=Integer()))
    .with_for_update(skip_locked=True)
)
_STOPPED = (
    exists()
    .where(
        stopped_address.c.channel == message.c.channel,
        stopped_address.c.address == message.c.recipient,
    )
    .correlate(message)
    .label("stopped")
)


def _among(found: Select[tuple[UUID]]) -> ColumnElement[bool]:
    """As an array, so that the locking part runs once whatever the plan."""
    return message.c.id == any_(func.array(found.scalar_subquery(), type_=ARRAY(Uuid)))


TAKE = Query(
    update(message)
    .where(_among(_NEXT.where(message.c.channel == bindparam("by", type_=Text()))))
    .values(
        attempts=message.c.attempts + 1,
        due_at=bindparam("until", type_=DateTime(timezone=True)),
    )
    .returning(*(message.c[name] for name in _Taken.__struct_fields__[:-1]), _STOPPED),
    _Taken,
)
KEEP = Query(
    update(message)
    .where(_among(_NEXT.where(message.c.channel != all_(_CHANNELS))))
    .values(state="sent", sent_at=_NOW)
    .returning(message.c.id),
    UUID,
)
_NOTED = rows_of("o", id=Uuid(), attempts=Integer(), state=Text(), why=Text(), again_at=_NOW.type)
NOTE = Query(
    update(message)
    .values(
        state=_NOTED.c.state,
        why=_NOTED.c.why,
        due_at=_NOTED.c.again_at,
        sent_at=case((_NOTED.c.state == "sent", _NOW)),
    )
    .where(
        message.c.id == _NOTED.c.id,
        message.c.state == "queued",
        message.c.attempts == _NOTED.c.attempts,  # else another one has it by now
    )
)


async def keep_uncarried(db: Database, carriers: Carriers, *, now: Clock) -> int:
    """Note what nobody carries as sent: it stays in the outbox. Returns how many."""

    async def work(conn: Connection) -> list[UUID]:
        return await conn.run(KEEP, channels=list(carriers), page=KEEP_AT_ONCE, now=now())

    kept = 0
    while some := len(await db.commit(work)):
        kept += some
    return kept


async def send(
    db: Database, channel: MessageChannel, carrier: Carrier, links: Links, *, now: Clock
) -> int:
    """Send what is due of a channel; returns how many were tried. Any number may run it at once."""
    tried = 0
    while some := await _send_some(db, channel, carrier, links, now):
        tried += some
    return tried


async def _send_some(
    db: Database, channel: MessageChannel, carrier: Carrier, links: Links, now: Clock
) -> int:
    """Take some, send them, note it: three steps, with the network in none of the transactions."""

    async def take(conn: Connection) -> tuple[int, list[_Taken]]:
        moment = now()
        taken = await conn.run(
            TAKE, by=channel, page=SEND_AT_ONCE, now=moment, until=moment + _LEASE
        )
        held_back = await _held_back(conn, taken, moment)
        await _note(conn, list(held_back.values()), moment)
        return len(taken), [each for each in taken if each.id not in held_back]

    tried, taken = await db.commit(take)
    if not taken:
        return tried
    ended = await asyncio.gather(*(_carry(carrier, _linked(each, links)) for each in taken))

    async def note(conn: Connection) -> None:
        moment = now()
        gone = [
            (each.channel, each.recipient)
            for each, refused in zip(taken, ended, strict=True)
            if refused is not None and refused.gone
        ]
        await stops.stop(conn, gone, why="bounced", now=moment)
        noted = [_noted(each, refused, moment) for each, refused in zip(taken, ended, strict=True)]
        await _note(conn, noted, moment)

    await db.commit(note)
    return tried


async def _note(conn: Connection, noted: Sequence[_Noted], now: datetime) -> None:
    if noted:
        columns = {name: [getattr(n, name) for n in noted] for name in _Noted.__struct_fields__}
        await conn.run(NOTE, **columns, now=now)


async def _held_back(
    conn: Connection, taken: Sequence[_Taken], now: datetime
) -> dict[UUID, _Noted]:
    """What of this is not to go out now, and why."""
    asking = {each.shopper_id for each in taken if each.purpose != "service"} - {None}
    allowed: dict[UUID, Consents] = {}
    quiet = None
    if asking:
        persons = await customers.persons_of(conn, [each for each in asking if each is not None])
        allowed = await consents.of_many(conn, persons)
        quiet = await consents.quiet_window(conn)
    found = {}
    for each in taken:
        holds = allowed.get(each.shopper_id) if each.shopper_id is not None else None
        held = _held(each, holds or Consents(), quiet, now)
        if held is not None:
            found[each.id] = held
    return found


def _held(
    taken: _Taken, allowed: Consents, quiet: QuietHours | None, now: datetime
) -> _Noted | None:
    """Why a message does not go out now: for ever, or until it is morning. Pure."""
    if taken.stopped:
        return _Noted(taken.id, taken.attempts, "failed", "address_stopped", now)
    if taken.purpose == "service":
        return None
    if not allowed.allows(taken.purpose, taken.channel):
        return _Noted(taken.id, taken.attempts, "suppressed", "no_consent", now)
    free_at = consents.may_send_at(taken.time_zone or FALLBACK_ZONE, now, quiet)
    return _Noted(taken.id, taken.attempts, "queued", None, free_at) if free_at > now else None


def _noted(taken: _Taken, refused: NotSent | None, now: datetime) -> _Noted:
    """Sent, failed, or to be tried again, later each time. Pure."""
    if refused is None:
        return _Noted(taken.id, taken.attempts, "sent", None, now)
    if refused.gone:
        return _Noted(taken.id, taken.attempts, "failed", "bounced", now)
    if refused.final or taken.attempts >= ATTEMPTS:
        return _Noted(taken.id, taken.attempts, "failed", "not_accepted", now)
    again_at = now + _FIRST_WAIT * 2 ** (taken.attempts - 1)
    return _Noted(taken.id, taken.attempts, "queued", None, again_at)


async def _carry(carrier: Carrier, message: Message) -> NotSent | None:
    try:
        async with asyncio.timeout(CARRIER_SECONDS):
            await carrier.send(message)
    except NotSent as refused:
        return refused
    except TimeoutError:
        return NotSent("no answer in time")
    return None


def _linked(taken: _Taken, links: Links) -> Message:
    """With the way out: in every mail to a known shopper, in all that is not service."""
    plain = Message(
        taken.id, taken.channel, taken.recipient, taken.locale, taken.subject, taken.body,
        taken.html,
    )  # fmt: skip
    if taken.shopper_id is None or (taken.purpose == "service" and taken.channel != "email"):
        return plain
    link = Link(taken.shopper_id, taken.purpose, taken.channel)
    url = links.preferences(link)
    footed = f"{taken.body}\n\n{texts.footer(taken.locale, url)}"
    return msgspec.structs.replace(
        plain,
        body=taken.body if taken.channel == "push" else footed,
        preferences_url=url,
        unsubscribe_url=links.unsubscribe(link) if taken.purpose != "service" else None,
    )
