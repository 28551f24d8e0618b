"""The associate's work: collect the goods of a pickup and put them where they wait."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Text, any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import access, orders
from commerce.access import Principal
from commerce.fulfillment.reading import Pickup, by_id, find, refusal
from commerce.kernel import events
from commerce.kernel.errors import InvalidField
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query
from commerce.orders import Fulfillment, Order, OrderLine
from commerce.orders.changes import count_cancelled
from commerce.states import PICKUP
from commerce.tables import fulfillment
from inventory import reservations
from inventory.demands import Want

WAITS_FOR = timedelta(days=7)
"""How long a ready pickup waits for its shopper."""

SHORT_PICK = "short_pick"


class ShortLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of a line were not found."""

    line_number: int
    quantity: int


_TIME = DateTime(timezone=True)
_MOVE = (
    update(fulfillment)
    .where(
        fulfillment.c.id == bindparam("of"),
        fulfillment.c.state == any_(bindparam("sources", type_=ARRAY(Text))),
    )
    .returning(fulfillment.c.id)
)
_NOW = bindparam("now", type_=_TIME)

START = Query(
    _MOVE.values(state="picking", picking_at=_NOW, picked_by=bindparam("by", type_=Text())), UUID
)
READY = Query(
    _MOVE.values(
        state="ready",
        ready_at=_NOW,
        expires_at=bindparam("until", type_=_TIME),
        staging_location=bindparam("waits_at", type_=Text()),
    ),
    UUID,
)


async def start_picking(
    conn: Connection, who: Principal, pickup_id: UUID, *, now: datetime
) -> Pickup:
    """Take a pickup off the list: requested -> picking. Raises WrongState when another did."""
    found = await find(conn, who, pickup_id)
    await orders.lock(conn, found.order_id)
    started = await conn.run(
        START, of=pickup_id, sources=PICKUP.sources("picking"), by=who.actor, now=now
    )
    if not started:
        raise await refusal(conn, pickup_id, "picking")
    await access.record_staff(
        conn,
        who,
        action="pickup.picking",
        subject=f"pickup:{pickup_id}",
        changes={},
        now=now,
        location_id=found.location_id,
    )
    fact = _fact("pickup.picking", found.order_id, found.location_id, who, pickup_id)
    await events.record(conn, [fact], now=now)
    return await by_id(conn, pickup_id)


async def finish_picking(
    conn: Connection,
    who: Principal,
    pickup_id: UUID,
    *,
    staging_location: str,
    short: Sequence[ShortLine],
    now: datetime,
) -> Pickup:
    """The goods wait for the shopper: picking -> ready, for a week.

    Units that were not found are cancelled, their stock is given back, and less is due. When
    nothing was found the order is cancelled. Raises WrongState, InvalidField.
    """
    found = await find(conn, who, pickup_id)
    order = await orders.lock(conn, found.order_id)
    (share,) = (each for each in order.fulfillments if each.id == pickup_id)
    if share.state not in PICKUP.sources("ready"):
        raise await refusal(conn, pickup_id, "ready")
    lines = [line for line in order.lines if line.fulfillment_id == pickup_id]
    missing = missing_units(lines, short)
    await access.record_staff(
        conn,
        who,
        action="pickup.ready",
        subject=f"pickup:{pickup_id}",
        changes={"staging_location": staging_location, "short": _told(missing)},
        now=now,
        location_id=found.location_id,
    )
    if missing == {line.line_number: _left(line) for line in lines if _left(line)}:
        await orders.cancel(conn, order.id, reason=SHORT_PICK, actor=who.actor, now=now)
        await events.record(conn, [_short(order, share, missing, 0, who)], now=now)
        return await by_id(conn, pickup_id)
    ready = await conn.run(
        READY,
        of=pickup_id,
        sources=PICKUP.sources("ready"),
        now=now,
        until=now + WAITS_FOR,
        waits_at=staging_location,
    )
    assert ready, "the order is locked"
    facts = []
    if missing:
        await _cancel_units(conn, order, share, missing, who, now)
        pickup = await by_id(conn, pickup_id)
        facts.append(_short(order, share, missing, pickup.due.amount_minor, who))
    facts.append(_fact("pickup.ready", order.id, share.location_id, who, pickup_id))
    await events.record(conn, facts, now=now)
    return await by_id(conn, pickup_id)


def missing_units(lines: Sequence[OrderLine], short: Sequence[ShortLine]) -> dict[int, int]:
    """Units that were not found, by line number. Pure. Raises InvalidField."""
    left = {line.line_number: _left(line) for line in lines}
    missing: dict[int, int] = {}
    for index, each in enumerate(short):
        if each.line_number not in left:
            raise InvalidField(
                path=f"/short/{index}/line_number", reason="the pickup has no such line"
            )
        missing[each.line_number] = missing.get(each.line_number, 0) + each.quantity
        if not 0 < missing[each.line_number] <= left[each.line_number]:
            raise InvalidField(
                path=f"/short/{index}/quantity",
                reason=f"between 1 and the {left[each.line_number]} units to be picked",
            )
    return missing


async def _cancel_units(
    conn: Connection,
    order: Order,
    share: Fulfillment,
    missing: dict[int, int],
    who: Principal,
    now: datetime,
) -> None:
    await count_cancelled(conn, order.id, missing)
    by_sku: dict[str, int] = {}
    for line in order.lines:
        if line.line_number in missing:
            by_sku[line.sku] = by_sku.get(line.sku, 0) + missing[line.line_number]
    wants = [Want(share.location_id, sku, quantity) for sku, quantity in by_sku.items()]
    await reservations.release_part(conn, share.demand_id, wants, actor=who.actor, now=now)


def _left(line: OrderLine) -> int:
    return line.quantity - line.cancelled_quantity


def _told(missing: dict[int, int]) -> list[dict[str, int]]:
    return [{"line_number": line, "quantity": quantity} for line, quantity in missing.items()]


def _short(
    order: Order, share: Fulfillment, missing: dict[int, int], due_minor: int, who: Principal
) -> Event:
    fact = _fact("pickup.short_picked", order.id, share.location_id, who, share.id)
    more = {"lines": _told(missing), "due_minor": due_minor, "currency": order.head.currency}
    return msgspec.structs.replace(fact, payload=fact.payload | more)


def _fact(kind: str, order_id: UUID, location_id: UUID, who: Principal, pickup_id: UUID) -> Event:
    return Event(kind, "order", order_id, who.actor, {"fulfillment_id": pickup_id}, location_id)
