"""A store's pickups: the list to pick, the bag that waits, the goods that change hands.

Answers hold no personal data, except one: who hands over may read the name on the order, at the
pickup's own store, and that reading is on record.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import QueryParameter

from api.auth import may
from api.contract import answers, claims_itself, raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from api.sagas import Begun, Saga, answer_saga
from api.services import Services
from api.store.places import store_of
from api.words import OrderState, Tender
from commerce import access, customers, fulfillment, payments, settlement
from commerce.access import PermissionDenied, Principal, StoreNotAllowed
from commerce.fulfillment import (
    AlreadyCollected,
    CancelReason,
    Cash,
    ExternalTerminal,
    Pickup,
    PickupCodeLocked,
    PickupCodeWrong,
    PickupState,
    ShortLine,
    TenderedTooLittle,
    TenderRequired,
)
from commerce.kernel.errors import CommerceError, InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.payments import AuthorizationLapsed
from commerce.pricing import MAX_LINE_UNITS, MAX_LINES

FIRST = UUID(int=0)
OK = 200
StagingLocation = Annotated[str, msgspec.Meta(min_length=1, max_length=40, examples=["A-12"])]
PickupCode = Annotated[str, msgspec.Meta(min_length=1, max_length=32, examples=["7K2M9Q"])]
OverrideReason = Annotated[str, msgspec.Meta(min_length=3, max_length=200)]


class NotFoundUnits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of a line that are not where they should be."""

    line_number: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES, examples=[1])]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINE_UNITS, examples=[1])]


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the bag waits, and what could not be found for it."""

    staging_location: StagingLocation
    short: Annotated[tuple[NotFoundUnits, ...], msgspec.Meta(max_length=MAX_LINES)] = ()


class HandOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the shopper shows, or why a manager gives the goods without it.

    `tender` where the order is paid at pickup, or where its card no longer pays.
    """

    code: PickupCode | None = None
    override_reason: OverrideReason | None = None
    tender: Cash | ExternalTerminal | None = None


class CancelPickup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the store calls it off."""

    reason: CancelReason


class PickupLine(msgspec.Struct, frozen=True):
    """What to fetch: `quantity` less `cancelled_quantity`, which was not found."""

    line_number: int
    sku: str
    name: str
    quantity: int
    cancelled_quantity: int


class PickupView(msgspec.Struct, frozen=True):
    """A pickup. `due` is the price of what the shopper gets, already held on a card or not."""

    id: UUID
    order_id: UUID
    order_number: str
    order_state: OrderState
    location_id: UUID
    state: PickupState
    tender: Tender
    due: Money
    promised_at: datetime | None
    requested_at: datetime
    picking_at: datetime | None
    ready_at: datetime | None
    expires_at: datetime | None
    closed_at: datetime | None
    picked_by: str | None
    handed_over_by: str | None
    staging_location: str | None
    cancel_reason: str | None
    lines: list[PickupLine]

    @classmethod
    def of(cls, pickup: Pickup) -> "PickupView":
        """From what is stored."""
        head = pickup.head
        same = {n: getattr(head, n) for n in cls.__struct_fields__ if hasattr(head, n)}
        lines = [msgspec.convert(line, PickupLine, from_attributes=True) for line in pickup.lines]
        return cls(**same | {"order_number": head.number, "due": pickup.due, "lines": lines})


class PickupDetail(msgspec.Struct, frozen=True):
    """A pickup and the name on its order, for the person at the counter."""

    pickup: PickupView
    contact_name: str | None


class HandedOverView(msgspec.Struct, frozen=True):
    """The goods are given. `change` goes back to the shopper.

    `capturing`: the provider has not answered yet, and is asked again. `due`: it refused; the money
    is still to be collected.
    """

    pickup: PickupView
    change: Money
    payment: Literal["paid", "capturing", "due"]


WORKING = (NotFound, StoreNotAllowed, WrongState)


@get(
    "/v1/store/pickups",
    guards=[may("pickup.read")],
    opt=raises(InvalidField, StoreNotAllowed),
)
async def list_pickups(
    reading: Connection,
    who: Principal,
    in_state: Annotated[
        Literal["requested", "picking", "ready"] | None, QueryParameter(name="state")
    ] = None,
    location_id: UUID | None = None,
    cursor: Cursor = None,
    limit: PageSize = 50,
) -> Page[PickupView]:
    """The store's open pickups, first placed first. `location_id` only for a key of no store."""
    rows = await fulfillment.open_at(
        reading,
        who,
        store_of(who, location_id, path="?location_id"),
        state=in_state,
        after=decode_id(cursor) or FIRST,
        page=limit + 1,
    )
    return page_of(rows, limit, view=PickupView.of, key=lambda row: str(row.id))


@get(
    "/v1/store/pickups/{pickup_id:uuid}",
    guards=[may("pickup.read")],
    opt=raises(NotFound, StoreNotAllowed),
)
async def read_pickup(
    pickup_id: UUID, conn: Connection, who: Principal, now: datetime
) -> PickupDetail:
    """A pickup in any state, with the name on the order. Each reading is on record."""
    pickup = await fulfillment.get(conn, who, pickup_id)
    asked = [] if pickup.head.contact_id is None else [pickup.head.contact_id]
    contacts = await customers.contacts_by_ids(conn, asked)
    await access.record_staff(
        conn,
        who,
        action="pickup.viewed",
        subject=f"pickup:{pickup_id}",
        changes={},
        now=now,
        location_id=pickup.head.location_id,
    )
    return PickupDetail(PickupView.of(pickup), contacts[0].name if contacts else None)


