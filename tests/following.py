"""Follow-ups in tests: shoppers who allow them, what was heard, what was sent."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from commerce import consents, customers, follow_ups
from commerce.carts import Cart, Owner
from commerce.consents import Decision
from commerce.kernel import events
from commerce.kernel.sql import Database
from tests import carts
from tests.counter import SECRET
from tests.shop import Shop
from tests.simulation.story import Moment

DELAY = timedelta(hours=4)
"""Of an abandoned cart, by default."""


async def shopper(db: Database, *, now: datetime, allows: bool = True) -> Owner:
    """Somebody with a mail address, who allows follow-ups by mail."""
    async with db.transaction() as conn:
        made = await customers.put_shopper(
            conn, email=f"{uuid4().hex}@example.com", phone=None, locale="es", now=now, name="Ana"
        )
    if allows:
        await allow(db, made.id, now=now)
    return Owner((made.id,), has_token=False)


async def allow(db: Database, shopper_id: UUID, *, now: datetime, granted: bool = True) -> None:
    """The shopper says yes or no to follow-ups by mail."""
    decision = Decision("follow_up", granted=granted, channel="email")
    async with db.transaction() as conn:
        await consents.decide(conn, shopper_id, [decision], "profile", "test", now)


async def cart(db: Database, shop: Shop, owner: Owner, *, now: datetime) -> Cart:
    """A cart with one unit of the first SKU, and the news of it heard."""
    made = await carts.make_cart(db, owner=owner, location_id=shop.stores[0].location_id, now=now)
    made = await carts.set_line(db, made.id, shop.skus[0].sku, 1, owner=owner, now=now)
    await hear(db, now=now)
    return made


async def hear(db: Database, *, now: datetime) -> None:
    """Tell all events that there are, of this moment and before: more than once is harmless."""
    rows = await db.pool.fetch("SELECT id FROM event")
    async with db.transaction() as conn:
        told = await events.by_ids(conn, [row["id"] for row in rows])
        await follow_ups.hear(conn, told, now=now)


async def sweep(db: Database, clock: Moment) -> int:
    """Decide about all that are due."""
    async with db.transaction() as conn:
        await follow_ups.call_waiting(conn, now=clock())
    return await follow_ups.run_due(db, secret=SECRET, now=clock)


async def state(db: Database, subject_id: UUID) -> tuple[str, str | None]:
    """State and reason of the follow-up about a cart, a pickup, a watch or an order."""
    row = await db.pool.fetchrow(
        "SELECT state, reason FROM follow_up WHERE subject_id = $1", subject_id
    )
    return row["state"], row["reason"]


async def due_at(db: Database, subject_id: UUID) -> Any:
    """When it is looked at."""
    return await db.pool.fetchval("SELECT due_at FROM follow_up WHERE subject_id = $1", subject_id)


async def sent(db: Database, template: str) -> list[str]:
    """The bodies of the messages of a template."""
    rows = await db.pool.fetch(
        "SELECT body FROM message WHERE template = $1 ORDER BY created_at", template
    )
    return [row["body"] for row in rows]
