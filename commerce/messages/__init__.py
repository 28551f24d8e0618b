"""The conversation with shoppers: messages by mail, SMS, WhatsApp and push.

    queued -> sent -> delivered -> read ; each but the last -> failed ; queued -> suppressed

`write` writes messages in the caller's transaction; a reason has one message of a template, however
often it comes. `send` carries them. Personal data.
"""

from commerce.messages.callbacks import MAX_TOLD, Told, apply
from commerce.messages.links import Link, LinkInvalid, Links
from commerce.messages.order_news import TEMPLATES, tell
from commerce.messages.outbox import State, Written, page
from commerce.messages.sending import (
    ATTEMPTS,
    Carrier,
    Carriers,
    Message,
    NotSent,
    keep_uncarried,
    send,
)
from commerce.messages.sign_in import start_sign_in
from commerce.messages.signing import CallbackRefused
from commerce.messages.texts import ParameterMissing, UnknownTemplate
from commerce.messages.writing import Address, NewMessage, Outcome, write

__all__ = [
    "ATTEMPTS",
    "MAX_TOLD",
    "TEMPLATES",
    "Address",
    "CallbackRefused",
    "Carrier",
    "Carriers",
    "Link",
    "LinkInvalid",
    "Links",
    "Message",
    "NewMessage",
    "NotSent",
    "Outcome",
    "ParameterMissing",
    "State",
    "Told",
    "UnknownTemplate",
    "Written",
    "apply",
    "keep_uncarried",
    "page",
    "send",
    "start_sign_in",
    "tell",
    "write",
]
