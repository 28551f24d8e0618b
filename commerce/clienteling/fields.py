"""Which field of a portrait is seen for which purpose, and what the shopper must have allowed.

`FIELDS` is the one table. A part that it withholds is not even read; a field of a part that is read
is taken out before anybody sees it. A test wants an entry for every field.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal, TypeVar, get_args

import msgspec

from commerce.clienteling.portrait import Portrait
from commerce.clienteling.views import ViewPurpose
from commerce.consents import Consents

Need = Literal["contract", "personal_service", "browsing_insight"]
_NEEDS: tuple[Need, ...] = get_args(Need)
Why = Literal["not_for_this_purpose", "no_consent"]

_Part = TypeVar("_Part", bound=msgspec.Struct)


class Rule(msgspec.Struct, frozen=True):
    """Seen for these purposes, where the shopper allows it; `contract` needs nobody's consent."""

    purposes: frozenset[ViewPurpose]
    needs: Need


class Withheld(msgspec.Struct, frozen=True):
    """A field that is not shown, and why; `consent` is the one to ask for."""

    field: str
    why: Why
    consent: Need | None = None


def _seen(for_: tuple[ViewPurpose, ...], needs: Need, part: str, fields: str) -> dict[str, Rule]:
    """One rule for a part and these fields of it."""
    rule = Rule(frozenset(for_), needs)
    return {part: rule} | {f"{part}.{name}": rule for name in fields.split()}


_ORDER = (
    "id number state channel location_id total created_at"
    " lines lines.sku lines.name lines.quantity lines.returned_quantity"
)
_RETURN = (
    "id order_number state location_id refund requested_at closed_at"
    " lines lines.sku lines.quantity lines.received_quantity"
)
_PICKUP = (
    "id order_number state location_id promised_at ready_at expires_at"
    " lines lines.sku lines.name lines.quantity"
)
_CART = "id location_id updated_at lines lines.sku lines.name lines.quantity"
_BROWSING = (
    "viewed viewed.item viewed.sku viewed.name viewed.department viewed.times viewed.last_at"
    " searches searches.query searches.times searches.last_at"
    " interests interests.department interests.share_bp"
    " store_visits store_visits.location_id store_visits.days store_visits.last_at"
)
_AT_THE_COUNTER: tuple[ViewPurpose, ...] = ("serve_in_store", "pickup", "return")
_ALWAYS: tuple[ViewPurpose, ...] = (*_AT_THE_COUNTER, "follow_up")
_ADVISING: tuple[ViewPurpose, ...] = ("serve_in_store", "follow_up")

FIELDS: dict[str, Rule] = {
    **_seen(_AT_THE_COUNTER, "contract", "in_hand", ""),
    **_seen(_AT_THE_COUNTER, "contract", "in_hand.order", _ORDER),
    **_seen(("serve_in_store", "pickup"), "contract", "in_hand.pickups", _PICKUP),
    **_seen(("serve_in_store", "return"), "contract", "in_hand.returns", _RETURN),
    **_seen(_AT_THE_COUNTER, "contract", "in_hand.carts", _CART),
    **_seen(_ALWAYS, "personal_service", "profile", "name locale loyalty_code known_since"),
    **_seen(("follow_up",), "personal_service", "profile.email", ""),
    **_seen(("follow_up",), "personal_service", "profile.phone", ""),
    **_seen(_ADVISING, "personal_service", "sizes", ""),
    **_seen(_ADVISING, "personal_service", "preferences", ""),
    **_seen(
        _ADVISING,
        "personal_service",
        "value",
        "orders spent average returned_bp first_order_at last_order_at",
    ),
    **_seen(("serve_in_store",), "browsing_insight", "carts", _CART),
    **_seen(_ADVISING, "browsing_insight", "browsing", _BROWSING),
    **_seen(_ADVISING, "personal_service", "wishlist", "sku name quantity added_at"),
    **_seen(
        _ADVISING, "personal_service", "notes", "id body associate_name location_id created_at"
    ),
    **_seen(("serve_in_store", "return", "follow_up"), "personal_service", "orders", _ORDER),
    **_seen(("serve_in_store", "return"), "personal_service", "returns", _RETURN),
    **_seen(("serve_in_store", "pickup"), "personal_service", "pickups", _PICKUP),
}
"""Path of a field, and of the part that it stands in -> its rule. Money is one field."""


def refusal(path: str, purpose: ViewPurpose, granted: Consents) -> Withheld | None:
    """Why a field is not shown; None when it is."""
    return _refusal(path, purpose, _met(granted))


def withheld(purpose: ViewPurpose, granted: Consents) -> tuple[Withheld, ...]:
    """All that is not shown, each part once. Says nothing about whether there would be anything."""
    return _withheld(purpose, _met(granted))


def shown(purpose: ViewPurpose, granted: Consents) -> tuple[str, ...]:
    """The parts that are seen at least in part: what the access log says."""
    return _shown(purpose, _met(granted))


def _met(granted: Consents) -> frozenset[Need]:
    return frozenset(need for need in _NEEDS if need == "contract" or granted.allows(need))


def _refusal(path: str, purpose: ViewPurpose, met: frozenset[Need]) -> Withheld | None:
    rule = FIELDS[path]
    if purpose not in rule.purposes:
        return Withheld(path, "not_for_this_purpose")
    return None if rule.needs in met else Withheld(path, "no_consent", rule.needs)


@cache
def _withheld(purpose: ViewPurpose, met: frozenset[Need]) -> tuple[Withheld, ...]:
    found: dict[str, Withheld] = {}
    for path in FIELDS:
        inside = any(path.startswith(f"{part}.") for part in found)
        why = None if inside else _refusal(path, purpose, met)
        if why is not None:
            found[path] = why
    return tuple(found.values())


@cache
def _shown(purpose: ViewPurpose, met: frozenset[Need]) -> tuple[str, ...]:
    parts = [path for path in FIELDS if "." not in path and path != "in_hand"]
    parts += [path for path in FIELDS if path.startswith("in_hand.") and path.count(".") == 1]
    return tuple(sorted(path for path in parts if _refusal(path, purpose, met) is None))


def cut(portrait: Portrait, hidden: Iterable[Withheld]) -> Portrait:
    """The portrait without what is withheld."""
    return _cut(portrait, "", {each.field for each in hidden})


def _cut(part: _Part, path: str, hidden: set[str]) -> _Part:
    changed: dict[str, Any] = {}
    for name, value in _fields(part):
        inner = f"{path}.{name}" if path else name
        if inner in hidden:
            changed[name] = None
        elif isinstance(value, msgspec.Struct) and any(h.startswith(f"{inner}.") for h in hidden):
            changed[name] = _cut(value, inner, hidden)
    return msgspec.structs.replace(part, **changed)


def _fields(part: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(part, name)) for name in part.__struct_fields__)
