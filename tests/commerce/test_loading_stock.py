"""Files of stock movements: every line once, whatever happens to the file and its loads."""

import asyncio
import io
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from commerce import importing, loading
from commerce.access import OPERATOR
from commerce.kernel.sql import Database
from inventory import stock
from inventory.stock import Level
from inventory.tables import MAX_UNITS
from tests.loading import LOADED_AT, STOCK, faults, load
from tests.shop import Shop, make_shop


@pytest.fixture
async def shop(db: Database) -> Shop:
    """Two stores with ten of each of three SKUs."""
    return await make_shop(db)


async def level(db: Database, shop: Shop, sku: int = 0, store: int = 0) -> Level:
    key = (shop.stores[store].location_id, shop.skus[sku].sku)
    async with db.reading() as conn:
        return (await stock.levels(conn, [key]))[key]


def receive(shop: Shop, *quantities: int, at: int = 0) -> str:
    """One line per quantity, all of one SKU."""
    place, sku = shop.stores[at].code, shop.skus[0].sku
    return "".join(f"{place},{sku},receive,{quantity},note 118,\n" for quantity in quantities)


async def test_lines_move_stock_in_their_order(db: Database, shop: Shop) -> None:
    at, sku = shop.stores[0].code, shop.skus[0].sku
    text = STOCK + (
        f"{at},{sku},receive,5,note 118,2\n"
        f"{at},{sku},count,12,monday,\n"
        f"{at},{sku},adjust,-1,damaged,3\n"
    )
    loaded = await load(db, "stock", text)
    assert (loaded.loaded, loaded.loaded_before, loaded.refused) == (3, 0, [])
    now = await level(db, shop)
    assert (now.on_hand, now.reserved, now.safety_stock) == (11, 0, 3)
    async with db.reading() as conn:
        rows = await stock.history(conn, now.key, page=3)
    file_id = loading.stock_file_id(io.BytesIO(text.encode()))
    assert [(r.kind, r.on_hand_delta, r.reason, r.actor, r.reference) for r in rows] == [
        ("adjust", -1, "damaged", "operator", file_id),
        ("count", -3, "monday", "operator", file_id),
        ("receive", 5, "note 118", "operator", file_id),
    ]


async def test_a_file_that_comes_again_changes_nothing(db: Database, shop: Shop) -> None:
    text = STOCK + receive(shop, 5, 5)
    first = await load(db, "stock", text)
    assert (first.loaded, first.loaded_before, first.first_loaded_at) == (2, 0, None)
    again = await load(db, "stock", text)
    assert (again.loaded, again.loaded_before, again.first_loaded_at) == (0, 2, LOADED_AT)
    assert (await level(db, shop)).on_hand == 20


async def test_the_same_lines_count_again_under_a_reference(db: Database, shop: Shop) -> None:
    text = STOCK + receive(shop, 5)
    for reference in ("", "note 118", "note 118", "note 119"):
        await load(db, "stock", text, reference=reference)
    assert (await level(db, shop)).on_hand == 25


async def test_refused_lines_are_tried_again_and_then_count_once(db: Database, shop: Shop) -> None:
    at, new = shop.stores[0].code, f"NEW-{shop.tag}"
    text = f"{STOCK}{receive(shop, 1)}{at},{new},receive,7,n,\nXX,{new},receive,1,n,\n{at},x\n"
    for _ in range(2):
        loaded = await load(db, "stock", text)
        assert faults(loaded) == [
            (3, "invalid_field", "sku"),
            (4, "invalid_field", "location_code"),
            (5, "wrong_cell_count", None),
        ]
    await load(db, "skus", f"sku,item_code,item_name,department\n{new},I-{shop.tag},New,Ropa\n")
    third = await load(db, "stock", text)
    assert (third.loaded, third.loaded_before) == (1, 1)
    assert faults(third) == [(4, "invalid_field", "location_code"), (5, "wrong_cell_count", None)]
    fourth = await load(db, "stock", text)
    assert (fourth.loaded, fourth.loaded_before) == (0, 2)
    key = (shop.stores[0].location_id, new)
    async with db.reading() as conn:
        assert (await stock.levels(conn, [key]))[key].on_hand == 7
    assert (await level(db, shop)).on_hand == 11


