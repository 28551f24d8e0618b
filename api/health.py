"""Whether this process can do its work, and what it measures.

`/health` is for balancers and people: 200, or 503 with the reasons. `/metrics` is for Prometheus;
several web processes on one port answer each with its own numbers.
"""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, Response, get

from api import metrics
from api.auth import public
from api.contract import answers
from api.doorbell import BROKEN
from api.services import Services
from commerce.kernel import heartbeats, partitions, readers
from commerce.kernel.heartbeats import Heartbeat
from inventory import reservations

PATIENCE_SECONDS = 2.0
KEPT_SECONDS = 1.0
"""Everybody may ask, so asking often must not cost more."""

_UNAVAILABLE = 503


class Health(msgspec.Struct, frozen=True):
    """`ok`, or what is wrong; lags in seconds, where they could be measured."""

    ok: bool
    reasons: list[str]
    relay_lag_seconds: float | None = None
    sweep_lag_seconds: float | None = None


class Examiner:
    """Looks at everything that `/health` judges, at most once a second."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._judging: asyncio.Task[Health] | None = None
        self._fresh_until = 0.0
        self._began = services.now()

    async def health(self) -> Health:
        """At most a second old. Takes at most two, whatever the database does."""
        moment = asyncio.get_running_loop().time()
        if self._judging is None or (self._judging.done() and self._fresh_until <= moment):
            self._judging = asyncio.create_task(self._judge())
            self._fresh_until = moment + KEPT_SECONDS
        judging = self._judging
        done, _ = await asyncio.wait([judging], timeout=PATIENCE_SECONDS)
        if not done:
            return Health(
                ok=False, reasons=[f"The database takes longer than {PATIENCE_SECONDS:g} s."]
            )
        try:
            return judging.result()
        except BROKEN as error:
            self._services.log.fault("health: no database", error)
            return Health(ok=False, reasons=["The database does not answer."])

    async def _judge(self) -> Health:
        async with self._services.database.reading() as conn:
            relay = await self._age(readers.oldest_unread(conn, readers.RELAY))
            sweep = await self._age(reservations.oldest_expiry(conn))
            strays = await partitions.stray(conn)
            beats = await heartbeats.last(conn)
        bounds = self._services.settings
        reasons = []
        if relay > bounds.health_relay_lag_seconds:
            reasons.append(f"An event has waited {relay:.0f} s for the worker: is it running?")
        if sweep > bounds.health_sweep_lag_seconds:
            reasons.append(f"A hold died {sweep:.0f} s ago and was not swept: does the worker run?")
        if strays:
            reasons.append(f"{strays} rows of the logs lie outside of every month's partition.")
        reasons += self._overdue(beats)
        return Health(not reasons, reasons, round(relay, 3), round(sweep, 3))

    def _overdue(self, beats: list[Heartbeat]) -> list[str]:
        """Recurring work that has stopped; after a pause of the whole product it gets its time."""
        now = self._services.now()
        return [
            f"The sweep of {each.name} last succeeded at {each.at:%Y-%m-%d %H:%M:%S}Z."
            for each in beats
            if now > max(each.overdue_at, self._began + heartbeats.GRACE)
        ]

    async def _age(self, asked: Awaitable[datetime | None]) -> float:
        since = await asked
        return max(0.0, (self._services.now() - since).total_seconds()) if since else 0.0


@get("/health", guards=[public()], opt=answers(Health, also=(_UNAVAILABLE,)))
async def read_health(services: Services) -> Response[Health]:
    """200 when database, worker and logs are within bounds, else 503 with the reasons."""
    health = await services.part(Examiner).health()
    return Response(health, status_code=200 if health.ok else _UNAVAILABLE)


@get("/metrics", guards=[public()], opt=answers(str, "text/plain"))
async def read_metrics(services: Services, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Counts and times of this web process, and the lags, in Prometheus' format."""
    measured: metrics.Metrics = request.app.state.metrics
    health = await services.part(Examiner).health()
    for work, lag in (("relay", health.relay_lag_seconds), ("sweep", health.sweep_lag_seconds)):
        if lag is not None:
            measured.lag(work, lag)
    return Response(measured.text(), headers={"content-type": metrics.CONTENT_TYPE})


ROUTES = [read_health, read_metrics]
