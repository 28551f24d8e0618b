"""Stripe's wire: bracketed form parameters in, JSON and Stripe's error objects out."""

import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

Object = dict[str, Any]
"""One of Stripe's objects as it travels."""

P = TypeVar("P", bound="Params")

MAX_PARAMETERS = 500


class Params(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of what a route takes; every field name is one of Stripe's."""

    expand: list[str] = []


class StripeError(Exception):
    """An answer that is not 200. `kept` says whether an idempotency key remembers it.

    Stripe remembers what happened after an endpoint began to execute; what failed validation, was
    not allowed or ran into another request leaves no trace.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        kept: bool = True,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        self.body = {"error": {"type": kind, "message": message, **fields}}


def missing(kind: str, object_id: str, param: str = "id") -> StripeError:
    """No such object. An unknown id is refused before anything executes."""
    message = f"No such {kind}: '{object_id}'"
    return StripeError(404, message, code="resource_missing", param=param, kept=False)


def decode(text: str) -> Object:
    """`a[b][]=1&c=2` as nested dictionaries and lists."""
    tree: Object = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise StripeError(400, "Too many parameters", kept=False) from error
    for name, value in pairs:
        _put(tree, [name.partition("[")[0], *re.findall(r"\[([^\]]*)\]", name)], value)
    return {name: _listed(name, node) for name, node in tree.items()}


def _put(node: Object, path: list[str], value: str) -> None:
    name, *rest = path
    name = name or str(len(node))
    if not rest:
        node[name] = value
        return
    child = node.setdefault(name, {})
    if not isinstance(child, dict):
        raise StripeError(400, f"Invalid parameter: {name}", param=name, kept=False)
    _put(child, rest, value)


def _listed(name: str, node: Any) -> Any:
    """Indexed children are a list; metadata may have a key "0" and stays as it is."""
    if not isinstance(node, dict) or name == "metadata":
        return node
    if list(node) == [str(index) for index in range(len(node))]:
        return [_listed("", child) for child in node.values()]
    return {key: _listed(key, child) for key, child in node.items()}


def convert(given: Object, kind: type[P]) -> P:
    """The parameters of a route, or Stripe's refusal with the name of the wrong one."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error


def _invalid(reason: str) -> StripeError:
    """msgspec says "Object contains unknown field `x` - at `$.a`"; Stripe names the parameter."""
    at = re.search(r"at `\$\.?([^`]*)`", reason)
    outer = at.group(1).replace(".", "[") if at else ""
    named = re.search(r"field `(\w+)`", reason)
    param = "[".join(part for part in (outer, named.group(1) if named else "") if part)
    param += "]" * param.count("[")
    if "unknown field" in reason:
        code, message = "parameter_unknown", f"Received unknown parameter: {param}"
    elif "missing required" in reason:
        code, message = "parameter_missing", f"Missing required param: {param}."
    elif "`int`" in reason:
        code, message = "parameter_invalid_integer", f"Invalid integer: {param}"
    else:
        code, message = "parameter_invalid", f"Invalid {param}: {reason}"
    return StripeError(400, message, code=code, param=param, kept=False)
