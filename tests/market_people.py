"""Those who call the API of a shop, by what they are, and what they ask of it themselves."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from tests.everyone import headers_of
from tests.paying import WebShop
from tests.shop import Shop

Scene = dict[str, Any]

_SENT = "SELECT body FROM message WHERE reason = $1"


class People:
    """Everybody with a key and a session, and the goods that they know of."""

    def __init__(self, web: WebShop, shop: Shop) -> None:
        self.web = web
        self.shop = shop
        self.callers: dict[str, dict[str, str]] = {}
        self.goods: Scene = {}

    async def sign_in(self, who: str, name: str | None = None) -> None:
        """Anew, with a key and a session of their own; under another name, one more of the kind."""
        store = self.shop.stores[0].location_id
        self.callers[name or who] = await headers_of(self.web.services, who, store)

    async def ask(
        self, who: str, method: str, path: str, body: Any = None, **headers: str | None
    ) -> Any:
        """What is answered to somebody, who is allowed to ask it. `Cart_Token` is a header."""
        given = {name.replace("_", "-"): value for name, value in headers.items() if value}
        sent: Mapping[str, str] = self.callers[who] | {"Idempotency-Key": uuid4().hex} | given
        answer = await self.web.http.request(method, path, headers=sent, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def filled_cart(self, who: str) -> Scene:
        """A new cart with one unit in it."""
        body = {"location_id": self.goods["location_id"]}
        started = await self.ask(who, "POST", "/v1/carts", body)
        cart_id, token = started["cart"]["id"], started["cart_token"]
        line = f"/v1/carts/{cart_id}/lines/{self.goods['sku']}"
        await self.ask(who, "PUT", line, {"quantity": 1}, Cart_Token=token)
        return {"cart_id": cart_id, "Cart-Token": token}

    async def code_sent(self, reason: str) -> str:
        """The code in the message that was written for this reason."""
        async with self.web.services.database.reading() as conn:
            told = await conn.driver.fetchval(_SENT, reason)
        code = re.search(r"\b\d{6}\b", told)
        assert code is not None
        return code.group()
