"""Orders in one call over HTTP: their bodies, and what stands in the tables afterwards."""

from typing import Any
from uuid import uuid4

import httpx

from commerce.kernel.sql import Database
from tests.shop import Shop

FOOTPRINT = """
SELECT
  (SELECT count(*) FROM orders WHERE location_id = $1),
  (SELECT count(*) FROM fulfillment WHERE location_id = $1),
  (SELECT count(*) FROM reservation WHERE location_id = $1),
  (SELECT count(*) FROM stock_ledger WHERE location_id = $1),
  (SELECT sum(reserved) FROM stock_level WHERE location_id = $1),
  (SELECT sum(on_hand) FROM stock_level WHERE location_id = $1),
  (SELECT count(*) FROM event WHERE location_id = $1),
  (SELECT count(*) FROM contact WHERE name = $2)
"""


def contact(shop: Shop) -> dict[str, Any]:
    """Somebody whom only this shop knows, so that a test can look for what was left of them."""
    return {"name": f"Ana {shop.tag}", "email": "ana@example.com", "locale": "es"}


def body(shop: Shop, *lines: tuple[int, int], **fields: Any) -> dict[str, Any]:
    """An order of (SKU number, units) at the first store; one unit of the first SKU if not said."""
    wanted = lines or ((0, 1),)
    total = sum(shop.skus[index].price_minor * units for index, units in wanted)
    return {
        "location_id": str(shop.stores[0].location_id),
        "lines": [{"sku": shop.skus[index].sku, "quantity": units} for index, units in wanted],
        "contact": contact(shop),
        "tender": "pay_at_pickup",
        "total": {"amount_minor": total, "currency": shop.currency},
    } | fields


async def send(
    http: httpx.AsyncClient, order: dict[str, Any], *, key: str | None = None
) -> httpx.Response:
    """POST /v1/orders, under a key of its own unless one is given."""
    headers = {"Idempotency-Key": key or uuid4().hex}
    return await http.post("/v1/orders", json=order, headers=headers)


async def place(http: httpx.AsyncClient, shop: Shop, *lines: tuple[int, int], **fields: Any) -> Any:
    """An order that was taken."""
    answer = await send(http, body(shop, *lines, **fields))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def footprint(db: Database, shop: Shop) -> tuple[int, ...]:
    """Everything that an order at the shop's first store would leave behind, counted."""
    async with db.reading() as conn:
        row = await conn.driver.fetchrow(
            FOOTPRINT, shop.stores[0].location_id, contact(shop)["name"]
        )
    return tuple(row)


async def counters(db: Database, shop: Shop, index: int = 0) -> tuple[int, int]:
    """`on_hand` and `reserved` of a SKU at the first store."""
    async with db.reading() as conn:
        row = await conn.driver.fetchrow(
            "SELECT on_hand, reserved FROM stock_level WHERE location_id = $1 AND sku = $2",
            shop.stores[0].location_id,
            shop.skus[index].sku,
        )
    return row["on_hand"], row["reserved"]
