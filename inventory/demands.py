"""What is asked of stock, and the pure decision who gets it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from commerce.kernel.errors import CommerceError
from inventory.stock import Key, Level

HoldClass = Literal["guest", "signed_in", "counter", "order"]
"""Who holds: each class has its own time to live, which the caller turns into `expires_at`."""


class Want(msgspec.Struct, frozen=True):
    """So many units of a SKU at a location."""

    location_id: UUID
    sku: str
    quantity: int


class Demand(msgspec.Struct, frozen=True):
    """What one cart, basket or order wants: all of it or nothing.

    The id is made by the caller, so that repeating a demand is harmless. Without `expires_at` the
    promise is committed at once. `new` says that the id was made for this transaction, so nobody
    needs to look for it.
    """

    id: UUID
    wants: tuple[Want, ...]
    hold_class: HoldClass
    actor: str
    expires_at: datetime | None = None
    promised_at: datetime | None = None
    new: bool = False


class Held(msgspec.Struct, frozen=True):
    """The demand is promised."""

    demand_id: UUID


class Shortage(msgspec.Struct, frozen=True):
    """Too few units of a SKU at a location for what was asked."""

    location_id: UUID
    sku: str
    requested: int
    available: int


class Refused(msgspec.Struct, frozen=True):
    """Nothing of the demand is promised; where it fell short."""

    demand_id: UUID
    shortages: tuple[Shortage, ...]


class Reservation(msgspec.Struct, frozen=True):
    """One promise: a demand's units of one SKU at one location."""

    demand_id: UUID
    location_id: UUID
    sku: str
    quantity: int
    hold_class: str
    state: str
    expires_at: datetime | None
    promised_at: datetime | None
    created_at: datetime

    @property
    def key(self) -> Key:
        """The level that it draws on."""
        return self.location_id, self.sku

    def alive(self, now: datetime) -> bool:
        """Whether it still promises: committed, or held and not past its time."""
        if self.state == "held":
            return self.expires_at is not None and self.expires_at > now
        return self.state == "committed"


class HoldExpired(CommerceError):
    """The hold has run out or was given up. Nothing is promised any more; hold again."""

    code = "hold_expired"
    demand_id: UUID


def decide(
    levels: dict[Key, Level], expired: Sequence[Reservation], demands: Sequence[Demand]
) -> list[Held | Refused]:
    """Which demands can be promised. Pure.

    Wants of one demand on the same key are summed before they are compared; what an earlier demand
    got is gone for a later one; a refused demand takes nothing. `expired` holds count as free.
    """
    free = {
        key: level.on_hand - level.reserved - level.safety_stock for key, level in levels.items()
    }
    for each in expired:
        free[each.key] += each.quantity
    outcomes: list[Held | Refused] = []
    for demand in demands:
        wanted = summed(demand)
        shortages = tuple(
            Shortage(key[0], key[1], quantity, max(0, free[key]))
            for key, quantity in wanted.items()
            if quantity > free[key]
        )
        if shortages:
            outcomes.append(Refused(demand.id, shortages))
            continue
        for key, quantity in wanted.items():
            free[key] -= quantity
        outcomes.append(Held(demand.id))
    return outcomes


def summed(demand: Demand) -> dict[Key, int]:
    """The units of a demand per key: wants of one SKU at one location count together."""
    totals: dict[Key, int] = {}
    for want in demand.wants:
        key = (want.location_id, want.sku)
        totals[key] = totals.get(key, 0) + want.quantity
    return totals
