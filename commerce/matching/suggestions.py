"""Who may be one person, as a list to work through: merged, or dismissed for good."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Uuid, and_, any_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import customers
from commerce.access import Principal, record_staff
from commerce.customers import Merge
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query
from commerce.matching.comparing import Sighting, masked
from commerce.matching.traits import Reason, TraitKind
from commerce.tables import shopper, shopper_duplicate


class Duplicate(msgspec.Struct, frozen=True):
    """Two who may be one, and what they have in common."""

    id: UUID
    first: Sighting
    second: Sighting
    reasons: list[Reason]
    found_at: datetime


class _Listed(msgspec.Struct, frozen=True):
    id: UUID
    reasons: list[TraitKind]
    found_at: datetime
    first_id: UUID
    first_name: str | None
    first_since: datetime
    second_id: UUID
    second_name: str | None
    second_since: datetime


_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_OTHERS = bindparam("others", type_=ARRAY(Uuid()))

_first, _second = shopper.alias("first"), shopper.alias("second")
_first_root, _second_root = shopper.alias("first_root"), shopper.alias("second_root")
SUGGESTED = Query(
    select(
        shopper_duplicate.c.id,
        shopper_duplicate.c.reasons,
        shopper_duplicate.c.found_at,
        _first_root.c.id.label("first_id"),
        func.coalesce(_first_root.c.name, _first.c.name).label("first_name"),
        _first_root.c.created_at.label("first_since"),
        _second_root.c.id.label("second_id"),
        func.coalesce(_second_root.c.name, _second.c.name).label("second_name"),
        _second_root.c.created_at.label("second_since"),
    )
    .join(_first, _first.c.id == shopper_duplicate.c.first_id)
    .join(_second, _second.c.id == shopper_duplicate.c.second_id)
    .join(_first_root, _first_root.c.id == func.coalesce(_first.c.merged_into, _first.c.id))
    .join(_second_root, _second_root.c.id == func.coalesce(_second.c.merged_into, _second.c.id))
    .where(
        shopper_duplicate.c.state == "suggested",
        shopper_duplicate.c.id < bindparam("before"),
        _first_root.c.id != _second_root.c.id,
        _first_root.c.erased_at.is_(None),
        _second_root.c.erased_at.is_(None),
    )
    .order_by(shopper_duplicate.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    _Listed,
)
DISMISS = Query(
    update(shopper_duplicate)
    .where(shopper_duplicate.c.id == bindparam("of"))
    .values(state="dismissed")
    .returning(shopper_duplicate.c.first_id),
    UUID,
)
_PAIR = (shopper_duplicate.c.first_id, shopper_duplicate.c.second_id)
DISMISS_BETWEEN = Query(
    update(shopper_duplicate)
    .where(
        or_(
            and_(_PAIR[0] == any_(_IDS), _PAIR[1] == any_(_OTHERS)),
            and_(_PAIR[0] == any_(_OTHERS), _PAIR[1] == any_(_IDS)),
        )
    )
    .values(state="dismissed")
)


async def suggested(conn: Connection, *, before: UUID, page: int) -> list[Duplicate]:
    """Who may be one person and is not yet, newest first."""
    return [
        Duplicate(
            each.id,
            Sighting(each.first_id, masked(each.first_name), each.first_since),
            Sighting(each.second_id, masked(each.second_name), each.second_since),
            [Reason.of(kind) for kind in each.reasons],
            each.found_at,
        )
        for each in await conn.run(SUGGESTED, before=before, page=page)
    ]


async def dismiss(conn: Connection, who: Principal, duplicate_id: UUID, *, now: datetime) -> None:
    """These are two persons. Repeating it changes nothing. Raises NotFound."""
    found = await conn.first(DISMISS, of=duplicate_id)
    if found is None:
        raise NotFound(kind="duplicate", id=str(duplicate_id))
    kind = "shopper.duplicate_dismissed"
    await record_staff(
        conn, who, action=kind, subject=f"duplicate:{duplicate_id}", changes={}, now=now
    )
    fact = Event(kind, "shopper", found, who.actor, {"duplicate_id": duplicate_id})
    await events.record(conn, [fact], now=now)


async def undo(conn: Connection, who: Principal, merge_id: UUID, *, now: datetime) -> Merge:
    """Undo a merge (see `customers.undo`); the two are not suggested again. Raises NotFound."""
    undone = await customers.undo(conn, who, merge_id, now=now)
    source = await customers.person_of(conn, undone.source_id)
    target = await customers.person_of(conn, undone.target_id)
    await conn.run(DISMISS_BETWEEN, ids=list(source.ids), others=list(target.ids))
    return undone
