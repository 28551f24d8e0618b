"""`mostrador demo` on a product that was really started; the fake Stripe's books are the judge."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import sample_keys, state
from api.sample_keys import SampleKeys
from api.state import Running
from tests.background import PROJECT, started_product

MOSTRADOR = [sys.executable, "-m", "api.cli"]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A started product's state: its demo retailer is loaded, its services run."""
    with started_product(tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture(scope="module")
def running(state_dir: Path) -> Running:
    return state.running(state_dir)


@pytest.fixture(scope="module")
def keys(state_dir: Path) -> SampleKeys:
    found = sample_keys.load(state_dir)
    assert found is not None
    return found


def play(state_dir: Path) -> tuple[int, str]:
    """Exit status and output."""
    ended = subprocess.run(
        [*MOSTRADOR, "demo"],
        cwd=PROJECT,
        env=os.environ | {"STATE_DIR": str(state_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def books(running: Running) -> list[dict[str, Any]]:
    """What the provider has done with each payment, oldest first."""
    found: list[dict[str, Any]] = httpx.get(
        f"{running.stripe_url}/_control/books", trust_env=False
    ).json()["payment_intents"]
    return found


def ask(running: Running, keys: SampleKeys, path: str) -> Any:
    """What the back office sees."""
    headers = {"X-API-Key": keys.back_office}
    answer = httpx.get(f"{running.api_url}{path}", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def moved(book: dict[str, Any]) -> dict[str, int]:
    """What is not zero in it."""
    return {name: n for name, n in book.items() if name.endswith("_minor") and n}


def told_well(state_dir: Path) -> str:
    """The output of a story in which everything was as told."""
    status, told = play(state_dir)
    assert status == 0, told
    assert told.endswith(
        "Everything was as told. `mostrador demo` may be played again at any time.\n"
    )
    return told


def test_the_story_is_told_and_the_books_agree_as_often_as_it_is_played(
    state_dir: Path, running: Running, keys: SampleKeys
) -> None:
    shelf = f"/v1/backoffice/stock/{keys.store_id}/{keys.sku}"
    before = ask(running, keys, shelf)
    for times in (1, 2):
        told = told_well(state_dir)
        assert "\x1b" not in told
        assert ask(running, keys, shelf) == before
        every = books(running)
        assert len(every) == 2 * times
        bought, cancelled = every[-2:]
        paid, back, price = bought["captured_minor"], bought["refunded_minor"], keys.price_minor
        assert moved(bought) == {
            "authorized_minor": paid,
            "captured_minor": paid,
            "refunded_minor": back,
            "kept_minor": paid - back,
        }
        # Two of the three units went back, each for its price less ten percent.
        assert back == 2 * (price - price // 10)
        assert moved(cancelled) == {"authorized_minor": price, "voided_minor": price}
        assert "withheld: browsing (no consent)" in told
        assert "Nobody reminds her of a cart that she has bought in a store." in told
        number = re.search(r"Order (\w+) waits for another card: insufficient_funds", told)
        assert number is not None
        order = ask(running, keys, f"/v1/store/orders/{number[1]}")
        assert order["state"] == "completed"
        assert order["total"]["amount_minor"] == paid
        assert bought["order_id"] == order["id"]
    made = ask(running, keys, "/v1/backoffice/keys")["items"]
    of_stories = [key for key in made if key["name"].startswith("mostrador demo")]
    assert len(of_stories) == 4
    assert [key for key in of_stories if key["revoked_at"] is None] == []
    associates = ask(running, keys, "/v1/backoffice/associates?limit=200")["items"]
    assert [each["active"] for each in associates if each["code"] == "DEMO"] == [False]


def test_what_is_not_as_told_ends_the_story_with_the_answer(
    state_dir: Path, running: Running
) -> None:
    faults = f"{running.stripe_url}/_control/faults"
    fault = {"operation": "refunds.create", "kind": "error_before", "times": 20}
    assert httpx.post(faults, json=fault, trust_env=False).is_success
    status, told = play(state_dir)
    httpx.delete(faults, trust_env=False)
    assert status == 1
    assert "Not as told. Expected: the refund is made at once." in told
    assert '"refund_pending": true' in told
    assert "Everything was as told" not in told
