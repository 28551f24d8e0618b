"""Pickups as a store's tablet sees them, in the stores that the asker may see."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Text, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import pricing
from commerce.access import Principal, StoreNotAllowed, in_scope
from commerce.kernel.errors import CommerceError, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Query
from commerce.orders import OrderLine
from commerce.orders.reading import LINES
from commerce.states import PICKUP
from commerce.tables import fulfillment, orders

PickupState = Literal["requested", "picking", "ready", "collected", "expired", "cancelled"]
OPEN_STATES: tuple[PickupState, ...] = ("requested", "picking", "ready")


class AlreadyCollected(CommerceError):
    """Somebody has handed these goods over before."""

    code = "already_collected"
    pickup_id: UUID
    collected_at: datetime
    handed_over_by: str


class Head(msgspec.Struct, frozen=True):
    """A pickup without its lines, with what its order says about it."""

    id: UUID
    order_id: UUID
    location_id: UUID
    state: PickupState
    promised_at: datetime | None
    requested_at: datetime
    picking_at: datetime | None
    ready_at: datetime | None
    expires_at: datetime | None
    closed_at: datetime | None
    picked_by: str | None
    handed_over_by: str | None
    staging_location: str | None
    cancel_reason: str | None
    code_locked_until: datetime | None
    number: str
    order_state: str
    tender: str
    currency: str
    tax_included: bool
    contact_id: UUID | None


class Pickup(msgspec.Struct, frozen=True):
    """A pickup with its lines."""

    head: Head
    lines: tuple[OrderLine, ...]

    @property
    def id(self) -> UUID:
        """The pickup's id, which is its fulfillment's."""
        return self.head.id

    @property
    def due(self) -> Money:
        """The price of what the shopper gets, whoever has paid it or will."""
        return due_of(self.lines, self.head.currency, tax_included=self.head.tax_included)


class Found(msgspec.Struct, frozen=True):
    """Where a pickup is, and whether the asker works there."""

    order_id: UUID
    location_id: UUID
    mine: bool


_OF_ORDER = ("number", "tender", "currency", "tax_included", "contact_id")
_OF_FULFILLMENT = [
    name for name in Head.__struct_fields__ if name not in {*_OF_ORDER, "order_state"}
]
_HEAD = (
    select(
        *(fulfillment.c[name] for name in _OF_FULFILLMENT),
        *(orders.c[name] for name in _OF_ORDER),
        orders.c.state.label("order_state"),
    )
    .join(orders, orders.c.id == fulfillment.c.order_id)
    .where(fulfillment.c.kind == "pickup", fulfillment.c.requested_at.is_not(None))
)
_OF = fulfillment.c.id == bindparam("of")

FIND = Query(
    select(
        fulfillment.c.order_id,
        fulfillment.c.location_id,
        in_scope(fulfillment.c.location_id).label("mine"),
    ).where(_OF, fulfillment.c.kind == "pickup", fulfillment.c.requested_at.is_not(None)),
    Found,
)
BY_ID = Query(_HEAD.where(_OF), Head)
OPEN_AT = Query(
    _HEAD.where(
        fulfillment.c.location_id == bindparam("at"),
        in_scope(fulfillment.c.location_id),
        fulfillment.c.state.in_(OPEN_STATES),
        fulfillment.c.state == any_(bindparam("states", type_=ARRAY(Text))),
        fulfillment.c.id > bindparam("after", type_=Uuid()),
    )
    .order_by(fulfillment.c.id)
    .limit(bindparam("page", type_=Integer())),
    Head,
)


async def open_at(
    conn: Connection,
    who: Principal,
    location_id: UUID,
    *,
    state: PickupState | None,
    after: UUID,
    page: int,
) -> list[Pickup]:
    """The work of a store, first placed first: what is requested, being picked or ready.

    Nothing of a store that the asker does not work at; nothing that is not paid or promised yet.
    """
    heads = await conn.run(
        OPEN_AT,
        at=location_id,
        scope=who.scope,
        states=[state] if state else list(OPEN_STATES),
        after=after,
        page=page,
    )
    return await _with_lines(conn, heads)


async def get(conn: Connection, who: Principal, pickup_id: UUID) -> Pickup:
    """One pickup in any state. Raises NotFound, or StoreNotAllowed when it is another store's."""
    await find(conn, who, pickup_id)
    return await by_id(conn, pickup_id)


async def find(conn: Connection, who: Principal, pickup_id: UUID) -> Found:
    """Where a pickup is. Raises NotFound, or StoreNotAllowed when it is another store's."""
    found = await conn.first(FIND, of=pickup_id, scope=who.scope)
    if found is None:
        raise NotFound(kind="pickup", id=str(pickup_id))
    if not found.mine:
        raise StoreNotAllowed(location_id=found.location_id)
    return found


async def by_id(conn: Connection, pickup_id: UUID) -> Pickup:
    """A pickup that is known to exist and to be in scope."""
    return (await _with_lines(conn, [await conn.one(BY_ID, of=pickup_id)]))[0]


async def refusal(conn: Connection, pickup_id: UUID, target: str) -> CommerceError:
    """Why a pickup could not go to `target`; its order is locked."""
    head = await conn.one(BY_ID, of=pickup_id)
    if head.state == "collected":
        assert head.closed_at is not None
        return AlreadyCollected(
            pickup_id=pickup_id,
            collected_at=head.closed_at,
            handed_over_by=head.handed_over_by or "",
        )
    return WrongState(
        kind="pickup", id=str(pickup_id), state=head.state, allowed=PICKUP.sources(target)
    )


def due_of(lines: Sequence[OrderLine], currency: str, *, tax_included: bool) -> Money:
    """The price of all units that were not cancelled, which are the first ones of their lines."""
    return Money(
        sum(
            pricing.refund_of(
                line.units,
                line.unit_price_minor,
                tax_included=tax_included,
                first=0,
                count=line.quantity - line.cancelled_quantity,
            )
            for line in lines
        ),
        currency,
    )


async def _with_lines(conn: Connection, heads: Sequence[Head]) -> list[Pickup]:
    if not heads:
        return []
    lines: dict[UUID, list[OrderLine]] = {}
    for line in await conn.run(LINES, order_ids=[head.order_id for head in heads]):
        lines.setdefault(line.fulfillment_id, []).append(line)
    return [Pickup(head, tuple(lines[head.id])) for head in heads]
