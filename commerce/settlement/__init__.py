"""Sagas over payments: the calls to the provider, and what follows from their answers.

    claim (transaction) -> call -> record the answer with its consequences (transaction)

No call is made inside a transaction, and every step can be repeated: whoever dies between two of
them is replaced by the sweep (`resume`), which looks before it calls. Sagas take the clock, because
they outlive a moment.
"""

from commerce.settlement.carrying_out import look, look_at_refund, run, settle_order
from commerce.settlement.consequences import complete_if_settled, due_minor, try_card
from commerce.settlement.dues import Due, dues, pay_due
from commerce.settlement.inbox import apply, keep
from commerce.settlement.sweeping import resume

__all__ = [
    "Due",
    "apply",
    "complete_if_settled",
    "due_minor",
    "dues",
    "keep",
    "look",
    "look_at_refund",
    "pay_due",
    "resume",
    "run",
    "settle_order",
    "try_card",
]
