"""Two web processes over one database: nothing oversold, one effect per key, nobody stuck."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx
import msgspec
import pytest

from api.audit import audit
from api.database import prepare
from commerce.kernel.sql import Database
from tests.conftest import clone, drop
from tests.ordering import body
from tests.shop import make_shop
from tests.stripe_server import FakeStripeServer, free_port
from tests.web_processes import Books, answered, books, web_processes

BUYERS, UNITS = 200, 20


@pytest.fixture(scope="module")
async def own_dsn_of_all(template_dsn: str) -> AsyncIterator[str]:
    cloned = clone(template_dsn)
    await prepare(cloned)
    yield cloned
    drop(cloned)


@pytest.fixture(scope="module")
async def db(own_dsn_of_all: str) -> AsyncIterator[Database]:
    opened = await Database.open(own_dsn_of_all, max_size=2)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
async def web(
    own_dsn_of_all: str, stripe: FakeStripeServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[httpx.AsyncClient]]:
    folder = tmp_path_factory.mktemp("web")
    async with web_processes(own_dsn_of_all, 2, folder, stripe=stripe) as clients:
        yield clients


async def test_two_hundred_buyers_get_exactly_the_twenty_units(
    web: list[httpx.AsyncClient], db: Database
) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=UNITS)
    answers = await asyncio.gather(
        *(answered(web[buyer % 2], body(shop), uuid4().hex) for buyer in range(BUYERS))
    )
    outcomes = Counter((answer.status_code, answer.json().get("code")) for answer, _ in answers)
    assert outcomes == {(201, None): UNITS, (409, "stock_short"): BUYERS - UNITS}
    assert {status for _, statuses in answers for status in statuses} == {201, 409}
    assert await books(db, shop.stores[0].location_id) == Books(UNITS, UNITS, UNITS, UNITS, UNITS)
    assert (await audit(db)).findings == 0


async def test_one_key_at_both_processes_is_one_order_and_one_answer(
    web: list[httpx.AsyncClient], db: Database
) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=100)
    keys = [uuid4().hex for _ in range(20)]
    answers = await asyncio.gather(
        *(answered(each, body(shop), key) for key in keys for each in web * 2)
    )
    assert {answer.status_code for answer, _ in answers} == {201}
    assert {status for _, statuses in answers for status in statuses} <= {201, 409}
    for index in range(20):
        assert len({answer.content for answer, _ in answers[4 * index : 4 * index + 4]}) == 1
    assert len({answer.content for answer, _ in answers}) == 20
    replayed = sum("idempotent-replayed" in answer.headers for answer, _ in answers)
    assert replayed == 60
    assert await books(db, shop.stores[0].location_id) == Books(20, 20, 20, 100, 20)


async def test_one_key_by_card_at_both_processes_is_one_payment(
    web: list[httpx.AsyncClient], db: Database, stripe: FakeStripeServer
) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=100)
    order = body(shop, tender="card", payment_method="pm_card_visa")
    keys = [uuid4().hex for _ in range(8)]
    answers = await asyncio.gather(*(answered(each, order, key) for key in keys for each in web))
    assert {answer.status_code for answer, _ in answers} == {201}
    placed = {answer.json()["order"]["id"]: answer.content for answer, _ in answers}
    assert len(placed) == 8
    assert {answer.content for answer, _ in answers} == set(placed.values())
    held = [
        (entry["authorized_minor"], entry["held_minor"])
        for entry in stripe.http.get("/_control/books").json()["payment_intents"]
        if entry["order_id"] in placed
    ]
    assert held == [(10_000, 10_000)] * 8
    assert await books(db, shop.stores[0].location_id) == Books(8, 8, 8, 100, 8)


async def test_whoever_hangs_up_leaves_nothing_half_done(
    web: list[httpx.AsyncClient], db: Database
) -> None:
    shop = await make_shop(db, skus=1, stores=1, on_hand=100)
    content = msgspec.json.encode(body(shop))
    keys = [uuid4().hex for _ in range(24)]
    for key in keys[:12]:
        await hang_up(web[0], key, content, sent=len(content) // 2)
    for key in keys[12:]:
        await hang_up(web[0], key, content, sent=len(content))
    answers = [await answered(web[1], body(shop), key) for key in keys]
    assert {answer.status_code for answer, _ in answers} == {201}
    assert await books(db, shop.stores[0].location_id) == Books(24, 24, 24, 100, 24)
    assert (await audit(db)).findings == 0


async def hang_up(http: httpx.AsyncClient, key: str, content: bytes, *, sent: int) -> None:
    """Send so much of an order's body and close the connection without waiting."""
    assert http.base_url.port is not None
    _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    head = (
        f"POST /v1/orders HTTP/1.1\r\nHost: shop\r\nX-API-Key: {http.headers['x-api-key']}\r\n"
        f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content[:sent])
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def test_baskets_in_any_order_of_their_goods_do_not_wait_for_each_other(
    web: list[httpx.AsyncClient], db: Database
) -> None:
    shop = await make_shop(db, skus=8, stores=1, on_hand=1_000)
    chooser = random.Random(8)
    baskets = [chooser.sample(range(8), 8) for _ in range(30)]
    baskets += [list(reversed(each)) for each in baskets]
    answers = await asyncio.gather(
        *(
            answered(web[number % 2], body(shop, *((index, 1) for index in basket)), uuid4().hex)
            for number, basket in enumerate(baskets)
        )
    )
    assert {status for _, statuses in answers for status in statuses} == {201}
    assert await books(db, shop.stores[0].location_id) == Books(60, 480, 60, 8_000, 480)
    async with db.reading() as conn:
        deadlocks = await conn.driver.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    assert deadlocks == 0
    assert (await audit(db)).findings == 0
