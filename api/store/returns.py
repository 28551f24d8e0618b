"""The returns desk of a store: what may come back, asked for, received, refunded.

Goods of any store's order come back at any store. Who knows the order's number may return it; it
stands on the receipt and cannot be guessed.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from api.auth import may
from api.contract import answers, claims_itself, raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.return_views import (
    LineNumber,
    Quantity,
    Reason,
    ReturnableOrder,
    ReturnView,
    WantedLines,
    wanted_units,
)
from api.sagas import Begun, Saga, answer_saga
from api.services import Services
from api.store.places import store_of
from commerce import orders, returns, settlement
from commerce.access import PermissionDenied, Principal, StoreNotAllowed
from commerce.kernel.errors import InvalidField, NotFound, WrongState
from commerce.kernel.sql import Connection
from commerce.payments import RefundExceedsCapture
from commerce.pricing import MAX_LINES
from commerce.returns import (
    Arrival,
    Disposition,
    FinalSale,
    OrderNotCompleted,
    ReturnExceedsBought,
    ReturnExceedsRequested,
    ReturnState,
    ReturnWindowClosed,
)
from inventory.stock import LAST_ID, QuantityOutOfRange

CREATED = 201
OK = 200
OrderNumber = Annotated[str, msgspec.Meta(min_length=1, max_length=20, examples=["7K2M9QD"])]
Why = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ArrivedUnits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of an order's line that lie on the counter, and what becomes of them."""

    line_number: LineNumber
    disposition: Disposition
    quantity: Quantity


Arrived = Annotated[tuple[ArrivedUnits, ...], msgspec.Meta(min_length=1, max_length=4 * MAX_LINES)]


class NewReturn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A return that will be received later. `location_id` only for a key of no store.

    `exception` says why a closed window should not count; a manager decides then.
    """

    order_number: OrderNumber
    lines: WantedLines
    reason: Reason | None = None
    exception: Why | None = None
    location_id: UUID | None = None


class TakeBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Goods on the counter, without a return before. A manager may give an `exception`."""

    order_number: OrderNumber
    units: Arrived
    reason: Reason | None = None
    exception: Why | None = None
    location_id: UUID | None = None


class Receive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What really came back of a return. `location_id` only for a key of no store."""

    units: Arrived
    location_id: UUID | None = None


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an exception is allowed or refused; it stays on the staff record."""

    why: Annotated[Why, msgspec.Meta(examples=["a gift, bought early"])]


ASKING = (
    NotFound,
    InvalidField,
    OrderNotCompleted,
    FinalSale,
    ReturnExceedsBought,
    ReturnWindowClosed,
    StoreNotAllowed,
)
TAKING = (
    NotFound,
    InvalidField,
    RefundExceedsCapture,
    QuantityOutOfRange,
    StoreNotAllowed,
)
CHANGING = (NotFound, WrongState, StoreNotAllowed)


@get(
    "/v1/store/orders/{order_number:str}/returnable",
    guards=[may("return.request", "return.receive")],
    opt=raises(NotFound),
)
async def read_returnable_at_store(
    order_number: Annotated[str, PathParameter(min_length=1, max_length=20)],
    reading: Connection,
    now: datetime,
) -> ReturnableOrder:
    """What may come back of an order, line by line: how many, until when, for how much; why not."""
    order = await orders.by_number(reading, order_number)
    offered = await returns.eligibility(reading, order, now=now)
    return ReturnableOrder.of(order, offered, await returns.of_order(reading, order.id))


@post(
    "/v1/store/returns",
    guards=[may("return.request")],
    status_code=CREATED,
    opt=raises(*ASKING),
)
@once
async def request_return_at_store(
    data: NewReturn, conn: Connection, who: Principal, now: datetime
) -> ReturnView:
    """Ask to bring units back later. The policy approves at once, or says why not."""
    order = await orders.by_number(conn, data.order_number)
    made = await returns.request(
        conn,
        who,
        order.id,
        wanted_units(data.lines),
        reason=data.reason,
        now=now,
        location_id=store_of(who, data.location_id),
        exception=data.exception,
    )
    return ReturnView.of(made)


