"""Whether a shopper wants browsing to be recorded: the newest choice of a person, else yes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Boolean, DateTime, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from commerce.kernel.sql import Connection, Query
from commerce.tables import browsing_choice


class _Choice(msgspec.Struct, frozen=True):
    shopper_id: UUID
    recording: bool
    decided_at: datetime


CHOICES = Query(
    select(browsing_choice).where(
        browsing_choice.c.shopper_id == any_(bindparam("ids", type_=ARRAY(Uuid())))
    ),
    _Choice,
)
_CHOSEN = insert(browsing_choice).values(
    shopper_id=bindparam("shopper", type_=Uuid()),
    recording=bindparam("wanted", type_=Boolean()),
    decided_at=bindparam("now", type_=DateTime(timezone=True)),
)
CHOOSE = Query(
    _CHOSEN.on_conflict_do_update(
        index_elements=["shopper_id"],
        set_={"recording": _CHOSEN.excluded.recording, "decided_at": _CHOSEN.excluded.decided_at},
    )
)


async def recording(conn: Connection, person_ids: Sequence[UUID]) -> bool:
    """Whether what this person browses is recorded."""
    return not await off(conn, [person_ids])


async def off(conn: Connection, people: Sequence[Sequence[UUID]]) -> frozenset[UUID]:
    """The ids of those of these people who have switched recording off."""
    found = await conn.run(CHOICES, ids=list({id_ for person_ids in people for id_ in person_ids}))
    choices = {each.shopper_id: each for each in found}
    unwilling: set[UUID] = set()
    for person_ids in people if choices else ():
        made = [choices[id_] for id_ in person_ids if id_ in choices]
        if made and not max(made, key=lambda choice: choice.decided_at).recording:
            unwilling.update(person_ids)
    return frozenset(unwilling)
