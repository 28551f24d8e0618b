"""Deliveries: signed, repeated with growing waits, and out of order or twice when told to.

The signature is Stripe's: HMAC-SHA256 over "{timestamp}.{body}", made anew for each attempt
(https://docs.stripe.com/webhooks#verify-manually).
"""

import asyncio
import hashlib
import hmac
from contextlib import suppress
from http import HTTPStatus

import httpx
import msgspec

from api.fake_stripe.store import DONE, Store, timestamp
from commerce.kernel import clock

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 300.0
MAX_ATTEMPTS = 20
MAX_BATCH = 100
TIMEOUT_SECONDS = 10.0

DUE = "SELECT place, event_id, attempts FROM delivery WHERE due_at BETWEEN 0 AND ? ORDER BY place"
OLDEST_DUE = f"{DUE} LIMIT ?"
NEWEST_DUE = f"{DUE} DESC LIMIT ?"

SETTINGS = ("held", "reversed", "duplicates")
"""Switches of the control path: hold everything back; newest first; so many extra copies."""


def signature(body: bytes, secret: str, at: int) -> str:
    """The Stripe-Signature header of a body sent at this time."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


class Deliveries:
    """Sends what waits in the store to one endpoint; without an address it keeps waiting."""

    def __init__(self, store: Store, url: str, secret: str) -> None:
        self._store = store
        self._url = url
        self._secret = secret
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something new may wait."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; what is left waits in the file for the next start."""
        if not self._url:
            return
        # No proxy of the environment: the endpoint is the product next door.
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            while True:
                self._wake.clear()
                for place, event_id, attempts in self._due():
                    await self._deliver(client, place, event_id, attempts)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait()):
                        await self._wake.wait()

    def _due(self) -> list[tuple[int, str, int]]:
        if self._store.setting("held"):
            return []
        rows = self._store.run(
            NEWEST_DUE if self._store.setting("reversed") else OLDEST_DUE,
            clock.now().timestamp(),
            MAX_BATCH,
        )
        return [(place, event_id, attempts) for place, event_id, attempts in rows]

    def _wait(self) -> float | None:
        if self._store.setting("held"):
            return None
        [(due,)] = self._store.run("SELECT min(due_at) FROM delivery WHERE due_at >= 0")
        return None if due is None else max(0.0, due - clock.now().timestamp())

    async def _deliver(
        self, client: httpx.AsyncClient, place: int, event_id: str, attempts: int
    ) -> None:
        body = msgspec.json.encode(self._store.get("event", event_id))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._secret, timestamp()),
        }
        try:
            response = await client.post(self._url, content=body, headers=headers)
            status = response.status_code
        except httpx.HTTPError:
            status = 0
        attempts += 1
        wait = min(FIRST_WAIT_SECONDS * 2 ** (attempts - 1), LONGEST_WAIT_SECONDS)
        over = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES or attempts >= MAX_ATTEMPTS
        self._store.run(
            "UPDATE delivery SET attempts = ?, due_at = ?, status = ? WHERE place = ?",
            attempts,
            DONE if over else clock.now().timestamp() + wait,
            status,
            place,
        )
