"""What can be picked up where, and why not: inventory's numbers with commerce's reasons on top.

`answer` is the work of a coalescer: many requests share two statements.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
from sqlalchemy import Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.directory import Refusal, Spot, Spots
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.sql import Connection, Query
from commerce.tables import price, sku
from inventory import availability
from inventory.availability import Availability, StockAvailability

MAX_SKUS = 100
MAX_STORES = 200

Reason: TypeAlias = Literal["not_sold_here"] | Refusal | availability.Reason
"""In the order in which they are looked at: without price, without pickup, then the stock's own."""

Pickup: TypeAlias = Availability[Reason]
"""How many units of one SKU can be promised for pickup at one store, and why that many."""


class TooMany(CommerceError):
    """More than one request may ask for. Ask in several."""

    code = "too_many"
    what: str
    given: int
    limit: int


class Ask(msgspec.Struct, frozen=True):
    """Some SKUs at some stores."""

    skus: tuple[str, ...]
    at: Spots
    now: datetime


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


def ask(skus: Sequence[str], at: Spots, *, now: datetime) -> Ask:
    """A question within bounds, each SKU once. Raises TooMany."""
    once = tuple(dict.fromkeys(skus))
    if len(once) > MAX_SKUS:
        raise TooMany(what="skus", given=len(once), limit=MAX_SKUS)
    if len(at.spots) > MAX_STORES:
        raise TooMany(what="stores", given=len(at.spots), limit=MAX_STORES)
    return Ask(once, at, now)


def weigh(of: Ask) -> int:
    """Its stock keys, for the coalescer."""
    return len(of.skus) * len(of.at.spots)


async def answer(conn: Connection, asks: Sequence[Ask]) -> list[list[list[Pickup]] | NotFound]:
    """Per question and SKU, one pickup per store; NotFound for a question with an unknown SKU."""
    wanted = list({code for of in asks for code in of.skus})
    sold = {row.sku: row for row in await conn.run(ZONES_OF_SKUS, skus=wanted)}
    numbers = iter(
        await availability.of_skus(
            conn,
            [(code, of.at.location_ids) for of in asks for code in of.skus],
            now=max(of.now for of in asks),
        )
    )
    answers: list[list[list[Pickup]] | NotFound] = []
    for of in asks:
        found = [_pickups(sold.get(code), of.at.spots, next(numbers)) for code in of.skus]
        unknown = [code for code in of.skus if code not in sold]
        answers.append(NotFound(kind="sku", id=unknown[0]) if unknown else found)
    return answers


def _pickups(
    sold: _Sold | None, spots: Sequence[Spot], numbers: Sequence[StockAvailability]
) -> list[Pickup]:
    zones = sold.zones if sold is not None and sold.active else ()
    return [
        number
        if spot.refusal is None and spot.store.price_zone in zones
        else _refused(number, spot, zones)
        for spot, number in zip(spots, numbers, strict=True)
    ]


def _refused(number: StockAvailability, spot: Spot, zones: Sequence[str]) -> Pickup:
    reason = spot.refusal if spot.store.price_zone in zones else None
    return Availability(
        number.on_hand, number.reserved, number.safety_stock, 0, reason or "not_sold_here"
    )


def serves(quantities: Sequence[int], found: Sequence[Sequence[Pickup]]) -> list[bool]:
    """Per store, whether it has enough for every line. `found` is by line, then by store."""
    return [
        all(
            pickup.available_to_promise >= wanted
            for pickup, wanted in zip(at_store, quantities, strict=True)
        )
        for at_store in zip(*found, strict=True)
    ]
