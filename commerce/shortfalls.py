"""Stock that is not there for what was promised: which pickups lose units.

The latest promise loses first, holds of carts before those. The store sees each pickup that is at
risk as a fact on its order, and finds other goods or tells the shopper.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.fulfillment.reading import OPEN_STATES
from commerce.kernel import events
from commerce.kernel.events import Event, Recorded
from commerce.kernel.sql import Connection, Query
from commerce.tables import fulfillment
from inventory import reservations, stock

ACTOR = "system"


class _Promised(msgspec.Struct, frozen=True):
    id: UUID
    order_id: UUID
    demand_id: UUID


OPEN_PICKUPS = Query(
    select(fulfillment.c.id, fulfillment.c.order_id, fulfillment.c.demand_id).where(
        fulfillment.c.demand_id == any_(bindparam("demands", type_=ARRAY(Uuid))),
        fulfillment.c.state.in_(OPEN_STATES),
        fulfillment.c.requested_at.is_not(None),
    ),
    _Promised,
)


async def warn(conn: Connection, shortfalls: Sequence[Recorded], *, now: datetime) -> None:
    """Record `pickup.at_risk` for each pickup that the shelf no longer covers.

    Reads the counters as they stand: a shortfall that was made good since then warns of nothing.
    """
    facts = []
    for shortfall in shortfalls:
        assert shortfall.location_id is not None
        facts += await _at_risk(conn, shortfall, shortfall.location_id)
    await events.record(conn, facts, now=now)


async def _at_risk(conn: Connection, shortfall: Recorded, location_id: UUID) -> list[Event]:
    key = (location_id, str(shortfall.payload["sku"]))
    level = (await stock.levels(conn, [key])).get(key)
    short = level.reserved - level.on_hand if level is not None else 0
    demand_ids = [UUID(each) for each in shortfall.payload["demand_ids"]]
    promised = {
        each.demand_id: each.quantity
        for each in await reservations.of_demands(conn, demand_ids)
        if each.key == key and each.state in ("held", "committed")
    }
    losing: dict[UUID, int] = {}
    for demand_id in demand_ids:
        lost = min(short, promised.get(demand_id, 0))
        if lost > 0:
            losing[demand_id] = lost
            short -= lost
    found = {each.demand_id: each for each in await conn.run(OPEN_PICKUPS, demands=list(losing))}
    return [
        Event(
            "pickup.at_risk",
            "order",
            found[demand_id].order_id,
            ACTOR,
            {"fulfillment_id": found[demand_id].id, "sku": key[1], "short": lost},
            location_id,
        )
        for demand_id, lost in losing.items()
        if demand_id in found
    ]
