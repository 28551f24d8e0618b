"""The web application: `granian --interface asgi --factory api.app:application`.

`ROUTES` names the modules with routes; each exports `ROUTES`, a list of handlers and routers. A
module that has work of its own in every web process exports `LIFESPAN` too: called with the
services, it returns an async context manager that is open while the process serves.
"""

import gc
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from litestar import Litestar, Request, Response
from litestar.config.app import AppConfig
from litestar.handlers import HTTPRouteHandler

from api.auth import authorize, guard_of
from api.bodies import StrictBody
from api.database import open_database
from api.log import Log
from api.metrics import Metrics
from api.middleware import Edge
from api.problem_json import MAX_BODY_BYTES, refusal_of, render
from api.refusals import InternalError
from api.services import DEPENDENCIES, Services
from commerce.installation import installation_secret
from commerce.kernel import clock, settings
from commerce.kernel.clock import Clock
from commerce.kernel.settings import Settings

ROUTES: tuple[str, ...] = (
    "api.storefront.catalog",
    "api.storefront.stores",
    "api.storefront.availability",
    "api.storefront.browsing",
    "api.storefront.carts",
    "api.storefront.live_carts",
    "api.storefront.lists",
    "api.storefront.orders",
    "api.storefront.payments",
    "api.storefront.returns",
    "api.storefront.consents",
    "api.storefront.feed",
    "api.storefront.privacy",
    "api.storefront.sessions",
    "api.storefront.profile",
    "api.storefront.views",
    "api.storefront.watches",
    "api.store.baskets",
    "api.store.carts",
    "api.store.cart_sales",
    "api.store.client_book",
    "api.store.consents",
    "api.store.feed",
    "api.store.orders",
    "api.store.payments",
    "api.store.pickups",
    "api.store.returns",
    "api.store.sessions",
    "api.store.shoppers",
    "api.backoffice.dead_messages",
    "api.backoffice.follow_ups",
    "api.backoffice.stores",
    "api.backoffice.catalog",
    "api.backoffice.stock",
    "api.backoffice.loading",
    "api.backoffice.keys",
    "api.backoffice.merges",
    "api.backoffice.messages",
    "api.backoffice.message_templates",
    "api.backoffice.associates",
    "api.backoffice.privacy",
    "api.backoffice.quiet_hours",
    "api.backoffice.shopper_views",
    "api.backoffice.staff",
    "api.streams",
    "api.webhooks",
    "api.store.conversation",
    "api.storefront.messages",
    "api.message_callbacks",
    "api.preferences",
    "api.docs_page",
    "api.health",
)


GC_THRESHOLDS = (20_000, 20, 50)
"""A batch of orders makes some ten thousand objects, nearly none of them in cycles."""


def application(configured: Settings | None = None, *, now: Clock = clock.now) -> Edge:
    """The application of one process, with the settings of its environment."""
    given = configured or settings.load()
    modules = [import_module(name) for name in ROUTES]
    return assemble(given, modules, log=Log(given.log_level, now), now=now)


def assemble(configured: Settings, modules: Sequence[Any], *, log: Log, now: Clock) -> Edge:
    """The application of these modules. Its services open when the server starts it."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with _services(configured, now, log) as services, AsyncExitStack() as stack:
            app.state.services = services
            app.state.metrics = metrics
            for module in modules:
                if hasattr(module, "LIFESPAN"):
                    await stack.enter_async_context(module.LIFESPAN(services))
            gc.collect()
            gc.freeze()  # what was imported stays; no collection need walk it again
            gc.set_threshold(*GC_THRESHOLDS)
            yield

    app = build([route for module in modules for route in module.ROUTES], [lifespan])
    return Edge(app, metrics)


def build(routes: Sequence[Any], lifespan: Sequence[Callable[..., Any]]) -> Litestar:
    """The framework's part: routing, decoding, dependencies, and our problem documents."""
    app = Litestar.from_config(
        AppConfig(
            route_handlers=list(routes),
            dependencies=dict(DEPENDENCIES),
            before_request=authorize,
            dto=StrictBody,
            return_dto=None,
            exception_handlers={Exception: _problem},
            lifespan=list(lifespan),
            request_max_body_size=MAX_BODY_BYTES,
            openapi_config=None,
            logging_config=None,
        )
    )
    _deny_by_default(app)
    return app


@asynccontextmanager
async def _services(configured: Settings, now: Clock, log: Log) -> AsyncGenerator[Services]:
    database = await open_database(configured, name="mostrador-web")
    try:
        async with database.reading() as conn:
            secret = await installation_secret(conn)
        services = Services(settings=configured, database=database, secret=secret, now=now, log=log)
        async with (
            log.running(),
            services.limiter.running(),
            services.doorbell.running(),
            services.closing,
        ):
            yield services
    finally:
        await database.close()


def _problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Any exception as a problem document; a fault of ours goes into the log."""
    refusal = refusal_of(error)
    scope: Any = request.scope
    if isinstance(refusal, InternalError):
        log: Log = request.app.state.services.log
        log.fault("internal error", error, request_id=scope["request_id"])
    language = request.headers.get("accept-language", "")
    problem = render(refusal, language=language, request_id=scope["request_id"])
    headers = dict(problem.headers)
    media_type = headers.pop("content-type")
    allow = getattr(error, "headers", None) or {}
    headers |= {name.lower(): value for name, value in allow.items() if name.lower() == "allow"}
    return Response(
        problem.body, status_code=problem.status, media_type=media_type, headers=headers
    )


def handlers(app: Litestar) -> list[HTTPRouteHandler]:
    """Every route of ours, in the order of their addresses."""
    found = [
        handler
        for route in sorted(app.routes, key=lambda route: route.path)
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and handler.http_methods != {"OPTIONS"}
    ]
    return list(dict.fromkeys(found))


def _deny_by_default(app: Litestar) -> None:
    """A route that forgot to say who may call it, or how it is repeated, must not reach anybody."""
    for handler in handlers(app):
        guard_of(handler)
        marked = vars(handler.fn).keys() & {"takes_effect_once", "needs_no_key"}
        assert "POST" not in handler.http_methods or marked, (
            f"{handler} is a POST: it needs @once, @claims_itself or @no_key_needed(reason)"
        )
