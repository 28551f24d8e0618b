"""The facts of browsing as clients tell them, their bounds, and the id that each one gets.

A client repeats what it is not sure about, so an event's id is made from what the client sends
again: its visitor, its own id and its own time. The same event has the same id, whoever stores it
and whenever, and the table's key is enough to tell that it is there already. A time that is more
than a week before its receipt, or more than a month after, fits no partition: the day of receipt
stands for it, and the day before is asked as well. So a repetition within a day is always harmless,
and one within a week where the client's clock is right.
"""

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from commerce.kernel.partitions import LATE

MAX_EVENTS = 100
_AHEAD = timedelta(days=31)
"""Partitions of the months to come exist at least for so long."""

_DAY = timedelta(days=1)
_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"

Code = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=64, pattern=_PRINTABLE, examples=["APP-01-01"]),
]
Words = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=200, pattern=_PRINTABLE, examples=["camisa de lino"]),
]
At = Annotated[datetime, msgspec.Meta(tz=True)]


class _Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """What all have in common: the client's own id for it, and when it happened by its clock."""

    id: UUID
    at: At


class PageView(_Fact, frozen=True, tag="view"):
    """A product page was looked at: of an item, of a SKU, or both are known."""

    item: Code | None = None
    sku: Code | None = None


class CatalogSearch(_Fact, frozen=True, tag="search"):
    """Something was searched for."""

    query: Words


class CartAdd(_Fact, frozen=True, tag="add"):
    """A SKU was put into a cart."""

    sku: Code


class CartRemove(_Fact, frozen=True, tag="remove"):
    """A SKU was taken out of a cart."""

    sku: Code


class StoreVisit(_Fact, frozen=True, tag="store_visit"):
    """The shopper is in a store."""

    location_id: UUID


class ShelfScan(_Fact, frozen=True, tag="scan"):
    """A barcode was scanned on the shelf of a store."""

    sku: Code
    location_id: UUID


Event = PageView | CatalogSearch | CartAdd | CartRemove | StoreVisit | ShelfScan
_TYPES = {
    kind: str(kind.__struct_config__.tag)
    for kind in (PageView, CatalogSearch, CartAdd, CartRemove, StoreVisit, ShelfScan)
}


class Batch(msgspec.Struct, frozen=True, gc=False):
    """What one device sends at once, and what the server knows about it."""

    visitor_id: UUID
    session_id: UUID
    device: Literal["web", "app", "kiosk"]
    events: tuple[Event, ...]
    person_ids: tuple[UUID, ...]
    """All ids of the shopper who is signed in, the one to write under first; empty for nobody."""
    received_at: datetime


class BrowsingCounts(msgspec.Struct, frozen=True):
    """What became of a batch; `times_corrected` counts among the stored and the duplicates."""

    stored: int = 0
    duplicates: int = 0
    times_corrected: int = 0
    not_recorded: int = 0


class Row(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An event on its way into the table."""

    id: str
    type: str
    at: datetime
    sku: str | None = None
    item: str | None = None
    query: str | None = None
    location_id: UUID | None = None


class Dated(msgspec.Struct, frozen=True, gc=False):
    """A batch as it will be stored: ids made, times put right."""

    batch: Batch
    rows: list[Row]
    times_corrected: int
    elsewhere: dict[str, list[str]]
    """Under which ids events with an impossible time may stand already, by the id in `rows`."""


def dated(batch: Batch) -> Dated:
    """Make ids and put times right: one after its receipt, or far before, becomes the receipt.

    The server decides in which order things were received, so what was received later than
    another's sign-in is never taken for earlier.
    """
    received_at = batch.received_at
    earliest, latest = received_at - LATE, received_at + _AHEAD
    visitor = batch.visitor_id.bytes
    rows = []
    corrected = 0
    elsewhere: dict[str, list[str]] = {}
    for event in batch.events:
        at = event.at
        digest = blake2b(visitor + event.id.bytes, digest_size=9).hexdigest()
        id_ = as_sent = _id(at, digest)
        if not earliest <= at <= received_at:
            corrected += 1
            if not earliest <= at <= latest - 2 * _DAY:
                today = received_at.replace(hour=0, minute=0, second=0, microsecond=0)
                by_day = _id(today, digest)
                id_ = as_sent if earliest <= at <= latest else by_day
                elsewhere[id_] = [as_sent, by_day, _id(today - _DAY, digest)]
            at = received_at
        rows.append(
            Row(
                id_,
                _TYPES[type(event)],
                at,
                getattr(event, "sku", None),
                getattr(event, "item", None),
                getattr(event, "query", None),
                getattr(event, "location_id", None),
            )
        )
    return Dated(batch, rows, corrected, elsewhere)


def _id(moment: datetime, digest: str) -> str:
    """A UUIDv7 of that millisecond, in hexadecimal; its random part is the digest."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return f"{milliseconds:012x}7{digest[:3]}8{digest[3:]}"
