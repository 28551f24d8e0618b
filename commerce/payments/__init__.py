"""Payments: what each tender shall pay for a fulfillment, and what has become of the money.

    pending -> requires_action | authorized | failed
    requires_action -> pending (another card) | authorized | failed
    authorized -> captured | voided | lapsed

Every call to the provider is an operation: an intent row first, its outcome in a later transaction
(`commerce.settlement` makes the calls). These verbs only write intents and facts, inside the
caller's transaction. Locks: the order first, then its payments by id.
"""

from commerce.payments.opening import NewPayment, open_many

__all__ = ["NewPayment", "open_many"]
