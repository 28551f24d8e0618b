"""The statements that read the parts of a portrait.

What is read is bounded: the newest of each kind, found by an index for each id of the person, so it
takes as long after ten years as after ten orders.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    Subquery,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from commerce.clienteling.portrait import (
    MAX_SHOWN_LINES,
    NEWEST,
    VALUED,
    CartSeen,
    NoteSeen,
    OrderSeen,
    PickupSeen,
    ReturnSeen,
    ValueSeen,
    WishSeen,
)
from commerce.kernel.sql import Query, rows_of
from commerce.tables import (
    associate,
    cart,
    fulfillment,
    list_line,
    note,
    order_line,
    orders,
    return_,
    return_line,
    shopping_list,
    sku,
)

RECENT_ORDERS = 50
"""Among so many newest orders are those whose goods are on their way, there or back."""
LIVE_FOR = timedelta(days=30)
"""A cart that nobody has touched for longer is no longer being filled."""
RECENT_CARTS = 50
_WHOLE_BP = 10_000
_OPEN_PICKUP = ("requested", "picking", "ready")
_FILLED = ("open", "checkout")


_SOLD = ("placed", "completed")
_TAKEN_BACK = ("received", "settled")


class CartRow(CartSeen, frozen=True, kw_only=True):
    """A cart, and whether its shopper has handed it over to this store."""

    handed_over: bool

    @property
    def cart(self) -> CartSeen:
        """As it is shown."""
        return CartSeen(self.id, self.location_id, self.updated_at, self.lines)


_PERSON = rows_of("person", person_ids=Uuid())
_OF_PERSON = _PERSON.c.person_ids


def _object(**of: ColumnElement[Any]) -> ColumnElement[Any]:
    pairs = [part for name, found in of.items() for part in (literal_column(f"'{name}'"), found)]
    return func.jsonb_build_object(*pairs)


def _money(amount: ColumnElement[Any], currency: ColumnElement[Any]) -> ColumnElement[Any]:
    return _object(amount_minor=amount, currency=currency)


def _array(rows: Select[Any], of: FromClause) -> ColumnElement[Any]:
    """The rows of a select about a row of `of`, as a JSON array of objects."""
    each = rows.correlate(of).lateral("each")
    whole = select(func.jsonb_agg(_object(**each.c))).select_from(each)
    return func.coalesce(whole.scalar_subquery(), literal_column("'[]'::jsonb"))


def _newest_orders(count: int) -> Subquery:
    """A person's newest orders: so many of each id, then so many of all."""
    shown = ("id", "number", "state", "channel", "location_id", "total_minor", "currency",
             "created_at")  # fmt: skip
    of_one = (
        select(*(orders.c[name] for name in shown))
        .where(orders.c.shopper_id == _OF_PERSON)
        .order_by(orders.c.id.desc())
        .limit(count)
        .lateral("of_one")
    )
    return (
        select(of_one)
        .select_from(_PERSON.join(of_one, true()))
        .order_by(of_one.c.id.desc())
        .limit(count)
        .subquery("newest")
    )


def _seen_order(of: FromClause) -> tuple[ColumnElement[Any], ...]:
    bought = (
        select(
            order_line.c.sku,
            order_line.c.name,
            order_line.c.quantity,
            order_line.c.returned_quantity,
        )
        .where(order_line.c.order_id == of.c.id)
        .order_by(order_line.c.line_number)
        .limit(MAX_SHOWN_LINES)
    )
    shown = ("id", "number", "state", "channel", "location_id", "created_at")
    return (
        *(of.c[name] for name in shown),
        _money(of.c.total_minor, of.c.currency).label("total"),
        _array(bought, of).label("lines"),
    )


_newest = _newest_orders(NEWEST)
_recent = _newest_orders(RECENT_ORDERS)
_valued = _newest_orders(VALUED)
ORDERS = Query(select(*_seen_order(_newest)).order_by(_newest.c.id.desc()), OrderSeen)
ORDER = Query(select(*_seen_order(orders)).where(orders.c.id == bindparam("of")), OrderSeen)
RETURNS = Query(
    select(
        *(return_.c[name] for name in ("id", "state", "location_id", "requested_at", "closed_at")),
        _recent.c.number.label("order_number"),
        _money(return_.c.refund_minor, return_.c.currency).label("refund"),
        _array(
            select(return_line.c.sku, return_line.c.quantity, return_line.c.received_quantity)
            .where(return_line.c.return_id == return_.c.id)
            .order_by(return_line.c.line_number)
            .limit(MAX_SHOWN_LINES),
            return_,
        ).label("lines"),
    )
    .join(return_, return_.c.order_id == _recent.c.id)
    .order_by(return_.c.id.desc())
    .limit(NEWEST),
    ReturnSeen,
)
_WAITING = ("id", "state", "location_id", "promised_at", "ready_at", "expires_at")
PICKUPS = Query(
    select(
        *(fulfillment.c[name] for name in _WAITING),
        _recent.c.number.label("order_number"),
        _array(
            select(order_line.c.sku, order_line.c.name, order_line.c.quantity)
            .where(
                order_line.c.order_id == fulfillment.c.order_id,
                order_line.c.fulfillment_id == fulfillment.c.id,
            )
            .order_by(order_line.c.line_number)
            .limit(MAX_SHOWN_LINES),
            fulfillment,
        ).label("lines"),
    )
    .join(fulfillment, fulfillment.c.order_id == _recent.c.id)
    .where(
        fulfillment.c.kind == "pickup",
        fulfillment.c.requested_at.is_not(None),
        fulfillment.c.state.in_(_OPEN_PICKUP),
    )
    .order_by(fulfillment.c.id.desc())
    .limit(NEWEST),
    PickupSeen,
)


