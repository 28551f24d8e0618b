"""Writing to a client: a template and a line, within consent, quiet hours and a cap."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, Uuid, any_, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import catalog, consents, customers, messages, stores
from commerce.access import Principal, record_staff
from commerce.clienteling import ConsentMissing
from commerce.customers import Person
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.sql import Connection, Query
from commerce.messages import NewMessage
from commerce.outreach.book import Entry, own_entry
from commerce.tables import associate, outreach

Template = Literal["outreach_thanks", "outreach_suggestion"]
TEMPLATES: Mapping[Template, Literal["follow_up", "marketing"]] = {
    "outreach_thanks": "follow_up",
    "outreach_suggestion": "marketing",
}
"""Each with the purpose that the shopper must allow."""

ABOUT_A_SKU: frozenset[Template] = frozenset({"outreach_suggestion"})

CAP = 2
CAP_WINDOW = timedelta(days=7)
"""No person gets more outreach than this, whoever writes it."""


class OutreachCapReached(CommerceError):
    """The shopper has heard enough from our associates for now."""

    code = "outreach_cap_reached"
    next_at: datetime


class ShopperUnreachable(CommerceError):
    """There is no address or number for a channel that the shopper allows."""

    code = "shopper_unreachable"


class Sent(msgspec.Struct, frozen=True):
    """Outreach that is on its way, at `send_at`; the quiet hours may hold it back until then."""

    id: UUID
    entry_id: UUID
    template: Template
    purpose: Literal["follow_up", "marketing"]
    channel: str
    send_at: datetime


class _Recent(msgspec.Struct, frozen=True):
    count: int
    oldest: datetime | None


_TIME = DateTime(timezone=True)
LOCK_PERSON = Query(
    select(
        func.pg_advisory_xact_lock(
            func.hashtextextended(bindparam("person", type_=Text()), 7_236_014_913)
        )
    ),
    type(None),
)
RECENT = Query(
    select(func.count().label("count"), func.min(outreach.c.written_at).label("oldest")).where(
        outreach.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid))),
        outreach.c.written_at > bindparam("since", type_=_TIME),
    ),
    _Recent,
)
NAME_OF_ASSOCIATE = Query(select(associate.c.name).where(associate.c.id == bindparam("of")), str)
INSERT = Query(
    insert(outreach).values(
        id=bindparam("new_id", type_=Uuid()),
        entry_id=bindparam("of", type_=Uuid()),
        location_id=bindparam("at", type_=Uuid()),
        associate_id=bindparam("by", type_=Uuid()),
        shopper_id=bindparam("to", type_=Uuid()),
        template=bindparam("named", type_=Text()),
        purpose=bindparam("what_for", type_=Text()),
        message_id=bindparam("as_message", type_=Uuid()),
        written_at=bindparam("now", type_=_TIME),
    )
)


async def write(
    conn: Connection,
    who: Principal,
    entry_id: UUID,
    *,
    template: Template,
    sku: str | None,
    line: str | None,
    now: datetime,
) -> Sent:
    """Write to a client of one's own. `sku` is what a suggestion is about; `line` is a word more.

    Raises NotFound, InvalidField, ConsentMissing, OutreachCapReached, ShopperUnreachable.
    """
    entry = await own_entry(conn, who, entry_id)
    if (sku is None) == (template in ABOUT_A_SKU):
        reason = "Name what it is about." if sku is None else "This template is about no goods."
        raise InvalidField(path="/sku", reason=reason)
    person = await customers.person_of(conn, entry.shopper_id)
    await conn.run(LOCK_PERSON, person=str(person.id))
    purpose = TEMPLATES[template]
    await _check(conn, person.ids, purpose, now)
    outreach_id = ids.uuid7()
    at = await stores.by_id(conn, entry.location_id)
    new = NewMessage(
        template=template,
        parameters=await _parameters(conn, person, entry, at, sku, line),
        reason=outreach_id,
        shopper_id=person.id,
        purpose=purpose,
        time_zone=person.time_zone or at.time_zone,
        actor=who.actor,
    )
    (outcome,) = await messages.write(conn, [new], now)
    if outcome.why is not None or outcome.send_at is None or outcome.channel is None:
        raise ShopperUnreachable
    await conn.run(
        INSERT,
        new_id=outreach_id,
        of=entry.id,
        at=entry.location_id,
        by=entry.associate_id,
        to=entry.shopper_id,
        named=template,
        what_for=purpose,
        as_message=outcome.id,
        now=now,
    )
    await record_staff(
        conn,
        who,
        action="outreach.written",
        subject=f"shopper:{entry.shopper_id}",
        changes={"outreach": str(outreach_id), "template": template},
        now=now,
        location_id=entry.location_id,
    )
    return Sent(outreach_id, entry.id, template, purpose, outcome.channel, outcome.send_at)


async def _check(
    conn: Connection, person_ids: Sequence[UUID], purpose: consents.Purpose, now: datetime
) -> None:
    """Whether the person allows it, and has not heard enough lately."""
    granted = await consents.of(conn, person_ids)
    needed: tuple[consents.Purpose, ...] = ("personal_service", purpose)
    for each in needed:
        if not granted.allows(each):
            raise ConsentMissing(purpose=each)
    recent = await conn.one(RECENT, person_ids=list(person_ids), since=now - CAP_WINDOW)
    if recent.count >= CAP and recent.oldest is not None:
        raise OutreachCapReached(next_at=recent.oldest + CAP_WINDOW)


async def _parameters(
    conn: Connection,
    person: Person,
    entry: Entry,
    at: stores.Store,
    sku: str | None,
    line: str | None,
) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "name": person.name,
        "associate": await conn.one(NAME_OF_ASSOCIATE, of=entry.associate_id),
        "store": at,
        "line": line,
    }
    if sku is not None:
        found = await catalog.sku_by_code(conn, sku, zone=at.price_zone)
        parameters["item"] = (await catalog.item_by_code(conn, found.item_code)).name
    return parameters
