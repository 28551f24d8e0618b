"""Die at every boundary of the payment sagas: every story ends as if nobody had died.

The boundaries are recorded from a clean run of each story, so that a new one cannot be forgotten.
Processes are real and die by SIGKILL; the fake Stripe's own books are the judge.
"""

import multiprocessing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from commerce.kernel.ids import uuid7
from commerce.kernel.sql import Database
from tests import counter
from tests.shop import make_shop
from tests.simulation import crashing
from tests.simulation.crashing import STORIES, Scene
from tests.simulation.story import Moment
from tests.stripe_server import FakeStripeServer, free_port

KILLED = -9
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
async def db(own_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(own_dsn)
    yield opened
    await opened.close()


async def scene(db: Database, stripe: FakeStripeServer, tmp_path: Path) -> Scene:
    """A new shop, and an order to be."""
    shop = await make_shop(db, skus=1, stores=1)
    order_id = uuid7()
    return Scene(
        dsn=db.dsn,
        stripe_url=stripe.url,
        shop=shop,
        who=counter.associate(shop),
        order_id=order_id,
        at=Moment().at,
        boundaries=tmp_path / order_id.hex,
    )


def in_a_process(target: Any, *args: Any) -> int:
    """Run it in a fresh process of its own; how that ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.simulation.crashing"])
    process = context.Process(target=target, args=args)
    process.start()
    process.join(30)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", STORIES)
async def test_a_story_ends_the_same_wherever_its_process_dies(
    db: Database, stripe: FakeStripeServer, tmp_path: Path, name: str
) -> None:
    clean = await scene(db, stripe, tmp_path)
    assert in_a_process(crashing.live, clean, name, None, 0) == 0
    boundaries = clean.boundaries.read_text().splitlines()
    assert in_a_process(crashing.finish, clean, name) == 0
    expected = await crashing.end_of(clean, db)
    assert {key: expected[key] for key in ENDS[name]} == ENDS[name]
    assert expected["open"] == []
    assert len(expected["events"]) == len(set(expected["events"])), expected["events"]
    for number, boundary in enumerate(boundaries, start=1):
        crashed = await scene(db, stripe, tmp_path)
        assert in_a_process(crashing.live, crashed, name, number, 0) == KILLED
        assert crashed.boundaries.read_text().splitlines() == boundaries[:number]
        assert in_a_process(crashing.finish, crashed, name) == 0
        assert await crashing.end_of(crashed, db) == expected, f"died at {number}: {boundary}"
