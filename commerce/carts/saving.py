"""Between the cart and the lists: saved for later, and taken back."""

from datetime import datetime
from uuid import UUID

from commerce import lists
from commerce.carts.editing import set_line
from commerce.carts.rows import Cart, Owner, lock_live
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.pricing import MAX_LINE_UNITS, Line


async def save_for_later(
    conn: Connection, cart_id: UUID, owner: Owner, *, sku: str, actor: str, now: datetime
) -> Cart:
    """Take a line out of the shopper's cart, and keep it in the list of what is saved for later.

    Raises NotFound, also for a line that is not there; CartOrdered, TooMany.
    """
    assert owner.shopper_id is not None, "only who has signed in has lists"
    found = await lock_live(conn, cart_id, owner, now=now)
    if sku not in found.lines:
        raise NotFound(kind="cart_line", id=sku)
    line = Line(sku, found.lines[sku][0])
    after = await set_line(conn, cart_id, owner, sku=sku, quantity=0, actor=actor, now=now)
    await lists.save(conn, owner.shopper_id, [line], now=now, bounded=True)
    return after


async def take_from_list(
    conn: Connection, cart_id: UUID, owner: Owner, *, list_id: UUID, sku: str,
    actor: str, now: datetime,
) -> Cart:  # fmt: skip
    """Move a line of one of the shopper's lists into the cart, on top of what is in it already.

    Raises NotFound, CartOrdered, UnknownSku when it is not sold any more, TooMany; then it stays on
    the list.
    """
    found = await lock_live(conn, cart_id, owner, now=now)
    quantity = await lists.take(conn, list_id, owner.person_ids, sku)
    already = found.lines[sku][0] if sku in found.lines else 0
    return await set_line(
        conn, cart_id, owner, sku=sku, quantity=min(already + quantity, MAX_LINE_UNITS),
        actor=actor, now=now,
    )  # fmt: skip
