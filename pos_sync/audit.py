"""What the tills' rows must agree on with commerce, for `mostrador audit`. Reads only."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import func, select

from commerce.kernel.auditing import Check, Finding, count_of, reference
from commerce.kernel.sql import Query
from commerce.tables import orders, store
from pos_sync.tables import basket


class Sale(Struct, frozen=True):
    """A basket that was sold without a completed order to show for it."""

    id: UUID
    order_id: UUID
    order_state: str


SALES = Query(
    select(
        basket.c.id,
        basket.c.order_id,
        func.coalesce(orders.c.state, "missing").label("order_state"),
    )
    .outerjoin(orders, orders.c.id == basket.c.order_id)
    .where(basket.c.state == "sold", orders.c.state.is_distinct_from("completed")),
    Sale,
)


def judge_sale(row: Sale) -> Iterator[Finding]:
    """Pure."""
    yield Finding(
        f"basket {row.id}",
        f"order {row.order_id} completed, because it was sold over the counter",
        row.order_state,
        "Compare it with the till's receipt, and restore the order from a backup.",
    )


CHECKS: tuple[Check[Any], ...] = (
    Check("sold baskets are completed orders", SALES, judge_sale),
    reference("baskets have a store", basket.c.location_id, store.c.location_id),
)

COUNTED = (count_of("till baskets", basket),)
