"""What every operation refuses in the same way, tried on each one that documents it.

The answers that only one operation gives have their own tests. That none is documented and never
given is found when all tests have run (`tests/answered.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any

import psycopg
import pytest

from api import database
from api.app import ROUTES
from api.middleware import Edge
from api.problem_json import MAX_BODY_BYTES
from api.services import Services
from commerce import access
from commerce.access import permissions_of
from commerce.kernel import idempotency
from commerce.kernel.idempotency import Claim
from tests.everyone import HOLDERS, headers_of
from tests.operations import Operation, Request, operations
from tests.shop import make_shop
from tests.wire import Answer, send

Start = Callable[..., AbstractAsyncContextManager[Edge]]

ASK = ("manager", "shopper", "storefront", "tablet", "back_office")
"""Who asks: the first of these that may."""


def documenting(code: str, status: int) -> list[Operation]:
    """The operations that document a refusal."""
    found = [each for each in operations() if code in each.codes(status)]
    assert found, code
    return found


@pytest.fixture(scope="module")
async def callers(services: Services) -> dict[str, dict[str, str]]:
    """What each of `ASK` sends."""
    shop = await make_shop(services.database)
    store = shop.stores[0].location_id
    return {who: await headers_of(services, who, store) for who in ASK}


def admitted(operation: Operation, callers: dict[str, dict[str, str]]) -> dict[str, str]:
    """The headers of somebody who may call it."""
    asked = set(operation.described.get("x-permission", ()))
    for who in ("back_office",) if "/backoffice/" in operation.path else ASK:
        if not asked or asked & permissions_of(*HOLDERS[who]):
            return callers[who]
    raise AssertionError(f"nobody may {operation}")


def by(request: Request, headers: dict[str, str]) -> Request:
    return request._replace(headers={**request.headers, **headers})


@pytest.mark.parametrize("operation", documenting("api_key_missing", 401), ids=str)
async def test_without_a_key(operation: Operation, edge: Edge) -> None:
    answer = await send(edge, *operation.example())
    assert (answer.status, answer.code) == (401, "api_key_missing")


@pytest.mark.parametrize("operation", documenting("api_key_invalid", 401), ids=str)
async def test_with_an_unknown_key(operation: Operation, edge: Edge) -> None:
    answer = await send(edge, *by(operation.example(), {"X-API-Key": "pk_unknown"}))
    assert (answer.status, answer.code) == (401, "api_key_invalid")


@pytest.mark.parametrize("operation", documenting("session_invalid", 401), ids=str)
async def test_with_an_unknown_session(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    headers = callers["storefront"] | {"Authorization": "Bearer ss_unknown"}
    answer = await send(edge, *by(operation.example(), headers))
    assert (answer.status, answer.code) == (401, "session_invalid")


@pytest.mark.parametrize("operation", documenting("malformed_body", 400), ids=str)
async def test_with_a_body_that_is_no_json(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    request = by(operation.example(), admitted(operation, callers))
    answer = await send(edge, *request._replace(body=request.body[:-1]))
    assert (answer.status, answer.code) == (400, "malformed_body")


def has_a_limit_of_its_own(operation: Operation) -> bool:
    """Files may be larger than commands."""
    return operation.path == "/v1/backoffice/import/{kind}"


@pytest.mark.parametrize(
    "operation",
    [each for each in documenting("body_too_large", 413) if not has_a_limit_of_its_own(each)],
    ids=str,
)
async def test_with_a_body_that_is_too_large(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    request = by(operation.example(), admitted(operation, callers))
    answer = await send(edge, *request._replace(body=b" " * (MAX_BODY_BYTES + 1)))
    assert (answer.status, answer.code) == (413, "body_too_large")


def wrong_values(operation: Operation) -> Iterator[Request]:
    """Requests that are wrong in one place, where the document says what is right."""
    request = operation.example()
    if operation.takes_body:
        yield request._replace(body=b"[]")
    for each in operation.described["parameters"]:
        value = wrong(each["schema"], each["in"])
        if value is not None:
            yield operation.example(**{each["name"]: value})


def wrong(schema: dict[str, Any], place: str) -> str | None:
    """Something that is not of the schema; None where anything is, or it is part of an address."""
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("format") == "uuid" or each.get("type") in {"integer", "number", "boolean"}:
            return None if place == "path" else "x"
        if "enum" in each or "pattern" in each:
            return "?"
        if "maxLength" in each:
            return "x" * (int(each["maxLength"]) + 1)
    return "%00" if place == "path" else None


@pytest.mark.parametrize("operation", documenting("invalid_request", 400), ids=str)
async def test_with_a_value_that_is_not_as_described(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    headers = admitted(operation, callers)
    answers = [await send(edge, *by(each, headers)) for each in wrong_values(operation)]
    assert answers
    assert {(each.status, each.code) for each in answers} == {(400, "invalid_request")}


def not_ids(operation: Operation) -> dict[str, str]:
    return {
        each["name"]: "not-an-id"
        for each in operation.described["parameters"]
        if each["in"] == "path" and (each["schema"].get("format") == "uuid")
    }


@pytest.mark.parametrize(
    "operation", [each for each in documenting("not_found", 404) if not_ids(each)], ids=str
)
async def test_at_an_address_that_cannot_be(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    request = by(operation.example(**not_ids(operation)), admitted(operation, callers))
    answer = await send(edge, *request)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("operation", documenting("idempotency_key_missing", 400), ids=str)
async def test_a_command_without_its_key(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    request = by(operation.example(), admitted(operation, callers))
    del request.headers["Idempotency-Key"]
    answer = await send(edge, *request)
    assert (answer.status, answer.code) == (400, "idempotency_key_missing")


@pytest.mark.parametrize("operation", documenting("idempotency_key_reused", 422), ids=str)
async def test_another_command_under_the_same_key(
    operation: Operation, edge: Edge, callers: dict[str, dict[str, str]]
) -> None:
    request = by(operation.example(), admitted(operation, callers))
    first = await send(edge, *request)
    second = await send(edge, *request._replace(url=f"{request.url}?other"))
    # A code that is nobody's is refused by the command itself, not on the way to it.
    turned_away = first.status in {400, 401, 403, 429, 500} and first.code != "code_refused"
    assert not turned_away, first
    assert (second.status, second.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("operation", documenting("idempotency_key_running", 409), ids=str)
async def test_the_same_command_while_it_is_running(
    operation: Operation, edge: Edge, services: Services, callers: dict[str, dict[str, str]]
) -> None:
    headers = admitted(operation, callers)
    request = by(operation.example(), headers)
    key = str(request.headers["Idempotency-Key"])
    async with services.database.transaction() as conn:
        session = headers.get("Authorization", "").removeprefix("Bearer ") or None
        who = await access.authenticate(
            conn, key_secret=headers["X-API-Key"], session_secret=session, now=services.now()
        )
        await idempotency.claim(conn, [Claim(who.id, str(operation), key, b"")])
        answer = await send(edge, *request)
    assert (answer.status, answer.code) == (409, "idempotency_key_running")
    assert answer.headers["retry-after"] == ["1"]


@pytest.mark.parametrize("operation", documenting("rate_limited", 429), ids=str)
async def test_more_often_than_the_key_may(
    operation: Operation, edge: Edge, once_a_minute: dict[str, str]
) -> None:
    codes = [await limited(edge, operation, once_a_minute) for _ in range(3)]
    assert "rate_limited" in codes  # three, because a new minute may begin


async def limited(edge: Edge, operation: Operation, headers: dict[str, str]) -> str:
    return (await send(edge, *by(operation.example(), headers))).code


@pytest.fixture(scope="module")
async def once_a_minute(services: Services) -> dict[str, str]:
    """The headers of a key that may ask once a minute, and has asked."""
    shop = await make_shop(services.database, skus=1)
    store = shop.stores[0].location_id
    return await headers_of(services, "storefront", store, requests_per_minute=1)


@pytest.fixture
async def edge_alone(own_dsn: str, start: Start) -> AsyncIterator[Edge]:
    """An application with a database that may be broken."""
    await asyncio.to_thread(lambda: asyncio.run(database.prepare(own_dsn)))
    async with start([import_module(name) for name in ROUTES], dsn=own_dsn) as edge:
        yield edge


async def test_a_fault_of_ours(edge_alone: Edge, own_dsn: str) -> None:
    with psycopg.connect(own_dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE api_key RENAME TO lost")
    for operation in documenting("internal_error", 500):
        answer = await send(edge_alone, *by(operation.example(), {"X-API-Key": "pk_any"}))
        assert (answer.status, answer.code) == (500, "internal_error"), operation


async def test_a_database_that_is_gone(edge_alone: Edge, own_dsn: str) -> None:
    await asyncio.to_thread(cut_off, own_dsn)
    for operation in documenting("busy", 503):
        answer: Answer = await send(edge_alone, *by(operation.example(), {"X-API-Key": "pk_any"}))
        assert (answer.status, answer.code) == (503, "busy"), operation
        assert answer.headers["retry-after"]


def cut_off(dsn: str) -> None:
    """Let nobody into the database, and put everybody out."""
    name = dsn.partition("@/")[2].partition("?")[0]
    with psycopg.connect(dsn.replace(name, "postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
