"""Writing a message: to whom, by which channel, when, and whether at all.

A message of purpose `service` is what a contract needs: it is always written and sent. Those of
`follow_up` and `marketing` go out only where the person allows it on the channel, and outside of
the quiet hours there. Both are looked at here and again when the message is sent.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, Uuid, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import consents
from commerce.consents import CHANNELS, MessageChannel, QuietHours
from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query, records, records_of
from commerce.messages import people, texts
from commerce.messages.own_texts import OwnText, own_texts, say_own
from commerce.messages.people import Reachable
from commerce.messages.speaking import spoken
from commerce.tables import message

Purpose = Literal["service", "follow_up", "marketing"]
Why = Literal["repeated", "no_consent", "unreachable"]

SYSTEM = "system"
FALLBACK_ZONE = "UTC"


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to write.

    It goes to a shopper or to an order's contact; or to an `address`, which may be nobody's yet (a
    sign-in) or one of theirs (an answer to what came from there). Parameters may be strings,
    numbers, `Money`, moments, `Store`s, and lists of mappings of those: the text shows them as its
    language does.
    """

    template: str
    parameters: Mapping[str, Any]
    reason: UUID
    """An event, a trigger's run, an outreach: one message of a template for each, ever."""
    shopper_id: UUID | None = None
    contact_id: UUID | None = None
    address: "Address | None" = None
    purpose: Purpose = "service"
    channel: MessageChannel | None = None
    """None: the first of those that the person has and, where it must, allows."""
    not_before: datetime | None = None
    time_zone: str | None = None
    """Whose clock moments are told by, and quiet hours kept by. None: the shopper's, else UTC."""
    actor: str = SYSTEM
    reply_to: UUID | None = None
    """The message that this one answers."""


class Address(msgspec.Struct, frozen=True):
    """Where a message goes that is to nobody known: a mail address or a phone number."""

    channel: MessageChannel
    recipient: str
    locale: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of one new message; what was not written is not there.

    `queued` goes out at once, `postponed` at `send_at`. `refused` says why: `repeated` (the reason
    has its message already), `no_consent`, `unreachable` (no address for the channel).
    """

    id: UUID
    state: Literal["queued", "postponed", "refused"]
    why: Why | None = None
    channel: MessageChannel | None = None
    send_at: datetime | None = None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote to us; `recipient` is their address."""

    id: UUID
    channel: MessageChannel
    recipient: str
    locale: str
    body: str
    reply_to: UUID | None
    shopper_id: UUID | None
    contact_id: UUID | None
    created_at: datetime


class _Row(msgspec.Struct, frozen=True):
    id: UUID
    reason: UUID
    template: str
    purpose: str
    channel: str
    shopper_id: UUID | None
    contact_id: UUID | None
    actor: str
    recipient: str
    locale: str
    time_zone: str | None
    reply_to: UUID | None
    subject: str
    body: str
    html: str | None
    state: str
    due_at: datetime
    sent_at: datetime | None


_MOMENT = DateTime(timezone=True)
_NEW = records_of(
    "written",
    **{name: Uuid() for name in ("id", "reason", "shopper_id", "contact_id", "reply_to")},
    **{
        name: Text()
        for name in (
            "template", "purpose", "channel", "actor", "recipient", "locale", "time_zone",
            "subject", "body", "html", "state",
        )
    },
    due_at=_MOMENT,
    sent_at=_MOMENT,
)  # fmt: skip
_COLUMNS = list(_NEW.c)
WRITE = Query(
    upsert(message)
    .from_select(
        [*(c.name for c in _COLUMNS), "created_at"],
        select(*_COLUMNS, bindparam("now", type_=_MOMENT)).order_by(_NEW.c.id),
    )
    .on_conflict_do_nothing()
    .returning(message.c.id),
    UUID,
)
RECEIVE = Query(
    upsert(message)
    .values(
        **{
            name: bindparam(f"given_{name}", type_=message.c[name].type)
            for name in Received.__struct_fields__
        },
        reason=bindparam("given_id", type_=Uuid()),
        due_at=bindparam("given_created_at", type_=_MOMENT),
        template="reply",
        purpose="service",
        actor="",
        subject="",
        state="received",
    )
    .on_conflict_do_nothing()
    .returning(message.c.id),
    UUID,
)


