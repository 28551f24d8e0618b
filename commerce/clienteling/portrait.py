"""What a view can show of a shopper. `fields` says who sees which of it.

A part that is withheld is None, as is a field of a part that is seen; `withheld` names both.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from commerce.browsing import Browsing
from commerce.kernel.money import Money
from commerce.returns.reading import ReturnState

NEWEST = 10
"""Of each kind of thing."""
MAX_SHOWN_LINES = 20
"""Of one order, cart or return."""
VALUED = 200
"""Orders that the value figures look back on."""


class ProfileSeen(msgspec.Struct, frozen=True):
    """Who the shopper is."""

    name: str | None
    email: str | None
    phone: str | None
    locale: str
    loyalty_code: str
    known_since: datetime


class BoughtLine(msgspec.Struct, frozen=True):
    """Units of a SKU that were bought, and how many of them came back."""

    sku: str
    name: str
    quantity: int
    returned_quantity: int


class OrderSeen(msgspec.Struct, frozen=True):
    """An order of any channel."""

    id: UUID
    number: str
    state: str
    channel: str
    location_id: UUID
    total: Money
    created_at: datetime
    lines: list[BoughtLine]


class ReturnedLine(msgspec.Struct, frozen=True):
    """Units of a SKU that are to come back, and how many did."""

    sku: str
    quantity: int
    received_quantity: int


class ReturnSeen(msgspec.Struct, frozen=True):
    """A return, at whichever store it was asked for or taken back."""

    id: UUID
    order_number: str
    state: ReturnState
    location_id: UUID | None
    refund: Money
    requested_at: datetime
    closed_at: datetime | None
    lines: list[ReturnedLine]


class GatheredLine(msgspec.Struct, frozen=True):
    """Units of a SKU that somebody wants."""

    sku: str
    name: str
    quantity: int


class PickupSeen(msgspec.Struct, frozen=True):
    """Goods that wait for the shopper, or soon will."""

    id: UUID
    order_number: str
    state: Literal["requested", "picking", "ready"]
    location_id: UUID
    promised_at: datetime | None
    ready_at: datetime | None
    expires_at: datetime | None
    lines: list[GatheredLine]


class CartSeen(msgspec.Struct, frozen=True):
    """A cart that is being filled, on whichever device."""

    id: UUID
    location_id: UUID | None
    updated_at: datetime
    lines: list[GatheredLine]


class WishSeen(msgspec.Struct, frozen=True):
    """A SKU on the wishlist."""

    sku: str
    name: str
    quantity: int
    added_at: datetime


class NoteSeen(msgspec.Struct, frozen=True):
    """What an associate wrote down about the shopper."""

    id: UUID
    body: str
    associate_name: str
    location_id: UUID
    created_at: datetime


class ValueSeen(msgspec.Struct, frozen=True):
    """Figures of the shopper's newest orders, at most 200; money per currency.

    `returned_bp`: of the units that were handed over, how many came back, in basis points.
    """

    orders: int
    spent: list[Money]
    average: list[Money]
    returned_bp: int
    first_order_at: datetime | None
    last_order_at: datetime | None


class InHand(msgspec.Struct, frozen=True):
    """What the contract asks to be served at this very store, whatever the shopper consented to."""

    order: OrderSeen | None
    pickups: list[PickupSeen] | None
    returns: list[ReturnSeen] | None
    carts: list[CartSeen] | None


class Portrait(msgspec.Struct, frozen=True, kw_only=True):
    """All that a view can show."""

    in_hand: InHand | None = None
    profile: ProfileSeen | None = None
    sizes: dict[str, str] | None = None
    preferences: dict[str, str] | None = None
    value: ValueSeen | None = None
    carts: list[CartSeen] | None = None
    browsing: Browsing | None = None
    wishlist: list[WishSeen] | None = None
    notes: list[NoteSeen] | None = None
    orders: list[OrderSeen] | None = None
    returns: list[ReturnSeen] | None = None
    pickups: list[PickupSeen] | None = None
