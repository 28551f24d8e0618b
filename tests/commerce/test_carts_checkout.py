"""From a cart to an order: holds, their end, the total that was seen, and what happens twice."""

from datetime import timedelta

import pytest

from commerce import carts, orders
from commerce.carts import (
    CartEmpty,
    CartOrdered,
    Checkout,
    CheckoutExpired,
    Owner,
    Quoted,
    StoreNotChosen,
)
from commerce.kernel import events, ids
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Numbers, Order, PickupUnavailable, PriceChanged, StockShort
from commerce.pricing import CouponRefused, Line, UnknownSku
from inventory import reservations
from tests.carts import (
    GUEST,
    KEY,
    NOW,
    apply_coupon,
    begin,
    begun,
    complete,
    completed,
    completion,
    counters,
    full_cart,
    make_cart,
    make_coupon,
    read,
    set_line,
    shopper,
)
from tests.shop import make_shop

MINUTE = timedelta(minutes=1)


async def test_checkout_holds_every_line_for_ten_minutes_or_twenty(db: Database) -> None:
    shop = await make_shop(db)
    for owner, minutes in ((GUEST, 10), (shopper(), 20)):
        made = await full_cart(db, shop, (0, 2), (1, 1), owner=owner)
        quoted = await begin(db, made.id, owner=owner)
        assert isinstance(quoted, Quoted)
        assert quoted.quote is not None
        assert quoted.quote.total_minor == 31_000
        assert (quoted.cart.state, quoted.cart.hold_expires_at) == (
            "checkout", NOW + minutes * MINUTE,
        )  # fmt: skip
        assert (await read(db, made.id, owner)).cart == quoted.cart
    assert [await counters(db, shop, index) for index in (0, 1, 2)] == [(10, 4), (10, 2), (10, 0)]


async def test_own_hold_does_not_make_a_line_short(db: Database) -> None:
    shop = await make_shop(db, on_hand=2)
    made = await full_cart(db, shop, (0, 2))
    await begun(db, made.id)
    (line,) = (await read(db, made.id)).lines
    assert (line.problem, line.available_to_promise) == (None, None)
    (line,) = (await read(db, made.id, now=NOW + 10 * MINUTE)).lines
    assert (line.problem, line.available_to_promise) == (None, 2)


async def test_what_cannot_be_bought_does_not_enter_checkout(db: Database) -> None:
    shop = await make_shop(db)
    empty = await make_cart(db, location_id=shop.stores[0].location_id)
    homeless = await make_cart(db)
    await set_line(db, homeless.id, shop.skus[0].sku, 1)
    many = await full_cart(db, shop, (0, 1), (1, 11))
    stranger = await full_cart(db, shop, (0, 1))
    wishes = [
        Checkout(cart.id, owner, ids.uuid7(), "test")
        for cart, owner in (
            (empty, GUEST), (homeless, GUEST), (many, GUEST), (stranger, Owner((), False)),
        )
    ]  # fmt: skip
    async with db.transaction() as conn:
        outcomes = await carts.begin(conn, wishes, now=NOW)
    assert [type(each) for each in outcomes] == [CartEmpty, StoreNotChosen, StockShort, NotFound]
    assert isinstance(outcomes[2], StockShort)
    assert [(s.sku, s.requested, s.available) for s in outcomes[2].short] == [
        (shop.skus[1].sku, 11, 10)
    ]
    assert (await read(db, many.id)).cart == many
    assert await counters(db, shop) == (10, 0)


