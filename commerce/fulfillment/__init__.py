"""Fulfillments at the store: picking, handing over against a code, and what is never collected.

    requested -> picking -> ready -> collected ; each but the last -> cancelled ; ready -> expired

Orders create the rows; from the first work on them they are changed here. Stock leaves at
hand-over, never at "ready". What is due is read from the frozen units of the lines: units that a
pick did not find are the last ones of their line. A pickup has a code, derived and never stored;
whoever shows it gets the goods.

Locks: the order, then its fulfillment, payments, stock levels, reservations.
"""

from commerce.fulfillment.ending import CancelReason, cancel, expire
from commerce.fulfillment.handing_over import (
    HandedOver,
    PickupCodeLocked,
    PickupCodeWrong,
    carry_out,
    hand_over,
    pickup_code,
)
from commerce.fulfillment.picking import ShortLine, finish_picking, start_picking
from commerce.fulfillment.reading import (
    AlreadyCollected,
    Pickup,
    PickupState,
    get,
    open_at,
)
from commerce.fulfillment.tenders import (
    Cash,
    CounterTender,
    ExternalTerminal,
    TenderedTooLittle,
    TenderRequired,
)

__all__ = [
    "AlreadyCollected",
    "CancelReason",
    "Cash",
    "CounterTender",
    "ExternalTerminal",
    "HandedOver",
    "Pickup",
    "PickupCodeLocked",
    "PickupCodeWrong",
    "PickupState",
    "ShortLine",
    "TenderRequired",
    "TenderedTooLittle",
    "cancel",
    "carry_out",
    "expire",
    "finish_picking",
    "get",
    "hand_over",
    "open_at",
    "pickup_code",
    "start_picking",
]
