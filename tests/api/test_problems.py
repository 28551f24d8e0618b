"""Every refusal has a status and words in two languages, and every answer of refusal is one."""

import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib import import_module
from pkgutil import walk_packages
from string import Formatter
from types import SimpleNamespace
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from litestar import get, post
from litestar.params import QueryParameter

import commerce
import inventory
import pos_sync
from api.auth import public
from api.contract import no_key_needed
from api.middleware import Edge
from api.problem_json import MAX_BODY_BYTES, RESERVED, refusal_of, spoken
from api.problems import PROBLEMS
from commerce.kernel.errors import CommerceError, WrongState
from commerce.kernel.sql import Connection, LostRace

Start = Callable[..., AbstractAsyncContextManager[Edge]]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a body."""

    quantity: Annotated[int, msgspec.Meta(ge=1)]
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body."""

    lines: list[Line]


@post("/probe/body", guards=[public()])
@no_key_needed("a probe")
async def body(data: Body) -> Body:
    """Give back what was understood."""
    return data


@get("/probe/limit", guards=[public()])
async def limited(limit: Annotated[int, QueryParameter(ge=1, le=9)] = 5) -> int:
    """A bounded parameter."""
    return limit


@get("/probe/things/{thing_id:uuid}", guards=[public()])
async def thing(thing_id: UUID) -> None:
    """A refusal with data."""
    raise WrongState(kind="pickup", id=str(thing_id), state="ready", allowed=["picking"])


@get("/probe/bug", guards=[public()])
async def bug(name: str) -> None:
    """A fault of ours, whose message repeats what the client sent."""
    raise RuntimeError(f"cannot greet {name}")


@get("/probe/lost-commit", guards=[public()])
async def lost_commit(conn: Connection) -> str:
    """Work well, and then lose the connection before the commit."""
    conn.driver.terminate()
    return "done"


PROBE = SimpleNamespace(ROUTES=[body, limited, thing, bug, lost_commit])


class Probe(msgspec.Struct):
    """An application of these routes and its log."""

    http: httpx.AsyncClient
    edge: Edge
    out: io.BytesIO

    def log(self) -> list[dict[str, Any]]:
        """What was logged so far."""
        self.edge.app.state.services.log.flush()
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.fixture(scope="module")
async def probe(start: Start) -> AsyncIterator[Probe]:
    out = io.BytesIO()
    async with start([PROBE], out=out) as edge:
        transport = httpx.ASGITransport(edge)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://mostrador") as http:
            yield Probe(http, edge, out)


def subclasses(of: type[CommerceError]) -> Iterator[type[CommerceError]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_refusal_has_a_row_in_the_table() -> None:
    for package in (commerce, inventory, pos_sync):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    missing = {each.__name__ for each in subclasses(CommerceError) if each not in PROBLEMS}
    assert missing == set(), "each needs a row in api/problems.py"


def test_rows_use_fields_that_their_errors_have() -> None:
    for error, row in PROBLEMS.items():
        assert 400 <= row.status < 600
        assert row.en != row.es, error
        for title, detail in (row.en, row.es):
            assert all((title, detail)), error
            named = {name for _, name, _, _ in Formatter().parse(detail) if name}
            assert named <= set(error._fields), error


def test_no_code_means_two_things() -> None:
    codes: dict[str, int] = {}
    for error, row in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", error.code)
        assert codes.setdefault(error.code, row.status) == row.status, error.code


def test_errors_do_not_hide_what_a_document_says_itself() -> None:
    for error in PROBLEMS:
        assert not set(error._fields) & (set(RESERVED) - {"path"}), error


async def test_a_refusal_is_a_problem_document(probe: Probe) -> None:
    thing_id = "01900000-0000-7000-8000-000000000000"
    answer = await probe.http.get(
        f"/probe/things/{thing_id}", headers={"X-Request-Id": "r-1", "Accept-Language": "es-MX"}
    )
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/docs#wrong_state",
        "title": "Estado incorrecto",
        "status": 409,
        "code": "wrong_state",
        "detail": "pickup está en ready; hace falta uno de picking.",
        "request_id": "r-1",
        "kind": "pickup",
        "id": thing_id,
        "state": "ready",
        "allowed": ["picking"],
    }


