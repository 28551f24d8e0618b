"""The short numbers of orders: blocks in memory, and never one twice."""

import asyncio

from commerce.kernel.sql import Database
from commerce.orders import Numbers
from commerce.orders.numbers import BLOCK

KEY = b"k" * 32


async def take(db: Database, numbers: Numbers, count: int) -> list[str]:
    async with db.transaction() as conn:
        return await numbers.take(conn, count)


async def test_a_block_serves_many_orders_with_one_statement(db: Database) -> None:
    numbers = Numbers(KEY)
    statements = []
    taken: list[str] = []
    for count in (1, BLOCK - 1, 2 * BLOCK, 1):
        async with db.transaction() as conn:
            taken += await numbers.take(conn, count)
            statements.append(conn.statements)
    assert statements == [1, 0, 1, 1]
    assert len(set(taken)) == len(taken) == 3 * BLOCK + 1


async def test_numbers_that_are_taken_while_others_are_drawn_come_once(db: Database) -> None:
    numbers = Numbers(KEY)
    taken = await take(db, numbers, BLOCK - 5)
    for more in await asyncio.gather(*(take(db, numbers, count) for count in (9, 2, 3, 300, 1))):
        taken += more
    assert len(set(taken)) == len(taken) == BLOCK - 5 + 315


async def test_two_processes_never_have_the_same_number(db: Database) -> None:
    processes = [Numbers(KEY), Numbers(KEY)]
    taken = await asyncio.gather(
        *(take(db, processes[i % 2], count) for i, count in enumerate((1, 2, 3, 4) * 10))
    )
    every = [number for each in taken for number in each]
    assert len(set(every)) == len(every) == 100


async def test_a_block_dies_with_the_connection_that_drew_it(dsn: str) -> None:
    # A server that is killed forgets what was drawn in a transaction that had not committed yet.
    db = await Database.open(dsn)
    numbers = Numbers(KEY)
    async with db.transaction() as conn:
        await numbers.take(conn, 1)
    async with db.pool.acquire() as driver:
        driver.terminate()
    async with db.transaction() as conn:
        await numbers.take(conn, 1)
        assert conn.statements == 1
    await db.close()
