"""All personal data there is, in the order in which it is emptied: contacts last.

By a contact's address what else is a guest's is found, so it goes after all of that. A test
compares this page with the schema: a table with a column that may name a person is held by a noun,
or stands in `NAMES_NOBODY` with the reason.
"""

from collections.abc import Mapping

from commerce import consents, lists
from commerce.access import personal as access
from commerce.browsing import personal as browsing
from commerce.carts import personal as carts
from commerce.clienteling import personal as clienteling
from commerce.customers import personal as customers
from commerce.follow_ups import personal as follow_ups
from commerce.fulfillment import personal as fulfillment
from commerce.kernel.holdings import Holding
from commerce.matching import personal as matching
from commerce.messages import personal as messages
from commerce.orders import personal as orders
from commerce.outreach import personal as outreach
from commerce.payments import personal as payments
from commerce.returns import personal as returns

HOLDINGS: tuple[Holding, ...] = (
    *access.HOLDINGS,
    *consents.HOLDINGS,
    *browsing.HOLDINGS,
    *carts.HOLDINGS,
    *lists.HOLDINGS,
    *clienteling.HOLDINGS,
    *follow_ups.HOLDINGS,
    *outreach.HOLDINGS,
    *messages.HOLDINGS,
    *orders.HOLDINGS,
    *fulfillment.HOLDINGS,
    *payments.HOLDINGS,
    *returns.HOLDINGS,
    *matching.HOLDINGS,
    *customers.HOLDINGS,
)

NAMES_NOBODY: Mapping[str, str] = {
    "associate": "An associate works here, and is no shopper.",
    "associate_store": "Ids of associates.",
    "claim_try": "Counts tries of tablets and associates.",
    "erasure": "The erasure itself: ids, and the addresses until it is finished.",
    "event": "Ids only, never personal data.",
    "idempotency_key": "Answers are kept for two days; an erasure drops those about the person.",
    "rate_window": "Counts requests of keys and ids, for some minutes.",
    "store": "The address of a shop.",
}
"""Tables whose columns look as if they named a person, and why they do not, or how it is gone."""

STAYS: Mapping[str, str] = {each.table: each.stays for each in HOLDINGS if each.stays}
"""What is left of each table after an erasure, and why."""
