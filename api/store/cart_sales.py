"""A claimed cart is paid: at the till, or by a link that the shopper opens."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import delete, post

from api.auth import may
from api.contract import no_key_needed, raises
from api.once import once
from api.order_views import OrderView, order_view
from api.services import Services
from api.store.carts import HOLDING, REACHING, served_by
from commerce import carts
from commerce.access import Principal
from commerce.carts import CartElsewhere, CartEmpty, Sale, StoreNotChosen
from commerce.customers import Contact, normal_email, normal_phone
from commerce.fulfillment import Cash, ExternalTerminal, TenderedTooLittle, TenderRequired
from commerce.kernel import ids
from commerce.kernel.errors import InvalidField
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection
from commerce.orders import PriceChanged

CREATED = 201


class PickupContact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to tell when the goods are ready: a name, and a mail address or a phone number."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["Ana Torres"])]
    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=32, examples=["+525512345678"])] | None = None
    locale: Literal["en", "es"] = "es"


class CartSale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the cart is sold. `total` is what the shopper was told; another total is refused.

    `carry_out` is paid now, by `tender`. For a `pickup` the shopper comes back and pays then; it
    needs a `contact`.
    """

    total: Money
    kind: Literal["carry_out", "pickup"] = "carry_out"
    tender: Cash | ExternalTerminal | None = None
    contact: PickupContact | None = None


class CartSold(msgspec.Struct, frozen=True):
    """The order that the cart has become, and the change to give."""

    order: OrderView
    change: Money


class PaymentLink(msgspec.Struct, frozen=True):
    """What to send to the shopper. `token` is what the web shop sends as `Cart-Token`."""

    url: Annotated[str, msgspec.Meta(examples=["https://shop.example/carts/0197...#1-8ZK3W0V5"])]
    token: Annotated[str, msgspec.Meta(examples=["1-8ZK3W0V5N2QJ7R1C4XAYHM6TBD"])]
    expires_at: datetime


@post(
    "/v1/store/carts/{cart_id:uuid}/sell",
    guards=[may("cart.serve")],
    status_code=CREATED,
    opt=raises(
        *REACHING,
        *HOLDING,
        CartEmpty,
        StoreNotChosen,
        CartElsewhere,
        PriceChanged,
        TenderRequired,
        TenderedTooLittle,
        InvalidField,
    ),
)
@once
async def sell_cart(
    cart_id: UUID,
    data: CartSale,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
) -> CartSold:
    """Sell a claimed cart: order, payment and goods in one step. The claim ends with it."""
    if data.kind == "pickup" and data.tender is not None:
        raise InvalidField(path="/tender", reason="a pickup is paid when it is handed over")
    if data.kind == "pickup" and data.contact is None:
        raise InvalidField(path="/contact", reason="a pickup needs somebody to tell")
    sale = Sale(
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        kind=data.kind,
        seen=data.total,
        tender=data.tender,
        contact=_contact(data.contact),
    )
    sold = await carts.sell(
        conn, who, cart_id, served_by(who), sale, numbers=services.numbers, now=now
    )
    return CartSold(await order_view(conn, sold.order), sold.change)


@post(
    "/v1/store/carts/{cart_id:uuid}/payment-link",
    guards=[may("cart.serve")],
    status_code=CREATED,
    opt=raises(*REACHING),
)
@no_key_needed("a link that lives is answered again")
async def make_payment_link(
    cart_id: UUID, conn: Connection, who: Principal, services: Services, now: datetime
) -> PaymentLink:
    """A link that opens this cart for checkout and payment, for a day and until its order."""
    cart = await carts.link(conn, who, cart_id, served_by(who), now=now)
    assert cart.link_expires_at is not None
    token = carts.link_token(services.secret, cart_id, cart.link_number)
    base = services.settings.links_url
    # Behind the #, so that no server on the way writes it into its log.
    return PaymentLink(f"{base}/carts/{cart_id}#{token}", token, cart.link_expires_at)


@delete(
    "/v1/store/carts/{cart_id:uuid}/payment-link",
    guards=[may("cart.serve")],
    opt=raises(*REACHING),
)
async def revoke_payment_link(
    cart_id: UUID, conn: Connection, who: Principal, now: datetime
) -> None:
    """The link opens nothing any more. Repeating it changes nothing."""
    await carts.revoke_link(conn, who, cart_id, served_by(who), now=now)


def _contact(given: PickupContact | None) -> Contact | None:
    if given is None:
        return None
    if given.email is None and given.phone is None:
        raise InvalidField(path="/contact", reason="an email address or a phone number is needed")
    try:
        return Contact(
            id=ids.uuid7(),
            name=given.name,
            email=None if given.email is None else normal_email(given.email),
            phone=None if given.phone is None else normal_phone(given.phone),
            locale=given.locale,
        )
    except InvalidField as wrong:
        raise InvalidField(path=f"/contact{wrong.path}", reason=wrong.reason) from wrong


ROUTES = [sell_cart, make_payment_link, revoke_payment_link]
