"""Carts while shoppers fill them: each edit is one statement, on a cart that is open."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import pricing
from commerce.availability import TooMany
from commerce.carts.checkout import reopen
from commerce.carts.rows import COLUMNS, MAX_LINES, Cart, CartChanged, Owner, lock, lock_live
from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.events import told_with
from commerce.kernel.sql import Connection, Query, either
from commerce.pricing import UnknownSku, UnknownStore
from commerce.states import CART
from commerce.tables import cart, sku, store

_NOW = bindparam("now", type_=DateTime(timezone=True))
_AT = bindparam("at", type_=Uuid())
_SHOPPER = bindparam("shopper", type_=Uuid())
_SKU = bindparam("of_sku", type_=Text())
_QUANTITY = bindparam("quantity", type_=Integer())


def _edit(*conditions: ColumnElement[bool], **values: Any) -> Query[Cart]:
    """An edit of an open cart by whose it is (`Cart.belongs_to`); without a row it was refused.

    The fact is recorded by the same statement: an edit is one round trip.
    """
    guest = and_(cart.c.shopper_id.is_(None), bindparam("by_token", type_=Boolean()))
    person = cart.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid())))
    staff = and_(
        cart.c.claim_location_id == any_(bindparam("store_ids", type_=ARRAY(Uuid()))),
        cart.c.claim_expires_at > _NOW,
    )
    edited = (
        update(cart)
        .values(**{"revision": cart.c.revision + 1, "updated_at": _NOW} | values)
        .where(
            cart.c.id == bindparam("of"),
            cart.c.state == CART.initial,
            or_(guest, person, staff),
            either(cart.c.revision == bindparam("expected"), "expected", Integer()),
            *conditions,
        )
        .returning(*COLUMNS)
        .cte("edited")
    )
    payload = func.jsonb_build_object("revision", edited.c.revision)
    told = told_with(edited, "cart.changed", "cart", payload)
    return Query(select(edited).add_cte(told), Cart)


_SKUS_IN_CART = (
    select(func.count())
    .select_from(func.jsonb_object_keys(cart.c.lines).table_valued("sku"))
    .correlate(cart)
    .scalar_subquery()
)
_ADDED_AT_REVISION = func.coalesce(
    func.jsonb_extract_path(cart.c.lines, _SKU, "1"), func.to_jsonb(cart.c.revision)
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
SET_LINE = _edit(
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
            func.jsonb_build_object(_SKU, func.jsonb_build_array(_QUANTITY, _ADDED_AT_REVISION))
        ),
    ),
)
SET_COUPON = _edit(coupon_code=bindparam("coupon", type_=Text()))
CHOOSE_STORE = _edit(exists().where(store.c.location_id == _AT), location_id=_AT)


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
    actor: str, now: datetime, expected: int | None = None,
) -> Cart:  # fmt: skip
    """So many units of a SKU from now on, none at 0. Repeating it changes nothing.

    `expected`, here and below: only if this is still the cart's revision, else CartChanged. Raises
    UnknownSku for what does not exist or is no longer sold anywhere, TooMany for more than 100
    SKUs; what the chosen store has of it tells `read`.
    """
    edit = _Edit(cart_id, owner, actor, expected)
    edited = await _run(conn, SET_LINE, edit, {"of_sku": sku, "quantity": quantity}, now)
    if edited is not None:
        return edited
    found = await lock(conn, cart_id, owner, now=now)
    if sku not in found.lines and len(found.lines) >= MAX_LINES:
        raise TooMany(what="lines", given=len(found.lines) + 1, limit=MAX_LINES)
    raise UnknownSku(sku=sku, path="/sku")


async def apply_coupon(
    conn: Connection, cart_id: UUID, owner: Owner, *, code: str,
    actor: str, now: datetime, expected: int | None = None,
) -> Cart:  # fmt: skip
    """Use this coupon instead of any other. Raises CouponRefused for one that nobody can use now.

    Whether this basket may use it depends on what is in it, and is told with the quote.
    """
    await pricing.check_coupon(conn, code, now=now)
    return await _set_coupon(conn, _Edit(cart_id, owner, actor, expected), code, now)


async def remove_coupon(
    conn: Connection, cart_id: UUID, owner: Owner, *,
    actor: str, now: datetime, expected: int | None = None,
) -> Cart:  # fmt: skip
    """Use no coupon. Repeating it changes nothing."""
    return await _set_coupon(conn, _Edit(cart_id, owner, actor, expected), None, now)


async def choose_store(
    conn: Connection, cart_id: UUID, owner: Owner, *, location_id: UUID,
    actor: str, now: datetime, expected: int | None = None,
) -> Cart:  # fmt: skip
    """Where the shopper will pick up, whose prices count. Raises UnknownStore."""
    edit = _Edit(cart_id, owner, actor, expected)
    edited = await _run(conn, CHOOSE_STORE, edit, {"at": location_id}, now)
    if edited is None:
        raise UnknownStore(location_id=location_id)
    return edited


async def _set_coupon(conn: Connection, edit: "_Edit", code: str | None, now: datetime) -> Cart:
    edited = await _run(conn, SET_COUPON, edit, {"coupon": code}, now)
    if edited is None:
        raise NotFound(kind="cart", id=str(edit.cart_id))
    return edited


class _Edit(msgspec.Struct, frozen=True):
    """Who edits which cart, and the revision that it must have."""

    cart_id: UUID
    owner: Owner
    actor: str
    expected: int | None

    def values(self, now: datetime) -> dict[str, Any]:
        """The parameters that all edits have in common."""
        return {
            "of": self.cart_id,
            "by_token": self.owner.has_token,
            "person_ids": list(self.owner.person_ids),
            "store_ids": list(self.owner.store_ids),
            "expected": self.expected,
            "event_id": ids.uuid7(),
            "actor": self.actor,
            "now": now,
        }


async def _run(
    conn: Connection, query: Query[Cart], edit: _Edit, values: dict[str, Any], now: datetime
) -> Cart | None:
    """The cart after an edit; None when the edit's own condition refused it.

    A cart in checkout is opened first. Raises NotFound, CartOrdered, CartMerged, CartChanged.
    """
    values |= edit.values(now)
    edited = await conn.first(query, **values)
    if edited is not None:
        return edited
    found = await lock_live(conn, edit.cart_id, edit.owner, now=now)
    if edit.expected not in (None, found.revision):
        raise CartChanged(cart_id=found.id, revision=found.revision)
    # Under the lock its state is certain: somebody else may have opened it at this moment.
    if found.state != CART.initial:
        await reopen(conn, found, actor=edit.actor, now=now)
    return await conn.first(query, **values | {"expected": None})
