"""Permissions on one page, and the principal that holds them."""

from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Uuid, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import either

KeyKind = Literal["storefront", "integration", "tablet", "backoffice"]
Channel = Literal["web", "app", "store"]
Role = Literal["associate", "manager"]

_SHOPS = ("storefront", "integration")
_STAFF = ("associate", "manager")

PERMISSIONS: dict[str, tuple[str, ...]] = {
    # goods
    "catalog.read": (*_SHOPS, *_STAFF),
    "catalog.write": (),
    "availability.read": (*_SHOPS, *_STAFF),
    "stock.read": _STAFF,
    "stock.write": ("manager",),
    "store.write": (),
    # buying
    "browsing.record": _SHOPS,
    "cart.write": _SHOPS,
    "cart.attach_own": ("shopper",),
    "cart.read_own": ("shopper",),
    "list.write_own": ("shopper",),
    "order.place": _SHOPS,
    "payment.authorize": _SHOPS,
    "order.read_own": ("shopper",),
    "return.request_own": ("shopper",),
    "profile.read_own": ("shopper",),
    "profile.write_own": ("shopper",),
    "browsing.read_own": ("shopper",),
    "browsing.write_own": ("shopper",),
    "consent.decide_own": ("shopper",),
    "profile.export_own": ("shopper",),
    "profile.erase_own": ("shopper",),
    "privacy.export": (),
    "privacy.erase": (),
    "quiet_hours.write": (),
    "watch.write_own": ("shopper",),
    "question.answer_own": ("shopper",),
    "follow_up.read": (),
    "follow_up.write": (),
    # serving
    "order.read": ("integration", *_STAFF),
    "order.cancel": ("integration", *_STAFF),
    "pickup.read": _STAFF,
    "pickup.pick": _STAFF,
    "pickup.hand_over": _STAFF,
    "pickup.override": ("manager",),
    "return.request": _STAFF,
    "return.receive": _STAFF,
    "return.approve_exception": ("manager",),
    "basket.sell": _STAFF,
    "shopper.view": _STAFF,
    "shopper_view.read": (),
    "cart.serve": _STAFF,
    "client_book.use_own": _STAFF,
    "client_book.pass_on": ("manager",),
    "shopper.merge": ("manager",),
    "feed.read": _STAFF,
    # access itself
    "session.start": _SHOPS,
    "session.end": ("shopper", *_STAFF),
    "associate_session.start": ("tablet",),
    "associate_session.read_own": _STAFF,
    "key.write": (),
    "associate.write": (),
    "staff_record.read": (),
    # what runs behind it all
    "ops.read": (),
    "ops.write": (),
    "message.read": (),
    "message.write": (),
}
"""Who holds each permission: kinds of keys, `shopper` for a shopper's session, roles of associates.

A back-office key holds every permission that is not `PERSONAL`, so it is not named.
"""

PERSONAL = frozenset(
    {
        "cart.attach_own",
        "cart.read_own",
        "cart.serve",
        "list.write_own",
        "order.read_own",
        "return.request_own",
        "profile.read_own",
        "profile.write_own",
        "browsing.read_own",
        "browsing.write_own",
        "consent.decide_own",
        "watch.write_own",
        "question.answer_own",
        "client_book.use_own",
        "profile.export_own",
        "profile.erase_own",
        "session.end",
        "associate_session.read_own",
        "shopper.view",
    }
)
"""Of somebody who has signed in, and of nobody else: a key has no orders of its own."""

_SIGNS_IN = {"storefront": ("shopper",), "integration": ("shopper",), "tablet": _STAFF}


class SessionRequired(CommerceError):
    """The key is good, but this needs somebody who has signed in with it."""

    code = "session_required"
    permission: str


class PermissionDenied(CommerceError):
    """This key, or this person, may not do this."""

    code = "permission_denied"
    permission: str


def permissions_of(*holders: str) -> frozenset[str]:
    """What a key's kind, a shopper's session and a role may do together."""
    held = {name for name, who in PERMISSIONS.items() if not set(holders).isdisjoint(who)}
    return frozenset(held | (PERMISSIONS.keys() - PERSONAL if "backoffice" in holders else set()))


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: a key, and the shopper or associate who signed in with it."""

    key_id: UUID
    key_kind: str
    channel: str
    permissions: frozenset[str]
    requests_per_minute: int = 0
    origins: frozenset[str] = frozenset()
    session_id: UUID | None = None
    person_ids: tuple[UUID, ...] = ()
    """Every id of the shopper who has signed in, the root first; whose things are to be found."""
    associate_id: UUID | None = None
    role: str | None = None
    location_ids: tuple[UUID, ...] | None = None
    """The stores that this principal may see and change. None: all."""

    @property
    def shopper_id(self) -> UUID | None:
        """The shopper who has signed in, and under whose id new things are written."""
        return self.person_ids[0] if self.person_ids else None

    @property
    def id(self) -> UUID:
        """Whose commands an idempotency key tells apart: the person, else the key."""
        return self.associate_id or self.shopper_id or self.key_id

    @property
    def subjects(self) -> frozenset[UUID]:
        """What it was verified from: when one of these changes, it is to be verified anew."""
        named = (self.key_id, self.session_id, self.associate_id, *self.person_ids)
        return frozenset(filter(None, named))

    @property
    def actor(self) -> str:
        """As events and records name it."""
        if self.associate_id is not None:
            return f"associate:{self.associate_id}"
        if self.shopper_id is not None:
            return f"shopper:{self.shopper_id}"
        return "operator" if self.key_kind == "operator" else f"key:{self.key_id}"

    @property
    def scope(self) -> list[UUID] | None:
        """The value of the parameter `scope` in statements with `in_scope`."""
        return None if self.location_ids is None else list(self.location_ids)

    def sees(self, location_id: UUID) -> bool:
        """Whether a location is in scope, for what is not asked of the database."""
        return self.location_ids is None or location_id in self.location_ids

    def require(self, permission: str) -> None:
        """Refuse what is not allowed. Raises `SessionRequired` where signing in would help."""
        if permission in self.permissions:
            return
        with_session = _SIGNS_IN.get(self.key_kind, ())
        if self.session_id is None and not set(with_session).isdisjoint(PERMISSIONS[permission]):
            raise SessionRequired(permission=permission)
        raise PermissionDenied(permission=permission)


OPERATOR = Principal(
    key_id=UUID(int=0),
    key_kind="operator",
    channel="store",
    permissions=frozenset(PERMISSIONS),
)
"""Who works at the server's own command line."""


def in_scope(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that keeps a principal to its stores; takes `scope=who.scope`."""
    scope = ARRAY(Uuid())
    return either(column == any_(bindparam("scope", type_=scope)), "scope", scope)
