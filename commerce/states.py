"""Every life cycle on one page: which moves exist. The database decides who makes them."""

from commerce.kernel.machine import Machine

CART = Machine(
    open={"checkout", "ordered", "merged"},  # ordered without a checkout: at a till
    checkout={"open", "ordered", "merged"},
    ordered=set(),
    merged=set(),
)

ORDER = Machine(
    pending_payment={"placed", "cancelled"},
    placed={"completed", "cancelled"},
    completed=set(),
    cancelled=set(),
)

PICKUP = Machine(
    requested={"picking", "cancelled"},
    picking={"ready", "cancelled"},
    ready={"collected", "expired", "cancelled"},
    collected=set(),
    expired=set(),
    cancelled=set(),
)

CARRY_OUT = Machine(collected=set())
"""Goods that leave with the shopper at once."""

FULFILLMENT_STATES = tuple(dict.fromkeys((*PICKUP, *CARRY_OUT)))

PAYMENT = Machine(
    pending={"requires_action", "authorized", "failed"},
    requires_action={"pending", "authorized", "failed"},
    authorized={"captured", "voided", "lapsed"},
    captured=set(),
    voided=set(),
    lapsed=set(),
    failed=set(),
)

OPERATION = Machine(
    pending={"succeeded", "failed", "unknown"},
    unknown={"succeeded", "failed", "pending"},
    succeeded={"failed"},  # a bank may bounce a refund days after the provider has sent it
    failed=set(),
)

BASKET = Machine(open={"sold", "released"}, sold=set(), released=set())
"""What stands on a store's counter."""

RETURN = Machine(
    requested={"approved", "rejected", "cancelled"},
    approved={"received", "cancelled"},
    received={"settled"},
    settled=set(),
    rejected=set(),
    cancelled=set(),
)

RESERVATION = Machine(
    held={"committed", "fulfilled", "released", "expired"},
    committed={"fulfilled", "released"},
    fulfilled=set(),
    released=set(),
    expired=set(),
)

FOLLOW_UP = Machine(
    scheduled={"sent", "stopped", "skipped"},
    sent=set(),
    stopped={"scheduled"},  # its cart was filled again, its goods came in again
    skipped={"scheduled"},
)

ERASURE = Machine(pending={"finished"}, finished={"pending"})
"""An order that was under way when its shopper was erased makes a finished one pending again."""
