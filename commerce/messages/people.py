"""Who can be written to, and where: by what they prefer, have, and where nothing was stopped."""

from collections.abc import Mapping, Sequence
from itertools import chain
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on

from commerce import consents
from commerce.consents import CHANNELS, Consents, MessageChannel
from commerce.kernel.sql import Connection, Query
from commerce.messages import stops
from commerce.tables import contact, preferred_channel, push_device, shopper


class Reachable(msgspec.Struct, frozen=True):
    """A person as somebody who can be written to. `addresses` begin with what they prefer."""

    locale: str
    addresses: Mapping[MessageChannel, str]
    shopper_id: UUID | None = None
    person_ids: tuple[UUID, ...] = ()
    """All ids of a shopper, root first."""
    contact_id: UUID | None = None
    consents: Consents = Consents()
    time_zone: str | None = None


class _Contact(msgspec.Struct, frozen=True):
    id: UUID
    shopper_id: UUID | None
    email: str | None
    phone: str | None
    locale: str


class _Shopper(msgspec.Struct, frozen=True):
    asked: UUID
    id: UUID
    email: str | None
    phone: str | None
    locale: str
    time_zone: str | None
    merged_into: UUID | None


class _OfShopper(msgspec.Struct, frozen=True):
    """Something of a channel: a device's token, or that it is preferred."""

    shopper_id: UUID
    word: str


_IDS = bindparam("ids", type_=ARRAY(Uuid()))
CONTACTS = Query(
    select(*(contact.c[name] for name in _Contact.__struct_fields__)).where(
        contact.c.id == any_(_IDS)
    ),
    _Contact,
)
_asked, _row = shopper.alias("asked"), shopper.alias("row")
_root = func.coalesce(_asked.c.merged_into, _asked.c.id)
_OF_PERSON = [_asked.c.id.label("asked"), *(_row.c[n] for n in _Shopper.__struct_fields__[1:])]
SHOPPERS = Query(
    select(*_OF_PERSON)
    .where(_asked.c.id == any_(_IDS), _row.c.id == _root, _row.c.erased_at.is_(None))
    .union_all(
        select(*_OF_PERSON).where(
            _asked.c.id == any_(_IDS), _row.c.merged_into == _root, _row.c.erased_at.is_(None)
        )
    ),
    _Shopper,
)
NEWEST_DEVICES = Query(
    select(push_device.c.shopper_id, push_device.c.token.label("word"))
    .ext(distinct_on(push_device.c.shopper_id))
    .where(push_device.c.shopper_id == any_(_IDS))
    .order_by(push_device.c.shopper_id, push_device.c.used_at.desc()),
    _OfShopper,
)
PREFERRED = Query(
    select(preferred_channel.c.shopper_id, preferred_channel.c.channel.label("word")).where(
        preferred_channel.c.shopper_id == any_(_IDS)
    ),
    _OfShopper,
)


async def shoppers(conn: Connection, asked: Sequence[UUID]) -> dict[UUID, Reachable]:
    """Persons by any of their ids: what the root does not have, the oldest other row tells."""
    if not asked:
        return {}
    rows: dict[UUID, list[_Shopper]] = {}
    for row in await conn.run(SHOPPERS, ids=list(asked)):
        rows.setdefault(row.asked, []).append(row)
    named = {"ids": [row.id for row in chain(*rows.values())]}
    found_devices, found_preferred = await conn.gather((NEWEST_DEVICES, named), (PREFERRED, named))
    devices = {each.shopper_id: each.word for each in found_devices}
    preferred = {each.shopper_id: each.word for each in found_preferred}
    allowed = await consents.of_many(
        conn, {person: [row.id for row in of_person] for person, of_person in rows.items()}
    )
    found = {}
    for person, of_person in rows.items():
        ordered = sorted(of_person, key=lambda row: (row.merged_into is not None, row.id))
        root = ordered[0]
        email = next((row.email for row in ordered if row.email), None)
        phone = next((row.phone for row in ordered if row.phone), None)
        device = next((devices[row.id] for row in ordered if row.id in devices), None)
        likes = next((preferred[row.id] for row in ordered if row.id in preferred), None)
        addresses = _addresses(email, phone, device, likes)
        found[person] = Reachable(
            root.locale,
            addresses,
            root.id,
            tuple(row.id for row in ordered),
            consents=allowed[person],
            time_zone=next((row.time_zone for row in ordered if row.time_zone), None),
        )
    return await _without_stopped(conn, found)


async def contacts(conn: Connection, asked: Sequence[UUID]) -> dict[UUID, Reachable]:
    """Contacts of orders; whatever is written to a shopper's is kept with the shopper."""
    if not asked:
        return {}
    found = {
        each.id: reachable(each.id, each.shopper_id, each.email, each.phone, each.locale)
        for each in await conn.run(CONTACTS, ids=list(asked))
    }
    return await _without_stopped(conn, found)


def reachable(
    contact_id: UUID, shopper_id: UUID | None, email: str | None, phone: str | None, locale: str
) -> Reachable:
    """An order's contact; the message is kept with the shopper where it is one's."""
    own = contact_id if shopper_id is None else None
    return Reachable(locale, _addresses(email, phone), shopper_id, contact_id=own)


def _addresses(
    email: str | None, phone: str | None, device: str | None = None, likes: str | None = None
) -> dict[MessageChannel, str]:
    """What reaches somebody by each channel, the preferred one first."""
    given = {"email": email, "sms": phone, "whatsapp": phone, "push": device}
    ordered = sorted(CHANNELS, key=lambda channel: channel != likes)
    return {channel: address for channel in ordered if (address := given[channel])}


async def _without_stopped(
    conn: Connection, found: Mapping[UUID, Reachable]
) -> dict[UUID, Reachable]:
    pairs = chain(*(person.addresses.items() for person in found.values()))
    stopped = await stops.stopped(conn, pairs)
    if not stopped:
        return dict(found)
    return {
        named: msgspec.structs.replace(
            person,
            addresses={c: a for c, a in person.addresses.items() if (c, a) not in stopped},
        )
        for named, person in found.items()
    }
