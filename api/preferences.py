"""The preference centre: a page for people, without signing in and without JavaScript.

Messages link to it. A link that was not made here, or whose person is gone, gets one same answer,
whatever is wrong with it.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response, get, post
from litestar.params import PathParameter

from api.auth import public
from api.contract import answers, no_key_needed, raises
from api.refusals import BodyTooLarge, InvalidRequest, RateLimited
from api.services import Services
from commerce.consents import CHANNELS
from commerce.kernel.sql import Connection
from commerce.messages import Link, LinkInvalid, links, preferences
from commerce.messages.preferences import Choice, Preferences

LOOKS_PER_MINUTE = 120
"""From one address, whoever sits behind it."""
CHANGES_PER_MINUTE = 20
"""Of one person; nobody clicks faster."""
_MAX_FORM_BYTES = 4_096
_MAX_FORM_FIELDS = 40
_HTML = "text/html"
_HEADERS = {
    "content-type": f"{_HTML}; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-robots-tag": "noindex",
}
_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_SHOWS = answers(str, "text/html") | raises(LinkInvalid, RateLimited)
Token = Annotated[
    str,
    PathParameter(min_length=1, max_length=100, description="As the link in a message has it."),
]


@get("/preferences/{token:str}", guards=[public()], opt=_SHOWS)
async def show_preferences(
    token: Token, request: Request[Any, Any, Any], reading: Connection, services: Services
) -> Response[bytes]:
    """What the person of this link is written, to look at and to change."""
    link = _opened(services, request, token)
    return _page(await preferences.read(reading, link), token, saved=False)


@post(
    "/preferences/{token:str}",
    guards=[public()],
    status_code=200,
    opt=answers(str, "text/html") | raises(LinkInvalid, InvalidRequest, RateLimited, BodyTooLarge),
)
@no_key_needed("the same choice again changes nothing")
async def choose_preferences(
    token: Token,
    request: Request[Any, Any, Any],
    conn: Connection,
    services: Services,
    now: datetime,
) -> Response[bytes]:
    """Keep the page's form: `shown` names each choice it has, `allowed` those that are ticked.

    `preferred` is a channel or empty; `everything` ends all that may be ended.
    """
    form = await _form(request)
    link = _own(services, request, token)
    if ("everything", "1") in form:
        await preferences.unsubscribe(conn, link, everything=True, now=now)
    else:
        await preferences.choose(
            conn,
            link,
            shown=_choices(form, "shown"),
            allowed=_choices(form, "allowed"),
            preferred=next((c for c in CHANNELS if ("preferred", c) in form), None),
            now=now,
        )
    return _page(await preferences.read(conn, link), token, saved=True)


@post(
    "/unsubscribe/{token:str}",
    guards=[public()],
    status_code=204,
    opt=raises(LinkInvalid, RateLimited),
)
@no_key_needed("who is unsubscribed stays so")
async def unsubscribe(
    token: Token,
    request: Request[Any, Any, Any],
    conn: Connection,
    services: Services,
    now: datetime,
) -> None:
    """One click in a mail program (RFC 8058): no more of this kind by this channel."""
    await preferences.unsubscribe(conn, _own(services, request, token), now=now)


@get("/unsubscribe/{token:str}", guards=[public()], opt=_SHOWS)
async def show_unsubscribing(
    token: Token, request: Request[Any, Any, Any], reading: Connection, services: Services
) -> Response[bytes]:
    """The same page as the preferences: to look at a link must change nothing."""
    link = _opened(services, request, token)
    return _page(await preferences.read(reading, link), token, saved=False)


def _opened(services: Services, request: Request[Any, Any, Any], token: str) -> Link:
    """The link of a token. Raises `LinkInvalid`, and `RateLimited` for who tries many."""
    address = request.client.host if request.client is not None else ""
    _take(services, f"links:{address}", LOOKS_PER_MINUTE)
    return links.opened(services.secret, token)


def _own(services: Services, request: Request[Any, Any, Any], token: str) -> Link:
    """The same, to change something, which nobody does often."""
    link = _opened(services, request, token)
    _take(services, f"preferences:{link.shopper_id}", CHANGES_PER_MINUTE)
    return link


def _take(services: Services, subject: str, limit: int) -> None:
    allowance = services.limiter.take(subject, limit)
    if not allowance.allowed:
        raise RateLimited(retry_after_seconds=allowance.reset_seconds)


async def _form(request: Request[Any, Any, Any]) -> set[tuple[str, str]]:
    body = await request.body()
    if len(body) > _MAX_FORM_BYTES:
        raise BodyTooLarge(limit_bytes=_MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=_MAX_FORM_FIELDS)
    except ValueError as wrong:
        raise InvalidRequest(path="/", reason="This is not the page's form") from wrong
    return set(pairs)


def _choices(form: set[tuple[str, str]], name: str) -> set[Choice]:
    known = {f"{p}.{c}": Choice(p, c) for p in preferences.PURPOSES for c in CHANNELS}
    return {known[value] for field, value in form if field == name and value in known}


def _page(shown: Preferences, token: str, *, saved: bool) -> Response[bytes]:
    page = _pages.get_template("preferences.html").render(
        locale=shown.locale, shown=shown, token=token, saved=saved
    )
    return Response(page.encode(), media_type=_HTML, headers=_HEADERS)


ROUTES = [show_preferences, choose_preferences, show_unsubscribing, unsubscribe]
