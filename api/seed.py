"""The demo retailer in an empty database: records, shoppers and keys, in one transaction."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from typing import Literal, cast

import click

from api import demo_retailer
from api.demo_retailer import SHOWPIECE
from api.sample_keys import SampleKeys
from commerce import access, customers, loading, pricing, stores
from commerce.access import OPERATOR
from commerce.importing import AssociateRecord, Record
from commerce.kernel import clock
from commerce.kernel.sql import Connection, Database
from commerce.loading import Act
from commerce.pricing import Basket, Line
from commerce.stores import Store

BATCH = 1_000
QUIET_SECONDS = 2.0
ORIGINS = ("http://localhost:3000", "http://localhost:5173", "http://localhost:8080")
"""Where the development servers of web frontends usually are."""


def seed_demo(dsn: str) -> SampleKeys:
    """Fill an empty database, all or nothing. `dsn` must lead past a pooler."""
    return asyncio.run(_seed(dsn))


async def _seed(dsn: str) -> SampleKeys:
    database = await Database.open(dsn, max_size=1, name="mostrador-seed")
    try:
        async with database.transaction() as conn:
            now = clock.now()
            associates = await _load_records(conn, now)
            for shopper in demo_retailer.shoppers():
                await customers.put_shopper(
                    conn,
                    email=shopper.email,
                    phone=shopper.phone,
                    name=shopper.name,
                    locale=cast(Literal["en", "es"], shopper.locale),
                    now=now,
                )
            return await _sample_keys(conn, associates[0], now)
    finally:
        await database.close()


async def _load_records(conn: Connection, now: datetime) -> list[AssociateRecord]:
    """Load every kind by its own verb; returns the associates, whose PINs nobody can read again."""
    began = time.monotonic()
    associates: list[AssociateRecord] = []
    by = Act(OPERATOR, now)
    for kind, pairs in groupby(demo_retailer.records(), key=itemgetter(0)):
        for records in _batches(record for _, record in pairs):
            outcomes = await loading.put(conn, kind, records, by=by)
            assert outcomes == [None] * len(records), outcomes
            associates += (each for each in records if isinstance(each, AssociateRecord))
        if time.monotonic() - began > QUIET_SECONDS:
            click.echo(f"           {kind} loaded")
    return associates


def _batches(records: Iterator[Record]) -> Iterator[Sequence[Record]]:
    while batch := list(islice(records, BATCH)):
        yield batch


async def _sample_keys(conn: Connection, associate: AssociateRecord, now: datetime) -> SampleKeys:
    """Keys to try it with, at the store of an associate."""
    (store,) = (await stores.by_code(conn, associate.store_codes)).values()
    _, storefront = await access.create_key(
        conn, OPERATOR, kind="storefront", name="Demo web shop", channel="web", origins=ORIGINS,
        now=now,
    )  # fmt: skip
    _, tablet = await access.create_key(
        conn, OPERATOR, kind="tablet", name=f"Demo tablet of {store.name}", channel="store",
        location_id=store.location_id, now=now,
    )  # fmt: skip
    _, back_office = await access.create_key(
        conn, OPERATOR, kind="backoffice", name="Demo back office", channel="web", now=now
    )
    return SampleKeys(
        storefront=storefront,
        tablet=tablet,
        back_office=back_office,
        store_id=store.location_id,
        store_name=store.name,
        latitude=store.latitude,
        longitude=store.longitude,
        associate_code=associate.code,
        pin=associate.pin,
        shopper_email=next(demo_retailer.shoppers()).email,
        sku=SHOWPIECE,
        price_minor=await _price(conn, store, now),
        currency=store.currency,
    )


async def _price(conn: Connection, store: Store, now: datetime) -> int:
    """What one unit of the showpiece costs at the store, with whatever tax comes on top."""
    basket = Basket(store.location_id, (Line(SHOWPIECE, 1),))
    terms = await pricing.terms(conn, [basket])
    return pricing.quote(basket, terms, now=now).total_minor
