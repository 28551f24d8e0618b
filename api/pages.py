"""Lists in pages: `?cursor=` goes on where `next_cursor` of the page before ended."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from api.refusals import InvalidRequest

Item = TypeVar("Item")
Row = TypeVar("Row")

# Litestar looks at its own description of a parameter only, not at msgspec's.
PageSize = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=500, description="`next_cursor` of the page before.")
]


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Some items, and the cursor to the next ones; null at the end."""

    items: list[Item]
    next_cursor: str | None = None


def page_of(
    rows: Sequence[Row], size: int, *, view: Callable[[Row], Item], key: Callable[[Row], str]
) -> Page[Item]:
    """A page from one row more than its size, asked for to know whether there is a next page."""
    shown = rows[:size]
    following = encode(key(shown[-1])) if len(rows) > size else None
    return Page([view(row) for row in shown], following)


def encode(key: str) -> str:
    """An opaque cursor that stands for the last row's key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str | None:
    """The key in a cursor. Raises `InvalidRequest` for one that we did not make."""
    if cursor is None:
        return None
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise _wrong() from error


def decode_id(cursor: str | None) -> UUID | None:
    """The id in a cursor, for lists whose key is one."""
    key = decode(cursor)
    if key is None:
        return None
    try:
        return UUID(key)
    except ValueError as error:
        raise _wrong() from error


def _wrong() -> InvalidRequest:
    return InvalidRequest(path="?cursor", reason="Not a cursor of this list")
