"""Records of each kind loaded into real tables: good ones kept, faults by line and field."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import access, catalog, importing, loading, stores
from commerce.access import OPERATOR, PERMISSIONS, PermissionDenied, Principal, StaffEntry
from commerce.importing import KINDS, LocationRecord
from commerce.kernel.sql import Database
from commerce.loading import Act
from inventory import locations
from tests.loading import LOADED_AT, STOCK, faults, load
from tests.shop import Shop, make_shop

SKUS = "sku,item_code,item_name,department,gtin\n"
PRICES = "price_zone,sku,amount_minor\n"
ASSOCIATES = "code,name,role,store_codes,pin,active\n"


@pytest.fixture
async def shop(db: Database) -> Shop:
    """Two stores, three SKUs."""
    return await make_shop(db, on_hand=0)


async def staff_record(db: Database, subject: str) -> list[StaffEntry]:
    async with db.reading() as conn:
        newest = await access.staff_record_page(conn, before=None, page=200)
    return [entry for entry in newest if entry.subject == subject]


async def test_a_retailer_loads_its_data_kind_by_kind(own_db: Database) -> None:
    for kind in KINDS:
        loaded = await load(own_db, kind, importing.example(kind, "csv"))
        assert loaded.refused == [], kind
        assert loaded.loaded == importing.example(kind, "jsonl").count('\n{"'), kind
    async with own_db.reading() as conn:
        (store,) = await stores.everywhere(conn)
        sku = await catalog.sku_by_code(conn, "T100-M", zone="MX")
        (associate,) = await access.associates(conn)
    assert (store.code, store.currency, store.tax_rate_bp) == ("S1", "MXN", 1600)
    assert sku.amount_minor == 19_900
    assert (associate.code, associate.location_ids) == ("A1", [store.location_id])


async def test_good_prices_around_wrong_ones_are_kept(db: Database, shop: Shop) -> None:
    zone, first, second = shop.price_zone, shop.skus[0].sku, shop.skus[1].sku
    loaded = await load(
        db,
        "prices",
        f"{PRICES}{zone},{first},500\n{zone},gone,1\n{zone},{first},-1\nXX,{first},7\n"
        f"{zone},{second},600\n",
    )
    assert loaded.loaded == 2
    assert faults(loaded) == [
        (3, "invalid_field", "sku"),
        (4, "invalid_value", "amount_minor"),
        (5, "invalid_field", "price_zone"),
    ]
    assert loaded.refused[0].message == "sku gone does not exist; load it first"
    async with db.reading() as conn:
        found = [await catalog.sku_by_code(conn, sku, zone=zone) for sku in (first, second)]
    assert [each.amount_minor for each in found] == [500, 600]


async def test_a_gtin_that_another_sku_has_is_refused(db: Database, shop: Shop) -> None:
    taken = shop.skus[0].gtin
    new = f"NEW-{shop.tag}"
    loaded = await load(db, "skus", f"{SKUS}{new},I-{shop.tag},New,Ropa,{taken}\n")
    assert (loaded.loaded, faults(loaded)) == (0, [(2, "invalid_field", "gtin")])
    async with db.reading() as conn:
        assert await catalog.known_skus(conn, [new]) == set()


async def test_a_price_zone_keeps_its_currency(db: Database, shop: Shop) -> None:
    text = f"code,currency,tax_included\n{shop.price_zone},USD,true\nZ-{shop.tag},USD,false\n"
    loaded = await load(db, "price_zones", text)
    assert (loaded.loaded, faults(loaded)) == (1, [(2, "invalid_field", "currency")])


async def test_a_store_stays_a_store(db: Database, shop: Shop) -> None:
    code = shop.stores[0].code
    other = f"DC-{shop.tag}"
    loaded = await load(
        db,
        "locations",
        "code,name,kind,latitude,longitude\n"
        f"{code},Moved,transit,1,2\n{other},Almacén,distribution_centre,1,2\n",
    )
    assert (loaded.loaded, faults(loaded)) == (1, [(2, "invalid_field", "kind")])
    async with db.reading() as conn:
        found = await locations.by_code(conn, [code, other])
    assert (found[code].name, found[code].kind) == ("Store 0", "store")
    assert found[other].kind == "distribution_centre"


async def test_associates_sign_in_with_the_pin_of_their_line(db: Database, shop: Shop) -> None:
    first, second = (store.code for store in shop.stores)
    ana, eva = f"ANA-{shop.tag}", f"EVA-{shop.tag}"
    text = f"{ASSOCIATES}{ana},Ana,manager,{first};{second},4711,\n{eva},Eva,associate,XX,1,\n"
    loaded = await load(db, "associates", text)
    assert (loaded.loaded, faults(loaded)) == (1, [(3, "invalid_value", "pin")])
    text = f"{ASSOCIATES}{eva},Eva,associate,XX,1111,\n"
    assert faults(await load(db, "associates", text)) == [(2, "invalid_field", "store_codes")]
    await signs_in(db, shop, ana, "4711")
    dismissed = f"{ASSOCIATES}{ana},Ana,manager,{first};{second},4711,false\n"
    assert (await load(db, "associates", dismissed)).loaded == 1
    with pytest.raises(access.SignInRefused):
        await signs_in(db, shop, ana, "4711")


async def signs_in(db: Database, shop: Shop, code: str, pin: str) -> None:
    at = shop.stores[0].location_id
    async with db.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind="tablet", name="T", channel="store", location_id=at, now=LOADED_AT
        )
        tablet = await access.authenticate(
            conn, key_secret=secret, session_secret=None, now=LOADED_AT
        )
    await access.sign_in(db, tablet, code=code, pin=pin, location_id=at, now=LOADED_AT)


async def test_what_is_loaded_is_on_the_staff_record(db: Database, shop: Shop) -> None:
    code = f"R-{shop.tag}"
    record = LocationRecord(code=code, name="R", kind="transit", latitude=0, longitude=0)
    who = msgspec.structs.replace(OPERATOR, key_kind="backoffice", key_id=uuid4())
    async with db.transaction() as conn:
        assert await loading.put(conn, "locations", [record], by=Act(who, LOADED_AT)) == [None]
    entry = next(each for each in await staff_record(db, "locations") if each.key_id == who.key_id)
    assert (entry.actor, entry.action, entry.changes) == (
        f"key:{who.key_id}", "data.loaded", {"loaded": 1, "refused": 0},
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_needs_its_permission(db: Database, kind: importing.Kind) -> None:
    needed = loading.PERMISSIONS[kind]
    who = Principal(
        key_id=UUID(int=1),
        key_kind="integration",
        channel="web",
        permissions=frozenset(PERMISSIONS) - {needed},
    )
    with pytest.raises(PermissionDenied) as refused:
        await load(db, kind, importing.example(kind, "csv"), who=who)
    assert refused.value.permission == needed


async def test_a_check_finds_the_faults_and_changes_nothing(db: Database, shop: Shop) -> None:
    at, sku = shop.stores[0].code, shop.skus[0].sku
    text = f"{STOCK}{at},{sku},receive,5,note,\n{at},gone,receive,5,note,\n"
    checked = await load(db, "stock", text, check=True)
    assert (checked.loaded, faults(checked)) == (1, [(3, "invalid_field", "sku")])
    assert await load(db, "stock", text) == checked


async def test_two_loads_of_the_same_prices_meet_without_a_deadlock(
    db: Database, shop: Shop
) -> None:
    skus = [each.sku for each in shop.skus]
    forward = PRICES + "".join(f"{shop.price_zone},{sku},700\n" for sku in skus)
    backward = PRICES + "".join(f"{shop.price_zone},{sku},700\n" for sku in reversed(skus))
    done = await asyncio.gather(*(load(db, "prices", text) for text in [forward, backward] * 5))
    assert [(each.loaded, each.refused) for each in done] == [(3, [])] * 10
