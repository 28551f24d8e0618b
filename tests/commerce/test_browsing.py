"""Browsing events: stored once, with the right time, and each in exactly one person's trail."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, select

from commerce import browsing
from commerce.browsing import (
    Batch,
    BrowsingCounts,
    CartAdd,
    CartRemove,
    CatalogSearch,
    Event,
    PageView,
    ShelfScan,
    StoreVisit,
)
from commerce.browsing.summary import SHOWN, Goods, Seen, summarize
from commerce.browsing.trails import DEVICES, NEWEST
from commerce.kernel import partitions
from commerce.kernel.sql import Database, Query
from commerce.tables import browsing_event, browsing_link
from tests.shop import Shop, make_shop

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OF_VISITOR = Query(
    select(browsing_event.c.query)
    .where(browsing_event.c.visitor_id == bindparam("visitor"))
    .order_by(browsing_event.c.at),
    str,
)
SPANS = Query(select(browsing_link.c.shopper_id).order_by(browsing_link.c.until), UUID)
TIMES = Query(
    select(browsing_event.c.at).where(browsing_event.c.visitor_id == bindparam("visitor")), datetime
)


def batch(
    *events: Event, visitor: UUID, person: Sequence[UUID] = (), received_at: datetime = NOW
) -> Batch:
    return Batch(visitor, uuid4(), "web", events, tuple(person), received_at)


def search(words: str = "lino", at: datetime = NOW) -> CatalogSearch:
    return CatalogSearch(uuid4(), at, words)


async def record(db: Database, *batches: Batch) -> list[BrowsingCounts]:
    async with db.reading() as conn:
        return await browsing.record(conn, [browsing.dated(each) for each in batches])


async def link(db: Database, visitor: UUID, *person: UUID, now: datetime) -> None:
    async with db.transaction() as conn:
        await browsing.link(conn, visitor, person, now=now)


async def searched(db: Database, *person: UUID, now: datetime = NOW + DAY) -> set[str]:
    async with db.reading() as conn:
        found = await browsing.recent(conn, person, now=now)
    return {each.query for each in found.searches}


async def stored(db: Database, visitor: UUID) -> list[str]:
    async with db.reading() as conn:
        return await conn.run(OF_VISITOR, visitor=visitor)


# Stored once


async def test_an_event_is_stored_once_however_often_it_comes(db: Database) -> None:
    visitor = uuid4()
    first, second = search("uno"), search("dos")
    assert await record(db, batch(first, first, visitor=visitor)) == [BrowsingCounts(1, 1)]
    assert await record(db, batch(first, second, visitor=visitor)) == [BrowsingCounts(1, 1)]
    later = batch(second, visitor=visitor, received_at=NOW + 6 * DAY)
    assert await record(db, later) == [BrowsingCounts(0, 1)]
    assert sorted(await stored(db, visitor)) == ["dos", "uno"]


async def test_batches_that_share_a_statement_are_counted_apart(db: Database) -> None:
    visitor = uuid4()
    events = [search(str(number)) for number in range(4)]
    await record(db, batch(events[0], visitor=visitor))
    counts = await record(
        db,
        batch(*events[:2], visitor=visitor),
        batch(*events[1:], visitor=visitor),
        batch(events[3], visitor=visitor),
    )
    assert counts == [BrowsingCounts(1, 1), BrowsingCounts(2, 1), BrowsingCounts(0, 1)]
    assert sorted(await stored(db, visitor)) == ["0", "1", "2", "3"]


async def test_the_same_id_of_another_visitor_is_another_event(db: Database) -> None:
    event, visitors = search(), [uuid4(), uuid4()]
    counts = await record(db, *(batch(event, visitor=visitor) for visitor in visitors))
    assert counts == [BrowsingCounts(1), BrowsingCounts(1)]
    assert [await stored(db, visitor) for visitor in visitors] == [["lino"], ["lino"]]


IMPOSSIBLE = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, tzinfo=UTC),
    NOW - 8 * DAY,
    NOW + 32 * DAY,
    datetime(9999, 12, 31, tzinfo=UTC),
]


@pytest.mark.parametrize("at", [*IMPOSSIBLE, NOW + MINUTE, NOW + 20 * DAY], ids=str)
async def test_a_wrong_time_becomes_that_of_receipt_and_is_still_known_again(
    db: Database, at: datetime
) -> None:
    visitor, event = uuid4(), search(at=at)
    counts = await record(db, batch(event, visitor=visitor))
    assert counts == [BrowsingCounts(1, times_corrected=1)]
    again = batch(event, visitor=visitor, received_at=NOW + MINUTE)
    assert (await record(db, again))[0].duplicates == 1
    next_day = batch(event, visitor=visitor, received_at=NOW + DAY)
    assert (await record(db, next_day))[0].duplicates == 1
    async with db.reading() as conn:
        assert await conn.run(TIMES, visitor=visitor) == [NOW]


async def test_an_event_that_was_in_time_is_known_when_it_comes_again_too_late(
    db: Database,
) -> None:
    visitor, event = uuid4(), search(at=NOW - 6 * DAY)
    assert await record(db, batch(event, visitor=visitor)) == [BrowsingCounts(1)]
    late = batch(event, visitor=visitor, received_at=NOW + 2 * DAY)
    assert await record(db, late) == [BrowsingCounts(0, 1, times_corrected=1)]


# Whose trail it is


async def test_a_sign_in_takes_the_trail_of_its_device_and_no_later_one(db: Database) -> None:
    visitor, ana, eva = uuid4(), uuid4(), uuid4()
    await record(db, batch(search("ana"), visitor=visitor, received_at=NOW))
    await link(db, visitor, ana, now=NOW + MINUTE)
    await record(db, batch(search("eva"), visitor=visitor, received_at=NOW + 2 * MINUTE))
    assert (await searched(db, ana), await searched(db, eva)) == ({"ana"}, set())
    await link(db, visitor, eva, now=NOW + 3 * MINUTE)
    await link(db, visitor, eva, now=NOW + 4 * MINUTE)
    assert (await searched(db, ana), await searched(db, eva)) == ({"ana"}, {"eva"})
    await record(db, batch(search("nobody"), visitor=visitor, received_at=NOW + 5 * MINUTE))
    assert (await searched(db, ana), await searched(db, eva)) == ({"ana"}, {"eva"})


async def test_an_event_of_a_session_is_its_shoppers_on_whatever_device(db: Database) -> None:
    visitor, ana, eva = uuid4(), uuid4(), uuid4()
    await record(db, batch(search("eva"), visitor=visitor, person=[eva]))
    await link(db, visitor, ana, now=NOW + MINUTE)
    assert (await searched(db, ana), await searched(db, eva)) == (set(), {"eva"})


async def test_a_back_dated_event_is_not_slipped_into_the_trail_of_an_earlier_person(
    db: Database,
) -> None:
    visitor, ana, eva = uuid4(), uuid4(), uuid4()
    await link(db, visitor, ana, now=NOW)
    slipped = search("slipped", at=NOW - HOUR)
    await record(db, batch(slipped, visitor=visitor, received_at=NOW + MINUTE))
    await link(db, visitor, eva, now=NOW + HOUR)
    assert (await searched(db, ana), await searched(db, eva)) == (set(), {"slipped"})


async def test_all_ids_of_a_person_have_one_trail(db: Database) -> None:
    visitor, root, merged = uuid4(), uuid4(), uuid4()
    await record(db, batch(search("old"), visitor=visitor))
    await link(db, visitor, merged, now=NOW + MINUTE)
    await record(db, batch(search("new"), visitor=uuid4(), person=[root, merged]))
    assert await searched(db, root, merged) == {"old", "new"}
    assert (await searched(db, root), await searched(db, merged)) == ({"new"}, {"old"})


@pytest.fixture(scope="module")
async def trails(dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(dsn, max_size=1)
    yield opened
    await opened.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["browse", "browse_signed_in", "sign_in"]),
        st.integers(0, 1),  # the device
        st.integers(0, 2),  # the shopper
        st.integers(0, 2),  # minutes that pass
    ),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=40)
async def test_each_event_is_in_the_trail_of_who_signed_in_next_or_of_its_session(
    trails: Database, steps: list[tuple[str, int, int, int]]
) -> None:
    devices, shoppers = [uuid4(), uuid4()], [uuid4(), uuid4(), uuid4()]
    expected: dict[UUID, set[str]] = {shopper: set() for shopper in shoppers}
    waiting: dict[UUID, set[str]] = {device: set() for device in devices}
    now = NOW
    for number, (step, device_index, shopper_index, minutes) in enumerate(steps):
        now += minutes * MINUTE + timedelta(milliseconds=1)
        device, shopper = devices[device_index], shoppers[shopper_index]
        if step == "sign_in":
            await link(trails, device, shopper, now=now)
            expected[shopper] |= waiting[device]
            waiting[device] = set()
        else:
            signed_in = step == "browse_signed_in"
            person = [shopper] if signed_in else []
            event = search(f"number {number}", at=now)
            await record(trails, batch(event, visitor=device, person=person, received_at=now))
            (expected[shopper] if signed_in else waiting[device]).add(f"number {number}")
    found = {shopper: await searched(trails, shopper, now=now) for shopper in shoppers}
    assert found == expected


# Removed, and not recorded


async def test_clearing_removes_all_of_a_person_and_nothing_of_others(db: Database) -> None:
    visitor, ana, eva = uuid4(), uuid4(), uuid4()
    await record(db, batch(search("ana 1"), visitor=visitor))
    await link(db, visitor, ana, now=NOW + MINUTE)
    later = NOW + 2 * MINUTE
    await record(db, batch(search("ana 2"), visitor=visitor, person=[ana], received_at=later))
    await record(db, batch(search("eva 1"), visitor=visitor, received_at=later))
    await link(db, visitor, eva, now=NOW + HOUR)
    await record(db, batch(search("eva 2"), visitor=visitor, person=[eva], received_at=later))
    async with db.transaction() as conn:
        await browsing.clear(conn, [ana])
    assert (await searched(db, ana), await searched(db, eva)) == (set(), {"eva 1", "eva 2"})
    assert sorted(await stored(db, visitor)) == ["eva 1", "eva 2"]


async def choose(db: Database, *person: UUID, recording: bool, now: datetime) -> None:
    async with db.transaction() as conn:
        await browsing.choose(conn, person, recording=recording, now=now)


async def test_who_wants_no_recording_has_none_until_it_is_wanted_again(db: Database) -> None:
    visitor, ana, eva = uuid4(), uuid4(), uuid4()
    before = batch(search("before"), visitor=visitor, person=[ana])
    await record(db, before)
    await choose(db, ana, recording=False, now=NOW)
    assert await stored(db, visitor) == []
    counts = await record(
        db,
        batch(search("a"), search("b"), visitor=visitor, person=[ana]),
        batch(search("eva"), visitor=visitor, person=[eva]),
    )
    assert counts == [BrowsingCounts(not_recorded=2), BrowsingCounts(1)]
    await choose(db, ana, recording=True, now=NOW + MINUTE)
    assert await record(db, batch(search("after"), visitor=visitor, person=[ana])) == [
        BrowsingCounts(1)
    ]
    assert (await searched(db, ana), await searched(db, eva)) == ({"after"}, {"eva"})


async def test_the_newest_choice_of_a_person_counts(db: Database) -> None:
    root, merged, visitor = uuid4(), uuid4(), uuid4()
    await choose(db, merged, recording=False, now=NOW)
    event = batch(search(), visitor=visitor, person=[root, merged])
    assert await record(db, event) == [BrowsingCounts(not_recorded=1)]
    await choose(db, root, merged, recording=True, now=NOW + MINUTE)
    assert await record(db, event) == [BrowsingCounts(1)]
    async with db.reading() as conn:
        wanted = [await browsing.recording(conn, ids) for ids in ([root, merged], [merged])]
    assert wanted == [True, False]


async def test_who_wants_no_recording_leaves_no_trail_on_a_device_for_others(db: Database) -> None:
    visitor, ana, eva = uuid4(), uuid4(), uuid4()
    await choose(db, ana, recording=False, now=NOW)
    await record(db, batch(search("ana"), visitor=visitor))
    await link(db, visitor, ana, now=NOW + MINUTE)
    await link(db, visitor, eva, now=NOW + HOUR)
    assert await searched(db, eva) == set()
    assert await stored(db, visitor) == []


async def test_months_that_go_take_the_spans_along_that_belonged_to_them(own_dsn: str) -> None:
    db, visitor, ana, eva = await Database.open(own_dsn), uuid4(), uuid4(), uuid4()
    await link(db, visitor, ana, now=NOW)
    await link(db, uuid4(), eva, now=NOW + 100 * DAY)
    async with db.transaction() as conn:
        await partitions.ensure(conn, now=NOW)
        assert await browsing.forget(conn, months_kept=3, now=NOW + 95 * DAY) == []
        gone = await browsing.forget(conn, months_kept=3, now=NOW + 130 * DAY)
        assert gone == ["browsing_event_202611"]
        assert await conn.run(SPANS) == [ana, eva]
        await browsing.forget(conn, months_kept=3, now=NOW + 160 * DAY)
        assert await conn.run(SPANS) == [eva]
    await db.close()


# What it says


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=3, stores=2, on_hand=0)


async def test_a_summary_names_goods_that_the_catalog_knows(db: Database, shop: Shop) -> None:
    ana, (first, second, third) = uuid4(), shop.skus
    store = shop.stores[0].location_id
    await record(
        db,
        batch(
            PageView(uuid4(), NOW - 5 * MINUTE, first.item_code, first.sku),
            PageView(uuid4(), NOW - 4 * MINUTE, second.item_code),
            PageView(uuid4(), NOW - 3 * MINUTE, first.item_code),
            PageView(uuid4(), NOW - 2 * MINUTE, None, "sold only elsewhere"),
            CartAdd(uuid4(), NOW - 2 * MINUTE, first.sku),
            CartRemove(uuid4(), NOW - MINUTE, first.sku),
            ShelfScan(uuid4(), NOW - DAY, third.sku, store),
            StoreVisit(uuid4(), NOW - DAY, store),
            StoreVisit(uuid4(), NOW - 2 * DAY, store),
            visitor=uuid4(),
            person=[ana],
        ),
    )
    async with db.reading() as conn:
        found = await browsing.recent(conn, [ana], now=NOW)
    assert [(each.item, each.sku, each.times, each.last_at) for each in found.viewed] == [
        (first.item_code, first.sku, 2, NOW - 3 * MINUTE),
        (second.item_code, None, 1, NOW - 4 * MINUTE),
        (third.item_code, third.sku, 1, NOW - DAY),
    ]
    assert found.viewed[0].name == f"Item {first.item_code}"
    assert [(each.department, each.share_bp) for each in found.interests] == [("Ropa", 10_000)]
    visits = [(each.location_id, each.days, each.last_at) for each in found.store_visits]
    assert visits == [(store, 2, NOW - DAY)]


def seen(type_: str, at: datetime, *, item: str | None = None, query: str | None = None) -> Seen:
    return Seen(type_, "web", None, item, query, None, at)


GOODS: dict[tuple[str | None, str | None], Goods] = {
    (None, name): Goods(None, name, name, name.upper()) for name in ("ropa", "hogar")
}


def test_interests_weigh_kinds_of_events_and_fade_by_half_in_two_weeks() -> None:
    old = NOW - 14 * DAY
    trail = [seen("add", old, item="hogar"), seen("view", NOW, item="ropa")]
    found = summarize(trail, GOODS, now=NOW).interests
    # An addition weighs four views, two when it is two weeks old.
    assert [(each.department, each.share_bp) for each in found] == [("HOGAR", 6667), ("ROPA", 3333)]


def test_searches_that_differ_in_case_and_spaces_are_one() -> None:
    trail = [
        seen("search", NOW - HOUR, query="camisa  lino"),
        seen("search", NOW, query="Camisa Lino"),
        seen("search", NOW - MINUTE, query="falda"),
    ]
    found = summarize(trail, {}, now=NOW).searches
    assert [(each.query, each.times) for each in found] == [("Camisa Lino", 2), ("falda", 1)]


def test_a_summary_is_short() -> None:
    trail = [seen("search", NOW, query=str(number)) for number in range(3 * SHOWN)]
    assert len(summarize(trail, {}, now=NOW).searches) == SHOWN


# However many there are

MANY = """
INSERT INTO browsing_event (id, visitor_id, shopper_id, session_id, device, type, query, at,
  received_at)
