"""The OpenAPI document as a source of requests, and what must be true of every answer.

A request is invented from the document; then things that there really are take the place of some of
its values. Answers are judged by the document, and by what nobody may learn.
"""

from copy import deepcopy
from random import Random
from typing import Any
from urllib.parse import quote

import requests
import schemathesis
from requests import PreparedRequest
from schemathesis import Case, Response
from schemathesis.checks import negative_data_rejection, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation

from tests import wire
from tests.operations import documented

Scene = dict[str, Any]

PLANTED = 0.9
"""How often something that there is takes the place of something invented."""
WHOLE = 0.75
"""How often a body that does something takes the place of an invented one."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


def described() -> Any:
    """The document as Schemathesis reads it."""
    config = schemathesis.Config.from_dict(
        {
            "analysis": {"constants": {"enabled": False}},
            "generation": {"with-security-parameters": False},
            "checks": {
                "enabled": False,
                **{name: {"enabled": True} for name in CHECKS},
                "negative_data_rejection": {"enabled": True, "expected-statuses": ["4xx"]},
            },
        }
    )
    return schemathesis.openapi.from_dict(documented(), config=config)


def plant(case: Case[Any], scene: Scene, chance: Random) -> None:
    """Let what is known by the names of parameters and fields take their place, mostly.

    What was made wrong on purpose stays as it is.
    """
    assert case.meta is not None
    described = case.operation.definition.raw
    wrong = {place for place, part in case.meta.components.items() if part.mode.is_negative}

    def known(name: str) -> Any:
        found = scene.get(f"{described['operationId']}.{name}", scene.get(name))
        return found if found is not None and chance.random() < PLANTED else None

    for parameter in described["parameters"]:
        name, place = parameter["name"], ParameterLocation(parameter["in"])
        if place in wrong or (value := known(name)) is None:
            continue
        if place == ParameterLocation.PATH:
            case.path_parameters[name] = quote(str(value), safe="")
        elif place == ParameterLocation.HEADER:
            case.headers[name] = value
        elif name in case.query:
            case.query[name] = value
    if ParameterLocation.BODY in wrong:
        return
    _plant_into(case.body, known)
    if described["operationId"] in scene and chance.random() < WHOLE:
        case.body = deepcopy(scene[described["operationId"]])


def _plant_into(body: Any, known: Any) -> None:
    if isinstance(body, dict):
        for name in body:
            if (value := known(name)) is not None:
                body[name] = value
            else:
                _plant_into(body[name], known)
    elif isinstance(body, list):
        for each in body:
            _plant_into(each, known)


def prepared(case: Case[Any], headers: dict[str, str]) -> PreparedRequest:
    """The request as it goes over the wire."""
    given = case.as_transport_kwargs(base_url="http://mostrador", headers=headers)
    return requests.Request(**given).prepare()


async def send(app: Any, request: PreparedRequest) -> Response:
    """What the application answers. Of a stream, the first part."""
    body: Any = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    method, url = str(request.method), str(request.url)
    answer = await wire.send(app, method, url, dict(request.headers), body)
    return Response(answer.status, answer.headers, answer.content, request, 0.0, verify=False)


def faults(
    case: Case[Any], answer: Response, secrets: tuple[str, ...], *, described: bool
) -> list[str]:
    """What is wrong with an answer; `described`: the request was as the document wants it."""
    found = []
    skipped = [negative_data_rejection] if described else []
    if case.operation.definition.raw["operationId"] == "read_health":
        skipped.append(not_a_server_error)  # whether the service is well is what its status tells
    try:
        case.validate_response(answer, excluded_checks=skipped)
    except FailureGroup as group:
        found += [f"{each.title}: {each.message}" for each in group.exceptions]
    found += [f"tells {secret}" for secret in secrets if secret.encode() in answer.content]
    return found


def told(answer: Response) -> str:
    """Request and answer, for people."""
    request = answer.request
    return (
        f"{request.method} {request.url}\n  {dict(request.headers)}\n  {request.body!r}\n"
        f"  -> {answer.status_code} {answer.content[:1_000]!r}"
    )
