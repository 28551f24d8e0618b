"""Carts while shoppers fill them: each edit is one statement, on a cart that is open."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from commerce import pricing
from commerce.availability import TooMany
from commerce.carts.checkout import reopen
from commerce.carts.rows import COLUMNS, MAX_LINES, Cart, CartOrdered, Owner, lock
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query
from commerce.pricing import UnknownSku, UnknownStore
from commerce.states import CART
from commerce.tables import cart, sku, store

_NOW = bindparam("now", type_=DateTime(timezone=True))
_AT = bindparam("at", type_=Uuid())
_SHOPPER = bindparam("shopper", type_=Uuid())
_SKU = bindparam("of_sku", type_=Text())
_QUANTITY = bindparam("quantity", type_=Integer())


def _edit(*conditions: ColumnElement[bool], **values: Any) -> Update:
    """An edit of an open cart by its owner (`Cart.belongs_to`); without a row it was refused."""
    guest = and_(cart.c.shopper_id.is_(None), bindparam("by_token", type_=Boolean()))
    return (
        update(cart)
        .values(**{"version": cart.c.version + 1, "updated_at": _NOW} | values)
        .where(
            cart.c.id == bindparam("of"),
            cart.c.state == CART.initial,
            or_(guest, cart.c.shopper_id == _SHOPPER),
            *conditions,
        )
        .returning(*COLUMNS)
    )


_SKUS_IN_CART = (
    select(func.count())
    .select_from(func.jsonb_object_keys(cart.c.lines).table_valued("sku"))
    .correlate(cart)
    .scalar_subquery()
)
_ADDED_AT_VERSION = func.coalesce(
    func.jsonb_extract_path(cart.c.lines, _SKU, "1"), func.to_jsonb(cart.c.version)
)

CREATE = Query(
    insert(cart)
    .from_select(
        ["id", "state", "key_id", "shopper_id", "location_id", "created_at", "updated_at"],
        select(
            bindparam("cart_id", type_=Uuid()),
            bindparam("initial", CART.initial, type_=Text(), unique=True),
            bindparam("key", type_=Uuid()),
            _SHOPPER,
            _AT,
            _NOW,
            _NOW,
        ).where(or_(_AT.is_(None), exists().where(store.c.location_id == _AT))),
    )
    .returning(*COLUMNS),
    Cart,
)
SET_LINE = Query(
    _edit(
        or_(
            _QUANTITY == 0,
            and_(
                exists().where(sku.c.sku == _SKU, sku.c.active),
                or_(cart.c.lines.has_key(_SKU), _SKUS_IN_CART < MAX_LINES),
            ),
        ),
        lines=case(
            (_QUANTITY == 0, cart.c.lines.op("-")(_SKU)),
            else_=cart.c.lines.op("||")(
                func.jsonb_build_object(_SKU, func.jsonb_build_array(_QUANTITY, _ADDED_AT_VERSION))
            ),
        ),
    ),
    Cart,
)
SET_COUPON = Query(_edit(coupon_code=bindparam("coupon", type_=Text())), Cart)
CHOOSE_STORE = Query(_edit(exists().where(store.c.location_id == _AT), location_id=_AT), Cart)
ATTACH = Query(
    update(cart)
    .values(shopper_id=_SHOPPER, version=cart.c.version + 1, updated_at=_NOW)
    .where(cart.c.id == bindparam("of"), cart.c.shopper_id.is_(None), cart.c.order_id.is_(None))
    .returning(*COLUMNS),
    Cart,
)


async def create(
    conn: Connection,
    *,
    cart_id: UUID,
    key_id: UUID,
    shopper_id: UUID | None,
    location_id: UUID | None,
    now: datetime,
) -> Cart:
    """A new, empty cart, of a shopper or a guest. Raises UnknownStore."""
    made = await conn.first(
        CREATE, cart_id=cart_id, key=key_id, shopper=shopper_id, at=location_id, now=now
    )
    if made is None:
        assert location_id is not None
        raise UnknownStore(location_id=location_id)
    return made


async def set_line(
    conn: Connection, cart_id: UUID, owner: Owner, *, sku: str, quantity: int,
    actor: str, now: datetime,
) -> Cart:  # fmt: skip
    """So many units of a SKU from now on, none at 0. Repeating it changes nothing.

    Raises UnknownSku for what does not exist or is no longer sold anywhere, TooMany for more than
    100 SKUs; what the chosen store has of it tells `read`.
    """
    values = {"of_sku": sku, "quantity": quantity}
    edited = await _run(conn, SET_LINE, cart_id, owner, values, actor=actor, now=now)
    if edited is not None:
        return edited
    found = await lock(conn, cart_id, owner)
    if sku not in found.lines and len(found.lines) >= MAX_LINES:
        raise TooMany(what="lines", given=len(found.lines) + 1, limit=MAX_LINES)
    raise UnknownSku(sku=sku, path="/sku")


async def apply_coupon(
    conn: Connection, cart_id: UUID, owner: Owner, *, code: str, actor: str, now: datetime
) -> Cart:
    """Use this coupon instead of any other. Raises CouponRefused for one that nobody can use now.

    Whether this basket may use it depends on what is in it, and is told with the quote.
    """
    await pricing.check_coupon(conn, code, now=now)
    return await _set_coupon(conn, cart_id, owner, code, actor=actor, now=now)


async def remove_coupon(
    conn: Connection, cart_id: UUID, owner: Owner, *, actor: str, now: datetime
) -> Cart:
    """Use no coupon. Repeating it changes nothing."""
    return await _set_coupon(conn, cart_id, owner, None, actor=actor, now=now)


async def choose_store(
    conn: Connection, cart_id: UUID, owner: Owner, *, location_id: UUID, actor: str, now: datetime
) -> Cart:
    """Where the shopper will pick up, whose prices count. Raises UnknownStore."""
    edited = await _run(
        conn, CHOOSE_STORE, cart_id, owner, {"at": location_id}, actor=actor, now=now
    )
    if edited is None:
        raise UnknownStore(location_id=location_id)
    return edited


async def attach(
    conn: Connection, cart_id: UUID, owner: Owner, *, shopper_id: UUID, now: datetime
) -> Cart:
    """A guest who has signed in takes the cart along; its token opens it no longer.

    It stays in checkout if it is. Attached already: nothing changes. Raises CartOrdered.
    """
    found = await lock(conn, cart_id, owner)
    if found.shopper_id is not None:
        return found
    if found.order_id is not None:
        raise CartOrdered(cart_id=cart_id, order_id=found.order_id)
    return await conn.one(ATTACH, of=cart_id, shopper=shopper_id, now=now)


async def _set_coupon(
    conn: Connection, cart_id: UUID, owner: Owner, code: str | None, *, actor: str, now: datetime
) -> Cart:
    edited = await _run(conn, SET_COUPON, cart_id, owner, {"coupon": code}, actor=actor, now=now)
    if edited is None:
        raise NotFound(kind="cart", id=str(cart_id))
    return edited


async def _run(
    conn: Connection,
    query: Query[Cart],
    cart_id: UUID,
    owner: Owner,
    values: dict[str, Any],
    *,
    actor: str,
    now: datetime,
) -> Cart | None:
    """The cart after an edit; None when the edit's own condition refused it.

    A cart in checkout is opened first. Raises NotFound, CartOrdered.
    """
    values = values | {"of": cart_id, "by_token": owner.has_token, "shopper": owner.shopper_id}
    edited = await conn.first(query, **values, now=now)
    if edited is not None:
        return edited
    found = await lock(conn, cart_id, owner)
    if found.order_id is not None:
        raise CartOrdered(cart_id=cart_id, order_id=found.order_id)
    if found.state == CART.initial:
        return None
    await reopen(conn, found, actor=actor, now=now)
    return await conn.first(query, **values, now=now)
