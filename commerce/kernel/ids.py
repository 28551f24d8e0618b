"""Identity: ids made outside the database, secrets and their hashes, order numbers for people."""

import hashlib
import hmac
import secrets
from datetime import datetime
from uuid import UUID

from uuid_utils import compat

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so a number survives being read out over a counter."""

_SYMBOL_OF_BYTE = ALPHABET.encode() * 8
"""Each byte of a digest makes one symbol; all are equally likely, because 32 divides 256."""

NUMBER_LENGTH = 7
_SPACE = len(ALPHABET) ** NUMBER_LENGTH
_HALF_BITS = 18
_HALF_MASK = (1 << _HALF_BITS) - 1
_ROUNDS = 4

_LOW_64 = (1 << 64) - 1
_LOW_MASK = (1 << 62) - 1
_VARIANT = 1 << 63
_VERSION_7 = 7 << 76
"""Marks of RFC 9562 within an id."""


def uuid7() -> UUID:
    """A new id, ordered by time of making (RFC 9562, version 7)."""
    return compat.uuid7()


def about(subject: UUID, label: str) -> UUID:
    """The one id for what there is once for each subject and label: made again, it is the same.

    As old as its subject, so that a table with such keys grows at its end.
    """
    return UUID(int=subject.int & ~_LOW_64 | _mixed(subject.bytes, label))


def at(moment: datetime, label: str) -> UUID:
    """The one id for something that others name by a label and a moment, as old as that moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | _VERSION_7 | _mixed(b"", label))


def _mixed(key: bytes, label: str) -> int:
    """The lower half of an id."""
    mixed = hashlib.blake2b(label.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(mixed, "big") & _LOW_MASK | _VARIANT


def secret(prefix: str) -> str:
    """A new bearer secret of 256 random bits, with a prefix that says what it opens."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(value: str) -> bytes:
    """What is stored instead of a secret. Plain SHA-256: the secrets are random, not chosen."""
    return hashlib.sha256(value.encode()).digest()


def derived(key: bytes, label: str, subject: UUID, length: int) -> str:
    """A code that can be told again but not guessed: `length` symbols of HMAC(key, label, subject).

    Nothing is stored for it. Codes of different labels are unrelated; at most 32 symbols.
    """
    mac = hmac.digest(key, label.encode() + b"\0" + subject.bytes, "sha256")
    return mac[:length].translate(_SYMBOL_OF_BYTE).decode()


def order_number(key: bytes, sequence: int) -> str:
    """The short number of an order: a permutation of a sequence, so it never collides or tells.

    A balanced Feistel network over 36 bits, walked until it falls into the 35 bits that seven
    symbols hold (cycle walking, Black and Rogaway 2002). Same key and sequence: same number.
    """
    if not 0 <= sequence < _SPACE:
        raise ValueError("order numbers are used up")
    value = sequence
    while True:
        value = _permute(key, value)
        if value < _SPACE:
            break
    symbols = []
    for _ in range(NUMBER_LENGTH):
        value, index = divmod(value, len(ALPHABET))
        symbols.append(ALPHABET[index])
    return "".join(symbols)


def _permute(key: bytes, value: int) -> int:
    left, right = value >> _HALF_BITS, value & _HALF_MASK
    for index in range(_ROUNDS):
        block = bytes((index,)) + right.to_bytes(3, "big")
        mixed = hashlib.blake2b(block, key=key, digest_size=3).digest()
        left, right = right, left ^ (int.from_bytes(mixed, "big") & _HALF_MASK)
    return (left << _HALF_BITS) | right


def normal_code(text: str) -> str:
    """A code as a person typed it, in the form we compare: upper case, no separators, O is 0."""
    kept = (c for c in text.upper() if c.isalnum())
    return "".join(kept).translate(str.maketrans("OIL", "011"))


def same_code(given: str, expected: str) -> bool:
    """Compare in constant time what a person typed with what we expect."""
    return hmac.compare_digest(normal_code(given).encode(), expected.encode())
