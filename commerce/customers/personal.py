"""What is held about shoppers themselves, and about the contacts of their orders.

The row of an erased shopper stays, because orders name it; nothing in it tells whose it was.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by

from commerce.kernel.holdings import (
    ADDRESSES,
    CONTACT_IDS,
    NOW,
    SHOPPER_IDS,
    UNTIL,
    Holding,
    document,
)
from commerce.kernel.partitions import bound
from commerce.kernel.sql import Connection, Query
from commerce.tables.people import (
    contact,
    one_time_code,
    shopper,
    shopper_identity,
    shopper_merge,
)

PAGE = 20_000
_MOMENT = timedelta(milliseconds=1)

_NOTHING = cast(literal("{}"), JSONB)
_EMPTY = {
    "email": null(),
    "phone": null(),
    "name": null(),
    "time_zone": null(),
    "other_loyalty_code": null(),
    "sizes": _NOTHING,
    "preferences": _NOTHING,
    "loyalty_code": cast(shopper.c.id, Text),
    "locale": literal("en"),
}
EMPTY_SHOPPERS = Query(
    update(shopper)
    .where(
        shopper.c.id == SHOPPER_IDS,
        or_(
            shopper.c.erased_at.is_(None),
            *(shopper.c[name].is_distinct_from(value) for name, value in _EMPTY.items()),
        ),
    )
    .values(
        **_EMPTY,
        revision=shopper.c.revision + 1,
        erased_at=func.coalesce(shopper.c.erased_at, NOW),
    )
    .returning(shopper.c.id),
    UUID,
)
_OF_PERSON = (
    or_(shopper_merge.c.source_id == SHOPPER_IDS, shopper_merge.c.target_id == SHOPPER_IDS),
    or_(
        and_(one_time_code.c.recipient == ADDRESSES, one_time_code.c.created_at <= UNTIL),
        one_time_code.c.shopper_id == SHOPPER_IDS,
    ),
)
HOLDINGS = (
    Holding(
        table="shopper",
        export=Query(
            select(document(shopper, without=["revision"])).where(shopper.c.id == SHOPPER_IDS), str
        ),
        erase=EMPTY_SHOPPERS,
        stays="The id, which orders name, and when it was made and erased.",
    ),
    Holding(
        table="shopper_identity",
        export=Query(
            select(document(shopper_identity, without=["subject_hash"])).where(
                shopper_identity.c.shopper_id == SHOPPER_IDS
            ),
            str,
        ),
        erase=Query(
            delete(shopper_identity)
            .where(shopper_identity.c.shopper_id == SHOPPER_IDS)
            .returning(shopper_identity.c.shopper_id),
            UUID,
        ),
    ),
    Holding(
        table="shopper_merge",
        export=Query(select(document(shopper_merge)).where(_OF_PERSON[0]), str),
        stays="Ids only: which ids were one person.",
    ),
    Holding(
        table="one_time_code",
        erase=Query(delete(one_time_code).where(_OF_PERSON[1]).returning(one_time_code.c.id), UUID),
    ),
    Holding(
        table="contact",
        export=Query(select(document(contact)).where(contact.c.id == CONTACT_IDS), str),
        erase=Query(
            update(contact)
            .where(contact.c.id == CONTACT_IDS, contact.c.name != "")
            .values(name="", email=null(), phone=null())
            .returning(contact.c.id),
            UUID,
        ),
        waits=True,
        stays="The id, which orders name.",
    ),
)


class _Scanned(msgspec.Struct, frozen=True):
    rows: int
    last: UUID | None
    found: list[UUID]


CONTACTS_OF_SHOPPERS = Query(
    select(contact.c.id).where(
        contact.c.shopper_id.is_not(None), contact.c.shopper_id == SHOPPER_IDS
    ),
    UUID,
)
_PART = (
    select(
        contact.c.id,
        (
            contact.c.shopper_id.is_(None)
            & or_(contact.c.email == ADDRESSES, contact.c.phone == ADDRESSES)
        ).label("ours"),
    )
    .where(
        contact.c.id > bindparam("after", type_=Uuid()),
        contact.c.id < bindparam("before", type_=Uuid()),
    )
    .order_by(contact.c.id)
    .limit(bindparam("page", type_=Integer()))
    .subquery()
)
_NO_IDS = cast(literal("{}"), ARRAY(Uuid()))
# An index on addresses would cost each order, and a person is erased once.
SCAN_CONTACTS = Query(
    select(
        func.count().label("rows"),
        func.array_agg(aggregate_order_by(_PART.c.id, _PART.c.id.desc()), type_=ARRAY(Uuid()))[
            1
        ].label("last"),
        func.coalesce(
            func.array_remove(
                func.array_agg(case((_PART.c.ours, _PART.c.id)), type_=ARRAY(Uuid())), null()
            ),
            _NO_IDS,
        ).label("found"),
    ),
    _Scanned,
)


async def own_contacts(conn: Connection, shopper_ids: Sequence[UUID]) -> list[UUID]:
    """Contacts of the orders that these shoppers placed."""
    return await conn.run(CONTACTS_OF_SHOPPERS, shopper_ids=list(shopper_ids))


async def guest_contacts(conn: Connection, addresses: Sequence[str], until: datetime) -> list[UUID]:
    """Contacts of guests, made until then, with one of these addresses.

    Reads all contacts, page by page: seconds where there are millions.
    """
    found: list[UUID] = []
    after: UUID | None = UUID(int=0)
    while addresses and after is not None:
        part = await conn.one(
            SCAN_CONTACTS,
            addresses=list(addresses),
            after=after,
            before=bound(until + _MOMENT),
            page=PAGE,
        )
        found += part.found
        after = part.last if part.rows == PAGE else None
    return found
