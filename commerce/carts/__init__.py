"""Carts: what a shopper gathers, and the checkout that holds its stock until it becomes an order.

    open -> checkout | ordered | merged ; checkout -> open | ordered | merged

Owns `cart`. An edit is one statement on one row, so edits at once lose nothing; editing a cart in
checkout gives its hold back and opens it again. A checkout holds stock for every line and lives
while its hold does; a dead hold never comes back, the next checkout is a new demand. Prices are
live until the order freezes them. A cart becomes one order, however often it is completed.

A guest's cart is reached by its token; a shopper's only by the shopper's session, on every device.
An associate reaches one that was handed over (`claiming`). Each change counts the revision up and
records `cart.changed`, so whoever has the cart open sees what the others do.
"""

from commerce.carts.checkout import CartEmpty, Checkout, StoreNotChosen, begin, leave
from commerce.carts.claiming import (
    ClaimCode,
    TooManyTries,
    claim,
    claimed_at,
    forget_tries,
    link,
    make_code,
    on_record,
    release,
    revoke_link,
)
from commerce.carts.completing import CheckoutExpired, Completion, complete
from commerce.carts.editing import apply_coupon, choose_store, create, remove_coupon, set_line
from commerce.carts.merging import Merged, merge_guest, of_person
from commerce.carts.moving import move
from commerce.carts.quoting import Quoted, QuotedLine, read
from commerce.carts.retaining import forget
from commerce.carts.rows import (
    MAX_LINES,
    Cart,
    CartChanged,
    CartMerged,
    CartOrdered,
    Owner,
    find,
    link_token,
    owner_of,
    token,
)
from commerce.carts.saving import save_for_later, take_from_list
from commerce.carts.selling import CartElsewhere, Sale, Sold, sell

__all__ = [
    "MAX_LINES",
    "Cart",
    "CartChanged",
    "CartElsewhere",
    "CartEmpty",
    "CartMerged",
    "CartOrdered",
    "Checkout",
    "CheckoutExpired",
    "ClaimCode",
    "Completion",
    "Merged",
    "Owner",
    "Quoted",
    "QuotedLine",
    "Sale",
    "Sold",
    "StoreNotChosen",
    "TooManyTries",
    "apply_coupon",
    "begin",
    "choose_store",
    "claim",
    "claimed_at",
    "complete",
    "create",
    "find",
    "forget",
    "forget_tries",
    "leave",
    "link",
    "link_token",
    "make_code",
    "merge_guest",
    "move",
    "of_person",
    "on_record",
    "owner_of",
    "read",
    "release",
    "remove_coupon",
    "revoke_link",
    "save_for_later",
    "sell",
    "set_line",
    "take_from_list",
    "token",
]
