"""How long carts are kept that nobody touches any more."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import DateTime, Integer, Uuid, any_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel import partitions
from commerce.kernel.sql import Connection, Query
from commerce.tables import cart

_TIME = DateTime(timezone=True)

# Ids are as old as their carts: the oldest come first, and no edit has an index to keep up.
OLDEST = Query(
    select(cart.c.id)
    .where(
        cart.c.id < bindparam("below", type_=Uuid()),
        cart.c.updated_at < bindparam("before", type_=_TIME),
        cart.c.state.in_(("open", "merged", "checkout")),
    )
    .order_by(cart.c.id)
    .limit(bindparam("page", type_=Integer()))
    .with_for_update(skip_locked=True, key_share=True),
    UUID,
)
FORGET = Query(delete(cart).where(cart.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))))


async def forget(conn: Connection, *, kept_for: timedelta, now: datetime, page: int) -> int:
    """Delete carts that were not touched for so long; returns how many. Safe to repeat.

    A cart that became an order stays with it. One in checkout is not touched while its hold lives,
    for an hour at most, so `kept_for` must be longer than that.
    """
    before = now - kept_for
    old = await conn.run(OLDEST, below=partitions.bound(before), before=before, page=page)
    if old:
        await conn.run(FORGET, ids=old)
    return len(old)
