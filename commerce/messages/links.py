"""Links in messages that open without signing in: the preferences of one person.

A token is derived, nothing is stored for it: the person, what the message was (its purpose and
channel, for one-click unsubscribing), and a keyed digest of both. It opens these settings and
nothing else, and says nothing about who the person is. Old messages are read late, so it does not
run out; that it only ever takes permissions of the messages back or gives them is why it may.
"""

import base64
import binascii
import hmac
from typing import get_args
from uuid import UUID

import msgspec

from commerce.consents import MessageChannel
from commerce.kernel.errors import CommerceError
from commerce.messages.writing import Purpose

_LABEL = b"preferences\0"
_DIGEST_BYTES = 15
_TOKEN_BYTES = 16 + 1 + _DIGEST_BYTES
TOKEN_LENGTH = 43

_KINDS: tuple[tuple[Purpose, MessageChannel], ...] = tuple(
    (purpose, channel) for purpose in get_args(Purpose) for channel in get_args(MessageChannel)
)
"""By its index in the token. New ones come last."""


class LinkInvalid(CommerceError):
    """This link was not made here, or it was cut."""

    code = "link_invalid"


class Link(msgspec.Struct, frozen=True):
    """What a token opens: a person's preferences, from a message of a purpose and channel."""

    shopper_id: UUID
    purpose: Purpose
    channel: MessageChannel


class Links(msgspec.Struct, frozen=True):
    """Makes addresses. `secret` is the installation's."""

    secret: bytes
    public_url: str

    def preferences(self, link: Link) -> str:
        """The page of the person's preferences."""
        return f"{self.public_url}/preferences/{token(self.secret, link)}"

    def unsubscribe(self, link: Link) -> str:
        """Where a mail program posts for one-click unsubscribing (RFC 8058)."""
        return f"{self.public_url}/unsubscribe/{token(self.secret, link)}"


def token(secret: bytes, link: Link) -> str:
    """A link's token. The same again each time."""
    named = link.shopper_id.bytes + bytes([_KINDS.index((link.purpose, link.channel))])
    return base64.urlsafe_b64encode(named + _digest(secret, named)).decode().rstrip("=")


def opened(secret: bytes, given: str) -> Link:
    """What a token opens. Raises `LinkInvalid`, the same for whatever is wrong."""
    try:
        raw = base64.urlsafe_b64decode(given.encode("ascii") + b"=")
    except (binascii.Error, ValueError):
        raw = b""
    named, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    genuine = hmac.compare_digest(digest, _digest(secret, named))
    if not genuine or len(raw) != _TOKEN_BYTES or named[-1] >= len(_KINDS):
        raise LinkInvalid
    purpose, channel = _KINDS[named[-1]]
    return Link(UUID(bytes=named[:-1]), purpose, channel)


def _digest(secret: bytes, named: bytes) -> bytes:
    return hmac.digest(secret, _LABEL + named, "sha256")[:_DIGEST_BYTES]
