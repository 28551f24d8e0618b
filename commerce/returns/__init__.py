"""Returns: goods that come back, to any store, and the money that goes back for them.

    requested -> approved -> received -> settled
    requested -> rejected ; before received -> cancelled

Owns `return`, `return_line` and `return_unit`. A return is decided by the lines of its order as
they were frozen at the sale, and by nothing that changed since. It is settled when every refund
for it has succeeded; `settlement` carries the refunds out and says so.

Locks: the order, then the return, then stock levels, then payments.
"""

from commerce.returns.policy import (
    Eligibility,
    FinalSale,
    OrderNotCompleted,
    RefundRun,
    ReturnExceedsBought,
    ReturnWindowClosed,
    WhyNot,
)
from commerce.returns.reading import (
    Disposition,
    Return,
    ReturnLine,
    ReturnState,
    ReturnUnit,
    at_locations,
    by_id,
    for_staff,
    of_order,
)
from commerce.returns.receiving import (
    Arrival,
    NothingReceived,
    Received,
    ReturnExceedsRequested,
    receive,
    refund_again,
    settle,
    take_back,
)
from commerce.returns.requesting import approve, cancel, eligibility, reject, request

__all__ = [
    "Arrival",
    "Disposition",
    "Eligibility",
    "FinalSale",
    "NothingReceived",
    "OrderNotCompleted",
    "Received",
    "RefundRun",
    "Return",
    "ReturnExceedsBought",
    "ReturnExceedsRequested",
    "ReturnLine",
    "ReturnState",
    "ReturnUnit",
    "ReturnWindowClosed",
    "WhyNot",
    "approve",
    "at_locations",
    "by_id",
    "cancel",
    "eligibility",
    "for_staff",
    "of_order",
    "receive",
    "refund_again",
    "reject",
    "request",
    "settle",
    "take_back",
]
