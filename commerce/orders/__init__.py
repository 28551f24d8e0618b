"""Orders: what was sold, frozen at the sale, and its life cycle.

    pending_payment -> placed | cancelled ; placed -> completed | cancelled

Owns `orders`, `order_line` and the rows of `fulfillment` until work on them begins. Placing takes
many orders at once, each with its own outcome: read terms, price, hold stock, write. An order by
card waits as pending_payment until its authorization; others are placed at once.
"""

from commerce.orders.changes import (
    StockGone,
    cancel,
    complete,
    confirm,
    count_fulfilled,
    count_returned,
)
from commerce.orders.numbers import Numbers
from commerce.orders.placing import (
    Attribution,
    CardPayment,
    PickupUnavailable,
    Placement,
    PriceChanged,
    ShortLine,
    StockShort,
    Tender,
    place,
    promise_pickup,
)
from commerce.orders.reading import (
    Fulfillment,
    Order,
    OrderLine,
    by_id,
    by_ids,
    by_number,
    lock,
    of_person,
)

__all__ = [
    "Attribution",
    "CardPayment",
    "Fulfillment",
    "Numbers",
    "Order",
    "OrderLine",
    "PickupUnavailable",
    "Placement",
    "PriceChanged",
    "ShortLine",
    "StockGone",
    "StockShort",
    "Tender",
    "by_id",
    "by_ids",
    "by_number",
    "cancel",
    "complete",
    "confirm",
    "count_fulfilled",
    "count_returned",
    "lock",
    "of_person",
    "place",
    "promise_pickup",
]
