"""A till's baskets: scan, take out, sell. What lies on the counter is held meanwhile."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.params import QueryParameter

from api.auth import may
from api.contract import raises
from api.once import once
from api.order_views import OrderView, order_view
from api.services import Services
from api.store.places import store_of
from api.words import BasketState
from commerce.access import Principal, StoreNotAllowed
from commerce.fulfillment import Cash, ExternalTerminal, TenderedTooLittle, TenderRequired
from commerce.kernel import ids
from commerce.kernel.errors import InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.orders import PriceChanged, StockShort
from commerce.pricing import MAX_LINE_UNITS, CouponRefused, UnknownSku, UnknownStore
from pos_sync import baskets
from pos_sync.baskets import BasketFull, HoldsLost, Standing

CREATED = 201
OK = 200
Barcode = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        description="A GTIN in any of its lengths, or one of our own SKUs.",
        examples=["7501055300013"],
    ),
]
CouponCode = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class NewBasket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A basket to begin. `location_id` only for a key of no store."""

    location_id: UUID | None = None


class Scan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many units of what was scanned."""

    barcode: Barcode
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINE_UNITS, examples=[1])] = 1


class Sale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the basket is paid. `total` is what the shopper was told; another total is refused."""

    total: Money
    tender: Cash | ExternalTerminal | None = None
    coupon_code: CouponCode | None = None


class BasketLineView(msgspec.Struct, frozen=True):
    """One scan. Without `held_until` its units are held no more: hold again, or take it out."""

    line_number: int
    sku: str
    name: str
    quantity: int
    unit_price: Money
    discount: Money
    total: Money
    held_until: datetime | None


class BasketView(msgspec.Struct, frozen=True):
    """A basket and what it costs now, with the coupon that was asked about."""

    id: UUID
    location_id: UUID
    state: BasketState
    order_id: UUID | None
    lines: list[BasketLineView]
    subtotal: Money
    discount: Money
    tax: Money
    total: Money

    @classmethod
    def of(cls, standing: Standing) -> "BasketView":
        """From the basket, its holds and its price."""
        found, quote = standing.basket, standing.quote
        lines = [
            BasketLineView(
                line.line_number,
                line.sku,
                priced.name,
                line.quantity,
                Money(priced.unit_price_minor, quote.currency),
                Money(priced.discount_minor, quote.currency),
                Money(priced.total_minor, quote.currency),
                held_until,
            )
            for line, priced, held_until in zip(
                found.lines, quote.lines, standing.held_until, strict=True
            )
        ]
        return cls(
            found.id,
            found.location_id,
            found.state,
            found.order_id,
            lines,
            Money(quote.subtotal_minor, quote.currency),
            Money(quote.discount_minor, quote.currency),
            Money(quote.tax_minor, quote.currency),
            Money(quote.total_minor, quote.currency),
        )


class SoldView(msgspec.Struct, frozen=True):
    """The order that the basket has become, and the change to give."""

    order: OrderView
    change: Money


FINDING = (NotFound, StoreNotAllowed)
CHANGING = (*FINDING, WrongState)


@post(
    "/v1/store/baskets",
    guards=[may("basket.sell")],
    status_code=CREATED,
    opt=raises(UnknownStore, StoreNotAllowed, InvalidField),
)
@once
async def open_basket(
    data: NewBasket, conn: Connection, who: Principal, now: datetime
) -> BasketView:
    """Begin a basket."""
    at = store_of(who, data.location_id)
    return BasketView.of(await baskets.open_basket(conn, who, ids.uuid7(), at, now=now))


@get(
    "/v1/store/baskets/{basket_id:uuid}",
    guards=[may("basket.sell")],
    opt=raises(*FINDING, CouponRefused, UnknownSku),
)
async def read_basket(
    basket_id: UUID,
    reading: Connection,
    who: Principal,
    now: datetime,
    coupon_code: Annotated[str | None, QueryParameter(min_length=1, max_length=64)] = None,
) -> BasketView:
    """What lies on the counter, until when each line is held, and the total to tell the shopper."""
    return BasketView.of(
        await baskets.read(reading, who, basket_id, coupon_code=coupon_code, now=now)
    )


@post(
    "/v1/store/baskets/{basket_id:uuid}/lines",
    guards=[may("basket.sell")],
    status_code=CREATED,
    opt=raises(*CHANGING, UnknownSku, StockShort, BasketFull),
)
@once
async def scan(
    basket_id: UUID, data: Scan, conn: Connection, who: Principal, now: datetime
) -> BasketView:
    """Scan goods into the basket. They are held for ten minutes, and all other lines again too."""
    standing = await baskets.scan(
        conn, who, basket_id, barcode=data.barcode, quantity=data.quantity, now=now
    )
    return BasketView.of(standing)


@delete(
    "/v1/store/baskets/{basket_id:uuid}/lines/{line_number:int}",
    guards=[may("basket.sell")],
    opt=raises(*CHANGING),
)
async def remove_line(
    basket_id: UUID, line_number: int, conn: Connection, who: Principal, now: datetime
) -> None:
    """Take a line out; its units are free again."""
    await baskets.remove(conn, who, basket_id, line_number, now=now)


@post(
    "/v1/store/baskets/{basket_id:uuid}/hold-again",
    guards=[may("basket.sell")],
    status_code=OK,
    opt=raises(*CHANGING, StockShort),
)
@once
async def hold_again(
    basket_id: UUID, conn: Connection, who: Principal, now: datetime
) -> BasketView:
    """Hold the lines anew whose holds have run out, unless others were promised the goods."""
    return BasketView.of(await baskets.hold_again(conn, who, basket_id, now=now))


@post(
    "/v1/store/baskets/{basket_id:uuid}/sell",
    guards=[may("basket.sell")],
    status_code=CREATED,
    opt=raises(
        *CHANGING,
        InvalidField,
        HoldsLost,
        PriceChanged,
        CouponRefused,
        UnknownSku,
        TenderRequired,
        TenderedTooLittle,
    ),
)
@once
async def sell(
    basket_id: UUID,
    data: Sale,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
) -> SoldView:
    """Sell the basket: order, payment and goods in one step."""
    sold = await baskets.sell(
        conn,
        who,
        basket_id,
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        seen=data.total,
        coupon_code=data.coupon_code,
        tender=data.tender,
        numbers=services.numbers,
        now=now,
    )
    return SoldView(await order_view(conn, sold.order), sold.change)


@delete(
    "/v1/store/baskets/{basket_id:uuid}",
    guards=[may("basket.sell")],
    opt=raises(*CHANGING),
)
async def release_basket(basket_id: UUID, conn: Connection, who: Principal, now: datetime) -> None:
    """Put everything back on the shelf. Repeating it changes nothing."""
    await baskets.release(conn, who, basket_id, now=now)


ROUTES = [open_basket, read_basket, scan, remove_line, hold_again, sell, release_basket]