@post(
    "/v1/store/pickups/{pickup_id:uuid}/start",
    guards=[may("pickup.pick")],
    status_code=OK,
    opt=raises(*WORKING, AlreadyCollected),
)
@once
async def start_picking(
    pickup_id: UUID, conn: Connection, who: Principal, now: datetime
) -> PickupView:
    """Take a pickup off the list, so that nobody else fetches it."""
    return PickupView.of(await fulfillment.start_picking(conn, who, pickup_id, now=now))


@post(
    "/v1/store/pickups/{pickup_id:uuid}/ready",
    guards=[may("pickup.pick")],
    status_code=OK,
    opt=raises(*WORKING, AlreadyCollected, InvalidField) | answers(PickupView),
)
@claims_itself
async def finish_picking(
    pickup_id: UUID,
    request: Request[Any, Any, Any],
    data: Ready,
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """The bag waits: the shopper is told. What was not found is cancelled and never charged.

    Nothing found at all: the order is cancelled.
    """

    async def begin(conn: Connection) -> Begun:
        pickup = await fulfillment.finish_picking(
            conn,
            who,
            pickup_id,
            staging_location=data.staging_location,
            short=[ShortLine(each.line_number, each.quantity) for each in data.short],
            now=now,
        )
        return Begun(pickup_id, waits=_must_void(pickup))

    return await answer_saga(request, Saga(begin, _settle(services, who), _view(who)))


@post(
    "/v1/store/pickups/{pickup_id:uuid}/hand-over",
    guards=[may("pickup.hand_over")],
    status_code=OK,
    opt=raises(
        *WORKING,
        AlreadyCollected,
        PickupCodeWrong,
        PickupCodeLocked,
        PermissionDenied,
        AuthorizationLapsed,
        TenderRequired,
        TenderedTooLittle,
        InvalidField,
    )
    | answers(HandedOverView),
)
@claims_itself
async def hand_over(
    pickup_id: UUID,
    request: Request[Any, Any, Any],
    data: HandOver,
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """Give the goods to the person who shows the pickup code. Stock leaves now, money comes now.

    Five wrong codes lock the pickup for a quarter of an hour. A manager may give the goods without
    the code, with a reason that stays on record.
    """
    if (data.code is None) == (data.override_reason is None):
        raise InvalidField(path="/code", reason="give the code, or a manager's override_reason")
    change: Money | None = None

    async def begin(conn: Connection) -> Begun | CommerceError:
        nonlocal change
        given = await fulfillment.hand_over(
            conn,
            who,
            pickup_id,
            secret=services.secret,
            code=data.code,
            override_reason=data.override_reason,
            tender=data.tender,
            now=now,
        )
        if isinstance(given, CommerceError):
            return given
        change = given.change
        return Begun(pickup_id, waits=_must_void(given.pickup) or bool(given.operations))

    async def view(conn: Connection, _: UUID) -> HandedOverView:
        pickup = await fulfillment.get(conn, who, pickup_id)
        # Only a card is waited for, and a card gives no change.
        back = change or Money(0, pickup.head.currency)
        return HandedOverView(PickupView.of(pickup), back, await _payment(conn, pickup))

    return await answer_saga(request, Saga(begin, _settle(services, who), view))


@post(
    "/v1/store/pickups/{pickup_id:uuid}/cancel",
    guards=[may("order.cancel")],
    status_code=OK,
    opt=raises(*WORKING, AlreadyCollected) | answers(PickupView),
)
@claims_itself
async def cancel_pickup(
    pickup_id: UUID,
    request: Request[Any, Any, Any],
    data: CancelPickup,
    who: Principal,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """Call a pickup and its order off: stock is free again, the card's hold is given back."""

    async def begin(conn: Connection) -> Begun:
        pickup = await fulfillment.cancel(conn, who, pickup_id, reason=data.reason, now=now)
        return Begun(pickup_id, waits=_must_void(pickup))

    return await answer_saga(request, Saga(begin, _settle(services, who), _view(who)))


def _must_void(pickup: Pickup) -> bool:
    return pickup.head.tender == "card" and pickup.head.order_state == "cancelled"


def _settle(services: Services, who: Principal) -> Any:
    """Carries out what the pickup's order waits for."""

    async def carry_on(pickup_id: UUID) -> None:
        async with services.database.reading() as conn:
            order_id = (await fulfillment.get(conn, who, pickup_id)).head.order_id
        gateway = await services.gateway()
        await settlement.settle_order(services.database, gateway, order_id, now=services.now)
        services.doorbell.ring()

    return carry_on


def _view(who: Principal) -> Any:
    async def view(conn: Connection, pickup_id: UUID) -> PickupView:
        return PickupView.of(await fulfillment.get(conn, who, pickup_id))

    return view


async def _payment(conn: Connection, pickup: Pickup) -> Literal["paid", "capturing", "due"]:
    if pickup.head.order_state == "completed":
        return "paid"
    paid = await payments.of_order(conn, pickup.head.order_id)
    running = [
        operation
        for each in (await payments.operations_of(conn, paid)).values()
        for operation in each
        if operation.kind == "capture" and operation.open
    ]
    return "capturing" if running else "due"


ROUTES = [
    list_pickups,
    read_pickup,
    start_picking,
    finish_picking,
    hand_over,
    cancel_pickup,
]
