"""Shoppers as a store's associate meets them, over HTTP: known, consenting or not, and viewed."""

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx
import msgspec

from api.services import Services
from commerce import access, customers, orders
from commerce.access import OPERATOR
from commerce.customers import Contact
from commerce.customers.merging import token_of
from commerce.kernel import ids
from commerce.kernel.money import Money
from commerce.orders import Order, Placement
from commerce.pricing import Basket, Line
from tests.shop import Shop
from tests.tablet import PIN, Tablet

REASON = "Asked for a size"
PERSONAL, BROWSING = "personal_service", "browsing_insight"


class Known(msgspec.Struct, frozen=True):
    """A shopper with a session of their own."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    id: UUID
    email: str
    phone: str
    loyalty_code: str

    async def decides(self, **granted: bool) -> None:
        """Grants or withdraws by name of the purpose."""
        decisions = [{"purpose": each, "granted": given} for each, given in granted.items()]
        answer = await self.http.put(
            "/v1/profile/consents", json={"decisions": decisions}, headers=self.headers
        )
        assert answer.status_code == 200, answer.text

    async def allows(self, *purposes: str) -> None:
        """Grants these."""
        await self.decides(**dict.fromkeys(purposes, True))

    async def looks(self) -> list[dict[str, Any]]:
        """Who looked, as the shopper reads it."""
        answer = await self.http.get("/v1/profile/views", headers=self.headers)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


async def known(
    http: httpx.AsyncClient, services: Services, *consents: str, name: str = "Ana Torres"
) -> Known:
    """A new shopper, signed in, who allows these purposes."""
    email, phone = f"{uuid4().hex}@example.com", f"+5255{uuid4().int % 10**8:08d}"
    now = services.now()
    async with services.database.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind="storefront", name=uuid4().hex, channel="app",
            requests_per_minute=1_000_000, now=now,
        )  # fmt: skip
        key = await access.authenticate(conn, key_secret=secret, session_secret=None, now=now)
        made = await customers.put_shopper(
            conn, email=email, phone=phone, name=name, locale="es", now=now
        )
        session = await access.start_shopper_session(conn, key, made.id, now=now)
    headers = {"X-API-Key": secret, "Authorization": f"Bearer {session.secret}"}
    ana = Known(http, headers, made.id, email, phone, made.loyalty_code)
    if consents:
        await ana.allows(*consents)
    return ana


async def ordered(
    services: Services, shop: Shop, shopper_id: UUID, *lines: tuple[int, int], total_minor: int,
    store: int = 0,
) -> Order:  # fmt: skip
    """A shopper's order of (SKU number, units), to be collected and paid at one of the stores."""
    chosen = tuple(Line(shop.skus[index].sku, quantity) for index, quantity in lines)
    wanted = Placement(
        order_id=ids.uuid7(), fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[store].location_id, chosen), tender="pay_at_pickup",
        seen=Money(total_minor, shop.currency), channel="web", key_id=ids.uuid7(), actor="test",
        shopper_id=shopper_id,
        contact=Contact(id=ids.uuid7(), name="Ana", shopper_id=shopper_id, email="a@example.com"),
    )  # fmt: skip
    async with services.database.transaction() as conn:
        (made,) = await orders.place(conn, [wanted], numbers=services.numbers, now=services.now())
    assert isinstance(made, Order), made
    return made


async def look_up(tablet: Tablet, purpose: str = "serve_in_store", **search: Any) -> httpx.Response:
    """A look-up: `kind` and what belongs to it."""
    return await tablet.post(
        "/shopper-look-ups", search=search, purpose=purpose, reason="Stands at the counter"
    )


async def candidates(tablet: Tablet, **search: Any) -> list[dict[str, Any]]:
    """Whom a look-up found."""
    answer = await look_up(tablet, **search)
    assert answer.status_code == 201, answer.text
    found: list[dict[str, Any]] = answer.json()["candidates"]
    return found


async def candidate_of(tablet: Tablet, shopper: Known) -> str:
    """The candidate of a shopper who shows the loyalty code."""
    (found,) = await candidates(tablet, kind="loyalty_code", loyalty_code=shopper.loyalty_code)
    return str(found["id"])


async def open_view(
    tablet: Tablet, candidate_id: str, purpose: str = "serve_in_store"
) -> httpx.Response:
    """Open a view of a candidate."""
    return await tablet.post(
        "/shopper-views", candidate_id=candidate_id, purpose=purpose, reason=REASON
    )


async def viewed(tablet: Tablet, shopper: Known, purpose: str = "serve_in_store") -> dict[str, Any]:
    """An open view of a shopper."""
    answer = await open_view(tablet, await candidate_of(tablet, shopper), purpose)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


def withheld(view: dict[str, Any]) -> dict[str, str]:
    """What a view does not show, and why."""
    return {each["field"]: each["why"] for each in view["withheld"]}


async def aged(
    services: Services, table: Literal["shopper_candidate", "shopper_view"], row_id: str,
    by: timedelta,
) -> None:  # fmt: skip
    """Let time pass for a candidate or a view."""
    statement = f"UPDATE {table} SET expires_at = expires_at - $1::interval WHERE id = $2"  # noqa: S608
    async with services.database.pool.acquire() as driver:
        await driver.execute(statement, by, UUID(row_id))


async def signed_in_again(services: Services, tablet: Tablet) -> Tablet:
    """The same associate at the same tablet, in another session."""
    async with services.database.pool.acquire() as driver:
        code, store = await driver.fetchrow(
            "SELECT code, location_id FROM associate JOIN associate_store ON associate_id = id"
            " WHERE id = $1",
            UUID(tablet.associate_id),
        )
    key = {"X-API-Key": tablet.headers["X-API-Key"]}
    body = {"associate_code": code, "pin": PIN, "location_id": str(store)}
    answer = await tablet.http.post("/v1/store/sessions", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    headers = key | {"Authorization": f"Bearer {answer.json()['secret']}"}
    return Tablet(tablet.http, headers, tablet.associate_id)


async def merged(services: Services, source_id: UUID, target_id: UUID) -> UUID:
    """Two shoppers made one; the merge's id."""
    async with services.database.transaction() as conn:
        source = await customers.person_of(conn, source_id)
        target = await customers.person_of(conn, target_id)
        seen = token_of(source, target)
        made = await customers.merge(
            conn, OPERATOR, source_id=source_id, target_id=target_id, seen=seen,
            now=services.now(),
        )  # fmt: skip
    return made.id
