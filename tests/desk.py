"""A returns desk over HTTP: who works in which store, who shops, and what they send."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from commerce import access
from commerce.access import OPERATOR, Principal
from commerce.orders import Order
from tests.paying import WebShop
from tests.shop import Shop
from tests.sold import sell, sell_by_card


class Desk(msgspec.Struct, frozen=True):
    """A shop's people, in the process of a web shop."""

    web: WebShop
    shop: Shop

    async def staff(self, store: int = 0, *, role: Any = "associate") -> httpx.AsyncClient:
        """Somebody who has signed in at one of the stores."""
        place = self.shop.stores[store].location_id
        code, pin, now = uuid4().hex, "4711", self.web.clock()
        async with self.web.services.database.transaction() as conn:
            key, secret = await self._key(conn, "tablet", now)
            await access.put_associate(
                conn, OPERATOR, code=code, name="Ana", role=role, location_ids=[place], pin=pin,
                now=now,
            )  # fmt: skip
        session = await access.sign_in(
            self.web.services.database, key, code=code, pin=pin, location_id=place, now=now
        )
        return self._client(secret, session.secret)

    async def shopper(self, shopper_id: UUID) -> httpx.AsyncClient:
        """A shopper who has signed in."""
        now = self.web.clock()
        async with self.web.services.database.transaction() as conn:
            key, secret = await self._key(conn, "storefront", now)
            session = await access.start_shopper_session(conn, key, shopper_id, now=now)
        return self._client(secret, session.secret)

    async def key(self, kind: str) -> httpx.AsyncClient:
        """A key without anybody who has signed in."""
        async with self.web.services.database.transaction() as conn:
            _, secret = await self._key(conn, kind, self.web.clock())
        return self._client(secret)

    async def sold(
        self,
        *lines: tuple[int, int],
        total_minor: int,
        shopper_id: UUID | None = None,
        days_ago: int = 0,
    ) -> Order:
        """An order that was collected at the first store and paid in cash."""
        at = self.web.clock() - timedelta(days=days_ago)
        return await sell(
            self.web.services.database, self.shop, *lines, total_minor=total_minor,
            shopper_id=shopper_id, at=at,
        )  # fmt: skip

    async def sold_by_card(self, units: int, card: str = "pm_card_visa") -> Order:
        """An order of units of the first SKU, collected at the first store, its card captured."""
        return await sell_by_card(
            self.web.services.database, await self.web.services.gateway(), self.shop, units=units,
            clock=self.web.clock, card=card,
        )  # fmt: skip

    async def _key(self, conn: Any, kind: Any, now: datetime) -> tuple[Principal, str]:
        _, secret = await access.create_key(
            conn, OPERATOR, kind=kind, name=uuid4().hex, requests_per_minute=1_000_000, now=now,
            channel="store" if kind == "tablet" else "web",
        )  # fmt: skip
        return await access.authenticate(
            conn, key_secret=secret, session_secret=None, now=now
        ), secret

    def _client(self, key: str, session: str | None = None) -> httpx.AsyncClient:
        headers = {"X-API-Key": key}
        if session is not None:
            headers["Authorization"] = f"Bearer {session}"
        transport = self.web.http._transport
        return httpx.AsyncClient(transport=transport, base_url="http://mostrador", headers=headers)


async def post(
    who: httpx.AsyncClient, path: str, body: Any = None, *, key: str | None = None
) -> httpx.Response:
    """A command under a key of its own, or under a given one."""
    headers = {"Idempotency-Key": key or uuid4().hex}
    if body is None:
        return await who.post(path, headers=headers)
    return await who.post(path, headers=headers, json=body)


def units(*arrived: tuple[int, str, int]) -> list[dict[str, Any]]:
    """Line number, disposition, quantity, as the desk sends them."""
    return [
        {"line_number": line, "disposition": disposition, "quantity": quantity}
        for line, disposition, quantity in arrived
    ]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document."""
    return answer.status_code, answer.json()["code"]
