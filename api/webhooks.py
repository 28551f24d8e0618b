"""Webhooks of the payment provider: verified, kept by their ids, acknowledged, applied afterwards.

The answer does not wait for the application, so the provider need not repeat what it told. What is
not applied when a process ends, the sweep applies.
"""

import asyncio
from typing import Any

import asyncpg
from litestar import Request, Response, post

from api.auth import public
from api.contract import no_key_needed, raises
from api.refusals import BodyTooLarge
from api.services import Services
from commerce import settlement
from commerce.provider import ProviderRefused, ProviderUnavailable, WebhookRefused

AT_ONCE = 4
"""Events that are applied at the same time; more wait their turn."""


class Inbox:
    """Applies what was kept, behind the answers. One per process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def apply(self, event_id: str) -> None:
        """Soon."""
        task = asyncio.create_task(self._apply(event_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._running)

    async def _apply(self, event_id: str) -> None:
        services = self._services
        async with self._slots:
            try:
                gateway = await services.gateway()
                await settlement.apply(services.database, gateway, event_id, now=services.now)
            except (
                *(ProviderUnavailable, ProviderRefused, OSError),
                *(asyncpg.PostgresError, asyncpg.InterfaceError),
            ) as error:
                services.log.fault("a webhook waits for the sweep", error)
        services.doorbell.ring()


@post(
    "/v1/webhooks/stripe",
    guards=[public()],
    status_code=200,
    opt=raises(WebhookRefused, BodyTooLarge),
)
@no_key_needed("an event carries its own id")
async def receive_stripe_event(
    request: Request[Any, Any, Any], services: Services
) -> Response[bytes]:
    """What Stripe tells about a payment. Signed by Stripe; an event that came before is welcome."""
    gateway = await services.gateway()
    event = gateway.event(await request.body(), request.headers.get("stripe-signature", ""))
    async with services.database.transaction() as conn:
        is_new = await settlement.keep(conn, event, now=services.now())
    if is_new:
        services.part(Inbox).apply(event.id)
    return Response(b"", status_code=200)


ROUTES = [receive_stripe_event]
