"""Die at every boundary of the payment sagas: every story ends as if nobody had died.

The boundaries are recorded from a clean run of each story, so that a new one cannot be forgotten.
Processes are real and die by SIGKILL; the fake Stripe's own books are the judge. `make test` dies
at each boundary where a story reaches it first, `make soak` every time that it is reached. The
sweep that takes over dies as well.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from commerce.kernel.sql import Database
from tests.simulation.crashing import STORIES
from tests.simulation.stage import Stage
from tests.stripe_server import FakeStripeServer, free_port

ENDS: dict[str, dict[str, Any]] = {
    "bought_and_brought_back": {
        "order": ("completed", None),
        "payments": [("captured", 20_000, 20_000, 10_000)],
        "returns": [("settled", 10_000)],
        "stock": (9, 0),
        "books": {"authorized": 20_000, "captured": 20_000, "refunded": 10_000, "kept": 10_000},
    },
    "bought_with_the_third_card": {
        "order": ("placed", None),
        "payments": [("authorized", 10_000, 0, 0)],
        "stock": (10, 1),
        "books": {"authorized": 10_000, "held": 10_000},
    },
    "called_off": {
        "order": ("cancelled", "shopper"),
        "payments": [("voided", 10_000, 0, 0)],
        "stock": (10, 0),
        "books": {"authorized": 10_000, "voided": 10_000},
    },
    "paid_too_late": {
        "order": ("cancelled", "payment_expired"),
        "payments": [("failed", 0, 0, 0)],
        "stock": (10, 0),
        "books": {},
    },
    "lapsed_at_the_counter": {
        "order": ("placed", None),
        "payments": [("lapsed", 10_000, 0, 0)],
        "stock": (9, 0),
        "books": {"authorized": 10_000, "lapsed": 10_000},
    },
}


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as running:
        yield running


@pytest.fixture
async def stage(own_dsn: str, stripe: FakeStripeServer, tmp_path: Path) -> AsyncIterator[Stage]:
    opened = await Database.open(own_dsn)
    yield Stage(opened, stripe, tmp_path)
    await opened.close()


@pytest.mark.parametrize("name", STORIES)
async def test_a_story_ends_as_it_should_and_tells_each_fact_once(stage: Stage, name: str) -> None:
    clean = await stage.clean(name)
    assert {key: clean.end[key] for key in ENDS[name]} == ENDS[name]
    assert clean.end["open"] == []
    assert len(clean.end["events"]) == len(set(clean.end["events"])), clean.end["events"]


@pytest.mark.timeout(600)
async def test_every_story_ends_the_same_wherever_its_process_dies(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    always = request.config.getoption("--hypothesis-profile") == "soak"
    died_at: set[str] = set()
    for name in STORIES:
        clean = await stage.clean(name)
        for number, boundary in enumerate(clean.boundaries, start=1):
            if always or boundary not in died_at:
                await stage.crash(name, number, clean)
            died_at.add(boundary)
    calls = ("create", "confirm", "retrieve", "capture", "void", "refund")
    moments = {f"{call}: {moment} the call" for call in calls for moment in ("before", "after")}
    assert moments <= died_at


@pytest.mark.timeout(900)
async def test_a_story_ends_the_same_wherever_the_sweep_dies_that_takes_over(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    always = request.config.getoption("--hypothesis-profile") == "soak"
    died_at: set[str] = set()
    lost = ("capture: after the call", "refund: before the call")
    for name in STORIES if always else ("bought_and_brought_back",):
        clean = await stage.clean(name)
        for number, boundary in enumerate(clean.boundaries, start=1):
            if boundary in lost or always:
                died_at |= {*await stage.crash_twice(name, number, clean)}
    calls = ("retrieve", "refund", "find_refund")
    moments = {f"{call}: {moment} the call" for call in calls for moment in ("before", "after")}
    assert moments <= died_at
