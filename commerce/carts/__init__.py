"""Carts: what a shopper gathers, and the checkout that holds its stock until it becomes an order.

    open -> checkout ; checkout -> open | ordered

Owns `cart`. An edit is one statement on one row, so edits at once lose nothing; editing a cart in
checkout gives its hold back and opens it again. A checkout holds stock for every line and lives
while its hold does; a dead hold never comes back, the next checkout is a new demand. Prices are
live until the order freezes them. A cart becomes one order, however often it is completed.

A guest's cart is reached by its token; a shopper's only by the shopper's session. Carts record no
events: nobody acts on them, and what counts stands in the ledger and with the order.
"""

from commerce.carts.checkout import CartEmpty, Checkout, StoreNotChosen, begin, leave
from commerce.carts.completing import CheckoutExpired, Completion, complete
from commerce.carts.editing import (
    apply_coupon,
    attach,
    choose_store,
    create,
    remove_coupon,
    set_line,
)
from commerce.carts.quoting import Quoted, QuotedLine, read
from commerce.carts.rows import MAX_LINES, Cart, CartOrdered, Owner, owner_of, token

__all__ = [
    "MAX_LINES",
    "Cart",
    "CartEmpty",
    "CartOrdered",
    "Checkout",
    "CheckoutExpired",
    "Completion",
    "Owner",
    "Quoted",
    "QuotedLine",
    "StoreNotChosen",
    "apply_coupon",
    "attach",
    "begin",
    "choose_store",
    "complete",
    "create",
    "leave",
    "owner_of",
    "read",
    "remove_coupon",
    "set_line",
    "token",
]
