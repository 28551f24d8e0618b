"""A stand-in for Stripe with Stripe's wire protocol, for running and testing without Stripe keys.

The same SDK talks to it as to the real one. It takes PaymentIntents (card and card_present,
captured by hand or at once), refunds, Terminal readers and the well-known test cards; it replays
idempotency keys, signs and repeats webhooks, and misbehaves when told to (see `control.py`).

It keeps its own books, an append-only journal of the money that it held, took and gave back,
written in the transaction of the change. They survive a kill, so they can judge a crash.

`python -m api.fake_stripe` serves it in one process.
"""

from api.fake_stripe.app import Config, application

__all__ = ["Config", "application"]