@pytest.mark.parametrize(
    ("sent", "code", "path"),
    [
        ("{", "malformed_body", None),
        ("", "invalid_request", "/"),
        ("[]", "invalid_request", "/"),
        ("{}", "invalid_request", "/lines"),
        ('{"lines": [], "x": 1}', "invalid_request", "/x"),
        ('{"lines": [{"quantity": 1}, {"quantity": "2"}]}', "invalid_request", "/lines/1/quantity"),
        ('{"lines": [{"quantity": 1.0}]}', "invalid_request", "/lines/0/quantity"),
        ('{"lines": [{"quantity": 0}]}', "invalid_request", "/lines/0/quantity"),
        ('{"lines": [{"quantity": true}]}', "invalid_request", "/lines/0/quantity"),
        ('{"lines": [{}]}', "invalid_request", "/lines/0/quantity"),
        (
            '{"lines": [{"quantity": 1, "at": "2026-11-21T12:00:00"}]}',
            "invalid_request",
            "/lines/0/at",
        ),
    ],
)
async def test_a_wrong_body_is_400_with_the_path_of_the_field(
    probe: Probe, sent: str, code: str, path: str | None
) -> None:
    answer = await probe.http.post("/probe/body", content=sent)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("path")) == (400, code, path)


@pytest.mark.parametrize("given", ["0", "10", "x", ""])
async def test_a_wrong_parameter_is_400_with_its_name(probe: Probe, given: str) -> None:
    answer = await probe.http.get("/probe/limit", params={"limit": given})
    assert (answer.status_code, answer.json()["path"]) == (400, "?limit")


async def test_an_address_that_is_none_is_404(probe: Probe) -> None:
    for path in ("/nowhere", "/probe/things/7"):
        answer = await probe.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_another_method_is_405_and_says_which_ones_there_are(probe: Probe) -> None:
    answer = await probe.http.put("/probe/body")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


async def test_a_body_over_the_limit_is_413_also_in_pieces(probe: Probe) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65_536 + 1):
            yield b" " * 65_536

    for content in (b" " * (MAX_BODY_BYTES + 1), pieces()):
        answer = await probe.http.post("/probe/body", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert answer.json()["limit_bytes"] == MAX_BODY_BYTES


async def test_whoever_hangs_up_within_a_body_is_no_fault_of_ours(probe: Probe) -> None:
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True},
                     {"type": "http.disconnect"}])  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http", "method": "POST", "path": "/probe/body", "raw_path": b"/probe/body",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "server": ("mostrador", 80), "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
        "headers": [(b"x-request-id", b"r-gone"), (b"content-length", b"100")],
    }  # fmt: skip
    await probe.edge(scope, receive, send)
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "malformed_body"
    logged = [line for line in probe.log() if line.get("request_id") == "r-gone"]
    assert [line["message"] for line in logged] == ["request"]


async def test_a_fault_of_ours_says_nothing_and_is_logged_without_its_message(
    probe: Probe,
) -> None:
    answer = await probe.http.get(
        "/probe/bug", params={"name": "Ana Torres"}, headers={"X-Request-Id": "r-bug"}
    )
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["request_id"] == "r-bug"
    (fault,) = [
        line
        for line in probe.log()
        if line.get("level") == "error" and line["request_id"] == "r-bug"
    ]
    assert fault["error"][0]["type"] == "builtins.RuntimeError"
    assert any(place.endswith(" bug") for place in fault["error"][0]["places"])
    assert "Torres" not in probe.out.getvalue().decode()


async def test_the_access_log_has_the_template_and_no_query(probe: Probe) -> None:
    await probe.http.get("/probe/limit?limit=7", headers={"X-Request-Id": "r-log"})
    (line,) = [line for line in probe.log() if line.get("request_id") == "r-log"]
    assert (line["message"], line["method"], line["route"], line["status"]) == (
        "request",
        "GET",
        "/probe/limit",
        200,
    )
    assert line["key_id"] is None
    assert "limit=7" not in json.dumps(line)


async def test_a_commit_that_failed_is_not_a_success(probe: Probe) -> None:
    answer = await probe.http.get("/probe/lost-commit")
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (asyncpg.DeadlockDetectedError(), "busy"),
        (LostRace(), "busy"),
        (asyncpg.TooManyConnectionsError(), "busy"),
        (asyncpg.QueryCanceledError(), "busy"),
        (asyncpg.CannotConnectNowError(), "busy"),
        (ConnectionRefusedError(), "busy"),
        (asyncpg.InternalClientError(), "busy"),
        (TimeoutError(), "busy"),
        (asyncpg.CharacterNotInRepertoireError(), "invalid_request"),
        (asyncpg.UniqueViolationError(), "internal_error"),
        (asyncpg.NotNullViolationError(), "internal_error"),
        (ZeroDivisionError(), "internal_error"),
    ],
)
def test_what_the_database_raises_becomes_one_of_ours(error: Exception, code: str) -> None:
    assert refusal_of(error).code == code


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en;q=0.5,es;q=0.7", "es"),
        ("de,fr", "en"),
        ("en,es", "en"),
        ("es;q=nonsense", "en"),
    ],
)
def test_the_language_that_is_wanted_most_is_spoken(accepted: str, language: str) -> None:
    assert spoken(accepted) == language
