"""A store's tablet with an associate signed in, over HTTP."""

from typing import Any
from uuid import uuid4

import httpx
import msgspec

from api.services import Services
from commerce import access
from commerce.access import OPERATOR
from tests.shop import Shop

PIN = "4711"


class Tablet(msgspec.Struct, frozen=True):
    """Sends the tablet's key and the associate's session."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    associate_id: str

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """Read."""
        return await self.http.get(f"/v1/store{path}", params=params, headers=self.headers)

    async def post(self, path: str, *, key: str | None = None, **body: Any) -> httpx.Response:
        """A command, under a key of its own unless one is given."""
        headers = self.headers | {"Idempotency-Key": key or uuid4().hex}
        return await self.http.post(f"/v1/store{path}", json=body, headers=headers)

    async def delete(self, path: str) -> httpx.Response:
        """Take away."""
        return await self.http.delete(f"/v1/store{path}", headers=self.headers)


async def sign_in(
    http: httpx.AsyncClient, services: Services, shop: Shop, *, store: int = 0,
    role: str = "associate",
) -> Tablet:  # fmt: skip
    """An associate at one of the shop's stores, signed in at a tablet that belongs to no store."""
    at = shop.stores[store].location_id
    code = f"A{uuid4().hex[:10]}"
    async with services.database.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind="tablet", name=f"tablet {code}", channel="store",
            requests_per_minute=1_000_000, now=services.now(),
        )  # fmt: skip
        await access.put_associate(
            conn, OPERATOR, code=code, name="Eva", role=role,  # type: ignore[arg-type]
            location_ids=[at], pin=PIN, now=services.now(),
        )  # fmt: skip
    key = {"X-API-Key": secret}
    body = {"associate_code": code, "pin": PIN, "location_id": str(at)}
    answer = await http.post("/v1/store/sessions", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    started = answer.json()
    headers = key | {"Authorization": f"Bearer {started['secret']}"}
    who = await http.get("/v1/store/sessions/current", headers=headers)
    return Tablet(http, headers, who.json()["associate_id"])


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["code"]
