"""Carts while shoppers fill them: lines, coupon, store, owner, and the live quote."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from commerce import carts
from commerce.availability import TooMany
from commerce.carts import MAX_LINES, Cart, Owner
from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Database
from commerce.pricing import CouponRefused, UnknownSku, UnknownStore
from inventory import reservations
from inventory.demands import Demand, Want
from tests.carts import GUEST, NOW, apply_coupon, make_cart, make_coupon, read, set_line, shopper
from tests.shop import make_shop

STRANGER = Owner((), has_token=False)


async def test_a_sku_is_one_line_whose_quantity_is_set(db: Database) -> None:
    shop = await make_shop(db)
    first, second = shop.skus[0].sku, shop.skus[1].sku
    made = await make_cart(db)
    await set_line(db, made.id, second, 4)
    await set_line(db, made.id, first, 1)
    await set_line(db, made.id, second, 2)
    found = (await read(db, made.id)).cart
    assert [(line.sku, line.quantity) for line in found.wanted] == [(second, 2), (first, 1)]
    assert found.revision == 4
    emptied = await set_line(db, made.id, second, 0)
    assert [(line.sku, line.quantity) for line in emptied.wanted] == [(first, 1)]
    assert (await set_line(db, made.id, "never there", 0)).wanted == emptied.wanted


async def test_unknown_and_withdrawn_skus_are_refused_and_nothing_changes(db: Database) -> None:
    shop = await make_shop(db)
    made = await make_cart(db)
    await set_line(db, made.id, shop.skus[0].sku, 1)
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE sku SET active = false WHERE sku = ANY($1)", [s.sku for s in shop.skus[:2]]
        )
    for sku in (shop.skus[1].sku, "nothing"):
        with pytest.raises(UnknownSku) as refused:
            await set_line(db, made.id, sku, 1)
        assert refused.value.sku == sku
    found = (await read(db, made.id)).cart
    assert (found.revision, len(found.lines)) == (2, 1)
    assert (await set_line(db, made.id, shop.skus[0].sku, 0)).lines == {}


async def test_a_cart_holds_a_hundred_skus(db: Database) -> None:
    shop = await make_shop(db, skus=MAX_LINES + 1, stores=1, on_hand=0)
    made = await make_cart(db)
    for each in shop.skus[:MAX_LINES]:
        await set_line(db, made.id, each.sku, 1)
    with pytest.raises(TooMany) as refused:
        await set_line(db, made.id, shop.skus[MAX_LINES].sku, 1)
    assert refused.value.fields() == {"what": "lines", "given": 101, "limit": 100}
    changed = await set_line(db, made.id, shop.skus[0].sku, 3)
    assert len(changed.lines) == MAX_LINES


async def test_a_cart_is_only_for_who_owns_it(db: Database) -> None:
    shop = await make_shop(db)
    sku, ana = shop.skus[0].sku, shopper()
    of_guest, of_ana = await make_cart(db), await make_cart(db, owner=ana)
    for cart_id, owner in (
        (of_guest.id, STRANGER), (of_guest.id, shopper()),
        (of_ana.id, GUEST), (of_ana.id, shopper()), (ids.uuid7(), GUEST),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await read(db, cart_id, owner)
        with pytest.raises(NotFound):
            await set_line(db, cart_id, sku, 1, owner=owner)
    assert (await set_line(db, of_ana.id, sku, 1, owner=ana)).revision == 2
    assert (await read(db, of_guest.id)).cart == of_guest


def test_a_token_opens_its_cart_only() -> None:
    secret, cart_id, other = b"s" * 32, ids.uuid7(), ids.uuid7()
    token = carts.token(secret, cart_id)
    assert len(token) == 26
    expected = {cart_id: True, other: False}
    for id_, opens in expected.items():
        owner = carts.owner_of(id_, person_ids=(), given_token=token.lower(), secret=secret)
        assert owner == Owner((), has_token=opens)
    for wrong in (None, "", token[:-1], carts.token(b"t" * 32, cart_id)):
        owner = carts.owner_of(cart_id, person_ids=(), given_token=wrong, secret=secret)
        assert not owner.has_token


async def test_a_guests_cart_goes_over_to_the_shopper_and_its_token_is_dead(db: Database) -> None:
    ana, made = shopper(), await make_cart(db)
    assert ana.shopper_id is not None

    async def attach(owner: Owner) -> Cart:
        async with db.transaction() as conn:
            merged = await carts.merge_guest(conn, made.id, owner, actor="test", now=NOW)
        assert merged.saved_for_later == ()
        return merged.cart

    with pytest.raises(NotFound):
        await attach(ana)
    taken = await attach(Owner(ana.person_ids, has_token=True))
    assert (taken.shopper_id, taken.revision) == (ana.shopper_id, 2)
    assert await attach(ana) == taken
    with pytest.raises(NotFound):
        await read(db, made.id, GUEST)
    with pytest.raises(NotFound):
        await attach(Owner((ids.uuid7(),), has_token=True))
    assert (await read(db, made.id, ana)).cart == taken


async def test_live_quote_prices_lines_and_names_the_problem_of_each(db: Database) -> None:
    shop = await make_shop(db, skus=5, on_hand=3)
    at = shop.stores[0].location_id
    made = await make_cart(db)
    for number, quantity in enumerate((2, 4, 1, 3, 1)):
        await set_line(db, made.id, shop.skus[number].sku, quantity)
    bare = await read(db, made.id)
    assert (bare.quote, bare.promised_at) == (None, None)
    assert {line.priced for line in bare.lines} == {None}
    async with db.transaction() as conn:
        await carts.choose_store(conn, made.id, GUEST, location_id=at, actor="test", now=NOW)
        await conn.driver.execute("DELETE FROM price WHERE sku = $1", shop.skus[2].sku)
        wants = (Want(at, shop.skus[4].sku, 3),)
        await reservations.hold(conn, [Demand(ids.uuid7(), wants, "order", "test")], now=NOW)
    quoted = await read(db, made.id)
    assert [(line.problem, line.available_to_promise) for line in quoted.lines] == [
        (None, 3), ("stock_short", 3), ("not_sold_here", 0), (None, 3), ("all_reserved", 0),
    ]  # fmt: skip
    assert [line.priced and line.priced.total_minor for line in quoted.lines] == [
        20_000, 44_000, None, 39_000, 14_000,
    ]  # fmt: skip
    assert quoted.quote is not None
    assert quoted.quote.total_minor == 117_000
    assert quoted.promised_at == NOW + timedelta(hours=1)


async def test_unknown_store_is_refused_at_creation_and_later(db: Database) -> None:
    nowhere = ids.uuid7()
    with pytest.raises(UnknownStore):
        await make_cart(db, location_id=nowhere)
    made = await make_cart(db)
    with pytest.raises(UnknownStore):
        async with db.transaction() as conn:
            await carts.choose_store(
                conn, made.id, GUEST, location_id=nowhere, actor="test", now=NOW
            )
    assert (await read(db, made.id)).cart == made


async def test_coupon_nobody_can_use_is_refused_when_it_is_applied(db: Database) -> None:
    shop = await make_shop(db)
    made = await make_cart(db, location_id=shop.stores[0].location_id)
    ended = await make_coupon(db, ends_at=NOW)
    later = await make_coupon(db, starts_at=NOW + timedelta(seconds=1))
    for code, reason in (("NOPE", "unknown"), (ended, "ended"), (later, "not_started")):
        with pytest.raises(CouponRefused) as refused:
            await apply_coupon(db, made.id, code)
        assert refused.value.reason == reason
    assert (await read(db, made.id)).cart == made


async def test_coupon_that_does_not_fit_the_basket_is_told_with_the_quote(db: Database) -> None:
    shop = await make_shop(db)
    made = await make_cart(db, location_id=shop.stores[0].location_id)
    await set_line(db, made.id, shop.skus[0].sku, 1)
    code = await make_coupon(db, currency="MXN", minimum_subtotal_minor=20_000)
    assert (await apply_coupon(db, made.id, code)).coupon_code == code
    quoted = await read(db, made.id)
    assert quoted.coupon_refused is not None
    assert quoted.coupon_refused.fields() == {
        "coupon_code": code, "reason": "below_minimum", "minimum_subtotal_minor": 20_000,
    }  # fmt: skip
    assert quoted.quote is not None
    assert (quoted.quote.total_minor, quoted.quote.discount_minor) == (10_000, 0)
    await set_line(db, made.id, shop.skus[0].sku, 2)
    quoted = await read(db, made.id)
    assert quoted.quote is not None
    assert (quoted.coupon_refused, quoted.quote.total_minor) == (None, 18_000)
    async with db.transaction() as conn:
        plain = await carts.remove_coupon(conn, made.id, GUEST, actor="test", now=NOW)
    assert plain.coupon_code is None


async def test_each_edit_is_one_statement_and_a_read_a_fixed_number(db: Database) -> None:
    shop = await make_shop(db)
    made = await make_cart(db, location_id=shop.stores[0].location_id)
    steps: list[Callable[[Connection], Coroutine[Any, Any, object]]] = [
        lambda c: carts.set_line(
            c, made.id, GUEST, sku=shop.skus[0].sku, quantity=2, actor="test", now=NOW
        ),
        lambda c: carts.choose_store(
            c, made.id, GUEST, location_id=shop.stores[1].location_id, actor="test", now=NOW
        ),
        lambda c: carts.read(c, made.id, GUEST, now=NOW),
    ]
    counts = []
    for step in steps:
        async with db.transaction() as conn:
            await step(conn)
            counts.append(conn.statements)
    assert counts == [1, 1, 4]