async def test_prices_coupon_and_pickup_are_checked_before_stock_is_held(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    code = await make_coupon(db, currency="USD")
    await apply_coupon(db, made.id, code)
    refused = await begin(db, made.id)
    assert isinstance(refused, CouponRefused)
    assert refused.reason == "other_currency"
    async with db.transaction() as conn:
        await carts.remove_coupon(conn, made.id, GUEST, actor="test", now=NOW)
        at = shop.stores[0].location_id
        await conn.driver.execute(
            "UPDATE store SET pickup_enabled = false WHERE location_id = $1", at
        )
    assert isinstance(await begin(db, made.id), PickupUnavailable)
    async with db.transaction() as conn:
        await conn.driver.execute("UPDATE sku SET active = false WHERE sku = $1", shop.skus[0].sku)
    assert isinstance(await begin(db, made.id), UnknownSku)
    assert await counters(db, shop) == (10, 0)


async def test_activity_extends_a_hold_up_to_an_hour(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    first = await begun(db, made.id)
    for minutes, ends in ((9, 19), (18, 28), (27, 37), (36, 46), (45, 55), (54, 60), (59, 60)):
        again = await begun(db, made.id, now=NOW + minutes * MINUTE)
        assert (again.demand_id, again.hold_expires_at) == (first.demand_id, NOW + ends * MINUTE)
    async with db.reading() as conn:
        (held,) = await reservations.of_demands(conn, [first.demand_id])  # type: ignore[list-item]
    assert held.expires_at == NOW + 60 * MINUTE
    anew = await begun(db, made.id, now=NOW + 60 * MINUTE)
    assert anew.demand_id != first.demand_id
    assert anew.hold_expires_at == NOW + 70 * MINUTE


async def test_dead_hold_does_not_come_back(db: Database) -> None:
    shop = await make_shop(db, on_hand=1)
    slow, quick = await full_cart(db, shop, (0, 1)), await full_cart(db, shop, (0, 1))
    await begun(db, slow.id)
    late = NOW + 10 * MINUTE
    await begun(db, quick.id, now=late)
    outcome = await begin(db, slow.id, now=late)
    assert isinstance(outcome, StockShort)
    assert [(s.requested, s.available) for s in outcome.short] == [(1, 0)]
    (refused,) = await complete(db, completion(slow.id, 10_000), now=late)
    assert isinstance(refused, CheckoutExpired)
    await completed(db, completion(quick.id, 10_000), now=late)
    assert await counters(db, shop) == (1, 1)


async def test_expired_checkout_names_its_lines_and_opens_the_cart(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (1, 2), (0, 1))
    await begun(db, made.id)
    late = NOW + 10 * MINUTE
    (refused,) = await complete(db, completion(made.id, 32_000), now=late)
    assert isinstance(refused, CheckoutExpired)
    assert (refused.code, refused.fields()) == (
        "checkout_expired",
        {
            "cart_id": made.id,
            "expired_at": NOW + 10 * MINUTE,
            "lines": [Line(shop.skus[1].sku, 2), Line(shop.skus[0].sku, 1)],
        },
    )
    found = (await read(db, made.id, now=late)).cart
    assert (found.state, found.demand_id, found.lines) == ("open", None, made.lines)
    (refused,) = await complete(db, completion(made.id, 32_000), now=late)
    assert isinstance(refused, WrongState)
    await begun(db, made.id, now=late)
    assert isinstance(await completed(db, completion(made.id, 32_000), now=late), Order)


async def test_hold_that_was_swept_before_its_time_is_refused_the_same(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    checkout = await begun(db, made.id)
    assert checkout.demand_id is not None
    async with db.transaction() as conn:
        await reservations.release(conn, checkout.demand_id, actor="clock", now=NOW)
    (refused,) = await complete(db, completion(made.id, 10_000))
    assert isinstance(refused, CheckoutExpired)
    again = await begun(db, made.id)
    assert again.demand_id != checkout.demand_id
    assert await counters(db, shop) == (10, 1)


async def test_editing_in_checkout_gives_the_hold_back_and_opens_the_cart(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 2))
    await begun(db, made.id)
    edited = await set_line(db, made.id, shop.skus[1].sku, 1)
    assert (edited.state, edited.demand_id, len(edited.lines)) == ("open", None, 2)
    assert await counters(db, shop) == (10, 0)
    again = await begun(db, made.id)
    async with db.transaction() as conn:
        left = await carts.leave(conn, made.id, GUEST, actor="test", now=NOW)
        assert await carts.leave(conn, made.id, GUEST, actor="test", now=NOW) == left
    assert (left.state, left.revision) == ("open", again.revision + 1)
    assert [await counters(db, shop, index) for index in (0, 1)] == [(10, 0), (10, 0)]


async def test_order_takes_the_hold_over(db: Database) -> None:
    shop = await make_shop(db)
    owner = shopper()
    made = await full_cart(db, shop, (0, 2), (1, 1), owner=owner)
    checkout = await begun(db, made.id, owner=owner)
    wanted = completion(made.id, 31_000, owner=owner)
    order = await completed(db, wanted)
    assert (order.id, order.head.cart_id, order.head.shopper_id) == (
        wanted.order_id, made.id, owner.shopper_id,
    )  # fmt: skip
    assert (order.head.state, order.head.total_minor) == ("placed", 31_000)
    assert order.fulfillments[0].demand_id == checkout.demand_id
    assert [(line.sku, line.quantity) for line in order.lines] == [
        (shop.skus[0].sku, 2), (shop.skus[1].sku, 1),
    ]  # fmt: skip
    async with db.reading() as conn:
        held = await reservations.of_demands(conn, [order.fulfillments[0].demand_id])
        facts = await events.timeline(conn, order.id)
    assert [(each.state, each.hold_class, each.expires_at) for each in held] == [
        ("committed", "order", None)
    ] * 2
    assert [each.type for each in facts] == ["order.placed", "pickup.requested"]
    assert await counters(db, shop) == (10, 2)
    found = await read(db, made.id, owner)
    assert (found.cart.state, found.cart.order_id, found.quote) == ("ordered", order.id, None)


async def test_completing_again_answers_with_the_same_order(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    await begun(db, made.id)
    order = await completed(db, completion(made.id, 10_000))
    assert await completed(db, completion(made.id, 1)) == order
    other = await full_cart(db, shop, (0, 1))
    await begun(db, other.id)
    one, two = await complete(db, completion(other.id, 10_000), completion(other.id, 10_000))
    assert isinstance(one, Order)
    assert one == two
    assert await counters(db, shop) == (10, 2)


async def test_ordered_cart_does_not_change_any_more(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    await begun(db, made.id)
    order = await completed(db, completion(made.id, 10_000))
    with pytest.raises(CartOrdered) as refused:
        await set_line(db, made.id, shop.skus[0].sku, 2)
    assert refused.value.fields() == {"cart_id": made.id, "order_id": order.id}
    assert isinstance(await begin(db, made.id), CartOrdered)
    with pytest.raises(CartOrdered):
        async with db.transaction() as conn:
            await carts.leave(conn, made.id, GUEST, actor="test", now=NOW)
    taking = Owner((ids.uuid7(),), has_token=True)
    with pytest.raises(CartOrdered):
        async with db.transaction() as conn:
            await carts.merge_guest(conn, made.id, taking, actor="test", now=NOW)


async def test_price_that_moved_is_refused_and_the_hold_stays(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    checkout = await begun(db, made.id)
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE price SET amount_minor = 10500 WHERE sku = $1", shop.skus[0].sku
        )
    (refused,) = await complete(db, completion(made.id, 10_000))
    assert isinstance(refused, PriceChanged)
    assert refused.fields() == {"seen": Money(10_000, "MXN"), "total": Money(10_500, "MXN")}
    assert (await read(db, made.id)).cart == checkout
    assert await counters(db, shop) == (10, 1)
    assert (await completed(db, completion(made.id, 10_500))).head.total_minor == 10_500


async def test_coupon_used_up_in_between_is_refused(db: Database) -> None:
    shop = await make_shop(db)
    code = await make_coupon(db, max_redemptions=1)
    one, two = await full_cart(db, shop, (0, 1)), await full_cart(db, shop, (0, 1))
    for made in (one, two):
        await apply_coupon(db, made.id, code)
        await begun(db, made.id)
    first, second = await complete(db, completion(one.id, 9_000), completion(two.id, 9_000))
    assert isinstance(first, Order)
    assert isinstance(second, CouponRefused)
    assert second.reason == "used_up"
    assert (await read(db, two.id)).cart.state == "checkout"
    async with db.transaction() as conn:
        await carts.remove_coupon(conn, two.id, GUEST, actor="test", now=NOW)
    await begun(db, two.id)
    assert (await completed(db, completion(two.id, 10_000))).head.total_minor == 10_000
    assert await counters(db, shop) == (10, 2)


async def test_order_by_card_waits_with_its_hold_extended(db: Database) -> None:
    shop = await make_shop(db)
    made = await full_cart(db, shop, (0, 1))
    checkout = await begun(db, made.id)
    order = await completed(db, completion(made.id, 10_000, card=True))
    assert (order.head.state, order.head.tender) == ("pending_payment", "card")
    assert order.fulfillments[0].requested_at is None
    async with db.reading() as conn:
        (held,) = await reservations.of_demands(conn, [checkout.demand_id])  # type: ignore[list-item]
    assert (held.state, held.expires_at) == ("held", NOW + 30 * MINUTE)
    assert (await read(db, made.id)).cart.order_id == order.id
    async with db.transaction() as conn:
        done = await orders.confirm(conn, order.id, actor="test", now=NOW)
    assert done.head.state == "placed"
    assert await completed(db, completion(made.id, 10_000)) == done


async def test_another_shoppers_cart_cannot_be_completed(db: Database) -> None:
    shop = await make_shop(db)
    owner = shopper()
    made = await full_cart(db, shop, (0, 1), owner=owner)
    await begun(db, made.id, owner=owner)
    thieves = [GUEST, shopper(), Owner((ids.uuid7(),), has_token=True)]
    for thief in thieves:
        (refused,) = await complete(db, completion(made.id, 10_000, owner=thief))
        assert isinstance(refused, NotFound)
        assert isinstance(await begin(db, made.id, owner=thief), NotFound)
    assert (await read(db, made.id, owner)).cart.state == "checkout"


async def test_a_lone_shoppers_whole_flow_costs_few_statements(db: Database) -> None:
    shop = await make_shop(db)
    counts = []
    async with db.transaction() as conn:
        made = await carts.create(
            conn, cart_id=ids.uuid7(), key_id=ids.uuid7(), shopper_id=None,
            location_id=shop.stores[0].location_id, now=NOW,
        )  # fmt: skip
    counts.append(conn.statements)
    for index in (0, 1):
        async with db.transaction() as conn:
            await carts.set_line(
                conn, made.id, GUEST, sku=shop.skus[index].sku, quantity=1, actor="test", now=NOW
            )
        counts.append(conn.statements)
    async with db.transaction() as conn:
        await carts.begin(conn, [Checkout(made.id, GUEST, ids.uuid7(), "test")], now=NOW)
    counts.append(conn.statements)
    async with db.transaction() as conn:
        (order,) = await carts.complete(
            conn, [completion(made.id, 21_000)], numbers=Numbers(KEY), now=NOW
        )
    counts.append(conn.statements)
    assert isinstance(order, Order)
    assert counts == [1, 1, 1, 4, 6]


async def test_a_batch_costs_as_many_statements_as_one_checkout(db: Database) -> None:
    shop = await make_shop(db, on_hand=100)
    made = [await full_cart(db, shop, (0, 1), (1, 1)) for _ in range(20)]
    counts = []
    for batch in (made[:1], made[1:]):
        async with db.transaction() as conn:
            wishes = [Checkout(each.id, GUEST, ids.uuid7(), "test") for each in batch]
            await carts.begin(conn, wishes, now=NOW)
        counts.append(conn.statements)
        async with db.transaction() as conn:
            wanted = [completion(each.id, 21_000) for each in batch]
            done = await carts.complete(conn, wanted, numbers=Numbers(KEY), now=NOW)
        counts.append(conn.statements)
        assert all(isinstance(each, Order) for each in done)
    assert counts == [4, 6, 4, 6]
    assert await counters(db, shop) == (100, 20)
