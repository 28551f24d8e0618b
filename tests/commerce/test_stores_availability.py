"""What can be picked up where: commerce's reasons on top of the stock's."""

from datetime import UTC, datetime

import msgspec
import pytest

from commerce import availability, catalog, stores
from commerce.availability import Pickup, TooMany
from commerce.directory import Picture, Spots
from commerce.importing import SkuRecord
from commerce.kernel.coalesce import Coalescer
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Database
from commerce.stores import Store
from inventory import stock
from inventory.availability import Availability
from inventory.stock import Movement
from tests.shop import Shop, make_shop

NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)


async def spots_of(conn: Connection, shop: Shop, **changes: object) -> Spots:
    """The shop's stores, the first of them changed."""
    found = await stores.by_ids(conn, [each.location_id for each in shop.stores])
    places: list[Store] = [found[each.location_id] for each in shop.stores]
    places[0] = msgspec.structs.replace(places[0], **changes)
    return Picture(places).chosen([each.location_id for each in places], now=NOW)


async def pickups(conn: Connection, skus: list[str], spots: Spots) -> list[list[Pickup]]:
    (found,) = await availability.answer(conn, [availability.ask(skus, spots, now=NOW)])
    assert not isinstance(found, NotFound)
    return found


def only(spots: Spots, count: int) -> Spots:
    """The first store so many times."""
    return Spots(spots.spots[:1] * count, spots.location_ids[:1] * count)


def reasons(found: list[list[Pickup]]) -> list[list[tuple[int, str]]]:
    return [[(each.available_to_promise, each.reason) for each in of_sku] for of_sku in found]


async def test_every_number_has_its_reason(db: Database) -> None:
    shop = await make_shop(db, skus=3, stores=2, on_hand=4)
    sold_out, _, inactive = shop.skus
    async with db.transaction() as conn:
        await stock.move(
            conn,
            [Movement(shop.stores[0].location_id, sold_out.sku, "sale", 4, "till")],
            now=NOW,
        )
        record = SkuRecord(
            sku=inactive.sku, item_code=inactive.item_code, item_name="Gone", department="Ropa",
            active=False,
        )  # fmt: skip
        await catalog.upsert_skus(conn, [record], actor="ana", now=NOW)
        spots = await spots_of(conn, shop)
        found = await pickups(conn, [each.sku for each in shop.skus], spots)
    assert reasons(found) == [
        [(0, "none_on_hand"), (4, "available")],
        [(4, "available"), (4, "available")],
        [(0, "not_sold_here"), (0, "not_sold_here")],
    ]
    assert found[2][0] == Availability(4, 0, 0, 0, "not_sold_here")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price_zone": "elsewhere", "pickup_enabled": False}, "not_sold_here"),
        ({"pickup_enabled": False, "opening_hours": ((),) * 7}, "pickup_disabled"),
        ({"opening_hours": ((),) * 7}, "store_closed"),
    ],
)
async def test_store_that_cannot_hand_over_says_why(
    db: Database, changes: dict[str, object], reason: str
) -> None:
    shop = await make_shop(db, skus=1, stores=2, on_hand=4)
    async with db.transaction() as conn:
        found = await pickups(conn, [shop.skus[0].sku], await spots_of(conn, shop, **changes))
    assert reasons(found) == [[(0, reason), (4, "available")]]


async def test_sku_without_price_in_the_zone_is_not_sold_there(db: Database) -> None:
    here, there = await make_shop(db, skus=1, stores=1), await make_shop(db, skus=1, stores=1)
    async with db.transaction() as conn:
        found = [
            await pickups(conn, [here.skus[0].sku], await spots_of(conn, shop))
            for shop in (here, there)
        ]
    assert [reasons(each) for each in found] == [
        [[(10, "available")]],
        [[(0, "not_sold_here")]],
    ]


async def test_concurrent_questions_share_a_query_and_keep_their_answers(db: Database) -> None:
    shop = await make_shop(db, skus=3, stores=2, on_hand=7)
    one, two, three = (each.sku for each in shop.skus)
    async with db.transaction() as conn:
        spots = await spots_of(conn, shop)
        asks = [
            availability.ask([one, two], spots, now=NOW),
            availability.ask([two, "nothing"], spots, now=NOW),
            availability.ask([three, three], only(spots, 1), now=NOW),
            availability.ask([three], only(spots, 0), now=NOW),
        ]
        statements = conn.statements
        answers = await availability.answer(conn, asks)
        assert conn.statements == statements + 2
    seven = Availability(7, 0, 0, 7, "available")
    assert answers[0] == [[seven, seven], [seven, seven]]
    assert isinstance(answers[1], NotFound)
    assert answers[1].fields() == {"kind": "sku", "id": "nothing"}
    assert answers[2:] == [[[seven]], [[]]]


async def test_unknown_sku_is_refused_to_its_own_caller_only(db: Database) -> None:
    shop = await make_shop(db, skus=1, stores=1)
    async with db.transaction() as conn:
        spots = await spots_of(conn, shop)
    shared = Coalescer(db, availability.answer, weigh=availability.weigh, writes=False)
    with pytest.raises(NotFound):
        await shared.submit(availability.ask(["nothing"], spots, now=NOW))
    found = await shared.submit(availability.ask([shop.skus[0].sku], spots, now=NOW))
    assert reasons(found) == [[(10, "available")]]


async def test_questions_have_bounds(db: Database) -> None:
    shop = await make_shop(db, skus=1, stores=1)
    async with db.reading() as conn:
        spots = await spots_of(conn, shop)
    with pytest.raises(TooMany) as skus:
        availability.ask([f"SKU{i}" for i in range(101)], spots, now=NOW)
    with pytest.raises(TooMany) as places:
        availability.ask(["SKU"], only(spots, 201), now=NOW)
    assert skus.value.fields() == {"what": "skus", "given": 101, "limit": 100}
    assert places.value.fields() == {"what": "stores", "given": 201, "limit": 200}
    same = availability.ask(["SKU"] * 500, only(spots, 200), now=NOW)
    assert (same.skus, availability.weigh(same)) == (("SKU",), 200)


def test_store_serves_a_basket_only_with_enough_of_every_line() -> None:
    def pickup(units: int) -> Pickup:
        return Availability(units, 0, 0, units, "available")

    found = [[pickup(2), pickup(3), pickup(3)], [pickup(1), pickup(0), pickup(1)]]
    assert availability.serves([3, 1], found) == [False, False, True]
    assert availability.serves([2, 1], found) == [True, False, True]
