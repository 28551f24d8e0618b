"""The OpenAPI document is valid, complete and true; the documentation page needs nothing else."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate

from api.app import ROUTES, build, handlers
from api.openapi import document
from api.problems import PROBLEMS
from commerce.access import PERMISSIONS

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    modules = [import_module(name) for name in ROUTES]
    return document(build([route for module in modules for route in module.ROUTES], []))


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield method, path, operation


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for each in part.values():
            yield from schemas(each)
    elif isinstance(part, list):
        for each in part:
            yield from schemas(each)


def resolved(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def test_the_document_is_valid(spec: dict[str, Any]) -> None:
    validate(spec)
    assert spec["openapi"] == "3.1.0"


def test_every_route_is_in_it(spec: dict[str, Any]) -> None:
    modules = [import_module(name) for name in ROUTES]
    app = build([route for module in modules for route in module.ROUTES], [])
    assert len(list(operations(spec))) == sum(len(each.http_methods) for each in handlers(app))


def test_each_process_writes_the_same_document(spec: dict[str, Any]) -> None:
    """The framework has the operations of one address in any order."""
    assert list(spec["paths"]) == sorted(spec["paths"])
    assert [path for path, of in spec["paths"].items() if list(of) != sorted(of)] == []


def test_names_of_operations_are_unique_and_say_what_they_do(spec: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(spec)]
    assert len(names) == len(set(names))
    for _, path, operation in operations(spec):
        assert operation["summary"].count(" ") >= 1, path


def test_each_operation_shows_its_permission_and_its_key(spec: dict[str, Any]) -> None:
    for method, path, operation in operations(spec):
        permissions = operation.get("x-permission", [])
        assert set(permissions) <= PERMISSIONS.keys()
        assert bool(operation["security"]) == bool(permissions), (method, path)
        if permissions:
            assert "401" in operation["responses"], (method, path)


def test_security_says_where_a_session_is_needed(spec: dict[str, Any]) -> None:
    key: dict[str, list[str]] = {"key": []}
    both = key | {"session": []}
    paths = spec["paths"]
    assert paths["/v1/profile"]["get"]["security"] == [both]
    assert paths["/v1/stores"]["get"]["security"] == [key, both]
    assert paths["/v1/backoffice/keys"]["get"]["security"] == [key]
    assert paths["/health"]["get"]["security"] == []


def test_commands_take_an_idempotency_key_and_say_what_becomes_of_it(
    spec: dict[str, Any],
) -> None:
    modules = [import_module(name) for name in ROUTES]
    app = build([route for module in modules for route in module.ROUTES], [])
    once = {
        handler.fn.__name__
        for handler in handlers(app)
        if getattr(handler.fn, "takes_effect_once", False)
    }
    assert "revoke_key" in once
    for _, path, operation in operations(spec):
        named = [each["name"] for each in operation["parameters"]]
        if operation["operationId"] in once:
            assert "Idempotency-Key" in named, path
            assert {"400", "409", "422"} <= operation["responses"].keys(), path
        elif operation["operationId"].rpartition("_")[0] not in once:
            assert "Idempotency-Key" not in named, path


def test_bodies_refuse_unknown_fields(spec: dict[str, Any]) -> None:
    for _, path, operation in operations(spec):
        if "requestBody" in operation:
            for kind, content in operation["requestBody"]["content"].items():
                body = resolved(spec, content["schema"])
                if kind == "application/json":
                    assert body.get("additionalProperties") is False, path
                else:
                    assert body == {"type": "string"}, path


def test_refusals_are_problems_with_their_codes(spec: dict[str, Any]) -> None:
    known = {error.code: row.status for error, row in PROBLEMS.items()}
    for _, path, operation in operations(spec):
        for status, response in operation["responses"].items():
            if int(status) < 400 or "application/problem+json" not in response["content"]:
                continue
            schema = response["content"]["application/problem+json"]["schema"]
            for reference in schema.get("oneOf", [schema]):
                own = resolved(spec, reference)["allOf"][1]["properties"]
                assert own["status"]["const"] == int(status), path
                assert known[own["code"]["const"]] == int(status), path


def test_a_code_shows_its_own_fields(spec: dict[str, Any]) -> None:
    own = spec["components"]["schemas"]["WrongStateProblem"]["allOf"][1]
    assert own["properties"]["allowed"] == {"type": "array", "items": {"type": "string"}}
    assert own["required"] == ["status", "code", "kind", "id", "state", "allowed"]


def test_times_have_their_format(spec: dict[str, Any]) -> None:
    key = spec["components"]["schemas"]["KeyView"]["properties"]
    assert key["created_at"] == {"type": "string", "format": "date-time"}
    assert {"type": "string", "format": "date-time"} in key["expires_at"]["anyOf"]


def test_examples_are_of_their_schema(spec: dict[str, Any]) -> None:
    checked = 0
    for schema in schemas(spec["components"]["schemas"]):
        for example in schema.get("examples", []):
            jsonschema.validate(example, {**schema, "components": spec["components"]})
            checked += 1
    assert checked > 20


def test_patterns_are_understood_by_browsers_too(spec: dict[str, Any]) -> None:
    for schema in schemas(spec):
        if isinstance(schema.get("pattern"), str):
            assert not re.search(r"\\[AZz]|\(\?P|\(\?[aiLmsux]", schema["pattern"])


def test_schemas_have_names_that_a_class_may_have(spec: dict[str, Any]) -> None:
    assert {name for name in spec["components"]["schemas"] if not name.isidentifier()} == set()
    assert {name for name in spec["components"]["schemas"] if "_" in name} == set()
    assert "OrderPage" in spec["components"]["schemas"]


def shown(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What of an operation has an example: its body, its answers, its required parameters."""
    yield from (each for each in operation["parameters"] if each["required"])
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        for media_type, content in part.get("content", {}).items():
            if media_type != "application/problem+json":
                yield content


def test_bodies_answers_and_addresses_have_examples(spec: dict[str, Any]) -> None:
    for _, _, operation in operations(spec):
        for part in shown(operation):
            schema = {**part["schema"], "components": spec["components"]}
            jsonschema.validate(part["example"], schema)


def test_each_refusal_shows_itself(spec: dict[str, Any]) -> None:
    refusals = [each for each in spec["components"]["schemas"].values() if "allOf" in each]
    assert len(refusals) > 40
    for schema in refusals:
        (example,) = schema["examples"]
        assert example["code"] == schema["allOf"][1]["properties"]["code"]["const"]
        assert "{" not in example["detail"]


async def test_the_document_is_served(http: httpx.AsyncClient) -> None:
    answer = await http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    validate(answer.json())


async def test_the_documentation_page_loads_nothing_from_elsewhere(
    http: httpx.AsyncClient,
) -> None:
    for path in ("/docs", "/"):
        answer = await http.get(path, headers={"Accept": "text/html"})
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", answer.text)
        assert "@import" not in answer.text


async def test_a_newcomer_is_greeted_and_sent_on(http: httpx.AsyncClient) -> None:
    greeting = (await http.get("/")).json()
    for name in ("documentation", "openapi", "health", "metrics"):
        assert (await http.get(greeting[name])).status_code in {200, 503}
    assert "/v1/stores" in greeting["first_step"]