@post(
    "/v1/store/returns/take-back",
    guards=[may("return.receive")],
    status_code=CREATED,
    opt=raises(*ASKING, *TAKING, PermissionDenied) | answers(ReturnView),
)
@claims_itself
async def take_back(
    request: Request[Any, Any, Any],
    data: TakeBack,
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """A return in one call: the goods are here; they are approved, counted, stored and refunded.

    The answer waits for the card. `refund_pending` means that its provider has not answered yet.
    """
    location_id = store_of(who, data.location_id)

    async def begin(conn: Connection) -> Begun:
        order = await orders.by_number(conn, data.order_number)
        taken = await returns.take_back(
            conn,
            who,
            order.id,
            _arrivals(data.units),
            location_id=location_id,
            reason=data.reason,
            now=now,
            exception=data.exception,
        )
        return Begun(taken.return_.id, waits=bool(taken.operations) and not taken.settled)

    return await answer_saga(request, _refunding(services, begin))


@post(
    "/v1/store/returns/{return_id:uuid}/receive",
    guards=[may("return.receive")],
    status_code=OK,
    opt=raises(*TAKING, WrongState, ReturnExceedsRequested) | answers(ReturnView),
)
@claims_itself
async def receive_return(
    return_id: UUID,
    request: Request[Any, Any, Any],
    data: Receive,
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """Take the goods of an approved return, wherever it was asked for. Only what came counts.

    The answer waits for the card. `refund_pending` means that its provider has not answered yet.
    """
    location_id = store_of(who, data.location_id)

    async def begin(conn: Connection) -> Begun:
        taken = await returns.receive(
            conn, who, return_id, _arrivals(data.units), location_id=location_id, now=now
        )
        return Begun(return_id, waits=bool(taken.operations) and not taken.settled)

    return await answer_saga(request, _refunding(services, begin))


@post(
    "/v1/store/returns/{return_id:uuid}/refund",
    guards=[may("return.receive")],
    status_code=OK,
    opt=raises(*CHANGING, RefundExceedsCapture) | answers(ReturnView),
)
@claims_itself
async def refund_again(
    return_id: UUID,
    request: Request[Any, Any, Any],
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """Send once more what a failed refund still owes. Where nothing is owed, nothing happens."""

    async def begin(conn: Connection) -> Begun:
        taken = await returns.refund_again(conn, who, return_id, now=now)
        return Begun(return_id, waits=bool(taken.operations))

    return await answer_saga(request, _refunding(services, begin))


@post(
    "/v1/store/returns/{return_id:uuid}/approve",
    guards=[may("return.approve_exception")],
    status_code=OK,
    opt=raises(*CHANGING),
)
@once
async def approve_return(
    return_id: UUID, data: Decision, conn: Connection, who: Principal, now: datetime
) -> ReturnView:
    """Allow a return although its window has closed."""
    return ReturnView.of(await returns.approve(conn, who, return_id, why=data.why, now=now))


@post(
    "/v1/store/returns/{return_id:uuid}/reject",
    guards=[may("return.approve_exception")],
    status_code=OK,
    opt=raises(*CHANGING),
)
@once
async def reject_return(
    return_id: UUID, data: Decision, conn: Connection, who: Principal, now: datetime
) -> ReturnView:
    """Refuse a return whose window has closed, and say why."""
    return ReturnView.of(await returns.reject(conn, who, return_id, why=data.why, now=now))


@post(
    "/v1/store/returns/{return_id:uuid}/cancel",
    guards=[may("return.request")],
    status_code=OK,
    opt=raises(*CHANGING),
)
@once
async def cancel_return_at_store(
    return_id: UUID, conn: Connection, who: Principal, now: datetime
) -> ReturnView:
    """Nothing will come back; its units may be asked for again."""
    return ReturnView.of(await returns.cancel(conn, who, return_id, now=now))


@get(
    "/v1/store/returns",
    guards=[may("return.request", "return.receive")],
)
async def list_returns(
    reading: Connection,
    who: Principal,
    in_state: Annotated[ReturnState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[ReturnView]:
    """The store's returns, newest first."""
    rows = await returns.at_locations(
        reading, who.scope, state=in_state, before=decode_id(cursor) or LAST_ID, page=limit + 1
    )
    return page_of(rows, limit, view=ReturnView.of, key=lambda row: str(row.id))


@get(
    "/v1/store/returns/{return_id:uuid}",
    guards=[may("return.request", "return.receive")],
    opt=raises(NotFound),
)
async def read_return_at_store(return_id: UUID, reading: Connection, who: Principal) -> ReturnView:
    """A return: the store's own, or any that still may come here."""
    return ReturnView.of(await returns.for_staff(reading, return_id, scope=who.scope))


def _refunding(services: Services, begin: Any) -> Saga:
    """Whatever begins with goods and ends with refunds."""

    async def carry_on(return_id: UUID) -> None:
        async with services.database.reading() as conn:
            order_id = (await returns.by_id(conn, return_id)).head.order_id
        gateway = await services.gateway()
        await settlement.settle_order(services.database, gateway, order_id, now=services.now)
        services.doorbell.ring()

    async def view(conn: Connection, return_id: UUID) -> ReturnView:
        return ReturnView.of(await returns.by_id(conn, return_id))

    return Saga(begin, carry_on, view)


def _arrivals(units: tuple[ArrivedUnits, ...]) -> list[Arrival]:
    return [Arrival(each.line_number, each.disposition, each.quantity) for each in units]


ROUTES = [
    read_returnable_at_store,
    request_return_at_store,
    take_back,
    receive_return,
    refund_again,
    approve_return,
    reject_return,
    cancel_return_at_store,
    list_returns,
    read_return_at_store,
]
