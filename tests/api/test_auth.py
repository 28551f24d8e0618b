"""Who is let in at the edge: keys, guards, CORS, and how soon a revocation counts."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest
from litestar import get, post

from api.app import build
from api.auth import KEPT_SECONDS, may, public
from api.contract import no_key_needed
from api.middleware import Edge
from commerce import access
from commerce.access import OPERATOR, Principal
from commerce.kernel import clock
from tests.api.conftest import MakeKey, client

Start = Callable[..., AbstractAsyncContextManager[Edge]]


@get("/probe/goods", guards=[may("catalog.read")])
async def goods(who: Principal) -> dict[str, str]:
    """For many."""
    return {"actor": who.actor}


@get("/probe/stock", guards=[may("stock.write", "key.write")])
async def stock(who: Principal) -> dict[str, str]:
    """For two permissions."""
    return {"actor": who.actor}


@get("/probe/open", guards=[public()])
async def anybody() -> dict[str, str]:
    """For everybody."""
    return {}


PROBE = SimpleNamespace(ROUTES=[goods, stock, anybody])


@pytest.fixture(scope="module")
async def probe(start: Start) -> AsyncIterator[Edge]:
    async with start([PROBE]) as edge:
        yield edge


@pytest.fixture(scope="module")
async def nobody(probe: Edge) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(probe)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://mostrador") as http:
        yield http


async def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_key_passes_and_its_absence_does_not(
    probe: Edge, nobody: httpx.AsyncClient, make_key: MakeKey
) -> None:
    async with client(probe, await make_key("storefront")) as shop:
        passed = await shop.get("/probe/goods")
    assert passed.status_code == 200
    assert passed.json()["actor"].startswith("key:")
    assert await refusal(await nobody.get("/probe/goods")) == (401, "api_key_missing")
    wrong = await nobody.get("/probe/goods", headers={"X-API-Key": "pk_wrong"})
    assert await refusal(wrong) == (401, "api_key_invalid")


async def test_public_routes_ask_for_nothing(nobody: httpx.AsyncClient) -> None:
    assert (await nobody.get("/probe/open")).status_code == 200
    assert (await nobody.get("/probe/open", headers={"X-API-Key": "wrong"})).status_code == 200


async def test_any_of_a_routes_permissions_is_enough(probe: Edge, make_key: MakeKey) -> None:
    async with client(probe, await make_key("backoffice")) as office:
        assert (await office.get("/probe/stock")).status_code == 200
    async with client(probe, await make_key("storefront")) as shop:
        denied = await shop.get("/probe/stock")
    assert await refusal(denied) == (403, "permission_denied")
    assert denied.json()["permission"] == "stock.write"


async def test_a_session_that_is_none_is_refused(probe: Edge, make_key: MakeKey) -> None:
    key = await make_key("storefront")
    async with client(probe, key, "ss_wrong") as shop:
        assert await refusal(await shop.get("/probe/goods")) == (401, "session_invalid")
    async with client(probe, key) as shop:
        other = await shop.get("/probe/goods", headers={"Authorization": "Basic YTpi"})
    assert await refusal(other) == (401, "session_invalid")


async def test_a_revoked_key_is_forgotten_at_once_where_it_is_known(
    probe: Edge, make_key: MakeKey
) -> None:
    secret = await make_key("storefront")
    services = probe.app.state.services
    async with client(probe, secret) as shop:
        key_id = UUID((await shop.get("/probe/goods")).json()["actor"].removeprefix("key:"))
        async with services.database.transaction() as conn:
            await access.revoke_key(conn, OPERATOR, key_id, now=clock.now())
        assert (await shop.get("/probe/goods")).status_code == 200
        services.keyring.forget(key_id)
        assert await refusal(await shop.get("/probe/goods")) == (401, "api_key_invalid")


async def test_a_revoked_key_is_out_after_seconds_in_any_case(
    probe: Edge, make_key: MakeKey
) -> None:
    secret = await make_key("storefront")
    services = probe.app.state.services
    async with client(probe, secret) as shop:
        key_id = UUID((await shop.get("/probe/goods")).json()["actor"].removeprefix("key:"))
        async with services.database.transaction() as conn:
            await access.revoke_key(conn, OPERATOR, key_id, now=clock.now())
        await asyncio.sleep(KEPT_SECONDS + 0.1)
        assert await refusal(await shop.get("/probe/goods")) == (401, "api_key_invalid")


async def test_scripts_of_a_keys_origins_may_read(probe: Edge, make_key: MakeKey) -> None:
    mine, other = (f"https://{uuid4().hex}.example" for _ in range(2))
    async with client(probe, await make_key("storefront", origins=[mine])) as shop:
        allowed = await shop.get("/probe/goods", headers={"Origin": mine})
        foreign = await shop.get("/probe/goods", headers={"Origin": other})
    assert allowed.headers["access-control-allow-origin"] == mine
    assert "ratelimit-remaining" in allowed.headers["access-control-expose-headers"].lower()
    assert foreign.status_code == 200
    assert "access-control-allow-origin" not in foreign.headers


async def test_a_preflight_needs_no_key_but_an_origin_of_some_key(
    probe: Edge, nobody: httpx.AsyncClient, make_key: MakeKey
) -> None:
    mine, other = (f"https://{uuid4().hex}.example" for _ in range(2))
    await make_key("storefront", origins=[mine])
    probe.app.state.services.keyring.forget(uuid4())
    asks = {"Access-Control-Request-Method": "POST"}
    allowed = await nobody.options("/probe/goods", headers={"Origin": mine, **asks})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == mine
    assert "Idempotency-Key" in allowed.headers["access-control-allow-headers"]
    denied = await nobody.options("/probe/goods", headers={"Origin": other, **asks})
    assert await refusal(denied) == (403, "origin_not_allowed")


async def test_a_refusal_can_be_read_by_the_script_that_met_it(
    probe: Edge, nobody: httpx.AsyncClient, make_key: MakeKey
) -> None:
    mine = f"https://{uuid4().hex}.example"
    await make_key("storefront", origins=[mine])
    probe.app.state.services.keyring.forget(uuid4())
    refused = await nobody.get("/probe/goods", headers={"Origin": mine})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == mine


async def test_the_request_id_is_the_callers_or_a_new_one(nobody: httpx.AsyncClient) -> None:
    given = await nobody.get("/probe/open", headers={"X-Request-Id": "checkout-42"})
    assert given.headers["x-request-id"] == "checkout-42"
    strange = await nobody.get("/probe/open", headers={"X-Request-Id": "a b<script>"})
    again = await nobody.get("/probe/open")
    assert re.fullmatch(r"[0-9a-f]{24}", strange.headers["x-request-id"])
    assert again.headers["x-request-id"] != strange.headers["x-request-id"]


def test_a_route_without_a_guard_does_not_build() -> None:
    @get("/probe/forgotten")
    async def forgotten() -> None:
        """Open to the world by mistake."""

    with pytest.raises(AssertionError, match="needs one guard"):
        build([forgotten], [])


def test_a_post_that_does_not_say_how_it_is_repeated_does_not_build() -> None:
    @post("/probe/command", guards=[may("order.place")])
    async def command() -> None:
        """Neither once nor harmless."""

    with pytest.raises(AssertionError, match="is a POST"):
        build([command], [])

    @post("/probe/search", guards=[may("catalog.read")])
    @no_key_needed("it reads")
    async def search() -> None:
        """Harmless."""

    build([search], [])


def test_a_permission_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="no such permission"):
        may("stock.steal")
