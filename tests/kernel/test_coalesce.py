"""Callers share a transaction: outcomes in order, faults isolated, races repeated, limits kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.kernel.coalesce import MAX_ITEMS, MAX_KEYS, MAX_QUEUE, Coalescer
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import ATTEMPTS, Busy, LostRace, lost_race

Fault = Callable[[], Exception]
Work = Callable[["Transaction", Sequence[str]], Awaitable[Sequence[Any]]]

REFUSAL = NotFound(kind="thing", id="1")


class Hurried(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time, so that a thousand back-offs can be tried."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        really = selector.select

        def select(timeout: float | None = None) -> Any:
            self._skipped += timeout or 0.0
            return really(0)

        selector.select = select

    def time(self) -> float:
        """Later than it is."""
        return super().time() + self._skipped


class Transaction:
    """What is written in it counts only when it commits."""

    def __init__(self) -> None:
        self.written: list[str] = []


class Tables:
    """A database as the coalescer sees it, which fails as it is told: before or after a commit."""

    def __init__(self, *faults: Fault | None, lost_commits: int = 0) -> None:
        self.rows: Counter[str] = Counter()
        self.transactions = 0
        self._faults = list(faults)
        self._lost_commits = lost_commits

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        """One transaction."""
        self.transactions += 1
        fault = self._faults.pop(0) if self._faults else None
        if fault is not None:
            raise fault()
        opened = Transaction()
        await asyncio.sleep(0)
        yield opened
        self.rows.update(each for each in opened.written if each not in self.rows)
        if self._lost_commits:
            self._lost_commits -= 1
            raise asyncpg.ConnectionDoesNotExistError


def outcome_of(item: str) -> object:
    """What becomes of an item that is well formed."""
    return REFUSAL if item.startswith("refused") else f"done {item}"


async def write(conn: Transaction, items: Sequence[str]) -> Sequence[object]:
    """Work that one bad item spoils for all of its batch."""
    for item in items:
        if item.startswith("bad"):
            raise asyncpg.CheckViolationError
        if item.startswith("unsendable"):
            raise asyncpg.DataError  # as the driver says before it sends anything
        if not item.startswith("refused"):
            conn.written.append(item)
    return [outcome_of(item) for item in items]


def over(tables: Tables, work: Work = write, *, weight: int = 1) -> "Coalescer[str, Any]":
    database: Any = tables
    batches: Any = work
    return Coalescer(database, batches, weigh=lambda _: weight)


async def submit_all(to: "Coalescer[str, Any]", items: Sequence[str]) -> list[Any]:
    return await asyncio.gather(*(to.submit(item) for item in items), return_exceptions=True)


KINDS = st.sampled_from(["good", "good", "good", "refused", "bad", "unsendable"])
RACES: list[Fault | None] = [asyncpg.DeadlockDetectedError, asyncpg.SerializationError, LostRace]
GONE: list[Fault | None] = [
    ConnectionRefusedError, asyncpg.ConnectionDoesNotExistError, asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError, TimeoutError,
]  # fmt: skip
FAULTS = st.lists(st.sampled_from([None, None, *RACES, *GONE]), max_size=6)


@given(st.lists(KINDS, max_size=40), FAULTS, st.integers(0, 2))
def test_every_caller_learns_what_became_of_its_own_item(
    kinds: list[str], faults: list[Fault | None], lost_commits: int
) -> None:
    items = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    tables = Tables(*faults, lost_commits=lost_commits)
    with asyncio.Runner(loop_factory=Hurried) as runner:
        outcomes = runner.run(submit_all(over(tables), items))
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, Busy) or (isinstance(outcome, Exception) and lost_race(outcome)):
            assert faults or lost_commits
            continue
        if item.startswith("bad"):
            assert isinstance(outcome, asyncpg.CheckViolationError)
        elif item.startswith("unsendable"):
            assert isinstance(outcome, asyncpg.DataError)
        else:
            assert outcome == outcome_of(item)
            assert tables.rows[item] == item.startswith("good")
    assert not [row for row in tables.rows if not row.startswith("good")]


async def test_a_lone_caller_does_not_wait() -> None:
    tables = Tables()
    one = over(tables)
    assert [await one.submit(name) for name in ("a", "b")] == ["done a", "done b"]
    assert tables.transactions == 2


async def test_who_comes_while_a_batch_is_in_flight_shares_the_next() -> None:
    tables = Tables()
    sizes: list[int] = []

    async def work(conn: Transaction, items: Sequence[str]) -> Sequence[object]:
        sizes.append(len(items))
        for _ in range(3):
            await asyncio.sleep(0)
        return await write(conn, items)

    many = over(tables, work)
    first = asyncio.create_task(many.submit("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    outcomes = await submit_all(many, [f"later{number}" for number in range(30)])
    assert await first == "done first"
    assert outcomes == [f"done later{number}" for number in range(30)]
    assert sizes == [1, 30]


@pytest.mark.parametrize(
    ("weight", "largest"), [(1, MAX_ITEMS), (20, MAX_KEYS // 20), (MAX_KEYS + 1, 1)]
)
async def test_a_batch_stays_within_its_limits(weight: int, largest: int) -> None:
    sizes: list[int] = []

    async def work(conn: Transaction, items: Sequence[str]) -> Sequence[object]:
        sizes.append(len(items))
        return await write(conn, items)

    await submit_all(over(Tables(), work, weight=weight), [str(number) for number in range(300)])
    assert (max(sizes), sum(sizes)) == (largest, 300)


async def test_more_than_a_full_queue_is_told_to_come_back() -> None:
    tables = Tables()
    gate = asyncio.Event()

    async def work(conn: Transaction, items: Sequence[str]) -> Sequence[object]:
        await gate.wait()
        return await write(conn, items)

    full = over(tables, work)
    waiting = [full.put(str(number)) for number in range(MAX_QUEUE)]
    with pytest.raises(Busy):
        await full.submit("one too many")
    gate.set()
    await asyncio.gather(*waiting)
    assert (len(tables.rows), full.waiting) == (MAX_QUEUE, 0)
    assert await full.submit("again") == "done again"


async def test_a_caller_that_goes_away_cancels_nothing() -> None:
    tables = Tables()
    gate = asyncio.Event()

    async def work(conn: Transaction, items: Sequence[str]) -> Sequence[object]:
        await gate.wait()
        return await write(conn, items)

    shared = over(tables, work)
    callers = [asyncio.create_task(shared.submit(name)) for name in ("stays", "leaves", "queued")]
    await asyncio.sleep(0)
    callers[1].cancel()
    callers[2].cancel()
    await asyncio.sleep(0)
    gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    await shared.close()
    assert outcomes[0] == "done stays"
    assert [type(each) for each in outcomes[1:]] == [asyncio.CancelledError] * 2
    assert tables.rows.keys() == {"stays", "leaves", "queued"}


@pytest.mark.parametrize("fault", [*RACES, *GONE])
async def test_one_fault_is_repeated_invisibly(fault: Fault) -> None:
    tables = Tables(fault)
    assert await over(tables).submit("a") == "done a"
    assert tables.transactions == 2


@pytest.mark.parametrize("fault", GONE)
async def test_a_database_that_is_gone_twice_is_busy(fault: Fault) -> None:
    tables = Tables(fault, fault)
    shared = over(tables)
    assert [type(each) for each in await submit_all(shared, ["a", "b"])] == [Busy, Busy]
    assert tables.transactions == 2
    assert await shared.submit("c") == "done c"


async def test_a_commit_whose_answer_was_lost_is_not_done_twice() -> None:
    tables = Tables(lost_commits=1)
    assert await over(tables).submit("a") == "done a"
    assert (tables.transactions, tables.rows) == (2, {"a": 1})


async def test_a_race_that_is_always_lost_ends() -> None:
    tables = Tables(*[asyncpg.DeadlockDetectedError] * (ATTEMPTS + 1))
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await over(tables).submit("a")
    assert tables.transactions == ATTEMPTS + 1


async def test_a_bad_item_stands_alone_after_few_halvings() -> None:
    tables = Tables()
    items = [f"good{number}" for number in range(255)]
    items.insert(100, "bad")
    outcomes = await submit_all(over(tables), items)
    refused = [item for item, outcome in zip(items, outcomes, strict=True)
               if isinstance(outcome, Exception)]  # fmt: skip
    assert refused == ["bad"]
    assert len(tables.rows) == 255
    assert tables.transactions == 1 + 2 * 8


@pytest.mark.parametrize("answers", [[], ["one too few"], ["a", "b", "c"]])
async def test_a_bug_reaches_every_caller_and_nobody_after_them(answers: list[str]) -> None:
    tables = Tables()
    broken = True

    async def work(conn: Transaction, items: Sequence[str]) -> Sequence[object]:
        outcomes = await write(conn, items)
        return answers if broken else outcomes

    shared = over(tables, work)
    async with asyncio.timeout(5):
        outcomes = await submit_all(shared, ["a", "b"])
    assert [type(each) for each in outcomes] == [AssertionError, AssertionError]
    assert not tables.rows
    broken = False
    assert await shared.submit("a") == "done a"


async def test_closing_waits_for_all_that_was_submitted() -> None:
    tables = Tables()
    shared = over(tables)
    for number in range(600):
        shared.put(str(number))
    await shared.close()
    assert len(tables.rows) == 600
    await shared.close()
