"""What the nouns of commerce must agree on with each other, for `mostrador audit`. Reads only.

Each page states some of DESIGN.md's invariants: orders and their frozen money, payments and their
operations, returns and refunds, promises of stock, persons, and what must exist because something
else does.
"""

from typing import Any

from commerce.audit import existence, orders, payments, persons, promises, returns
from commerce.kernel.auditing import Check, Counted

__all__ = ["CHECKS", "COUNTED"]

CHECKS: tuple[Check[Any], ...] = (
    *orders.CHECKS,
    *payments.CHECKS,
    *returns.CHECKS,
    *promises.CHECKS,
    *persons.CHECKS,
    *existence.CHECKS,
)

COUNTED: tuple[Counted, ...] = (*orders.COUNTED, *payments.COUNTED, *returns.COUNTED,
                                *existence.COUNTED)  # fmt: skip
