"""The demo retailer in a database: all of it or nothing, and the sample keys open it."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from api import demo_retailer
from api.demo_retailer import SHOWPIECE
from api.seed import ORIGINS, seed_demo
from commerce import access, catalog, stores
from commerce.kernel import clock
from commerce.kernel.sql import Database
from inventory import stock


def count(dsn: str, what: str) -> object:
    with psycopg.connect(dsn) as connection:
        query = f"SELECT count(*) FROM {what}"  # noqa: S608  the tests' own words
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_every_record_is_there_with_its_books(own_dsn: str) -> None:
    seed_demo(own_dsn)
    records = list(demo_retailer.records())
    of_kind = {kind: sum(each == kind for each, _ in records) for kind, _ in records}
    tables = {
        "locations": "location", "price_zones": "price_zone", "tax_zones": "tax_zone",
        "stores": "store", "skus": "sku", "prices": "price", "stock": "stock_level",
        "coupons": "coupon", "associates": "associate",
    }  # fmt: skip
    assert {kind: count(own_dsn, table) for kind, table in tables.items()} == of_kind
    assert count(own_dsn, "shopper WHERE name IS NOT NULL") == len(list(demo_retailer.shoppers()))
    received = sum(getattr(record, "action", "") == "receive" for _, record in records)
    assert count(own_dsn, "stock_ledger") == received
    unexplained = (
        "stock_level l WHERE on_hand <> coalesce((SELECT sum(on_hand_delta) FROM stock_ledger e"
        " WHERE e.location_id = l.location_id AND e.sku = l.sku), 0)"
    )
    assert count(own_dsn, unexplained) == 0


async def test_the_sample_keys_open_what_they_say(own_dsn: str) -> None:
    keys = await asyncio.to_thread(seed_demo, own_dsn)
    now = clock.now()
    db = await Database.open(own_dsn, max_size=2)
    try:
        async with db.transaction() as conn:
            kinds = {}
            for secret in (keys.storefront, keys.tablet, keys.back_office):
                who = await access.authenticate(
                    conn, key_secret=secret, session_secret=None, now=now
                )
                kinds[who.key_kind] = who
            store = (await stores.by_ids(conn, [keys.store_id]))[keys.store_id]
            sku = await catalog.sku_by_code(conn, keys.sku, zone=store.price_zone)
            levels = await stock.levels(conn, [(keys.store_id, keys.sku)])
        assert kinds.keys() == {"storefront", "tablet", "backoffice"}
        assert kinds["storefront"].origins == frozenset(ORIGINS)
        assert kinds["tablet"].location_ids == (keys.store_id,)
        assert (keys.store_name, keys.currency) == (store.name, store.currency)
        assert (keys.sku, keys.price_minor) == (SHOWPIECE, sku.amount_minor)
        assert levels[keys.store_id, keys.sku].available_to_promise > 0
        started = await access.sign_in(
            db,
            kinds["tablet"],
            code=keys.associate_code,
            pin=keys.pin,
            location_id=keys.store_id,
            now=now + timedelta(seconds=1),
        )
        assert started.secret
    finally:
        await db.close()


def test_a_load_that_fails_leaves_nothing(own_dsn: str) -> None:
    with psycopg.connect(own_dsn) as connection:
        connection.execute("ALTER TABLE api_key ADD CONSTRAINT never CHECK (kind <> 'backoffice')")
    with pytest.raises(Exception, match="never"):
        seed_demo(own_dsn)
    for table in ("location", "sku", "stock_level", "event", "staff_record", "api_key"):
        assert count(own_dsn, table) == 0
