"""Reading a portrait: one round trip for all parts that are shown, and two for browsing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from commerce import browsing
from commerce.clienteling import fields
from commerce.clienteling.access_log import record_shown
from commerce.clienteling.fields import Withheld
from commerce.clienteling.parts import (
    CARTS,
    LIVE_FOR,
    NOTES,
    ORDER,
    ORDERS,
    PICKUPS,
    RETURNS,
    VALUE,
    WISHLIST,
)
from commerce.clienteling.portrait import InHand, PickupSeen, Portrait, ProfileSeen, ReturnSeen
from commerce.clienteling.views import Standing
from commerce.customers.persons import ROWS_OF_PERSON, Person
from commerce.kernel.sql import Connection, Query

_OPEN_RETURN = ("requested", "approved")
_SERVES = {"profile": {"profile", "sizes", "preferences"}}
"""Reads that serve other parts than those of their name."""


class Shown(msgspec.Struct, frozen=True):
    """What a view shows, and what it does not."""

    portrait: Portrait
    withheld: tuple[Withheld, ...]


async def show(conn: Connection, found: Standing, *, now: datetime) -> Shown:
    """What an open view shows now. Parts that are withheld are not even read.

    What it shows for the first time is put on record before anybody sees it.
    """
    view, granted = found.view, found.granted
    withheld = fields.withheld(view.purpose, granted)
    hidden = {each.field for each in withheld}
    of = {"person_ids": list(view.person_ids)}
    wanted: dict[str, tuple[Query[Any], dict[str, Any]]] = {
        "profile": (ROWS_OF_PERSON, {"of": view.shopper_id}),
        "value": (VALUE, of),
        "carts": (
            CARTS,
            of | {"at_store": view.location_id, "now": now, "touched_after": now - LIVE_FOR},
        ),
        "wishlist": (WISHLIST, of),
        "notes": (NOTES, of),
        "orders": (ORDERS, of),
        "returns": (RETURNS, of),
        "pickups": (PICKUPS, of),
        "order": (ORDER, {"of": view.order_id}),
    }
    reads = {name: read for name, read in wanted.items() if _needed(name, hidden)}
    answers = await conn.gather(*reads.values()) if reads else []
    rows: dict[str, list[Any]] = dict(zip(reads, answers, strict=True))
    trail = (
        await browsing.recent(conn, view.person_ids, now=now) if "browsing" not in hidden else None
    )
    who = Person(tuple(rows["profile"])) if "profile" in rows else None
    whole = Portrait(
        in_hand=_in_hand(rows, view.location_id),
        profile=_profile(who),
        sizes=who.sizes if who else None,
        preferences=who.preferences if who else None,
        value=next(iter(rows.get("value", ())), None),
        carts=[each.cart for each in rows.get("carts", ())],
        browsing=trail,
        wishlist=rows.get("wishlist"),
        notes=rows.get("notes"),
        orders=rows.get("orders"),
        returns=rows.get("returns"),
        pickups=rows.get("pickups"),
    )
    parts = fields.shown(view.purpose, granted)
    if not found.shown.issuperset(parts):
        await record_shown(conn, view, parts, now=now)
    return Shown(fields.cut(whole, withheld), withheld)


def _in_hand(rows: Mapping[str, Sequence[Any]], here: UUID) -> InHand:
    pickups: Sequence[PickupSeen] = rows.get("pickups", ())
    returns: Sequence[ReturnSeen] = rows.get("returns", ())
    return InHand(
        order=next(iter(rows.get("order", ())), None),
        pickups=[each for each in pickups if each.location_id == here],
        returns=[
            each for each in returns if each.location_id == here and each.state in _OPEN_RETURN
        ],
        carts=[each.cart for each in rows.get("carts", ()) if each.handed_over],
    )


def _needed(name: str, hidden: set[str]) -> bool:
    """Whether a read serves a part that is shown, of the whole or of what is in hand."""
    parts = _SERVES.get(name, {name, f"in_hand.{name}"}) & fields.FIELDS.keys()
    if "in_hand" in hidden:
        parts.discard(f"in_hand.{name}")
    return not parts <= hidden


def _profile(who: Person | None) -> ProfileSeen | None:
    if who is None:
        return None
    since = min(row.created_at for row in who.rows)
    return ProfileSeen(who.name, who.email, who.phone, who.locale, who.loyalty_code, since)
