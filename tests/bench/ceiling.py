"""The HTTP ceiling: a bare Litestar app on the same server flags, with none of our middleware.

It decodes the same body as `POST /v1/orders` and looks up one key in memory. The second route
answers as many bytes as an availability question gets, from an object that stands ready. The third
decodes the same events as `POST /v1/browsing-events`.
"""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Litestar, Request, get, post
from litestar.exceptions import NotAuthorizedException

from commerce.browsing import BrowsingCounts, Event

KEYS = {"pk_bench": "bench"}


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """As in an order."""

    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1)]


class Contact(msgspec.Struct, forbid_unknown_fields=True):
    """As in an order."""

    name: str
    email: str


class Total(msgspec.Struct, forbid_unknown_fields=True):
    """As in an order."""

    amount_minor: int
    currency: str


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the measured order."""

    location_id: UUID
    lines: list[Line]
    contact: Contact
    tender: str
    total: Total
    coupon_code: str


class Browsing(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the measured events."""

    visitor_id: UUID
    session_id: UUID
    device: Literal["web", "app", "kiosk"]
    events: Annotated[list[Event], msgspec.Meta(min_length=1, max_length=100)]


class Answer(msgspec.Struct):
    """Something small."""

    number: str
    lines: int


@post("/v1/orders")
async def place(request: Request, data: Order) -> Answer:  # type: ignore[type-arg]
    """Decode, look up one key, answer."""
    name = KEYS.get(request.headers.get("x-api-key", ""))
    if name is None:
        raise NotAuthorizedException
    return Answer(name, len(data.lines))


@get("/v1/availability")
async def availability(request: Request, sku: str) -> Answer:  # type: ignore[type-arg]
    """Look up one key, answer."""
    name = KEYS.get(request.headers.get("x-api-key", ""))
    if name is None:
        raise NotAuthorizedException
    return Answer(sku, 1)


@post("/v1/browsing-events", status_code=200)
async def record(request: Request, data: Browsing) -> BrowsingCounts:  # type: ignore[type-arg]
    """Decode, look up one key, answer."""
    name = KEYS.get(request.headers.get("x-api-key", ""))
    if name is None:
        raise NotAuthorizedException
    return BrowsingCounts(len(data.events))


def application() -> Litestar:
    """The app, made by the server's factory flag."""
    return Litestar([place, availability, record], openapi_config=None, logging_config=None)
