"""The database dies under load, and comes back: one order per key, and the books agree."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from api import postgres
from api.audit import audit
from api.database import prepare
from api.doorbell import BROKEN
from api.postgres import Server
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers
from tests.background import until
from tests.ordering import body
from tests.shop import Shop, make_shop
from tests.web_processes import Books, answered, books, web_processes

CLIENTS, ORDERS_EACH, KILLS = 16, 10, 2


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own that flushes what it commits, as the product's does."""
    home = Path(tempfile.mkdtemp(prefix="mostrador-killed-"))
    running = Server(home)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(home)


@pytest.fixture
async def web(server: Server, tmp_path: Path) -> AsyncIterator[list[httpx.AsyncClient]]:
    await prepare(server.dsn())
    async with web_processes(server.dsn(), 1, tmp_path) as clients:
        yield clients


def kill(server: Server) -> None:
    """SIGKILL to the postmaster, and a new one."""
    postmaster, _ = postgres.leftover(server.home)
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
    while server.alive():
        time.sleep(0.001)
    server.start()


async def shop_of(server: Server, on_hand: int) -> Shop:
    db = await Database.open(server.dsn(), max_size=1)
    made = await make_shop(db, skus=2, stores=1, on_hand=on_hand)
    await db.close()
    return made


async def test_every_key_is_one_order_however_often_the_database_dies(
    server: Server, web: list[httpx.AsyncClient]
) -> None:
    total = CLIENTS * ORDERS_EACH
    shop = await shop_of(server, on_hand=total - 12)
    keys = [uuid4().hex for _ in range(total)]
    done = 0

    async def client(number: int) -> list[tuple[httpx.Response, list[int]]]:
        nonlocal done
        answers = []
        for key in keys[number::CLIENTS]:
            answers.append(await answered(web[0], body(shop, (0, 1), (1, 1)), key))
            done += 1
        return answers

    async def reached(due: int) -> bool:
        return done >= due

    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(client(number)) for number in range(CLIENTS)]
        for killed in range(1, KILLS + 1):
            await until(partial(reached, total * killed // (KILLS + 1)))
            await asyncio.to_thread(kill, server)
    answers = [each for one in clients for each in one.result()]
    outcomes = Counter((answer.status_code, answer.json().get("code")) for answer, _ in answers)
    assert outcomes == {(201, None): total - 12, (409, "stock_short"): 12}
    seen = Counter(status for _, statuses in answers for status in statuses)
    assert seen.keys() <= {201, 409, 503}
    assert seen[503] > 0
    db = await Database.open(server.dsn(), max_size=2)
    left = 2 * (total - 12)
    assert await books(db, shop.stores[0].location_id) == Books(
        left // 2, left, left // 2, left, left
    )
    again = await asyncio.gather(
        *(answered(web[0], body(shop, (0, 1), (1, 1)), key) for key in keys)
    )
    assert sorted(answer.content for answer, _ in again) == sorted(
        answer.content for answer, _ in answers
    )
    assert (await audit(db)).findings == 0
    await db.close()


async def test_numbers_drawn_before_the_death_are_not_drawn_again(server: Server) -> None:
    await prepare(server.dsn())
    db = await Database.open(server.dsn(), max_size=2)
    numbers = Numbers(b"k" * 32)

    async def die(conn: Connection) -> None:
        await numbers.take(conn, 1)
        await asyncio.to_thread(kill, server)

    with pytest.raises(BROKEN):
        await db.commit(die)
    taken = []
    for process in (numbers, Numbers(b"k" * 32), numbers):
        async with db.transaction() as conn:
            taken += await process.take(conn, 10)
    assert len(set(taken)) == 30
    await db.close()
