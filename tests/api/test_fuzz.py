"""Whatever anybody sends to any operation, the answer is one that the document describes.

`make test` sends a few requests to each operation as everybody, always the same ones; `make soak`
sends 200 to each, others every time.
"""

import asyncio
import zlib
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from api import database
from tests import fuzzing
from tests.conftest import clone, drop
from tests.everyone import PRINCIPALS
from tests.market import Market
from tests.operations import operations
from tests.paying import web_shop
from tests.stripe_server import FakeStripeServer, free_port

Result = TypeVar("Result")

REFRESHED = 5
"""Requests to an operation after which there are new things to act on."""

DESCRIBED = fuzzing.described()
OPERATIONS = {str(each): each for each in operations()}
TAKING = [
    name
    for name, operation in OPERATIONS.items()
    if operation.described["parameters"] or operation.takes_body
    # A file is any text; what is wrong in it is told line by line.
    if "text/csv" not in operation.described.get("requestBody", {}).get("content", {})
]
ENDING_SESSIONS = ("DELETE /v1/sessions/current", "DELETE /v1/profile")
OUT_OF_REACH = {
    "GET /health": "no worker runs beside the test, and that is what it says",
    "POST /v1/sessions/external": "the installation trusts no other issuer",
    "POST /v1/webhooks/messages": "nobody knows the carriers' signature",
    "POST /v1/webhooks/stripe": "nobody knows the provider's signature",
    "POST /v1/store/orders/{order_id}/pay-due": "needs a card that fails at the hand-over",
}


class Stage:
    """The market, on a loop of its own: Hypothesis calls from outside of any loop."""

    def __init__(self, dsn: str, stripe: FakeStripeServer) -> None:
        self._loop = asyncio.new_event_loop()
        self._opened = AsyncExitStack()
        self.do(database.prepare(dsn))
        web = self.do(self._opened.enter_async_context(web_shop(dsn, stripe)))
        self._app = web.app
        self.market = self.do(Market.opened(web))
        self.done: dict[str, set[str]] = {}
        """Who did something by an operation, of those who tried."""

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for something to be done."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """End the application."""
        self.do(self._opened.aclose())
        self._loop.close()

    def ask(self, case: Case[Any], who: str, mode: GenerationMode) -> list[str]:
        """Send a request as somebody, and say what was wrong with the answer."""
        name = case.operation.label
        request = fuzzing.prepared(case, self.market.callers[who])
        answer = self.do(fuzzing.send(self._app, request))
        succeeded = answer.status_code < 300
        self.done.setdefault(name, set()).update([who] if succeeded else [])
        if name in ENDING_SESSIONS and succeeded:
            self.do(self.market.sign_in(who))
        hidden = self.market.hidden_from(who)
        wrong = fuzzing.faults(case, answer, hidden, described=mode.is_positive)
        return [f"as {who}: {wrong}\n{fuzzing.told(answer)}"] if wrong else []


@pytest.fixture(scope="module")
def stage(template_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    dsn = clone(template_dsn)
    with FakeStripeServer(tmp_path_factory.mktemp("stripe"), free_port()) as stripe:
        made = Stage(dsn, stripe)
        yield made
        made.close()
    drop(dsn)


@pytest.fixture(scope="module")
def soak(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--hypothesis-profile") == "soak")


def everybody_asks(stage: Stage, name: str, mode: GenerationMode, examples: int | None) -> None:
    """Send so many requests as everybody, each time the same ones; None: 200 new ones."""
    operation = OPERATIONS[name]
    chance = Random(None if examples is None else zlib.crc32(name.encode()))
    asked, wrong = 0, []

    def ask(case: Case[Any]) -> None:
        nonlocal asked
        if asked % REFRESHED == 0:
            for needed in sorted({*operation.names, operation.described["operationId"]}):
                stage.do(stage.market.bring(needed))
        fuzzing.plant(case, stage.market.scene(asked), chance)
        asked += 1
        for who in chance.sample(PRINCIPALS, len(PRINCIPALS)):
            wrong.extend(stage.ask(case, who, mode))

    asking: Any = given(DESCRIBED[operation.path][operation.method].as_strategy(mode))
    limited = settings(
        max_examples=examples or 200, database=None, deadline=None, derandomize=False,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    limited(hypothesis.seed(chance.getrandbits(32))(asking(ask)))()
    assert not wrong, "\n\n".join(wrong[:20])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_as_described(operation: str, stage: Stage, soak: bool) -> None:
    everybody_asks(stage, operation, GenerationMode.POSITIVE, None if soak else 10)


@pytest.mark.parametrize("operation", TAKING)
def test_what_is_not_as_described_is_refused(operation: str, stage: Stage, soak: bool) -> None:
    with suppress(Unsatisfiable):  # everything that it takes may hold anything
        everybody_asks(stage, operation, GenerationMode.NEGATIVE, None if soak else 4)


def test_the_requests_were_not_in_vain(stage: Stage, soak: bool) -> None:
    if stage.done.keys() < OPERATIONS.keys():
        pytest.skip("not every operation was asked")
    in_vain = {name for name, done in stage.done.items() if not done}
    assert in_vain >= OUT_OF_REACH.keys()
    assert len(in_vain - OUT_OF_REACH.keys()) <= (0 if soak else 5), in_vain
