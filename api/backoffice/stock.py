"""Stock of one SKU at one location: its numbers, why they are so, and what happens to it.

For the back office everywhere, and for a store's staff at their own store.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import get, post, put
from litestar.params import FromPath

from api.auth import may
from api.backoffice.records import Code
from api.contract import raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.words import LedgerKind
from commerce import access, catalog
from commerce.access import Principal, StoreNotAllowed
from commerce.importing.records import Name
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection
from inventory import locations, stock
from inventory.stock import Key, LedgerRow, Level, Movement, QuantityOutOfRange
from inventory.tables import MAX_UNITS

_PATH = "/v1/backoffice/stock/{location_id:uuid}/{sku:str}"
_DONE = {"receive": "received", "adjust": "adjusted", "count": "counted"}


class MoveStock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened: so many units arrived, were corrected by (may be negative), were counted."""

    action: Literal["receive", "adjust", "count"]
    quantity: Annotated[int, msgspec.Meta(ge=-MAX_UNITS, le=MAX_UNITS, examples=[24])]
    reason: Annotated[Name, msgspec.Meta(examples=["note 118"])]


class SafetyStock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many units are kept from online sale."""

    safety_stock: Annotated[int, msgspec.Meta(ge=0, le=MAX_UNITS, examples=[2])]


class StockView(msgspec.Struct, frozen=True):
    """`available_to_promise` = `on_hand` - `reserved` - `safety_stock`, and never below 0.

    `unsellable` are units beside `on_hand`, by what is wrong with them.
    """

    location_id: UUID
    sku: str
    on_hand: int
    reserved: int
    safety_stock: int
    available_to_promise: int
    unsellable: dict[str, int]


class LedgerEntryView(msgspec.Struct, frozen=True):
    """One change of the numbers. `reference` is what caused it: an order's demand, an import."""

    id: UUID
    at: datetime
    kind: LedgerKind
    on_hand_delta: int
    reserved_delta: int
    unsellable_delta: int
    reason: str | None
    actor: str
    reference: UUID | None

    @classmethod
    def of(cls, row: LedgerRow) -> "LedgerEntryView":
        """As it stands in the ledger."""
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


@get(_PATH, guards=[may("stock.read")], opt=raises(NotFound, StoreNotAllowed))
async def get_stock(
    location_id: FromPath[UUID], sku: Code, reading: Connection, who: Principal
) -> StockView:
    """The numbers of one SKU at one location; zeros where it was never stocked."""
    return await _view(reading, await _key(reading, who, location_id, sku))


@get(f"{_PATH}/ledger", guards=[may("stock.read")], opt=raises(NotFound, StoreNotAllowed))
async def list_ledger(
    location_id: FromPath[UUID],
    sku: Code,
    reading: Connection,
    who: Principal,
    *,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[LedgerEntryView]:
    """Every change of these numbers, newest first: why they are what they are."""
    key = await _key(reading, who, location_id, sku)
    before = decode_id(cursor) or stock.LAST_ID
    rows = await stock.history(reading, key, before=before, page=limit + 1)
    return page_of(rows, limit, view=LedgerEntryView.of, key=lambda row: str(row.id))


@post(
    f"{_PATH}/movements",
    guards=[may("stock.write")],
    status_code=200,
    opt=raises(NotFound, StoreNotAllowed, InvalidField, QuantityOutOfRange),
)
@once
async def move_stock(
    location_id: FromPath[UUID],
    sku: Code,
    data: MoveStock,
    conn: Connection,
    who: Principal,
    now: datetime,
) -> StockView:
    """Receive units, adjust by a difference, or set what was counted; always with the reason."""
    if data.quantity < 0 and data.action != "adjust":
        raise InvalidField(path="/quantity", reason="only an adjust may be negative")
    if data.quantity == 0 and data.action != "count":
        raise InvalidField(path="/quantity", reason="only a count may be 0")
    key = await _key(conn, who, location_id, sku)
    movement = Movement(*key, data.action, data.quantity, who.actor, data.reason)
    moved = (await stock.move(conn, [movement], now=now))[key]
    await access.record_staff(
        conn,
        who,
        action=f"stock.{_DONE[data.action]}",
        subject=f"sku:{sku}",
        changes={"quantity": data.quantity, "reason": data.reason, "on_hand": moved.level.on_hand},
        location_id=location_id,
        now=now,
    )
    return await _view(conn, key)


@put(
    f"{_PATH}/safety-stock",
    guards=[may("stock.write")],
    opt=raises(NotFound, StoreNotAllowed),
)
async def put_safety_stock(
    location_id: FromPath[UUID],
    sku: Code,
    data: SafetyStock,
    conn: Connection,
    who: Principal,
    now: datetime,
) -> StockView:
    """Keep so many units of the SKU from online sale."""
    key = await _key(conn, who, location_id, sku)
    before = (await stock.lock(conn, [key]))[key].safety_stock
    if before != data.safety_stock:
        await stock.set_safety_stock(conn, {key: data.safety_stock})
        await access.record_staff(
            conn,
            who,
            action="safety_stock.put",
            subject=f"sku:{sku}",
            changes={"safety_stock": [before, data.safety_stock]},
            location_id=location_id,
            now=now,
        )
    return await _view(conn, key)


async def _key(conn: Connection, who: Principal, location_id: UUID, sku: str) -> Key:
    """Raises StoreNotAllowed for a location out of scope, NotFound for one that is none."""
    if not who.sees(location_id):
        raise StoreNotAllowed(location_id=location_id)
    await locations.by_id(conn, location_id)
    if not await catalog.known_skus(conn, [sku]):
        raise NotFound(kind="sku", id=sku)
    return location_id, sku


async def _view(conn: Connection, key: Key) -> StockView:
    found = (await stock.levels(conn, [key])).get(key) or Level(*key, 0, 0, 0)
    return StockView(
        location_id=found.location_id,
        sku=found.sku,
        on_hand=found.on_hand,
        reserved=found.reserved,
        safety_stock=found.safety_stock,
        available_to_promise=found.available_to_promise,
        unsellable=await stock.unsellable(conn, key),
    )


ROUTES = [get_stock, list_ledger, move_stock, put_safety_stock]
