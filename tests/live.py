"""Clients of one cart: a shopper's devices, a guest, and the associate who has claimed it."""

from typing import Any
from uuid import UUID, uuid4

import httpx

from api.services import Services
from commerce import access, customers
from commerce.kernel import ids
from tests.shop import Shop
from tests.tablet import Tablet


class Device:
    """One device of a shopper or a guest, with the cart that it shows."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str], cart: str = "") -> None:
        self.http = http
        self.headers = headers
        self.url = f"/v1/carts/{cart}"
        self.cart = cart

    async def send(
        self, method: str, path: str = "", if_match: Any = None, **body: Any
    ) -> httpx.Response:
        """Send a request about the cart."""
        headers = self.headers | ({} if if_match is None else {"If-Match": if_match})
        return await self.http.request(method, self.url + path, headers=headers, json=body or None)

    async def ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        """Send any request, as a command of its own."""
        headers = self.headers | {"Idempotency-Key": uuid4().hex}
        return await self.http.request(method, path, headers=headers, json=body or None)

    async def start(self, shop: Shop | None = None, *, store: int = 0) -> "Device":
        """A new cart, which this device then shows."""
        body = {} if shop is None else {"location_id": str(shop.stores[store].location_id)}
        answer = await self.http.post("/v1/carts", json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
        started = answer.json()
        headers = dict(self.headers)
        if started["cart_token"] is not None:
            headers["Cart-Token"] = started["cart_token"]
        return Device(self.http, headers, started["cart"]["id"])

    async def set(self, sku: str, quantity: int) -> Any:
        """So many units; answers the cart."""
        return good(await self.send("PUT", f"/lines/{sku}", quantity=quantity))

    async def lines(self) -> dict[str, int]:
        """What is in the cart."""
        cart = good(await self.send("GET"))["cart"]
        return {line["sku"]: line["quantity"] for line in cart["lines"]}

    async def code(self) -> str:
        """A claim code for the cart."""
        code: str = good(await self.send("POST", "/code"), 201)["code"]
        return code


def good(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that is expected to be good."""
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int, code: str) -> Any:
    """The document of a refusal."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()


async def new_shopper(services: Services) -> UUID:
    """Somebody who is known."""
    async with services.database.transaction() as conn:
        email = f"{ids.uuid7().hex}@example.com"
        made = await customers.put_shopper(
            conn, email=email, phone=None, locale="es", now=services.now()
        )
    return made.id


async def session_of(services: Services, key: str, shopper_id: UUID) -> dict[str, str]:
    """What another device of a shopper sends."""
    now = services.now()
    async with services.database.transaction() as conn:
        who = await access.authenticate(conn, key_secret=key, session_secret=None, now=now)
        started = await access.start_shopper_session(conn, who, shopper_id, now=now)
    return {"X-API-Key": key, "Authorization": f"Bearer {started.secret}"}


async def claim(tablet: Tablet, code: str) -> httpx.Response:
    """The associate claims what the code is of."""
    return await tablet.post("/cart-claims", code=code)


async def at_store(
    tablet: Tablet, method: str, path: str, if_match: Any = None, **body: Any
) -> httpx.Response:
    """The associate does something to a claimed cart."""
    headers = tablet.headers | {"Idempotency-Key": uuid4().hex}
    headers |= {} if if_match is None else {"If-Match": if_match}
    return await tablet.http.request(
        method, f"/v1/store/carts/{path}", headers=headers, json=body or None
    )
