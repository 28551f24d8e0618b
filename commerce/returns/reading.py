"""Returns as they stand."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Text, Uuid, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access import in_scope
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query, either
from commerce.tables import return_, return_line, return_unit

ReturnState: TypeAlias = Literal[
    "requested", "approved", "received", "settled", "rejected", "cancelled"
]
Disposition: TypeAlias = Literal["restock", "damaged", "return_to_vendor", "destroy"]

OPEN_STATES = ("requested", "approved")
"""States in which a return claims its units: nobody else may ask for them."""

PAGE_OF_ORDER = 200
"""Returns of one order that are shown at most."""


class Head(msgspec.Struct, frozen=True):
    """A return without its lines.

    `location_id` is the store that asked for it, then the one that took the goods. `refund_minor`
    is what all requested units would bring, and from `received` on exactly what they do.
    """

    id: UUID
    order_id: UUID
    location_id: UUID | None
    state: ReturnState
    reason: str | None
    refund_minor: int
    currency: str
    requested_by: str
    requested_at: datetime
    received_by: str | None = None
    received_at: datetime | None = None
    rejection: str | None = None
    closed_at: datetime | None = None


class ReturnLine(msgspec.Struct, frozen=True):
    """Units of one order line: so many asked for, so many came, for so much money."""

    return_id: UUID
    line_number: int
    order_id: UUID
    sku: str
    quantity: int
    received_quantity: int
    refund_minor: int


class ReturnUnit(msgspec.Struct, frozen=True):
    """What became of so many units of a line."""

    return_id: UUID
    line_number: int
    disposition: Disposition
    quantity: int


class Return(msgspec.Struct, frozen=True):
    """A return with its lines, and what became of the units that came."""

    head: Head
    lines: tuple[ReturnLine, ...]
    units: tuple[ReturnUnit, ...] = ()

    @property
    def id(self) -> UUID:
        """The return's id."""
        return self.head.id


class Claim(msgspec.Struct, frozen=True):
    """Units of one order line that open returns have asked for."""

    line_number: int
    quantity: int


_HEAD = [return_.c[name] for name in Head.__struct_fields__]
_IDS = bindparam("return_ids", type_=ARRAY(Uuid))
_OF = bindparam("of", type_=Uuid())

HEAD = Query(select(*_HEAD).where(return_.c.id == _OF), Head)
LOCK_HEAD = Query(select(*_HEAD).where(return_.c.id == _OF).with_for_update(key_share=True), Head)
HEAD_FOR_STAFF = Query(
    select(*_HEAD).where(
        return_.c.id == _OF, or_(return_.c.state.in_(OPEN_STATES), in_scope(return_.c.location_id))
    ),
    Head,
)
HEADS_OF_ORDER = Query(
    select(*_HEAD).where(return_.c.order_id == _OF).order_by(return_.c.id).limit(PAGE_OF_ORDER),
    Head,
)
HEADS_AT_LOCATIONS = Query(
    select(*_HEAD)
    .where(
        in_scope(return_.c.location_id),
        either(return_.c.state == bindparam("in_state", type_=Text()), "in_state", Text()),
        return_.c.id < bindparam("before"),
    )
    .order_by(return_.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Head,
)
LINES = Query(
    select(return_line)
    .where(return_line.c.return_id == any_(_IDS))
    .order_by(return_line.c.return_id, return_line.c.line_number),
    ReturnLine,
)
UNITS = Query(
    select(return_unit)
    .where(return_unit.c.return_id == any_(_IDS))
    .order_by(return_unit.c.return_id, return_unit.c.line_number, return_unit.c.disposition),
    ReturnUnit,
)
CLAIMED = Query(
    select(return_line.c.line_number, func.sum(return_line.c.quantity).label("quantity"))
    .join(return_, return_.c.id == return_line.c.return_id)
    .where(return_.c.order_id == _OF, return_.c.state.in_(OPEN_STATES))
    .group_by(return_line.c.line_number),
    Claim,
)


async def by_id(conn: Connection, return_id: UUID) -> Return:
    """One return. Raises NotFound; whether the asker may see it is the caller's question."""
    head = await conn.first(HEAD, of=return_id)
    return await _with_parts_or_not_found(conn, head, return_id)


async def for_staff(conn: Connection, return_id: UUID, *, scope: Sequence[UUID] | None) -> Return:
    """One return that these locations (None: all) may see. Raises NotFound.

    Every store sees those that are open, because each may take the goods back.
    """
    head = await conn.first(HEAD_FOR_STAFF, of=return_id, scope=scope)
    return await _with_parts_or_not_found(conn, head, return_id)


async def of_order(conn: Connection, order_id: UUID) -> list[Return]:
    """The returns of an order, oldest first, at most 200."""
    return await with_parts(conn, await conn.run(HEADS_OF_ORDER, of=order_id))


async def at_locations(
    conn: Connection, scope: Sequence[UUID] | None, *, state: str | None, before: UUID, page: int
) -> list[Return]:
    """Returns of these locations (None: all), newest first, in one state or in any."""
    heads = await conn.run(
        HEADS_AT_LOCATIONS, scope=scope, in_state=state, before=before, page=page
    )
    return await with_parts(conn, heads)


async def claimed(conn: Connection, order_id: UUID) -> dict[int, int]:
    """Units that open returns of an order have asked for, by line number."""
    return {each.line_number: each.quantity for each in await conn.run(CLAIMED, of=order_id)}


async def lock(conn: Connection, return_id: UUID) -> Return:
    """One return, locked for the rest of the transaction, after its order. Raises NotFound."""
    head = await conn.first(LOCK_HEAD, of=return_id)
    return await _with_parts_or_not_found(conn, head, return_id)


async def with_parts(conn: Connection, heads: Sequence[Head]) -> list[Return]:
    """Returns with their lines and units: two statements, however many."""
    if not heads:
        return []
    return_ids = [head.id for head in heads]
    lines: dict[UUID, list[ReturnLine]] = {}
    for line in await conn.run(LINES, return_ids=return_ids):
        lines.setdefault(line.return_id, []).append(line)
    units: dict[UUID, list[ReturnUnit]] = {}
    for unit in await conn.run(UNITS, return_ids=return_ids):
        units.setdefault(unit.return_id, []).append(unit)
    return [Return(h, tuple(lines[h.id]), tuple(units.get(h.id, ()))) for h in heads]


async def _with_parts_or_not_found(conn: Connection, head: Head | None, return_id: UUID) -> Return:
    if head is None:
        raise NotFound(kind="return", id=str(return_id))
    return (await with_parts(conn, [head]))[0]
