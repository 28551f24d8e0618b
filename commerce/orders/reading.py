"""Orders as they stand."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Text, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query, either
from commerce.pricing import Unit
from commerce.tables import fulfillment, order_line, orders


class OrderLine(msgspec.Struct, frozen=True):
    """A line as it was sold, and what became of its units. Never priced again."""

    order_id: UUID
    line_number: int
    fulfillment_id: UUID
    sku: str
    name: str
    quantity: int
    unit_price_minor: int
    discount_minor: int
    tax_rate_bp: int
    tax_minor: int
    total_minor: int
    units: tuple[Unit, ...]
    final_sale: bool
    return_window_days: int
    cancelled_quantity: int = 0
    fulfilled_quantity: int = 0
    returned_quantity: int = 0


class Fulfillment(msgspec.Struct, frozen=True):
    """One location's share of an order. Work may begin when it is requested: not before payment."""

    id: UUID
    order_id: UUID
    location_id: UUID
    demand_id: UUID
    kind: str
    state: str
    promised_at: datetime | None
    requested_at: datetime | None
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    closed_at: datetime | None = None


class Head(msgspec.Struct, frozen=True):
    """An order without its lines."""

    id: UUID
    number: str
    state: str
    channel: str
    key_id: UUID
    shopper_id: UUID | None
    contact_id: UUID | None
    cart_id: UUID | None
    location_id: UUID
    currency: str
    tax_included: bool
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int
    coupon_code: str | None
    tender: str
    attributed_to: str | None
    attributed_location_id: UUID | None
    cancel_reason: str | None
    created_at: datetime
    placed_at: datetime | None
    closed_at: datetime | None


class Order(msgspec.Struct, frozen=True):
    """An order with its lines and fulfillments."""

    head: Head
    lines: tuple[OrderLine, ...]
    fulfillments: tuple[Fulfillment, ...]

    @property
    def id(self) -> UUID:
        """The order's id."""
        return self.head.id


_HEAD = [orders.c[name] for name in Head.__struct_fields__]
_FULFILLMENT = [fulfillment.c[name] for name in Fulfillment.__struct_fields__]
_LINE = [order_line.c[name] for name in OrderLine.__struct_fields__]
_IDS = bindparam("order_ids", type_=ARRAY(Uuid))

HEADS = Query(select(*_HEAD).where(orders.c.id == any_(_IDS)), Head)
HEAD_BY_NUMBER = Query(select(*_HEAD).where(orders.c.number == bindparam("of")), Head)
HEADS_OF_PERSON = Query(
    select(*_HEAD)
    .where(
        orders.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid()))),
        orders.c.id < bindparam("before"),
    )
    .order_by(orders.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Head,
)
HEADS_AT_LOCATION = Query(
    select(*_HEAD)
    .where(
        either(
            orders.c.location_id == any_(bindparam("scope", type_=ARRAY(Uuid))),
            "scope",
            ARRAY(Uuid),
        ),
        either(orders.c.state == bindparam("in_state", type_=Text()), "in_state", Text()),
        orders.c.id < bindparam("before"),
    )
    .order_by(orders.c.id.desc())
    .limit(bindparam("page", type_=Integer())),
    Head,
)
LOCK_HEAD = Query(
    select(*_HEAD).where(orders.c.id == bindparam("of")).with_for_update(key_share=True), Head
)
LINES = Query(
    select(*_LINE)
    .where(order_line.c.order_id == any_(_IDS))
    .order_by(order_line.c.order_id, order_line.c.line_number),
    OrderLine,
)
FULFILLMENTS = Query(
    select(*_FULFILLMENT)
    .where(fulfillment.c.order_id == any_(_IDS))
    .order_by(fulfillment.c.order_id, fulfillment.c.id),
    Fulfillment,
)


async def by_id(conn: Connection, order_id: UUID) -> Order:
    """One order. Raises NotFound; whether the asker may see it is the caller's question."""
    found = await by_ids(conn, [order_id])
    if not found:
        raise NotFound(kind="order", id=str(order_id))
    return found[order_id]


async def by_ids(conn: Connection, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Those of the orders that exist."""
    heads = await conn.run(HEADS, order_ids=list(order_ids))
    return {order.id: order for order in await with_parts(conn, heads)}


async def by_number(conn: Connection, number: str) -> Order:
    """One order by the number that people read to each other, however they typed it."""
    head = await conn.first(HEAD_BY_NUMBER, of=ids.normal_code(number))
    if head is None:
        raise NotFound(kind="order", id=number)
    return (await with_parts(conn, [head]))[0]


async def of_person(
    conn: Connection, person_ids: Sequence[UUID], *, before: UUID, page: int
) -> list[Order]:
    """A person's orders, newest first, beginning behind `before`."""
    heads = await conn.run(HEADS_OF_PERSON, person_ids=list(person_ids), before=before, page=page)
    return await with_parts(conn, heads)


async def at_locations(
    conn: Connection, scope: Sequence[UUID] | None, *, state: str | None, before: UUID, page: int
) -> list[Order]:
    """Orders of these locations (None: all), newest first, in one state or in any."""
    heads = await conn.run(HEADS_AT_LOCATION, scope=scope, in_state=state, before=before, page=page)
    return await with_parts(conn, heads)


async def lock(conn: Connection, order_id: UUID) -> Order:
    """One order, locked for the rest of the transaction. Raises NotFound."""
    head = await conn.first(LOCK_HEAD, of=order_id)
    if head is None:
        raise NotFound(kind="order", id=str(order_id))
    return (await with_parts(conn, [head]))[0]


async def with_parts(conn: Connection, heads: Sequence[Head]) -> list[Order]:
    """Orders with lines and fulfillments: two statements, however many."""
    if not heads:
        return []
    order_ids = [head.id for head in heads]
    lines: dict[UUID, list[OrderLine]] = {}
    for line in await conn.run(LINES, order_ids=order_ids):
        lines.setdefault(line.order_id, []).append(line)
    parts: dict[UUID, list[Fulfillment]] = {}
    for part in await conn.run(FULFILLMENTS, order_ids=order_ids):
        parts.setdefault(part.order_id, []).append(part)
    return [Order(head, tuple(lines[head.id]), tuple(parts[head.id])) for head in heads]