async def test_a_load_that_was_cut_short_goes_on_where_it_ended(db: Database, shop: Shop) -> None:
    text = STOCK + receive(shop, *[1] * 1_200)
    content = io.BytesIO(text.encode())
    file_id = loading.stock_file_id(content)
    content.seek(0)
    lines = importing.read("stock", content, "csv")
    cut = loading.load(db, "stock", lines, who=OPERATOR, now=lambda: LOADED_AT, file_id=file_id)
    assert (await anext(cut)).last_line == 501
    await cut.aclose()
    assert (await level(db, shop)).on_hand == 510
    rest = await load(db, "stock", text)
    assert (rest.loaded, rest.loaded_before) == (700, 500)
    assert (await level(db, shop)).on_hand == 1_210


async def test_loads_of_one_file_at_the_same_time_count_once(db: Database, shop: Shop) -> None:
    text = STOCK + receive(shop, *[1] * 600)
    loads = await asyncio.gather(*(load(db, "stock", text) for _ in range(4)))
    assert sum(each.loaded for each in loads) == 600
    assert sum(each.loaded_before for each in loads) == 3 * 600
    assert (await level(db, shop)).on_hand == 610


async def test_a_line_that_passes_the_limit_costs_the_others_nothing(
    db: Database, shop: Shop
) -> None:
    loaded = await load(db, "stock", STOCK + receive(shop, 1, MAX_UNITS, 2))
    assert (loaded.loaded, faults(loaded)) == (2, [(3, "invalid_field", "quantity")])
    assert (await level(db, shop)).on_hand == 13


async def test_a_count_of_nothing_makes_a_level_without_a_ledger_row(db: Database) -> None:
    shop = await make_shop(db, on_hand=0)
    at, sku = shop.stores[0], shop.skus[0].sku
    await load(db, "stock", f"{STOCK}{at.code},{sku},count,0,opening,4\n")
    now = await level(db, shop)
    assert (now.on_hand, now.reserved, now.safety_stock) == (0, 0, 4)
    async with db.reading() as conn:
        assert await stock.history(conn, (at.location_id, sku)) == []


async def test_staff_of_one_store_move_no_stock_of_another(db: Database, shop: Shop) -> None:
    of_first = msgspec.structs.replace(OPERATOR, location_ids=(shop.stores[0].location_id,))
    text = STOCK + receive(shop, 3) + receive(shop, 4, at=1)
    loaded = await load(db, "stock", text, who=of_first)
    assert (loaded.loaded, faults(loaded)) == (1, [(3, "invalid_field", "location_code")])
    assert [(await level(db, shop, store=n)).on_hand for n in (0, 1)] == [13, 10]
    # The manager of the other store loads the same file for their part of it.
    of_second = msgspec.structs.replace(OPERATOR, location_ids=(shop.stores[1].location_id,))
    loaded = await load(db, "stock", text, who=of_second)
    assert (loaded.loaded, loaded.loaded_before) == (1, 1)
    assert [(await level(db, shop, store=n)).on_hand for n in (0, 1)] == [13, 14]


async def test_a_long_file_loads_in_bounded_memory(
    db: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    soak = request.config.getoption("--hypothesis-profile") == "soak"
    count = 100_000 if soak else 10_000
    shop = await make_shop(db, skus=50, stores=20, on_hand=0)
    file = tmp_path / "stock.csv"
    with file.open("w") as out:
        out.write(STOCK)
        for number in range(count):
            store, sku = shop.stores[number % 20], shop.skus[number // 20 % 50]
            out.write(f"{store.code},{sku.sku},receive,1,note 118,\n")
    with file.open("rb") as content:
        file_id = loading.stock_file_id(content)
        content.seek(0)
        lines = importing.read("stock", content, "csv")
        stretches = loading.load(
            db, "stock", lines, who=OPERATOR, now=lambda: LOADED_AT, file_id=file_id
        )
        done = (await anext(stretches)).loaded
        tracemalloc.start()
        async for each in stretches:
            done += each.loaded
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert done == count
    assert peak < 3_000_000
    keys = [(store.location_id, sku.sku) for store in shop.stores for sku in shop.skus]
    async with db.reading() as conn:
        assert sum(each.on_hand for each in (await stock.levels(conn, keys)).values()) == count