def _value() -> Select[Any]:
    """Figures of the newest orders that were sold."""
    sold = select(_valued).where(_valued.c.state.in_(_SOLD)).cte("sold")
    back = (
        select(func.coalesce(func.sum(return_.c.refund_minor), 0).label("minor"))
        .where(return_.c.order_id == sold.c.id, return_.c.state.in_(_TAKEN_BACK))
        .lateral("back")
    )
    kept = func.sum(sold.c.total_minor - back.c.minor)
    by_currency = (
        select(
            sold.c.currency,
            cast(kept, BigInteger()).label("spent"),
            cast(func.round(kept / func.count()), BigInteger()).label("average"),
        )
        .select_from(sold.join(back, true()))
        .group_by(sold.c.currency)
        .order_by(sold.c.currency)
        .cte("by_currency")
    )
    units = func.sum(order_line.c.fulfilled_quantity)
    back_units = func.sum(order_line.c.returned_quantity)
    share = func.coalesce(back_units * _WHOLE_BP / func.nullif(units, 0), 0)
    returned = (
        select(cast(share, Integer()))
        .select_from(sold.join(order_line, order_line.c.order_id == sold.c.id))
        .scalar_subquery()
    )

    def amounts(name: str) -> ColumnElement[Any]:
        of = by_currency.c
        whole = select(func.jsonb_agg(_money(of[name], of.currency))).scalar_subquery()
        return func.coalesce(whole, literal_column("'[]'::jsonb")).label(name)

    first = (
        select(orders.c.created_at)
        .where(orders.c.shopper_id == _OF_PERSON)
        .order_by(orders.c.id)
        .limit(1)
        .lateral("first")
    )
    return select(
        select(func.count()).select_from(sold).scalar_subquery().label("orders"),
        amounts("spent"),
        amounts("average"),
        returned.label("returned_bp"),
        select(func.min(first.c.created_at))
        .select_from(_PERSON.join(first, true()))
        .scalar_subquery()
        .label("first_order_at"),
        select(func.max(sold.c.created_at)).scalar_subquery().label("last_order_at"),
    )


VALUE = Query(_value(), ValueSeen)
_TIME = DateTime(timezone=True)
_of_cart = ("id", "location_id", "updated_at", "lines", "state", "claim_location_id",
            "claim_expires_at")  # fmt: skip
_one_cart = (
    select(*(cart.c[name] for name in _of_cart))
    .where(cart.c.shopper_id == _OF_PERSON)
    .order_by(cart.c.id.desc())
    .limit(RECENT_CARTS)
    .lateral("of_one")
)
_line = (
    func.jsonb_each(_one_cart.c.lines)
    .table_valued(column("sku", Text()), column("line", JSONB()))
    .render_derived("line")
)
_called = select(sku.c.name).where(sku.c.sku == _line.c.sku).correlate(_line).scalar_subquery()
_wanted = (
    select(
        _line.c.sku,
        func.coalesce(_called, _line.c.sku).label("name"),
        _line.c.line[0].as_integer().label("quantity"),
    )
    .order_by(_line.c.line[1].as_integer(), _line.c.sku)
    .limit(MAX_SHOWN_LINES)
)
CARTS = Query(
    select(
        _one_cart.c.id,
        _one_cart.c.location_id,
        _one_cart.c.updated_at,
        _array(_wanted, _one_cart).label("lines"),
        func.coalesce(
            and_(
                _one_cart.c.claim_location_id == bindparam("at_store", type_=Uuid()),
                _one_cart.c.claim_expires_at > bindparam("now", type_=_TIME),
            ),
            literal_column("false"),
        ).label("handed_over"),
    )
    .select_from(_PERSON.join(_one_cart, true()))
    .where(
        _one_cart.c.state.in_(_FILLED),
        _one_cart.c.lines != literal_column("'{}'::jsonb"),
        _one_cart.c.updated_at > bindparam("touched_after", type_=_TIME),
    )
    .order_by(_one_cart.c.updated_at.desc())
    .limit(NEWEST),
    CartRow,
)
_one_wish = (
    select(list_line.c.sku, list_line.c.quantity, list_line.c.added_at)
    .join(shopping_list, shopping_list.c.id == list_line.c.list_id)
    .where(shopping_list.c.shopper_id == _OF_PERSON, shopping_list.c.kind == "wishlist")
    .order_by(list_line.c.added_at.desc())
    .limit(NEWEST)
    .lateral("of_one")
)
WISHLIST = Query(
    select(
        _one_wish.c.sku,
        func.coalesce(sku.c.name, _one_wish.c.sku).label("name"),
        _one_wish.c.quantity,
        _one_wish.c.added_at,
    )
    .select_from(
        _PERSON.join(_one_wish, true()).outerjoin(sku, sku.c.sku == _one_wish.c.sku),
    )
    .order_by(_one_wish.c.added_at.desc())
    .limit(NEWEST),
    WishSeen,
)
_one_note = (
    select(note)
    .where(note.c.shopper_id == _OF_PERSON)
    .order_by(note.c.created_at.desc(), note.c.id.desc())
    .limit(NEWEST)
    .lateral("of_one")
)
NOTES = Query(
    select(
        *(_one_note.c[name] for name in ("id", "body", "location_id", "created_at")),
        associate.c.name.label("associate_name"),
    )
    .select_from(_PERSON.join(_one_note, true()))
    .join(associate, associate.c.id == _one_note.c.associate_id)
    .order_by(_one_note.c.created_at.desc())
    .limit(NEWEST),
    NoteSeen,
)
