"""Who looked at whom, when, why, and what was shown. Rows are added and never changed.

A view stands for the act of looking, `shopper_access` for the first time that it showed something.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.clienteling.views import SHOWN, Ending, View, ViewPurpose
from commerce.kernel import ids
from commerce.kernel.sql import Connection, Query, either, rows_of
from commerce.tables import associate, shopper_access, shopper_view, store


class Look(msgspec.Struct, frozen=True):
    """One view as the log tells it; `shown` are the parts of the shopper that were shown."""

    id: UUID
    shopper_id: UUID
    associate_id: UUID
    associate_name: str
    location_id: UUID
    store_name: str
    purpose: ViewPurpose
    reason: str
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ending: Ending | None
    shown: list[str]


_MOMENT = DateTime(timezone=True)
RECORD = Query(
    insert(shopper_access).values(
        id=bindparam("access_id", type_=Uuid()),
        view_id=bindparam("through", type_=Uuid()),
        at=bindparam("now", type_=_MOMENT),
        shown=bindparam("parts", type_=ARRAY(Text())),
    )
)
_OF_VIEW = ("id", "shopper_id", "associate_id", "location_id", "purpose", "reason", "opened_at",
            "expires_at", "ended_at", "ending")  # fmt: skip
_LOOKS = (
    select(
        *(shopper_view.c[name] for name in _OF_VIEW),
        associate.c.name.label("associate_name"),
        store.c.name.label("store_name"),
        func.coalesce(SHOWN, cast([], ARRAY(Text()))).label("shown"),
    )
    .join(associate, associate.c.id == shopper_view.c.associate_id)
    .join(store, store.c.location_id == shopper_view.c.location_id)
    .where(either(shopper_view.c.id < bindparam("before", type_=Uuid()), "before", Uuid()))
    .order_by(shopper_view.c.id.desc())
    .limit(bindparam("page", type_=Integer()))
)
_PERSON = rows_of("person", person_ids=Uuid())
_of_one = (
    select(shopper_view.c.id)
    .where(
        shopper_view.c.shopper_id == _PERSON.c.person_ids,
        either(shopper_view.c.id < bindparam("before", type_=Uuid()), "before", Uuid()),
    )
    .order_by(shopper_view.c.id.desc())
    .limit(bindparam("page", type_=Integer()))
    .lateral("of_one")
)
LOOKS_AT_PERSON = Query(
    _LOOKS.where(
        shopper_view.c.id.in_(select(_of_one.c.id).select_from(_PERSON.join(_of_one, true())))
    ),
    Look,
)
_FILTERS = ("location_id", "associate_id", "shopper_id")


def _only(by: str) -> Query[Look]:
    """The page of one place, associate or shopper, which an index finds; others narrow it."""
    others = (name for name in _FILTERS if name != by)
    return Query(
        _LOOKS.where(
            shopper_view.c[by] == bindparam(by, type_=Uuid()),
            *(
                either(shopper_view.c[name] == bindparam(name, type_=Uuid()), name, Uuid())
                for name in others
            ),
        ),
        Look,
    )


ALL_LOOKS = Query(_LOOKS, Look)
LOOKS_BY = {name: _only(name) for name in _FILTERS}


async def record_shown(
    conn: Connection, view: View, parts: Sequence[str], *, now: datetime
) -> None:
    """Put on record that these parts of a shopper were shown through a view."""
    await conn.run(
        RECORD, access_id=ids.uuid7(), through=view.id, now=now, parts=sorted(set(parts))
    )


async def looks_at(
    conn: Connection, person_ids: Sequence[UUID], *, before: UUID | None, page: int
) -> list[Look]:
    """Who looked at a person, newest first, beginning behind `before`."""
    return await conn.run(LOOKS_AT_PERSON, person_ids=list(person_ids), before=before, page=page)


async def looks(
    conn: Connection,
    *,
    before: UUID | None,
    page: int,
    location_id: UUID | None = None,
    associate_id: UUID | None = None,
    shopper_id: UUID | None = None,
) -> list[Look]:
    """Who looked at whom, newest first, beginning behind `before`; of these alone."""
    only = {"location_id": location_id, "associate_id": associate_id, "shopper_id": shopper_id}
    by = next((name for name in reversed(_FILTERS) if only[name] is not None), None)
    if by is None:
        return await conn.run(ALL_LOOKS, before=before, page=page)
    return await conn.run(LOOKS_BY[by], before=before, page=page, **only)
