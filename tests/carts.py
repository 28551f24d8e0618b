"""Carts of a small shop, filled and checked out through the real verbs, for tests."""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from commerce import carts, catalog
from commerce.carts import Cart, Checkout, Completion, Owner, Quoted
from commerce.customers import Contact
from commerce.importing import CouponRecord
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import CardPayment, Numbers, Order
from inventory import stock
from tests.shop import OPENED_AT, Shop

NOW = OPENED_AT + timedelta(hours=1)
KEY = b"k" * 32
GUEST = Owner((), has_token=True)


def shopper() -> Owner:
    """Somebody who has signed in."""
    return Owner((ids.uuid7(),), has_token=False)


async def make_cart(
    db: Database, *, owner: Owner = GUEST, location_id: UUID | None = None, now: datetime = NOW
) -> Cart:
    """An empty cart."""
    async with db.transaction() as conn:
        return await carts.create(
            conn, cart_id=ids.uuid7(), key_id=ids.uuid7(), shopper_id=owner.shopper_id,
            location_id=location_id, now=now,
        )  # fmt: skip


async def set_line(
    db: Database, cart_id: UUID, sku: str, quantity: int, *, owner: Owner = GUEST,
    now: datetime = NOW,
) -> Cart:  # fmt: skip
    """So many units of a SKU."""
    async with db.transaction() as conn:
        return await carts.set_line(
            conn, cart_id, owner, sku=sku, quantity=quantity, actor="test", now=now
        )


async def full_cart(
    db: Database, shop: Shop, *lines: tuple[int, int], owner: Owner = GUEST
) -> Cart:
    """A cart at the shop's first store with (SKU number, units)."""
    made = await make_cart(db, owner=owner, location_id=shop.stores[0].location_id)
    for index, quantity in lines:
        made = await set_line(db, made.id, shop.skus[index].sku, quantity, owner=owner)
    return made


async def read(db: Database, cart_id: UUID, owner: Owner = GUEST, now: datetime = NOW) -> Quoted:
    """The cart with its live quote."""
    async with db.reading() as conn:
        return await carts.read(conn, cart_id, owner, now=now)


async def make_coupon(db: Database, **fields: Any) -> str:
    """A coupon of ten percent, unless the fields say otherwise."""
    code = f"C-{ids.uuid7().hex[-10:]}"
    given: dict[str, Any] = {"code": code, "kind": "percent", "percent_bp": 1_000} | fields
    async with db.transaction() as conn:
        assert await catalog.upsert_coupons(conn, [CouponRecord(**given)]) == [None]
    return code


async def apply_coupon(db: Database, cart_id: UUID, code: str, owner: Owner = GUEST) -> Cart:
    """Use a coupon in the cart."""
    async with db.transaction() as conn:
        return await carts.apply_coupon(conn, cart_id, owner, code=code, actor="test", now=NOW)


async def begin(
    db: Database, cart_id: UUID, *, owner: Owner = GUEST, now: datetime = NOW
) -> Quoted | CommerceError:
    """Into checkout, or why not."""
    async with db.transaction() as conn:
        wish = Checkout(cart_id, owner, ids.uuid7(), "test")
        (outcome,) = await carts.begin(conn, [wish], now=now)
    return outcome


async def begun(db: Database, cart_id: UUID, *, owner: Owner = GUEST, now: datetime = NOW) -> Cart:
    """In checkout."""
    outcome = await begin(db, cart_id, owner=owner, now=now)
    assert isinstance(outcome, Quoted), outcome
    return outcome.cart


def completion(
    cart_id: UUID, total_minor: int, *, owner: Owner = GUEST, card: bool = False
) -> Completion:
    """A cart to complete, paid at pickup or by card."""
    tender: Literal["card", "pay_at_pickup"] = "card" if card else "pay_at_pickup"
    return Completion(
        cart_id=cart_id,
        owner=owner,
        order_id=ids.uuid7(),
        fulfillment_id=ids.uuid7(),
        contact=Contact(id=ids.uuid7(), name="Ana", email="ana@example.com", locale="es"),
        tender=tender,
        seen=Money(total_minor, "MXN"),
        channel="web",
        key_id=ids.uuid7(),
        actor="test",
        card=CardPayment(ids.uuid7(), ids.uuid7(), "pm_card_visa") if card else None,
    )


async def complete(
    db: Database, *wanted: Completion, now: datetime = NOW
) -> list[Order | CommerceError]:
    """Orders, or why not."""
    async with db.transaction() as conn:
        return await carts.complete(conn, wanted, numbers=Numbers(KEY), now=now)


async def completed(db: Database, wanted: Completion, now: datetime = NOW) -> Order:
    """The order."""
    (outcome,) = await complete(db, wanted, now=now)
    assert isinstance(outcome, Order), outcome
    return outcome


async def counters(db: Database, shop: Shop, index: int = 0) -> tuple[int, int]:
    """`on_hand` and `reserved` of a SKU at the shop's first store."""
    key = (shop.stores[0].location_id, shop.skus[index].sku)
    async with db.reading() as conn:
        level = (await stock.levels(conn, [key]))[key]
    return level.on_hand, level.reserved
