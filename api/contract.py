"""What a route declares about itself for clients, beside its types; `api/openapi` shows it.

@post("/v1/orders", guards=[may("order.place")], opt=raises(StockShort) | answers(PlacedOrder))
@claims_itself
"""

from collections.abc import Callable
from typing import Any, TypeVar

from commerce.kernel.errors import CommerceError

Route = TypeVar("Route", bound=Callable[..., Any])

RAISES = "raises"
ANSWERS = "answers"
TAKES = "takes"


def raises(*errors: type[CommerceError]) -> dict[str, Any]:
    """The refusals of this route, beside those that any route of its kind may give."""
    return {RAISES: errors}


def answers(
    kind: Any, media_type: str = "application/json", *, also: tuple[int, ...] = ()
) -> dict[str, Any]:
    """The type of the answer's body, where the function returns a ready-made response.

    A tuple of types for a stream whose blocks are of several.
    `also`: other statuses than the route's own that come with such a body.
    """
    return {ANSWERS: (kind, media_type, also)}


def takes(examples: dict[str, str]) -> dict[str, Any]:
    """The media types that the body may have where it is not JSON, each with an example."""
    return {TAKES: examples}


def claims_itself(route: Route) -> Route:
    """A command that keeps its own answer under its `Idempotency-Key` (see `api/once.py`)."""
    marked: Any = route
    marked.takes_effect_once = True
    return route


def no_key_needed(reason: str) -> Callable[[Route], Route]:
    """A POST that takes no `Idempotency-Key`: it reads, or its answer must not be kept."""

    def mark(route: Route) -> Route:
        marked: Any = route
        marked.needs_no_key = reason
        return route

    return mark
