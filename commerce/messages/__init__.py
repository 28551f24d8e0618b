"""The conversation with shoppers: messages by mail, SMS, WhatsApp and push.

    queued -> sent -> delivered -> read ; each but the last -> failed ; queued -> suppressed

`write` writes messages in the caller's transaction; a reason has one message of a template, however
often it comes. `send` carries them. Personal data.
"""

from commerce.messages.callbacks import MAX_TOLD, Told, apply
from commerce.messages.devices import Device, Platform, put_device, remove_device
from commerce.messages.links import Link, LinkInvalid, Links
from commerce.messages.notes import MAX_NOTE, Note, add_note
from commerce.messages.order_news import TEMPLATES, tell
from commerce.messages.outbox import State, Written, page
from commerce.messages.own_texts import (
    OwnText,
    TemplateInvalid,
    own_texts,
    preview,
    put_own_text,
    remove_own_text,
)
from commerce.messages.replying import ConversationOver, answer
from commerce.messages.sending import (
    ATTEMPTS,
    Carrier,
    Carriers,
    Message,
    NotSent,
    keep_uncarried,
    send,
)
from commerce.messages.sign_in import finish_address, start_sign_in
from commerce.messages.signing import CallbackRefused
from commerce.messages.stops import lift
from commerce.messages.texts import SAMPLES, ParameterMissing, Said, UnknownTemplate
from commerce.messages.timeline import (
    Entry,
    EventEntry,
    MessageEntry,
    NoteEntry,
    Position,
    messages_of,
    order_timeline,
    timeline,
)
from commerce.messages.writing import Address, NewMessage, Outcome, Purpose, write

__all__ = [
    "ATTEMPTS",
    "MAX_NOTE",
    "MAX_TOLD",
    "SAMPLES",
    "TEMPLATES",
    "Address",
    "CallbackRefused",
    "Carrier",
    "Carriers",
    "ConversationOver",
    "Device",
    "Entry",
    "EventEntry",
    "Link",
    "LinkInvalid",
    "Links",
    "Message",
    "MessageEntry",
    "NewMessage",
    "NotSent",
    "Note",
    "NoteEntry",
    "Outcome",
    "OwnText",
    "ParameterMissing",
    "Platform",
    "Position",
    "Purpose",
    "Said",
    "State",
    "TemplateInvalid",
    "Told",
    "UnknownTemplate",
    "Written",
    "add_note",
    "answer",
    "apply",
    "finish_address",
    "keep_uncarried",
    "lift",
    "messages_of",
    "order_timeline",
    "own_texts",
    "page",
    "preview",
    "put_device",
    "put_own_text",
    "remove_device",
    "remove_own_text",
    "send",
    "start_sign_in",
    "tell",
    "timeline",
    "write",
]
