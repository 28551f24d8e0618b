"""Loading stores and zones, finding stores, and the directory that a process keeps of them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import directory, stores
from commerce.directory import Directory, Picture, Spots
from commerce.importing import LocationRecord, PriceZoneRecord, StoreRecord, TaxZoneRecord
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Database
from inventory import locations
from tests.shop import ALWAYS, OPENED_AT, Shop, make_shop

NOON = datetime(2026, 11, 20, 18, tzinfo=UTC)


def record(shop: Shop, code: str, **changes: object) -> StoreRecord:
    plain = StoreRecord(
        location_code=code,
        name="Centro",
        street="Av. Madero 1",
        city="Ciudad de México",
        country="MX",
        time_zone="America/Mexico_City",
        price_zone=shop.price_zone,
        tax_zone=shop.tax_zone,
        mon=("09:00-14:00", "16:00-20:00"),
    )
    return msgspec.structs.replace(plain, **changes)


async def changes_of(db: Database, store_id: UUID) -> list[tuple[str, str]]:
    async with db.reading() as conn:
        return [(each.type, each.actor) for each in await events.timeline(conn, store_id)]


async def test_store_is_found_with_its_place_and_zones(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    changed = record(shop, shop.stores[0].code, region="CDMX", phone="+525555550101")
    async with db.transaction() as conn:
        assert await stores.upsert(conn, [changed], actor="ana", now=NOON) == [None]
        found = await stores.by_id(conn, shop.stores[0].location_id)
    assert msgspec.to_builtins(found) == {
        "location_id": str(shop.stores[0].location_id),
        "code": shop.stores[0].code,
        "name": "Centro",
        "address": {
            "street": "Av. Madero 1",
            "city": "Ciudad de México",
            "region": "CDMX",
            "postal_code": "",
            "country": "MX",
        },
        "phone": "+525555550101",
        "latitude": 19.4326,
        "longitude": -99.1332,
        "time_zone": "America/Mexico_City",
        "opening_hours": (((540, 840), (960, 1200)), (), (), (), (), (), ()),
        "pickup_enabled": True,
        "pickup_lead_minutes": 120,
        "price_zone": shop.price_zone,
        "currency": "MXN",
        "tax_included": True,
        "tax_zone": shop.tax_zone,
        "tax_rate_bp": 1600,
    }


async def test_loading_a_store_again_changes_and_records_nothing(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    (store,) = shop.stores
    changed = record(shop, store.code)
    for _ in range(2):
        async with db.transaction() as conn:
            await stores.upsert(conn, [changed], actor="ana", now=NOON)
    assert await changes_of(db, store.location_id) == [
        ("store.changed", "test"),
        ("store.changed", "ana"),
    ]


async def test_wrong_records_are_named_and_good_ones_stored(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    (store,) = shop.stores
    depot, tag = f"DC-{shop.tag}", uuid4().hex[:8]
    async with db.transaction() as conn:
        await locations.upsert(
            conn,
            [
                LocationRecord(
                    code=depot, name="Depot", kind="distribution_centre", latitude=20, longitude=-99
                )
            ],
        )
        outcomes = await stores.upsert(
            conn,
            [
                record(shop, f"no-{tag}"),
                record(shop, depot),
                record(shop, store.code, price_zone=f"no-{tag}"),
                record(shop, store.code, tax_zone=f"no-{tag}"),
                record(shop, store.code, name="Renamed"),
            ],
            actor="ana",
            now=NOON,
        )
        found = await stores.by_code(conn, [store.code, depot])
    assert [each and (each.path, each.reason) for each in outcomes] == [
        ("/location_code", f"location_code no-{tag} does not exist; load it first"),
        ("/location_code", f"location {depot} is a distribution_centre"),
        ("/price_zone", f"price_zone no-{tag} does not exist; load it first"),
        ("/tax_zone", f"tax_zone no-{tag} does not exist; load it first"),
        None,
    ]
    assert {code: each.name for code, each in found.items()} == {store.code: "Renamed"}


async def test_currency_of_a_price_zone_is_fixed(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    other = PriceZoneRecord(code=shop.price_zone, currency="USD", tax_included=False)
    same = PriceZoneRecord(code=shop.price_zone, currency="MXN", tax_included=False)
    async with db.transaction() as conn:
        refused, accepted = await stores.upsert_price_zones(conn, [other, same])
        found = await stores.by_id(conn, shop.stores[0].location_id)
    assert refused is not None
    assert refused.path == "/currency"
    assert accepted is None
    assert (found.currency, found.tax_included) == ("MXN", False)


async def test_last_of_two_lines_for_one_thing_counts(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    rates = [TaxZoneRecord(code=shop.tax_zone, rate_bp=rate) for rate in (800, 1100)]
    named = [record(shop, shop.stores[0].code, name=name) for name in ("First", "Last")]
    async with db.transaction() as conn:
        assert await stores.upsert_tax_zones(conn, rates) == [None, None]
        assert await stores.upsert(conn, named, actor="ana", now=NOON) == [None, None]
        found = await stores.by_id(conn, shop.stores[0].location_id)
    assert (found.tax_rate_bp, found.name) == (1100, "Last")


async def test_moved_location_keeps_its_id(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    (store,) = shop.stores
    moved = LocationRecord(
        code=store.code, name="Moved", kind="store", latitude=25.5, longitude=-100.25
    )
    async with db.transaction() as conn:
        await locations.upsert(conn, [moved])
        found = (await locations.by_code(conn, [store.code, "nowhere"]))[store.code]
    assert (found.id, found.name, found.latitude) == (store.location_id, "Moved", 25.5)


async def test_unknown_store_is_not_found(db: Database) -> None:
    missing = uuid4()
    async with db.reading() as conn:
        with pytest.raises(NotFound) as refused:
            await stores.by_id(conn, missing)
    assert refused.value.fields() == {"kind": "store", "id": str(missing)}


async def test_pages_of_stores_follow_each_other(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=3)
    codes = [each.code for each in shop.stores]
    async with db.reading() as conn:
        page = await stores.page(conn, after=codes[0], limit=1000)
        first = await stores.page(conn, after=codes[0], limit=1)
    ours = [each.code for each in page if each.code in codes]
    assert ours == codes[1:]
    assert [each.code for each in first] == [page[0].code]


async def test_promise_begins_with_the_next_whole_minute(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1, pickup_lead_minutes=30)
    async with db.reading() as conn:
        store = await stores.by_id(conn, shop.stores[0].location_id)
    assert stores.promise_at(store, NOON) == NOON + timedelta(minutes=30)
    late = NOON + timedelta(seconds=1)
    assert stores.promise_at(store, late) == NOON + timedelta(minutes=31)


async def picture(db: Database, shop: Shop) -> Picture:
    async with db.reading() as conn:
        return Picture(list((await stores.by_ids(conn, ids_of(shop))).values()))


def ids_of(shop: Shop) -> list[UUID]:
    return [each.location_id for each in shop.stores]


async def test_nearest_store_comes_first_within_the_radius(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=4)
    seen = await picture(db, shop)
    near = seen.nearest(19.4326 + 0.0091, -99.1332, radius_km=1.5, limit=10, now=NOON)
    assert [spot.store.location_id for spot in near.spots] == [ids_of(shop)[i] for i in (1, 2, 0)]
    assert [spot.distance_km for spot in near.spots] == [0.011, 0.99, 1.012]
    two = seen.nearest(19.4326, -99.1332, radius_km=50, limit=2, now=NOON)
    assert [spot.store.location_id for spot in two.spots] == ids_of(shop)[:2]


def test_distance_is_that_of_the_great_circle() -> None:
    lisbon, porto = locations.point(38.7223, -9.1393), locations.point(41.1579, -8.6291)
    assert locations.distance_km(lisbon, porto) == pytest.approx(274.2, abs=0.1)
    antipodes = locations.point(0, 0), locations.point(0, 180)
    assert locations.distance_km(*antipodes) == pytest.approx(20_015.1, abs=0.1)
    dateline = locations.point(0, 179.95), locations.point(0, -179.95)
    assert locations.distance_km(*dateline) == pytest.approx(11.12, abs=0.01)


async def test_chosen_stores_keep_their_order_and_unknown_ones_are_refused(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=3)
    seen = await picture(db, shop)
    wanted = [ids_of(shop)[2], ids_of(shop)[0]]
    chosen = seen.chosen(wanted, now=NOON)
    assert [spot.store.location_id for spot in chosen.spots] == wanted
    assert {spot.distance_km for spot in chosen.spots} == {None}
    with pytest.raises(NotFound):
        seen.chosen([uuid4()], now=NOON)


async def test_view_from_a_place_is_kept_for_the_minute(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=2)
    seen = await picture(db, shop)

    def look(latitude: float, seconds: int) -> Spots:
        now = NOON + timedelta(seconds=seconds)
        return seen.nearest(latitude, -99.1332, radius_km=50, limit=2, now=now)

    first = look(19.4326, 1)
    assert look(19.4326, 60) is first
    assert look(19.5, 1).location_ids == first.location_ids[::-1]
    assert look(19.4326, 61) is not first


async def test_promise_of_the_picture_moves_on_with_the_clock(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1, pickup_lead_minutes=60)
    seen = await picture(db, shop)
    promised = [
        seen.first(1, now=NOON + timedelta(seconds=seconds)).spots[0].promised_at
        for seconds in (0, 1, 59, 60, 61)
    ]
    hour = NOON + timedelta(hours=1)
    one, two = hour + timedelta(minutes=1), hour + timedelta(minutes=2)
    assert promised == [hour, one, one, one, two]


async def test_directory_shows_a_change_after_forget(db: Database) -> None:
    shop = await make_shop(db, skus=0, stores=1)
    (store,) = shop.stores
    known = Directory(db)
    before = await known.stores()
    closed = record(shop, store.code, pickup_enabled=False, mon=ALWAYS)
    async with db.transaction() as conn:
        await stores.upsert(conn, [closed], actor="ana", now=OPENED_AT)
    assert await known.stores() is before
    known.forget()
    after = (await known.stores()).chosen([store.location_id], now=NOON)
    assert [spot.store.pickup_enabled for spot in after.spots] == [False]


async def test_directory_never_serves_what_is_too_old(db: Database) -> None:
    known = Directory(db)
    before = await known.stores()
    known._loaded_at -= directory.MAX_AGE_SECONDS
    assert await known.stores() is not before
