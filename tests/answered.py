"""What the application has answered in this run: which operation, which status, which code.

Clients in this process reach the application through `listening(edge)`, which notes each answer. At
the end of a whole run (`--documented`, as `make test` says) the notes of all test processes are put
together and compared with the OpenAPI document: an answer that is documented, but that no test has
seen, fails the run.
"""

import re
from functools import cache
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from tests.operations import PROBLEM, documented, promised

_SHARED = "answered"


class Answered(NamedTuple):
    """An answer of an operation. `code` is that of a refusal, else empty."""

    operation: str
    status: int
    code: str


SEEN: set[Answered] = set()
"""By this process; in the end by all."""


def listening(app: Any) -> httpx.ASGITransport:
    """A way to the application on which answers are noted."""
    return httpx.ASGITransport(Listener(app))


class Listener:
    """The application, with a note of each answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection."""
        status, is_problem, body = 0, False, b""

        async def note(message: Any) -> None:
            nonlocal status, is_problem, body
            if message["type"] == "http.response.start":
                status = message["status"]
                is_problem = (b"content-type", PROBLEM.encode()) in message["headers"]
            elif is_problem:
                body += message["body"]
            await send(message)

        await self._app(scope, receive, note)
        code = msgspec.json.decode(body)["code"] if is_problem else ""
        SEEN.add(Answered(_operation(scope), status, code))


def _operation(scope: Any) -> str:
    """What was called; also when it was refused before anybody looked for a route."""
    template = scope.get("path_template")
    if template is None:
        fitting = (each for each, known in _templates() if known.fullmatch(scope["path"]))
        template = next(fitting, scope["path"])
    return f"{scope['method']} {template}"


@cache
def _templates() -> list[tuple[str, re.Pattern[str]]]:
    """Addresses, those with fewer variables first."""
    paths = sorted(documented()["paths"], key=lambda path: path.count("{"))
    return [(path, re.compile(re.sub(r"\{\w+\}", "[^/]+", path))) for path in paths]


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a run of everything asks for."""
    parser.addoption(
        "--documented",
        action="store_true",
        help="fail when the OpenAPI document promises an answer that no test has seen",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect what a process of xdist has seen."""
    SEEN.update(Answered(*each) for each in getattr(node, "workeroutput", {}).get(_SHARED, ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass on what this process has seen; in the process that began the run, compare."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput[_SHARED] = [tuple(each) for each in SEEN]
    elif unseen(config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what no test has seen."""
    missing = unseen(config)
    if missing:
        terminalreporter.section("documented, but answered in no test", red=True)
        for each in missing:
            terminalreporter.line(f"{each.operation} {each.status} {each.code}")


def unseen(config: pytest.Config) -> list[Answered]:
    """Promises that were not kept in this run; none when it does not compare."""
    if not config.getoption("--documented"):
        return []
    return sorted(Answered(*each) for each in promised() if Answered(*each) not in SEEN)
