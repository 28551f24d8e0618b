"""Requests per minute: counted in each process, shared by all."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from api.limits import WINDOW_SECONDS, Limiter
from api.log import Log
from commerce.kernel.sql import Database
from tests.api.conftest import MakeKey

MakeClient = Callable[..., httpx.AsyncClient]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The moment."""
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


def process(db: Database, clock: Clock) -> Limiter:
    return Limiter(db, clock, Log("error", clock, io.BytesIO()))


def test_a_limit_is_reached_and_the_next_minute_is_new(db: Database, clock: Clock) -> None:
    limiter = process(db, clock)
    taken = [limiter.take("one", 3) for _ in range(4)]
    assert [each.remaining for each in taken] == [2, 1, 0, 0]
    assert [each.allowed for each in taken] == [True, True, True, False]
    assert taken[-1].reset_seconds == 50
    clock.moment += timedelta(seconds=50)
    assert limiter.take("one", 3).remaining == 2


def test_subjects_are_counted_apart(db: Database, clock: Clock) -> None:
    limiter = process(db, clock)
    assert limiter.take("one", 1).allowed
    assert limiter.take("two", 1).allowed
    assert not limiter.take("one", 1).allowed


async def test_processes_learn_of_each_other_when_they_trade(db: Database, clock: Clock) -> None:
    subject = uuid4().hex
    here, there = process(db, clock), process(db, clock)
    for _ in range(4):
        assert here.take(subject, 10).allowed
    for _ in range(3):
        assert there.take(subject, 10).allowed
    await here.trade()
    await there.trade()
    assert there.take(subject, 10).remaining == 2
    here.take(subject, 10)
    await here.trade()
    assert here.take(subject, 10).remaining == 1


async def test_what_is_counted_during_a_trade_is_not_lost(db: Database, clock: Clock) -> None:
    subject = uuid4().hex
    limiter = process(db, clock)
    for expected in (8, 6, 4):
        limiter.take(subject, 10)
        assert limiter.take(subject, 10).remaining == expected
        await limiter.trade()


async def test_old_minutes_are_forgotten(db: Database, clock: Clock) -> None:
    subject = uuid4().hex
    limiter = process(db, clock)
    limiter.take(subject, 10)
    await limiter.trade()
    clock.moment += timedelta(seconds=WINDOW_SECONDS * 10)
    await limiter.trade()
    clock.moment -= timedelta(seconds=WINDOW_SECONDS * 10)
    limiter.take(subject, 10)
    await limiter.trade()
    assert limiter.take(subject, 10).remaining == 8


async def test_a_key_over_its_limit_is_told_when_to_come_back(
    make_key: MakeKey, client_of: MakeClient
) -> None:
    async with client_of(await make_key("storefront", requests_per_minute=2)) as http:
        answers = [await http.get("/v1/profile") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["ratelimit-limit"] == "2"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
