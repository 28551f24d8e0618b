"""Everything that is held about a person, as one JSON document."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import msgspec

from commerce import customers
from commerce.customers import Person
from commerce.customers.personal import guest_contacts, own_contacts
from commerce.kernel.errors import NotFound
from commerce.kernel.holdings import Scope
from commerce.kernel.sql import Connection
from commerce.privacy.registry import HOLDINGS

_encode = msgspec.json.Encoder().encode


async def export(conn: Connection, shopper_id: UUID, *, now: datetime) -> AsyncIterator[bytes]:
    """The document, in pieces: `{"shopper_ids": [...], "exported_at": ..., "held": {...}}`.

    `held` has a list of rows for each table. For a transaction that sees one moment; memory is
    bounded, time is not: guests' contacts are looked for among all. Raises `NotFound`.
    """
    person = await customers.person_of(conn, shopper_id)
    if person.erased:
        raise NotFound(kind="shopper", id=str(shopper_id))
    scope = await scope_of(conn, person, now)
    head = {"shopper_ids": person.ids, "exported_at": now}
    yield _encode(head)[:-1] + b',"held":{'
    comma = b""
    for holding in HOLDINGS:
        if holding.export is None:
            continue
        yield comma + _encode(holding.table) + b":["
        comma = b""
        async for row in conn.stream(holding.export, **scope.values_for(holding.export)):
            yield comma + row.encode()
            comma = b","
        yield b"]"
        comma = b","
    yield b"}}"


async def scope_of(conn: Connection, person: Person, now: datetime) -> Scope:
    """All by which a person is found who was not erased."""
    addresses = [*person.emails, *person.phones]
    contact_ids = await own_contacts(conn, person.ids)
    contact_ids += await guest_contacts(conn, addresses, now)
    return Scope(list(person.ids), contact_ids, addresses, until=now, now=now)