SELECT overlay(md5(n::text || $1::uuid::text) placing
    lpad(to_hex((extract(epoch FROM $2::timestamptz - n * interval '50 s') * 1000)::bigint), 12,
    '0') from 1 for 12)::uuid,
  CASE WHEN n % 2 = 0 THEN $1::uuid ELSE md5((n % 500)::text)::uuid END,
  CASE WHEN n % 3 = 0 THEN $1::uuid END, $1::uuid, 'web', 'search', n::text,
  $2::timestamptz - n * interval '50 s', $2::timestamptz - n * interval '50 s'
FROM generate_series(1, 20000) AS n
"""


async def test_a_summary_reads_few_rows_of_however_many_there_are(own_dsn: str) -> None:
    db, ana = await Database.open(own_dsn, max_size=1), uuid4()
    read = []
    async with db.pool.acquire() as driver:
        await driver.execute(MANY, ana, NOW)
        await driver.execute("ANALYZE")
    for number in range(DEVICES + 10):
        await link(db, UUID(int=number), ana, now=NOW)
    await link(db, ana, ana, now=NOW)
    for _ in range(2):
        async with db.pool.acquire() as driver:
            await driver.execute("SELECT pg_stat_force_next_flush()")
            read.append(
                await driver.fetchval(
                    "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
                    " WHERE indexrelname LIKE 'browsing%'"
                )
            )
        async with db.reading() as conn:
            await browsing.recent(conn, [ana], now=NOW)
    await db.close()
    # As many of the person's own and of the one device that has any, and the devices themselves.
    assert read[1] - read[0] <= 2 * NEWEST + 2 * (DEVICES + 11)
