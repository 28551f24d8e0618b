"""A cart as clients see it: what is in it, and what it costs now."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar.params import HeaderParameter

from commerce.carts import Cart, Merged, Quoted, QuotedLine
from commerce.carts.quoting import Problem
from commerce.kernel.money import Money
from commerce.pricing import CouponRefused, PricedLine, Quote

CartState = Literal["open", "checkout", "ordered", "merged"]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        pattern=r'^"?[0-9]{1,9}"?$',
        description="Only if the cart still has this revision; else `cart_changed`.",
    ),
]


def revision_of(if_match: str | None) -> int | None:
    """The revision that a client wants to change, if it says so."""
    return None if if_match is None else int(if_match.strip('"'))


class CartLineView(msgspec.Struct, frozen=True):
    """So many units of a SKU."""

    sku: Annotated[str, msgspec.Meta(examples=["APP-01-01"])]
    quantity: Annotated[int, msgspec.Meta(examples=[2])]


class ClaimView(msgspec.Struct, frozen=True):
    """The store whose associate has the cart, and until when."""

    location_id: UUID
    expires_at: datetime

    @classmethod
    def of(cls, cart: Cart, now: datetime) -> "ClaimView | None":
        """None while nobody has claimed it."""
        if not cart.claimed(now):
            return None
        assert cart.claim_location_id is not None and cart.claim_expires_at is not None  # noqa: PT018
        return cls(cart.claim_location_id, cart.claim_expires_at)


class CartView(msgspec.Struct, frozen=True):
    """What is in a cart. Read the cart for what it costs."""

    id: UUID
    state: CartState
    revision: Annotated[int, msgspec.Meta(ge=1, examples=[3])]
    """Counts every change up; edits take it as `If-Match`."""
    location_id: UUID | None
    coupon_code: str | None
    lines: tuple[CartLineView, ...]
    hold_expires_at: datetime | None
    order_id: UUID | None
    merged_into: UUID | None
    """The cart to go on with, once this guest's cart has gone into it."""
    claim: ClaimView | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, cart: Cart, now: datetime) -> "CartView":
        """As it stands; a checkout whose hold has run out is none any more."""
        held = cart.held(now)
        resting: CartState = "merged" if cart.merged_into else "ordered"
        state: CartState = "checkout" if held else "open"
        lines = tuple([CartLineView(line.sku, line.quantity) for line in cart.wanted])
        return cls(
            id=cart.id,
            state=resting if cart.order_id or cart.merged_into else state,
            revision=cart.revision,
            location_id=cart.location_id,
            coupon_code=cart.coupon_code,
            lines=lines,
            hold_expires_at=cart.hold_expires_at if held else None,
            order_id=cart.order_id,
            merged_into=cart.merged_into,
            claim=ClaimView.of(cart, now),
            created_at=cart.created_at,
            updated_at=cart.updated_at,
        )


class StartedCart(msgspec.Struct, frozen=True):
    """A new cart. A guest sends `cart_token` as `Cart-Token` from now on; it is shown only here."""

    cart: CartView
    cart_token: Annotated[str, msgspec.Meta(examples=["8ZK3W0V5N2QJ7R1C4XAYHM6TBD"])] | None


class MergedCart(msgspec.Struct, frozen=True):
    """The cart to go on with after signing in, and what it had no room for: on the list."""

    cart: CartView
    saved_for_later: tuple[CartLineView, ...]

    @classmethod
    def of(cls, merged: Merged, now: datetime) -> "MergedCart":
        """From what became of both carts."""
        kept = [CartLineView(line.sku, line.quantity) for line in merged.saved_for_later]
        return cls(CartView.of(merged.cart, now), tuple(kept))


class LinePrice(msgspec.Struct, frozen=True):
    """What a line costs now; `total` is what is paid for it, tax and all."""

    name: str
    unit_price: Money
    discount: Money
    tax: Money
    total: Money

    @classmethod
    def of(cls, line: PricedLine, currency: str) -> "LinePrice":
        """From the priced line."""
        return cls(
            line.name,
            Money(line.unit_price_minor, currency),
            Money(line.discount_minor, currency),
            Money(line.tax_minor, currency),
            Money(line.total_minor, currency),
        )


class QuotedLineView(msgspec.Struct, frozen=True):
    """A line, its price, and why it cannot be bought like this, if it cannot.

    `price` is null where the SKU is not sold; `available_to_promise` is null while it is held.
    """

    sku: str
    quantity: int
    price: LinePrice | None
    available_to_promise: int | None
    problem: Problem | None

    @classmethod
    def of(cls, line: QuotedLine, currency: str) -> "QuotedLineView":
        """From the quoted line."""
        price = None if line.priced is None else LinePrice.of(line.priced, currency)
        return cls(line.sku, line.quantity, price, line.available_to_promise, line.problem)


class CouponProblem(msgspec.Struct, frozen=True):
    """Why the coupon takes nothing off."""

    reason: Annotated[str, msgspec.Meta(examples=["below_minimum"])]
    minimum_subtotal: Money


class QuoteView(msgspec.Struct, frozen=True):
    """What the cart costs now, without lines that are not sold at its store.

    `total = subtotal - discount`, plus `tax` unless prices include it. `promised_at` is from when
    on it could be picked up, null when it could not.
    """

    lines: tuple[QuotedLineView, ...]
    tax_included: bool
    subtotal: Money
    discount: Money
    tax: Money
    total: Money
    coupon_problem: CouponProblem | None
    promised_at: datetime | None

    @classmethod
    def of(cls, quoted: Quoted, quote: Quote) -> "QuoteView":
        """From the live quote."""
        currency = quote.currency
        return cls(
            lines=tuple([QuotedLineView.of(line, currency) for line in quoted.lines]),
            tax_included=quote.tax_included,
            subtotal=Money(quote.subtotal_minor, currency),
            discount=Money(quote.discount_minor, currency),
            tax=Money(quote.tax_minor, currency),
            total=Money(quote.total_minor, currency),
            coupon_problem=_coupon_problem(quoted.coupon_refused, currency),
            promised_at=quoted.promised_at,
        )


class QuotedCart(msgspec.Struct, frozen=True):
    """A cart and what it costs now: null without a store, and once its order has frozen it."""

    cart: CartView
    quote: QuoteView | None

    @classmethod
    def of(cls, quoted: Quoted, now: datetime) -> "QuotedCart":
        """As it stands."""
        quote = None if quoted.quote is None else QuoteView.of(quoted, quoted.quote)
        return cls(CartView.of(quoted.cart, now), quote)


def _coupon_problem(refused: CouponRefused | None, currency: str) -> CouponProblem | None:
    if refused is None:
        return None
    return CouponProblem(refused.reason, Money(refused.minimum_subtotal_minor, currency))