async def write(conn: Connection, new: Sequence[NewMessage], now: datetime) -> list[Outcome]:
    """Write messages, each with its own outcome. Repeating is harmless: a reason counts once.

    Raises `UnknownTemplate` and `ParameterMissing`, and then nothing is written.
    """
    shoppers = await people.shoppers(conn, [each.shopper_id for each in new if each.shopper_id])
    contacts = await people.contacts(conn, [each.contact_id for each in new if each.contact_id])
    meant: list[Reachable | None] = []
    for each in new:
        named = {each.shopper_id, each.contact_id, each.address} - {None}
        assert named, f"a message goes to somebody: {each.template} {each.reason}"
        if each.address is not None:
            to = each.address
            addresses = {to.channel: to.recipient}
            meant.append(Reachable(to.locale, addresses, each.shopper_id, (), each.contact_id))
        elif each.shopper_id is not None:
            meant.append(shoppers.get(each.shopper_id))
        elif each.contact_id is not None:
            meant.append(contacts.get(each.contact_id))
    return await write_to(conn, list(zip(new, meant, strict=True)), now)


async def write_to(
    conn: Connection,
    new: Sequence[tuple[NewMessage, Reachable | None]],
    now: datetime,
    *,
    carried: Collection[str] = CHANNELS,
) -> list[Outcome]:
    """`write` for who has looked the people up already.

    A message of a channel that nobody carries stays where it is: it is written as sent.
    """
    for each, _ in new:
        texts.check(each.template, each.parameters)
    quiet = None
    if any(each.purpose != "service" for each, _ in new):
        quiet = await consents.quiet_window(conn)
    decided = [decide(each, person, quiet, now) for each, person in new]
    own = await own_texts(conn, sorted({each.template for each, _ in new}))
    by_key: dict[tuple[str, str, str], OwnText] = {
        (each.template, each.channel, each.locale): each for each in own
    }
    rows = [
        _row_of(each, person, outcome, now, carried, by_key)
        for (each, person), outcome in zip(new, decided, strict=True)
        if person is not None and outcome.why is None
    ]
    if not rows:
        return decided
    written = set(await conn.run(WRITE, written=records(rows), now=now))
    return [
        outcome if outcome.why or outcome.id in written else _refused(outcome.id, "repeated")
        for outcome in decided
    ]


async def receive(conn: Connection, received: Received) -> bool:
    """Keep a message that came in. Whether it is new: repeating changes nothing."""
    given = {f"given_{name}": getattr(received, name) for name in Received.__struct_fields__}
    return await conn.first(RECEIVE, **given) is not None


def decide(
    new: NewMessage, person: Reachable | None, quiet: QuietHours | None, now: datetime
) -> Outcome:
    """By which channel a message goes and when, or why it does not. Pure."""
    message_id = ids.about(new.reason, new.template)
    if person is None:
        return _refused(message_id, "unreachable")
    open_to = [each for each in person.addresses if new.channel in {None, each}]
    if not open_to:
        return _refused(message_id, "unreachable")
    send_at = max(now, new.not_before or now)
    if new.purpose != "service":
        open_to = [each for each in open_to if person.consents.allows(new.purpose, each)]
        if not open_to:
            return _refused(message_id, "no_consent")
        zone = new.time_zone or person.time_zone or FALLBACK_ZONE
        send_at = consents.may_send_at(zone, send_at, quiet)
    state: Literal["queued", "postponed"] = "postponed" if send_at > now else "queued"
    return Outcome(message_id, state, None, open_to[0], send_at)


def _refused(message_id: UUID, why: Why) -> Outcome:
    return Outcome(message_id, "refused", why)


def _row_of(
    new: NewMessage,
    person: Reachable,
    outcome: Outcome,
    now: datetime,
    carried: Collection[str],
    own: Mapping[tuple[str, str, str], OwnText],
) -> _Row:
    assert outcome.channel is not None
    assert outcome.send_at is not None
    zone = new.time_zone or person.time_zone or FALLBACK_ZONE
    text = own.get((new.template, outcome.channel, person.locale))
    said = None
    if text is not None:
        said = say_own(text, spoken(new.parameters, person.locale, zone))
    if said is None:
        said = texts.say(new.template, outcome.channel, person.locale, zone, new.parameters)
    stays = outcome.channel not in carried and outcome.send_at <= now
    return _Row(
        id=outcome.id,
        reason=new.reason,
        template=new.template,
        purpose=new.purpose,
        channel=outcome.channel,
        shopper_id=person.shopper_id,
        contact_id=person.contact_id,
        actor=new.actor,
        recipient=person.addresses[outcome.channel],
        locale=person.locale,
        time_zone=None if new.purpose == "service" else zone,
        reply_to=new.reply_to,
        subject=said.subject,
        body=said.body,
        html=said.html,
        state="sent" if stays else "queued",
        due_at=outcome.send_at,
        sent_at=now if stays else None,
    )
