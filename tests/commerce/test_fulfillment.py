"""Pickups at the counter: picked, handed over against a code, paid there."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from commerce import access, fulfillment, orders, payments
from commerce.access import PermissionDenied, Principal, StoreNotAllowed
from commerce.fulfillment import (
    AlreadyCollected,
    Cash,
    CounterTender,
    ExternalTerminal,
    HandedOver,
    Pickup,
    PickupCodeLocked,
    PickupCodeWrong,
    ShortLine,
    TenderedTooLittle,
    TenderRequired,
)
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError, InvalidField, NotFound, WrongState
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.orders import Order
from tests import counter
from tests.counter import NOW, SECRET, associate, counters, facts
from tests.shop import Shop, make_shop

FIRST = UUID(int=0)


@pytest.fixture(scope="module")
async def db(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db)


def pesos(amount_minor: int) -> Money:
    return Money(amount_minor, "MXN")


def cash(amount_minor: int) -> Cash:
    return Cash(pesos(amount_minor))


def pickup_of(made: Order) -> UUID:
    return made.fulfillments[0].id


def code_of(made: Order) -> str:
    return fulfillment.pickup_code(SECRET, pickup_of(made))


async def hand_over(
    db: Database,
    who: Principal,
    made: Order,
    *,
    code: str | None = None,
    override_reason: str | None = None,
    tender: CounterTender | None = None,
    now: datetime = NOW,
) -> HandedOver | CommerceError:
    """With the right code, unless another is given."""
    async with db.transaction() as conn:
        return await fulfillment.hand_over(
            conn,
            who,
            pickup_of(made),
            secret=SECRET,
            code=code_of(made) if code is None and override_reason is None else code,
            override_reason=override_reason,
            tender=tender,
            now=now,
        )


async def get(db: Database, who: Principal, made: Order) -> Pickup:
    async with db.reading() as conn:
        return await fulfillment.get(conn, who, pickup_of(made))


async def staff_entries(db: Database, made: Order) -> list[tuple[str, dict[str, Any]]]:
    async with db.reading() as conn:
        entries = await access.staff_record_page(conn, before=None, page=500)
    subject = f"pickup:{pickup_of(made)}"
    return [(e.action, e.changes) for e in reversed(entries) if e.subject == subject]


async def test_pickup_paid_in_cash_leaves_with_its_stock(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 2), (1, 1), total_minor=31_000)
    waiting = await counter.ready(db, who, pickup_of(made))
    assert (waiting.head.state, waiting.head.staging_location) == ("ready", "A1")
    assert (waiting.head.picked_by, waiting.head.expires_at) == (
        who.actor,
        NOW + timedelta(days=7),
    )
    assert await counters(db, shop) == (10, 2)
    given = await hand_over(db, who, made, tender=cash(40_000))
    assert isinstance(given, HandedOver)
    assert (given.change, given.operations) == (pesos(9_000), [])
    head = given.pickup.head
    assert (head.state, head.order_state, head.handed_over_by) == (
        "collected",
        "completed",
        who.actor,
    )
    assert [line.fulfilled_quantity for line in given.pickup.lines] == [2, 1]
    assert await counters(db, shop) == (8, 0)
    assert await counters(db, shop, 1) == (9, 0)
    async with db.reading() as conn:
        (paid,) = await payments.of_order(conn, made.id)
    assert (paid.tender, paid.state, paid.captured_minor) == ("cash", "captured", 31_000)
    assert await facts(db, made.id) == [
        "order.placed", "pickup.requested", "pickup.picking", "pickup.ready",
        "payment.captured", "pickup.collected", "order.completed",
    ]  # fmt: skip
    assert await staff_entries(db, made) == [
        ("pickup.picking", {}),
        ("pickup.ready", {"staging_location": "A1", "short": []}),
        ("pickup.collected", {"tender": "cash", "due_minor": 31_000, "currency": "MXN"}),
    ]


async def test_an_external_terminal_pays_exactly(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    await counter.ready(db, who, pickup_of(made))
    given = await hand_over(db, who, made, tender=ExternalTerminal("T1-0042"))
    assert isinstance(given, HandedOver)
    assert given.change == pesos(0)
    async with db.reading() as conn:
        (paid,) = await payments.of_order(conn, made.id)
    assert (paid.tender, paid.reference, paid.captured_minor) == (
        "external_terminal",
        "T1-0042",
        10_000,
    )


@pytest.mark.parametrize(
    ("tender", "refusal"),
    [
        (None, TenderRequired(due=pesos(10_000))),
        (cash(9_999), TenderedTooLittle(due=pesos(10_000), tendered=pesos(9_999))),
        (
            Cash(Money(10_000, "USD")),
            InvalidField(path="/tender/tendered/currency", reason="this store takes MXN"),
        ),
    ],
)
async def test_goods_stay_until_they_are_paid(
    db: Database, shop: Shop, tender: CounterTender | None, refusal: CommerceError
) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    before = await counter.ready(db, who, pickup_of(made))
    with pytest.raises(type(refusal)) as raised:
        await hand_over(db, who, made, tender=tender)
    assert raised.value.fields() == refusal.fields()
    assert await get(db, who, made) == before
    assert await counters(db, shop) == (10, 1)


async def test_the_second_hand_over_is_told_who_and_when(db: Database, shop: Shop) -> None:
    who, other = associate(shop), associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    await counter.ready(db, who, pickup_of(made))
    await hand_over(db, who, made, tender=cash(10_000))
    later = NOW + timedelta(minutes=5)
    with pytest.raises(AlreadyCollected) as told:
        await hand_over(db, other, made, tender=cash(10_000), now=later)
    assert told.value.fields() == {
        "pickup_id": pickup_of(made),
        "collected_at": NOW,
        "handed_over_by": who.actor,
    }
    assert await counters(db, shop) == (9, 0)


async def test_five_wrong_codes_lock_the_pickup_for_a_quarter_of_an_hour(
    db: Database, shop: Shop
) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    await counter.ready(db, who, pickup_of(made))
    told = [await hand_over(db, who, made, code="WRONG1") for _ in range(5)]
    assert [type(each) for each in told] == [PickupCodeWrong] * 4 + [PickupCodeLocked]
    assert [each.fields()["tries_left"] for each in told[:4]] == [4, 3, 2, 1]  # type: ignore[union-attr]
    until = NOW + timedelta(minutes=15)
    for code in ("WRONG1", code_of(made)):
        with pytest.raises(PickupCodeLocked) as locked:
            await hand_over(db, who, made, code=code, tender=cash(10_000))
        assert locked.value.until == until
    assert isinstance(await hand_over(db, who, made, code="WRONG1", now=until), PickupCodeWrong)
    given = await hand_over(db, who, made, tender=cash(10_000), now=until)
    assert isinstance(given, HandedOver)


async def test_the_code_may_be_typed_as_people_type(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    await counter.ready(db, who, pickup_of(made))
    typed = " ".join(code_of(made).lower().replace("0", "o"))
    assert isinstance(await hand_over(db, who, made, code=typed, tender=cash(10_000)), HandedOver)


async def test_a_manager_gives_a_locked_pickup_with_a_reason(db: Database, shop: Shop) -> None:
    who, manager = associate(shop), associate(shop, role="manager")
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    await counter.ready(db, who, pickup_of(made))
    for _ in range(5):
        await hand_over(db, who, made, code="WRONG1")
    with pytest.raises(PermissionDenied):
        await hand_over(db, who, made, override_reason="knows me", tender=cash(10_000))
    given = await hand_over(
        db, manager, made, override_reason="passport shown", tender=cash(10_000)
    )
    assert isinstance(given, HandedOver)
    assert (await staff_entries(db, made))[-1] == (
        "pickup.collected",
        {
            "tender": "cash", "due_minor": 10_000, "currency": "MXN",
            "override_reason": "passport shown",
        },
    )  # fmt: skip
    async with db.reading() as conn:
        collected = [
            e for e in await events.timeline(conn, made.id) if e.type == "pickup.collected"
        ]
    assert "override_reason" not in collected[0].payload


async def test_a_code_opens_nothing_before_the_goods_are_ready(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    for code in (code_of(made), "WRONG1"):
        with pytest.raises(WrongState) as refused:
            await hand_over(db, who, made, code=code, tender=cash(10_000))
        assert (refused.value.state, refused.value.allowed) == ("requested", ["ready"])


async def test_codes_of_pickups_are_unrelated() -> None:
    one, two = ids.uuid7(), ids.uuid7()
    assert fulfillment.pickup_code(SECRET, one) == fulfillment.pickup_code(SECRET, one)
    codes = {fulfillment.pickup_code(SECRET, each) for each in (one, two)}
    codes.add(fulfillment.pickup_code(b"t" * 32, one))
    assert len(codes) == 3
    assert {len(code) for code in codes} == {6}


async def test_units_that_were_not_found_are_cancelled_and_not_due(
    db: Database, shop: Shop
) -> None:
    """The odd minor unit of the discount went to the first unit, which is the one that is left."""
    await _coupon(db, "LESS-" + shop.tag, 101)
    who = associate(shop)
    made = await counter.order(
        db, shop, (0, 2), (1, 1), total_minor=30_899, coupon="LESS-" + shop.tag
    )
    assert made.lines[0].units == ((1, 33, 1_375), (1, 32, 1_375))
    short = await counter.ready(db, who, pickup_of(made), short=((1, 1),))
    assert [line.cancelled_quantity for line in short.lines] == [1, 0]
    assert short.due == pesos(10_000 - 33 + made.lines[1].total_minor)
    assert await counters(db, shop) == (10, 1)
    assert (await facts(db, made.id))[-2:] == ["pickup.short_picked", "pickup.ready"]
    given = await hand_over(db, who, made, tender=cash(short.due.amount_minor))
    assert isinstance(given, HandedOver)
    assert given.change == pesos(0)
    assert [line.fulfilled_quantity for line in given.pickup.lines] == [1, 1]
    assert await counters(db, shop) == (9, 0)
    assert await counters(db, shop, 1) == (9, 0)


async def test_a_line_of_which_nothing_was_found_is_left_out(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), (1, 3), (0, 1), total_minor=53_000)
    short = await counter.ready(db, who, pickup_of(made), short=((1, 1), (3, 1)))
    assert [line.cancelled_quantity for line in short.lines] == [1, 0, 1]
    assert short.due == pesos(33_000)
    assert await counters(db, shop) == (10, 0)
    assert await counters(db, shop, 1) == (10, 3)
    given = await hand_over(db, who, made, tender=cash(33_000))
    assert isinstance(given, HandedOver)
    assert await counters(db, shop, 1) == (7, 0)


async def test_when_nothing_was_found_the_order_is_cancelled(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 2), (1, 1), total_minor=31_000)
    ended = await counter.ready(db, who, pickup_of(made), short=((1, 1), (2, 1), (1, 1)))
    assert (ended.head.state, ended.head.cancel_reason, ended.due) == (
        "cancelled",
        "short_pick",
        pesos(0),
    )
    assert ended.head.order_state == "cancelled"
    assert await counters(db, shop) == (10, 0)
    assert (await facts(db, made.id))[-3:] == [
        "order.cancelled", "pickup.cancelled", "pickup.short_picked",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("short", "path"),
    [
        ([ShortLine(3, 1)], "/short/0/line_number"),
        ([ShortLine(1, 1), ShortLine(1, 2)], "/short/1/quantity"),
        ([ShortLine(1, 0)], "/short/0/quantity"),
        ([ShortLine(2, 2), ShortLine(2, -1)], "/short/0/quantity"),
    ],
)
async def test_impossible_short_picks_change_nothing(
    db: Database, shop: Shop, short: list[ShortLine], path: str
) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 2), (1, 1), total_minor=31_000)
    async with db.transaction() as conn:
        before = await fulfillment.start_picking(conn, who, pickup_of(made), now=NOW)
    with pytest.raises(InvalidField) as refused:
        async with db.transaction() as conn:
            await fulfillment.finish_picking(
                conn, who, pickup_of(made), staging_location="A1", short=short, now=NOW
            )
    assert refused.value.path == path
    assert await get(db, who, made) == before
    assert await counters(db, shop) == (10, 2)


async def test_only_one_associate_picks(db: Database, shop: Shop) -> None:
    first, second = associate(shop), associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    async with db.transaction() as conn:
        await fulfillment.start_picking(conn, first, pickup_of(made), now=NOW)
    with pytest.raises(WrongState) as refused:
        async with db.transaction() as conn:
            await fulfillment.start_picking(conn, second, pickup_of(made), now=NOW)
    assert refused.value.state == "picking"
    assert (await get(db, first, made)).head.picked_by == first.actor


async def test_another_stores_associate_is_refused_and_changes_nothing(
    db: Database, shop: Shop
) -> None:
    who, stranger = associate(shop), associate(shop, store=1, role="manager")
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    before = await counter.ready(db, who, pickup_of(made))
    record = await staff_entries(db, made)
    with pytest.raises(StoreNotAllowed) as refused:
        await get(db, stranger, made)
    assert refused.value.location_id == shop.stores[0].location_id
    with pytest.raises(StoreNotAllowed):
        await counter.ready(db, stranger, pickup_of(made))
    for code in ("WRONG1", code_of(made)):
        with pytest.raises(StoreNotAllowed):
            await hand_over(db, stranger, made, code=code, tender=cash(10_000))
    with pytest.raises(StoreNotAllowed):
        async with db.transaction() as conn:
            await fulfillment.cancel(conn, stranger, pickup_of(made), reason="damaged", now=NOW)
    assert await get(db, who, made) == before
    assert await staff_entries(db, made) == record
    async with db.reading() as conn:
        assert await _open(conn, stranger, shop) == []
        tries = await conn.driver.fetchval(
            "SELECT code_tries FROM fulfillment WHERE id = $1", pickup_of(made)
        )
    assert tries == 0


async def test_the_list_shows_open_work_oldest_first_in_pages(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = [await counter.order(db, shop, (0, 1), total_minor=10_000) for _ in range(4)]
    await counter.ready(db, who, pickup_of(made[1]))
    await counter.ready(db, who, pickup_of(made[2]))
    await hand_over(db, who, made[2], tender=cash(10_000))
    async with db.reading() as conn:
        every = await _open(conn, who, shop)
        page = await _open(conn, who, shop, after=every[0].id, page=1)
        waiting = await _open(conn, who, shop, state="ready")
        before = conn.statements
        await _open(conn, who, shop)
        assert conn.statements - before == 2
    assert [each.id for each in every] == [pickup_of(made[i]) for i in (0, 1, 3)]
    assert [each.id for each in page] == [pickup_of(made[1])]
    assert [each.id for each in waiting] == [pickup_of(made[1])]
    assert [line.sku for line in every[0].lines] == [shop.skus[0].sku]


async def test_what_is_not_paid_yet_is_nobodys_work(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE fulfillment SET requested_at = NULL WHERE id = $1", pickup_of(made)
        )
    async with db.reading() as conn:
        assert await _open(conn, who, shop) == []
    with pytest.raises(NotFound):
        await get(db, who, made)


async def test_the_store_cancels_a_pickup(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 2), total_minor=20_000)
    await counter.ready(db, who, pickup_of(made))
    async with db.transaction() as conn:
        ended = await fulfillment.cancel(conn, who, pickup_of(made), reason="damaged", now=NOW)
        again = await fulfillment.cancel(conn, who, pickup_of(made), reason="not_found", now=NOW)
    assert again == ended
    assert (ended.head.state, ended.head.cancel_reason) == ("cancelled", "damaged")
    assert ended.head.order_state == "cancelled"
    assert await counters(db, shop) == (10, 0)
    assert (await facts(db, made.id))[-2:] == ["order.cancelled", "pickup.cancelled"]
    assert (await staff_entries(db, made))[2:] == [("pickup.cancelled", {"reason": "damaged"})]


async def test_what_was_handed_over_cannot_be_cancelled(db: Database, shop: Shop) -> None:
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=10_000)
    await counter.ready(db, who, pickup_of(made))
    await hand_over(db, who, made, tender=cash(10_000))
    with pytest.raises(AlreadyCollected):
        async with db.transaction() as conn:
            await fulfillment.cancel(conn, who, pickup_of(made), reason="damaged", now=NOW)
    async with db.reading() as conn:
        assert (await orders.by_id(conn, made.id)).head.state == "completed"


async def test_an_order_that_costs_nothing_is_given_without_tender(
    db: Database, shop: Shop
) -> None:
    await _coupon(db, "FREE-" + shop.tag, 10_000)
    who = associate(shop)
    made = await counter.order(db, shop, (0, 1), total_minor=0, coupon="FREE-" + shop.tag)
    await counter.ready(db, who, pickup_of(made))
    with pytest.raises(InvalidField):
        await hand_over(db, who, made, tender=cash(1))
    given = await hand_over(db, who, made)
    assert isinstance(given, HandedOver)
    assert (given.pickup.head.order_state, given.operations) == ("completed", [])


async def test_each_step_costs_a_bounded_number_of_statements(db: Database, shop: Shop) -> None:
    who = associate(shop)
    counts = []
    for lines, total_minor in ([(0, 1)], 10_000), ([(0, 2), (1, 2), (2, 2)], 66_000):
        made = await counter.order(db, shop, *lines, total_minor=total_minor)
        async with db.transaction() as conn:
            await fulfillment.start_picking(conn, who, pickup_of(made), now=NOW)
            picking = conn.statements
            await fulfillment.finish_picking(
                conn, who, pickup_of(made), staging_location="A1", short=[], now=NOW
            )
            ready = conn.statements - picking
        async with db.transaction() as conn:
            await fulfillment.hand_over(
                conn,
                who,
                pickup_of(made),
                secret=SECRET,
                code=code_of(made),
                override_reason=None,
                tender=cash(total_minor),
                now=NOW,
            )
            counts.append((picking, ready, conn.statements))
    assert counts == [(9, 9, 23)] * 2


async def _open(
    conn: Any, who: Principal, shop: Shop, *, state: Any = None, after: UUID = FIRST, page: int = 50
) -> list[Pickup]:
    return await fulfillment.open_at(
        conn, who, shop.stores[0].location_id, state=state, after=after, page=page
    )


async def _coupon(db: Database, code: str, amount_minor: int) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute(
            "INSERT INTO coupon (code, kind, amount_minor, currency)"
            " VALUES ($1, 'amount', $2, 'MXN')",
            code,
            amount_minor,
        )
