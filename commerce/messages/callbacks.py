"""What carriers tell afterwards: delivered, read, bounced, failed, and what people reply.

A carrier tells things twice, late, and in any order, also of messages that it was never given. So a
state only ever moves up, and whatever comes in whatever order, the same state is left:

    sent < delivered < failed < read

A bounce outdoes a delivery, because mail is taken before it is returned; who has read a message
got it. That we gave up ourselves (`not_accepted`) says nothing of what the carrier did.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, Uuid, any_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import consents, customers
from commerce.consents import Decision, MessageChannel
from commerce.kernel import events, ids
from commerce.kernel.errors import NotFound
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.messages import stops
from commerce.messages.writing import Received, receive
from commerce.tables import message, shopper

MAX_TOLD = 200
MAX_TEXT = 4_096
ACTOR = "carrier"

STOP_WORDS = frozenset({"stop", "stopall", "unsubscribe", "baja", "alto", "cancelar"})
"""What people answer to hear no more; carriers and the law ask that it be heeded."""

_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """One thing that a carrier tells; `id` is its own name for it.

    `message_id` is our id of the message that it is about, or that is replied to. `from` and `text`
    come with a reply; a reply to no message of ours names at least the `channel`.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    kind: Literal["delivered", "read", "bounced", "failed", "reply"]
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    message_id: UUID | None = None
    channel: MessageChannel | None = None
    sender: Annotated[str, msgspec.Meta(max_length=320)] | None = None
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] | None = None


class _Stored(msgspec.Struct, frozen=True):
    id: UUID
    channel: MessageChannel
    recipient: str
    locale: str
    shopper_id: UUID | None
    contact_id: UUID | None
    state: str
    why: str | None
    attempts: int
    delivered_at: datetime | None


class Standing(msgspec.Struct, frozen=True):
    """What is known of a message's way."""

    state: str
    why: str | None = None
    delivered_at: datetime | None = None


class _Somebody(msgspec.Struct, frozen=True):
    id: UUID
    locale: str


_RANKS = {"queued": 0, "sent": 1, "delivered": 2, "failed": 3, "read": 4}
_MEANS: Mapping[str, tuple[str, str | None]] = {
    "delivered": ("delivered", None),
    "read": ("read", None),
    "bounced": ("failed", "bounced"),
    "failed": ("failed", "not_delivered"),
}
_MOMENT = DateTime(timezone=True)
LOCK = Query(
    select(*(message.c[name] for name in _Stored.__struct_fields__))
    .where(message.c.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))
    .order_by(message.c.id)
    .with_for_update(key_share=True),
    _Stored,
)
_NEW = rows_of("n", id=Uuid(), state=Text(), why=Text(), delivered_at=_MOMENT)
MOVE = Query(
    update(message)
    .values(
        state=_NEW.c.state,
        why=_NEW.c.why,
        delivered_at=_NEW.c.delivered_at,
        # Who sent it may not have noted that yet.
        sent_at=func.coalesce(message.c.sent_at, bindparam("now", type_=_MOMENT)),
    )
    .where(message.c.id == _NEW.c.id)
)
WHO_HAS = Query(
    select(shopper.c.id, shopper.c.locale)
    .where(
        or_(shopper.c.email == bindparam("address"), shopper.c.phone == bindparam("address")),
    )
    .limit(1),
    _Somebody,
)


async def apply(conn: Connection, told: Sequence[Told], *, now: datetime) -> int:
    """Note what carriers tell; returns how many things changed something. Repeating is harmless.

    What is about a message that was never given to a carrier, or a reply of nobody known, is
    ignored: the carrier is not at fault, and need not know.
    """
    named = sorted({each.message_id for each in told if each.message_id is not None})
    stored = {each.id: each for each in await conn.run(LOCK, ids=named)}
    changed = 0
    moved: dict[UUID, Standing] = {}
    gone = []
    for each in told:
        about = stored.get(each.message_id) if each.message_id is not None else None
        if each.kind == "reply":
            changed += await _receive(conn, each, about, now)
        elif about is not None and about.attempts:
            before = moved.get(about.id) or Standing(about.state, about.why, about.delivered_at)
            after = moves(before, each, now)
            if after == before:
                continue
            moved[about.id] = after
            changed += 1
            if after.why == "bounced" != before.why:
                gone.append((about.channel, about.recipient))
    if moved:
        await conn.run(
            MOVE,
            id=list(moved),
            state=[each.state for each in moved.values()],
            why=[each.why for each in moved.values()],
            delivered_at=[each.delivered_at for each in moved.values()],
            now=now,
        )
    await stops.stop(conn, gone, why="bounced", now=now)
    return changed


def moves(before: Standing, told: Told, now: datetime) -> Standing:
    """Where a message stands after one more word of its carrier. Pure; order does not matter."""
    if before.state not in _RANKS:
        return before
    at = min(told.at.astimezone(UTC), now)
    delivered_at = before.delivered_at
    if told.kind in {"delivered", "read"}:
        delivered_at = min(delivered_at or at, at)
    state, why = _MEANS[told.kind]
    given_up = before.why == "not_accepted"
    if _RANKS[state] < _RANKS[before.state] and not given_up:
        state, why = before.state, before.why
    elif state == before.state == "failed" and before.why == "bounced":
        why = before.why
    return Standing(state, why, delivered_at)


async def _receive(conn: Connection, told: Told, about: _Stored | None, now: datetime) -> bool:
    """Keep a reply with whoever it is from. Whether it is new, and from somebody."""
    text = (told.text or "").replace("\x00", "").strip()
    if not text:
        return False
    if about is not None:
        channel, address, locale = about.channel, told.sender or about.recipient, about.locale
        shopper_id, contact_id = about.shopper_id, about.contact_id
    else:
        if told.channel is None or told.sender is None:
            return False
        known = await conn.first(WHO_HAS, address=told.sender)
        if known is None:
            return False
        channel, address, locale = told.channel, told.sender, known.locale
        shopper_id, contact_id = known.id, None
    at = min(max(told.at.astimezone(UTC), _EARLIEST), _LATEST)
    received = Received(
        id=ids.at(at, f"{channel}\0{told.id}"),
        channel=channel,
        recipient=address,
        locale=locale,
        body=text,
        reply_to=about.id if about is not None else None,
        shopper_id=shopper_id,
        contact_id=contact_id,
        created_at=min(at, now),
    )
    if not await receive(conn, received):
        return False
    if shopper_id is not None:
        root = (await customers.persons_of(conn, [shopper_id]))[shopper_id][0]
        await _heed(conn, root, channel, text, now)
        about_it = {"message_id": str(received.id)}
        fact = Event("message.received", "shopper", root, ACTOR, about_it)
        await events.record(conn, [fact], now=now)
    return True


async def _heed(
    conn: Connection, shopper_id: UUID, channel: MessageChannel, text: str, now: datetime
) -> None:
    """Who answers STOP hears no more on this channel."""
    if text.strip(" .!¡").lower() not in STOP_WORDS:
        return
    stop = [Decision(purpose, granted=False, channel=channel) for purpose in consents.WRITING]
    try:
        await consents.decide(conn, shopper_id, stop, "unsubscribe", f"shopper:{shopper_id}", now)
    except NotFound:
        return  # erased meanwhile: there is nothing to withdraw
