"""What a newcomer finds: a greeting at `/`, the documentation at `/docs`, and `/openapi.json`.

The documentation page is one file of ours that reads the OpenAPI document; it loads nothing from
anywhere else, so it works without internet.
"""

from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, get

from api import openapi
from api.auth import public
from api.contract import answers
from api.services import Services

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)
_HTML = "text/html; charset=utf-8"


class Welcome(msgspec.Struct, frozen=True):
    """Where to go from here."""

    product: str
    documentation: str
    openapi: str
    health: str
    metrics: str
    first_step: str


WELCOME = Welcome(
    product="Mostrador: one inventory and order service behind web, app and stores",
    documentation="/docs",
    openapi="/openapi.json",
    health="/health",
    metrics="/metrics",
    first_step="GET /v1/stores with your key in the X-API-Key header",
)


class _Document:
    """The OpenAPI document as bytes, made once per process."""

    def __init__(self, _: Services) -> None:
        self._made: bytes | None = None

    def of(self, request: Request[Any, Any, Any]) -> bytes:
        if self._made is None:
            self._made = msgspec.json.encode(openapi.document(request.app))
        return self._made


@get("/", guards=[public()], opt=answers(Welcome))
async def greet(request: Request[Any, Any, Any]) -> Response[Any]:
    """Say what this is and where to go; a page for browsers, JSON for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return _page("welcome.html")
    return Response(WELCOME)


@get("/docs", guards=[public()], opt=answers(str, "text/html"))
async def read_docs() -> Response[bytes]:
    """The documentation: every operation, to read and to try."""
    return _page("docs.html")


@get("/openapi.json", guards=[public()], opt=answers(dict[str, Any]))
async def read_openapi(request: Request[Any, Any, Any], services: Services) -> Response[bytes]:
    """The OpenAPI 3.1 document."""
    return Response(services.part(_Document).of(request), media_type="application/json")


def _page(name: str) -> Response[bytes]:
    headers = {"content-security-policy": _POLICY, "content-type": _HTML}
    return Response((_HERE / name).read_bytes(), headers=headers, media_type=_HTML)


ROUTES = [greet, read_docs, read_openapi]
