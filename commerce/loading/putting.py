"""One verb for records of every kind: each goes to the noun that owns it, and is answered."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from commerce import access, catalog, stores
from commerce.access import Principal
from commerce.importing import (
    AssociateRecord,
    CouponRecord,
    Kind,
    LocationRecord,
    PriceRecord,
    PriceZoneRecord,
    Record,
    SkuRecord,
    StockRecord,
    StoreRecord,
    TaxZoneRecord,
)
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection
from commerce.stores import Outcome
from inventory import locations, stock
from inventory.stock import Movement, QuantityOutOfRange
from inventory.tables import MAX_UNITS


class Act(Struct, frozen=True):
    """Who loads, when, and from which file, if it is one that counts once."""

    who: Principal
    now: datetime
    file_id: UUID | None = None


PERMISSIONS: dict[Kind, str] = {
    "locations": "store.write",
    "price_zones": "store.write",
    "tax_zones": "store.write",
    "stores": "store.write",
    "skus": "catalog.write",
    "prices": "catalog.write",
    "stock": "stock.write",
    "coupons": "catalog.write",
    "associates": "associate.write",
}
"""What loading each kind takes."""


async def put(conn: Connection, kind: Kind, records: Sequence[Record], *, by: Act) -> list[Outcome]:
    """Store records of one kind, a few hundred at most; one outcome each, in order.

    A wrong one changes nothing and costs the others nothing. The write is on the staff record.
    Raises PermissionDenied, SessionRequired. Safe to repeat for every kind but stock, which says
    what happened and not how things are to be.
    """
    by.who.require(PERMISSIONS[kind])
    outcomes = await _LOADERS[kind](conn, records, by)
    await access.record_staff(
        conn,
        by.who,
        action="data.loaded",
        subject=kind if by.file_id is None else f"{kind}:{by.file_id}",
        changes={"loaded": outcomes.count(None), "refused": len(records) - outcomes.count(None)},
        now=by.now,
    )
    return outcomes


async def put_one(
    conn: Connection,
    kind: Kind,
    record: Record,
    *,
    subject: str,
    before: Struct | None,
    by: Act,
) -> None:
    """Store one record. On the staff record stands what differs from the thing as it was.

    Raises the refusal as InvalidField; PermissionDenied, SessionRequired.
    """
    by.who.require(PERMISSIONS[kind])
    (outcome,) = await _LOADERS[kind](conn, [record], by)
    if outcome is not None:
        raise outcome
    old = _plain(before) if before is not None else {}
    changes = {
        field: [old.get(field), value]
        for field, value in _plain(record).items()
        if field not in old or old[field] != value
    }
    if changes:
        action = f"{subject.partition(':')[0]}.put"
        await access.record_staff(
            conn, by.who, action=action, subject=subject, changes=changes, now=by.now
        )


def _plain(struct: Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(struct))
    return plain


async def _locations(conn: Connection, records: Sequence[LocationRecord], by: Act) -> list[Outcome]:
    del by
    shops = await stores.by_code(conn, [each.code for each in records if each.kind != "store"])
    await locations.upsert(conn, [each for each in records if each.code not in shops])
    return [
        InvalidField(path="/kind", reason=f"{record.code} is a store and stays one")
        if record.code in shops
        else None
        for record in records
    ]


async def _price_zones(
    conn: Connection, records: Sequence[PriceZoneRecord], by: Act
) -> list[Outcome]:
    del by
    return await stores.upsert_price_zones(conn, records)


async def _tax_zones(conn: Connection, records: Sequence[TaxZoneRecord], by: Act) -> list[Outcome]:
    del by
    return await stores.upsert_tax_zones(conn, records)


async def _stores(conn: Connection, records: Sequence[StoreRecord], by: Act) -> list[Outcome]:
    return await stores.upsert(conn, records, actor=by.who.actor, now=by.now)


async def _skus(conn: Connection, records: Sequence[SkuRecord], by: Act) -> list[Outcome]:
    return await catalog.upsert_skus(conn, records, actor=by.who.actor, now=by.now)


async def _prices(conn: Connection, records: Sequence[PriceRecord], by: Act) -> list[Outcome]:
    return await catalog.upsert_prices(conn, records, actor=by.who.actor, now=by.now)


async def _coupons(conn: Connection, records: Sequence[CouponRecord], by: Act) -> list[Outcome]:
    del by
    return await catalog.upsert_coupons(conn, records)


async def _stock(conn: Connection, records: Sequence[StockRecord], by: Act) -> list[Outcome]:
    places = await locations.by_code(conn, list({record.location_code for record in records}))
    known = await catalog.known_skus(conn, (record.sku for record in records))
    outcomes: list[Outcome] = []
    movements: dict[int, Movement] = {}
    for index, record in enumerate(records):
        place = places.get(record.location_code)
        if place is None or not by.who.sees(place.id):
            outcomes.append(stores.unknown("location_code", record.location_code))
        elif record.sku not in known:
            outcomes.append(stores.unknown("sku", record.sku))
        else:
            outcomes.append(None)
            movements[index] = Movement(
                place.id,
                record.sku,
                record.action,
                record.quantity,
                by.who.actor,
                record.reason,
                by.file_id,
            )
    for index in await _move(conn, movements, by.now):
        outcomes[index] = InvalidField(
            path="/quantity",
            reason=f"{records[index].sku} would be more than {MAX_UNITS} units there",
        )
    safety = {
        (movement.location_id, movement.sku): wanted
        for index, movement in movements.items()
        if outcomes[index] is None and (wanted := records[index].safety_stock) is not None
    }
    if safety:
        await stock.set_safety_stock(conn, safety)
    return outcomes


async def _move(conn: Connection, movements: dict[int, Movement], now: datetime) -> list[int]:
    """Record what can be recorded; the indices of the others. A refused batch has moved nothing."""
    if not movements:
        return []
    try:
        await stock.move(conn, list(movements.values()), now=now)
    except QuantityOutOfRange:
        if len(movements) == 1:
            return list(movements)
        indices = list(movements)
        halves = indices[: len(indices) // 2], indices[len(indices) // 2 :]
        return [
            refused
            for half in halves
            for refused in await _move(conn, {index: movements[index] for index in half}, now)
        ]
    return []


async def _associates(
    conn: Connection, records: Sequence[AssociateRecord], by: Act
) -> list[Outcome]:
    found = await stores.by_code(
        conn, list({code for record in records for code in record.store_codes})
    )
    hashes = await access.hash_new_pins(conn, {record.code: record.pin for record in records})
    outcomes: list[Outcome] = []
    for record in records:
        missing = next((code for code in record.store_codes if code not in found), None)
        if missing is not None:
            outcomes.append(stores.unknown("store_codes", missing))
            continue
        await access.put_associate(
            conn,
            by.who,
            code=record.code,
            name=record.name,
            role=record.role,
            location_ids=[found[code].location_id for code in record.store_codes],
            pin=record.pin,
            pin_hash=hashes.get(record.code),
            active=record.active,
            now=by.now,
        )
        outcomes.append(None)
    return outcomes


_LOADERS: dict[Kind, Callable[[Connection, Any, Act], Awaitable[list[Outcome]]]] = {
    "locations": _locations,
    "price_zones": _price_zones,
    "tax_zones": _tax_zones,
    "stores": _stores,
    "skus": _skus,
    "prices": _prices,
    "stock": _stock,
    "coupons": _coupons,
    "associates": _associates,
}
