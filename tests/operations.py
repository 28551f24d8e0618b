"""The operations of the OpenAPI document, with a request of each that the document gives itself."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec

from api.app import ROUTES, build
from api.openapi import document

PROBLEM = "application/problem+json"


class Request(NamedTuple):
    """What to send."""

    method: str
    url: str
    headers: dict[str, str | bytes]
    body: bytes


class Operation(NamedTuple):
    """One operation: `GET /v1/stores`."""

    method: str
    path: str
    described: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def takes_body(self) -> bool:
        """Whether it reads JSON."""
        return "application/json" in self.described.get("requestBody", {}).get("content", {})

    @property
    def takes_effect_once(self) -> bool:
        """Whether it needs an `Idempotency-Key`."""
        return any(each["name"] == "Idempotency-Key" for each in self.described["parameters"])

    @property
    def names(self) -> set[str]:
        """Of its parameters and of the fields of its body."""
        found = {each["name"] for each in self.described["parameters"]}
        if self.takes_body:
            schema = self.described["requestBody"]["content"]["application/json"]["schema"]
            name = schema["$ref"].rpartition("/")[2]
            found |= documented()["components"]["schemas"][name]["properties"].keys()
        return found

    def codes(self, status: int) -> list[str]:
        """The refusals that are documented with this status."""
        answer = self.described["responses"].get(str(status), {})
        return codes_of(answer)

    def example(self, **values: Any) -> Request:
        """The document's own example, with other values for parameters by their names.

        Each is a command of its own.
        """
        given = {
            each["name"]: values.get(each["name"], each.get("example"))
            for each in self.described["parameters"]
            if each["required"] or each["name"] in values
        }
        path, query, headers = self.path, [], {}
        for each in self.described["parameters"]:
            name, place = each["name"], each["in"]
            if name not in given:
                continue
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(str(given[name]), safe=""))
            elif place == "header":
                headers[name] = str(given[name])
            else:
                found = given[name]
                query += [(name, each) for each in (found if isinstance(found, list) else [found])]
        if self.takes_effect_once and "Idempotency-Key" not in values:
            headers["Idempotency-Key"] = uuid4().hex
        body = b""
        for media_type, content in self.described.get("requestBody", {}).get("content", {}).items():
            headers["Content-Type"] = media_type
            example = content["example"]
            body = example.encode() if isinstance(example, str) else msgspec.json.encode(example)
        url = f"{path}?{urlencode(query)}" if query else path
        return Request(self.method, url, {**headers}, body)


@cache
def documented() -> dict[str, Any]:
    """The OpenAPI document of the whole application."""
    modules = [import_module(name) for name in ROUTES]
    return document(build([route for module in modules for route in module.ROUTES], []))


@cache
def operations() -> tuple[Operation, ...]:
    """All of them."""
    return tuple(
        Operation(method.upper(), path, described)
        for path, methods in documented()["paths"].items()
        for method, described in methods.items()
    )


def codes_of(answer: dict[str, Any]) -> list[str]:
    """The codes of a documented refusal; none for another answer."""
    content = answer.get("content", {}).get(PROBLEM)
    if content is None:
        return []
    schema = content["schema"]
    names = [each["$ref"].rpartition("/")[2] for each in schema.get("oneOf", [schema])]
    schemas = documented()["components"]["schemas"]
    return [schemas[name]["allOf"][1]["properties"]["code"]["const"] for name in names]


def promised() -> Iterator[tuple[str, int, str]]:
    """Every answer that the document promises: operation, status, code or nothing."""
    for operation in operations():
        for status, answer in operation.described["responses"].items():
            codes = codes_of(answer)
            if not codes or len(answer["content"]) > 1:
                yield str(operation), int(status), ""
            for code in codes:
                yield str(operation), int(status), code
