"""What a trail says about its shopper: recently viewed, searches, interests, store visits. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

SHOWN = 20
HALF_LIFE = timedelta(days=14)
"""After so long an event weighs half as much."""

WEIGHTS = {"view": 1.0, "scan": 2.0, "add": 4.0}
"""How much each kind of event says about an interest in its department."""

_VIEWS = frozenset({"view", "scan"})
_VISITS = frozenset({"store_visit", "scan"})
_WHOLE_BP = 10_000


class Seen(msgspec.Struct, frozen=True):
    """An event of the trail."""

    type: str
    device: str
    sku: str | None
    item: str | None
    query: str | None
    location_id: UUID | None
    at: datetime


class Goods(msgspec.Struct, frozen=True):
    """What the catalog says about a SKU, or about an item where `sku` is None."""

    sku: str | None
    item: str
    name: str
    department: str


class Viewed(msgspec.Struct, frozen=True):
    """An item that was looked at; the SKU of it that was looked at last, if one was."""

    item: str
    sku: str | None
    name: str
    department: str
    times: int
    last_at: datetime


class Searched(msgspec.Struct, frozen=True):
    """Words that were searched for, as they were typed last."""

    query: str
    times: int
    last_at: datetime


class Interest(msgspec.Struct, frozen=True):
    """A department's share of what was looked at, scanned and put into carts, in basis points."""

    department: str
    share_bp: int


class Visited(msgspec.Struct, frozen=True):
    """A store, and when the shopper was last there."""

    location_id: UUID
    days: int
    last_at: datetime


class Browsing(msgspec.Struct, frozen=True):
    """What a person browsed lately, newest first; interests by share."""

    viewed: list[Viewed]
    searches: list[Searched]
    interests: list[Interest]
    store_visits: list[Visited]


def summarize(
    trail: Sequence[Seen], goods: Mapping[tuple[str | None, str | None], Goods], *, now: datetime
) -> Browsing:
    """What a trail says. `goods` are found by (SKU, None) or (None, item); the unknown is left out.

    At most `SHOWN` of each kind.
    """
    newest_first = sorted(trail, key=lambda seen: seen.at, reverse=True)
    found = [(seen, _goods_of(seen, goods)) for seen in newest_first]
    return Browsing(
        _viewed(found)[:SHOWN],
        _searches(newest_first)[:SHOWN],
        _interests(found, now)[:SHOWN],
        _visits(newest_first)[:SHOWN],
    )


def _goods_of(seen: Seen, goods: Mapping[tuple[str | None, str | None], Goods]) -> Goods | None:
    return goods.get((seen.sku, None)) or goods.get((None, seen.item))


def _viewed(found: Sequence[tuple[Seen, Goods | None]]) -> list[Viewed]:
    views: dict[str, list[tuple[Seen, Goods]]] = {}
    for seen, goods in found:
        if goods is not None and seen.type in _VIEWS:
            views.setdefault(goods.item, []).append((seen, goods))
    return [
        Viewed(
            item,
            next((goods.sku for _, goods in of_item if goods.sku is not None), None),
            of_item[0][1].name,
            of_item[0][1].department,
            len(of_item),
            of_item[0][0].at,
        )
        for item, of_item in views.items()
    ]


def _searches(newest_first: Sequence[Seen]) -> list[Searched]:
    searches: dict[str, list[tuple[str, datetime]]] = {}
    for seen in newest_first:
        if seen.query is not None:
            same = " ".join(seen.query.casefold().split())
            searches.setdefault(same, []).append((seen.query, seen.at))
    return [Searched(each[0][0], len(each), each[0][1]) for each in searches.values()]


def _interests(found: Sequence[tuple[Seen, Goods | None]], now: datetime) -> list[Interest]:
    weights: dict[str, float] = {}
    for seen, goods in found:
        weight = WEIGHTS.get(seen.type)
        if goods is not None and weight is not None:
            age = max(now - seen.at, timedelta(0))
            faded = weight * 0.5 ** (age / HALF_LIFE)
            weights[goods.department] = weights.get(goods.department, 0.0) + faded
    whole = sum(weights.values())
    ranked = sorted(weights.items(), key=lambda each: (-each[1], each[0]))
    return [Interest(name, round(_WHOLE_BP * weight / whole)) for name, weight in ranked]


def _visits(newest_first: Sequence[Seen]) -> list[Visited]:
    visits: dict[UUID, list[datetime]] = {}
    for seen in newest_first:
        if seen.location_id is not None and seen.type in _VISITS:
            visits.setdefault(seen.location_id, []).append(seen.at)
    return [
        Visited(location_id, len({at.date() for at in times}), times[0])
        for location_id, times in visits.items()
    ]
