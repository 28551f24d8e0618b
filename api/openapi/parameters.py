"""A route's parameters, as clients see them."""

import inspect
import re
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, ParameterKwarg

from api.services import DEPENDENCIES

NOT_PARAMETERS = {*DEPENDENCIES, "data", "request", "scope", "state", "return"}
_BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
_CHECKED_AS_ADDRESS = {"uuid", "int"}


class Parameter(NamedTuple):
    """Something that a route reads from the address, the query or a header."""

    name: str
    place: str
    kind: Any
    required: bool
    description: str | None
    converter: str | None
    """How a part of the address is read: what it cannot read is no address of ours."""

    @property
    def makes_addresses(self) -> bool:
        """Whether a wrong value means that there is nothing at the address."""
        return self.converter in _CHECKED_AS_ADDRESS

    @property
    def may_be_invalid(self) -> bool:
        """Whether a wrong value is refused as such. A header without bounds may hold anything."""
        if self.place == "header":
            return get_origin(self.kind) is not None and "Meta(" in repr(self.kind)
        return not self.makes_addresses


def parameters_of(handler: HTTPRouteHandler, hints: dict[str, Any], path: str) -> list[Parameter]:
    """In the order of the function. `path` is Litestar's: `/v1/orders/{order_id:uuid}`."""
    converters = dict(re.findall(r"\{(\w+):(\w+)\}", path))
    defaults = inspect.signature(handler.fn).parameters
    found = []
    for name, hint in hints.items():
        if name in NOT_PARAMETERS:
            continue
        kind, given = _described(hint)
        called = given.name if given is not None and given.name else name
        place = "header" if isinstance(given, HeaderParameter) else "query"
        found.append(
            Parameter(
                name if name in converters else called,
                "path" if name in converters else place,
                kind,
                defaults[name].default is inspect.Parameter.empty,
                given.description if given is not None else None,
                converters.get(name),
            )
        )
    return found


def _described(hint: Any) -> tuple[Any, ParameterKwarg | None]:
    """A parameter's type as msgspec reads it, and Litestar's own description of it."""
    if get_origin(hint) is not Annotated:
        return hint, None
    base, *notes = get_args(hint)
    given = next((note for note in notes if isinstance(note, ParameterKwarg)), None)
    if given is None:
        return hint, None
    bounds = {name: getattr(given, name) for name in _BOUNDS if getattr(given, name) is not None}
    if not bounds:
        return base, given
    members = get_args(base) if isinstance(base, UnionType) else (base,)
    bounded = [m if m is type(None) else Annotated[m, msgspec.Meta(**bounds)] for m in members]
    return Union[tuple(bounded)], given  # noqa: UP007  built at run time
