"""What can be picked up where, and why not: inventory's numbers with commerce's reasons on top.

`answer` is the work of a coalescer: many requests share two statements.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
from sqlalchemy import Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.directory import Spot
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.stores import Store
from commerce.tables import price, sku
from inventory import availability
from inventory.availability import Availability

MAX_SKUS = 100
MAX_STORES = 200

Reason: TypeAlias = Literal[
    "available", "not_sold_here", "pickup_disabled", "store_closed",
    "not_stocked", "none_on_hand", "all_reserved", "safety_stock",
]  # fmt: skip
"""In the order in which they are looked at; `store_closed` is a store that never opens."""


class TooMany(CommerceError):
    """More than one request may ask for. Ask in several."""

    code = "too_many"
    what: str
    given: int
    limit: int


class Ask(msgspec.Struct, frozen=True):
    """Some SKUs at some stores."""

    skus: tuple[str, ...]
    spots: Sequence[Spot]
    now: datetime


class Pickup(msgspec.Struct, frozen=True, gc=False):
    """How many units of one SKU can be promised for pickup at one store, and why that many."""

    available_to_promise: int
    reason: Reason
    stock: Availability


class _Sold(msgspec.Struct, frozen=True):
    sku: str
    active: bool
    zones: list[str]


ZONES_OF_SKUS = Query(
    select(
        sku.c.sku,
        sku.c.active,
        func.array(
            select(price.c.price_zone).where(price.c.sku == sku.c.sku).scalar_subquery(),
            type_=ARRAY(Text),
        ).label("zones"),
    ).where(sku.c.sku == any_(bindparam("skus", type_=ARRAY(Text)))),
    _Sold,
)


def ask(skus: Sequence[str], spots: Sequence[Spot], *, now: datetime) -> Ask:
    """A question within bounds, each SKU once. Raises TooMany."""
    once = tuple(dict.fromkeys(skus))
    if len(once) > MAX_SKUS:
        raise TooMany(what="skus", given=len(once), limit=MAX_SKUS)
    if len(spots) > MAX_STORES:
        raise TooMany(what="stores", given=len(spots), limit=MAX_STORES)
    return Ask(once, spots, now)


def weigh(of: Ask) -> int:
    """Its stock keys, for the coalescer."""
    return len(of.skus) * len(of.spots)


async def answer(conn: Connection, asks: Sequence[Ask]) -> list[list[list[Pickup]] | NotFound]:
    """Per question and SKU, one pickup per store; NotFound for a question with an unknown SKU."""
    keys = [(spot.store.location_id, code) for of in asks for code in of.skus for spot in of.spots]
    wanted = list({code for of in asks for code in of.skus})
    sold = {row.sku: row for row in await conn.run(ZONES_OF_SKUS, skus=wanted)}
    numbers = iter(await availability.of_keys(conn, keys, now=max(of.now for of in asks)))
    answers: list[list[list[Pickup]] | NotFound] = []
    for of in asks:
        found = [
            [_pickup(sold.get(code), spot, next(numbers)) for spot in of.spots] for code in of.skus
        ]
        unknown = [code for code in of.skus if code not in sold]
        answers.append(NotFound(kind="sku", id=unknown[0]) if unknown else found)
    return answers


def _pickup(sold: _Sold | None, spot: Spot, number: Availability) -> Pickup:
    refusal = _refusal(sold, spot.store, spot.promised_at)
    if refusal is not None:
        return Pickup(0, refusal, number)
    return Pickup(number.available_to_promise, number.reason, number)


def _refusal(sold: _Sold | None, store: Store, promised_at: datetime | None) -> Reason | None:
    if sold is None or not sold.active or store.price_zone not in sold.zones:
        return "not_sold_here"
    if not store.pickup_enabled:
        return "pickup_disabled"
    return "store_closed" if promised_at is None else None


def serves(quantities: Sequence[int], found: Sequence[Sequence[Pickup]]) -> list[bool]:
    """Per store, whether it has enough for every line. `found` is by line, then by store."""
    return [
        all(
            pickup.available_to_promise >= wanted
            for pickup, wanted in zip(at_store, quantities, strict=True)
        )
        for at_store in zip(*found, strict=True)
    ]
