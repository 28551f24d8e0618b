"""Live feeds: who sees what, resuming without a gap, slow clients, access that ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api import database, feeds, streams
from api.feeds import Stream
from api.middleware import Edge
from api.postgres import Server
from api.services import Services, directory
from api.storefront.orders import ORDER_TOKEN_LENGTH
from api.streams import Feed
from commerce import access
from commerce.access import OPERATOR, Principal
from commerce.kernel import clock, events, ids, readers
from commerce.kernel.events import Event
from commerce.kernel.readers import Position
from commerce.kernel.sql import Database
from tests import counter
from tests.background import WebProcess, until
from tests.feeds import FeedClient
from tests.shop import make_shop
from tests.tablet import Tablet, sign_in, told

EVERYTHING = "/v1/backoffice/feed"
MakeKey = Callable[..., Awaitable[str]]
Start = Callable[..., AbstractAsyncContextManager[Edge]]

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


async def record(db: Database, *new: Event) -> None:
    async with db.transaction() as conn:
        await events.record(conn, new, now=clock.now())


def fact(kind: str, *, at: UUID | None = None, of: UUID | None = None) -> Event:
    return Event(kind, "order", of or uuid4(), "associate:1", {"number": 1}, at)


@pytest.fixture(scope="module")
async def backoffice_key(make_key: MakeKey) -> str:
    return await make_key("backoffice")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Transaction ids are counted per cluster, so who uses up many needs one of their own."""
    server = Server(tmp_path_factory.mktemp("cluster"), durable=False)
    server.start()
    asyncio.run(database.prepare(server.dsn()))
    yield server.dsn()
    server.stop()


@asynccontextmanager
async def own_application(dsn: str, start: Start) -> AsyncGenerator[tuple[Edge, Services, str]]:
    """An application with nothing but feeds, over this database; and a key to it."""
    async with start([streams], dsn=dsn) as edge:
        services: Services = edge.app.state.services
        async with services.database.transaction() as conn:
            _, secret = await access.create_key(
                conn, OPERATOR, kind="backoffice", name="test", channel="web",
                requests_per_minute=1_000, now=clock.now(),
            )  # fmt: skip
        yield edge, services, secret


@asynccontextmanager
async def client_at(url: str, headers: dict[str, str]) -> AsyncGenerator[httpx.Response]:
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client,
        client.stream("GET", EVERYTHING) as answer,
    ):
        yield answer


async def test_a_feed_opens_with_a_cursor_and_tells_what_commits(
    edge: Edge, services: Services, backoffice_key: str
) -> None:
    mark = f"test.{uuid4().hex}"
    async with FeedClient(edge, EVERYTHING, {"X-API-Key": backoffice_key}) as client:
        assert client.status == 200
        opened = await client.next()
        location, order = uuid4(), uuid4()
        await record(services.database, fact(mark, at=location, of=order))
        seen = await client.until(mark)
    assert opened.kind == "open"
    Position.parse(opened.id)
    assert seen.data["type"] == mark
    assert seen.data["aggregate_id"] == str(order)
    assert seen.data["location_id"] == str(location)
    assert seen.data["actor"] == "associate:1"
    assert seen.data["payload"] == {"number": 1}
    assert seen.data["version"] == 1


async def test_what_was_missed_comes_first_and_nothing_twice(
    edge: Edge, services: Services, backoffice_key: str
) -> None:
    db, headers = services.database, {"X-API-Key": backoffice_key}
    marks = [f"test.{uuid4().hex}" for _ in range(6)]
    async with FeedClient(edge, EVERYTHING, headers) as client:
        await client.next()
        await record(db, *(fact(mark) for mark in marks[:3]))
        seen = await client.until(marks[0])
    await record(db, fact(marks[3]))
    resumed = {**headers, "Last-Event-ID": seen.id}
    async with FeedClient(edge, EVERYTHING, resumed) as client:
        assert await client.types(3, of="test.") == marks[1:4]
        await record(db, fact(marks[4]))
        last = await client.until(marks[4])
    async with FeedClient(edge, EVERYTHING, headers, after=last.id) as client:
        await record(db, fact(marks[5]))
        assert await client.types(1) == [marks[5]]


async def test_an_event_that_commits_late_is_not_missed_by_a_resumed_feed(
    edge: Edge, services: Services, backoffice_key: str
) -> None:
    db, headers = services.database, {"X-API-Key": backoffice_key}
    slow, fast = f"test.{uuid4().hex}", f"test.{uuid4().hex}"
    async with FeedClient(edge, EVERYTHING, headers) as client:
        await client.next()
        async with db.transaction() as late:
            await events.record(late, [fact(slow)], now=NOW)
            await late.flush()
            await record(db, fact(fast))
            seen = await client.until(fast)
    async with FeedClient(edge, EVERYTHING, {**headers, "Last-Event-ID": seen.id}) as client:
        assert await client.types(1) == [slow]


@pytest.mark.parametrize("cursor", ["nonsense", "other generation", "from the beginning"])
async def test_a_cursor_that_means_nothing_here_says_start_over_and_the_feed_goes_on(
    own_cluster: str, start: Start, cursor: str
) -> None:
    async with own_application(own_cluster, start) as (edge, services, key):
        db = services.database
        await use_up_transactions(db, feeds.MAX_BEHIND)
        async with db.reading() as conn:
            present = await readers.latest(conn)
        reader = services.part(feeds.LogReader)

        async def caught_up() -> bool:
            return reader.position.transactions >= present.transactions

        await until(caught_up)  # else it starts over itself, and everybody with it
        given = {
            "nonsense": "nonsense",
            "other generation": Position(present.generation + 1, present.seen).cursor(),
            "from the beginning": Position(present.generation, readers.BEGINNING).cursor(),
        }[cursor]
        headers = {"X-API-Key": key, "Last-Event-ID": given}
        async with FeedClient(edge, EVERYTHING, headers) as client:
            first = await client.next()
            assert (first.kind, first.data) == ("start_over", {})
            await record(db, fact("order.placed"))
            assert (await client.next()).kind == "order.placed"


async def use_up_transactions(db: Database, count: int) -> None:
    """Each subtransaction that writes takes an id."""
    async with db.transaction() as conn:
        await conn.driver.execute("CREATE TEMP TABLE used (n int) ON COMMIT DROP")
        await conn.driver.execute(
            f"DO $$ BEGIN FOR n IN 0..{count} LOOP BEGIN INSERT INTO used VALUES (n);"  # noqa: S608
            " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
        )


async def test_a_tablet_sees_its_own_store_and_only_what_concerns_stores(
    edge: Edge, http: httpx.AsyncClient, services: Services
) -> None:
    shop = await make_shop(services.database, stores=2, skus=1)
    mine, other = (each.location_id for each in shop.stores)
    tablet = await sign_in(http, services, shop)
    async with FeedClient(edge, "/v1/store/feed", tablet.headers) as client:
        assert (await client.next()).kind == "open"
        await record(
            services.database,
            fact("order.placed", at=other),
            fact("payment.authorized", at=mine),
            fact("session.started", at=mine),
            fact("order.placed"),
            fact("pickup.ready", at=mine),
            fact("stock.shortfall", at=mine),
        )
        await client.until("stock.shortfall")
        assert [kind for kind in client.passed if kind != "store.changed"] == ["pickup.ready"]
    refused = await tablet.get("/feed", location_id=str(other))
    assert told(refused) == (403, "store_not_allowed")


async def test_a_shopper_follows_one_order_without_learning_who_works_there(
    edge: Edge, services: Services, make_key: MakeKey, http: httpx.AsyncClient
) -> None:
    db = services.database
    shop = await make_shop(db, stores=1, skus=1)
    placed = await counter.order(db, shop, (0, 1), total_minor=10_000)
    headers = {"X-API-Key": await make_key("storefront")}
    path = f"/v1/orders/{placed.id}/feed"
    stranger = await http.get(path, headers=headers)
    assert told(stranger) == (404, "not_found")
    token = ids.derived(services.secret, "order", placed.id, ORDER_TOKEN_LENGTH)
    async with FeedClient(edge, path, {**headers, "Order-Token": token}) as client:
        await client.next()
        at = shop.stores[0].location_id
        await record(
            db,
            fact("pickup.ready", at=at),
            fact("pickup.at_risk", at=at, of=placed.id),
            fact("pickup.picking", at=at, of=placed.id),
        )
        seen = await client.until("pickup.picking")
        assert set(client.passed) <= {"order.placed", "pickup.requested"}, "placed just before"
    assert seen.data["aggregate_id"] == str(placed.id)
    assert "actor" not in seen.data


async def test_a_feed_ends_when_its_session_ends_and_when_its_key_is_revoked(
    edge: Edge, http: httpx.AsyncClient, services: Services, make_key: MakeKey
) -> None:
    shop = await make_shop(services.database, stores=1, skus=1)
    tablet = await sign_in(http, services, shop)
    async with FeedClient(edge, "/v1/store/feed", tablet.headers) as client:
        await client.next()
        # Not over HTTP, where this process forgets at once: the log alone tells it.
        async with services.database.transaction() as conn:
            await access.put_associate(
                conn, OPERATOR, code=await code_of(services, tablet), name="Eva", role="associate",
                location_ids=[shop.stores[0].location_id], active=False, now=clock.now(),
            )  # fmt: skip
        await client.end()
    secret = await make_key("backoffice")
    async with services.database.transaction() as conn:
        (key_id,) = [each.id for each in await access.keys(conn) if secret.endswith(each.hint)]
    async with FeedClient(edge, EVERYTHING, {"X-API-Key": secret}) as client:
        await client.next()
        async with services.database.transaction() as conn:
            await access.revoke_key(conn, OPERATOR, key_id, now=clock.now())
        await client.end()
    again = await http.get("/v1/backoffice/keys", headers={"X-API-Key": secret})
    assert told(again) == (401, "api_key_invalid")


async def code_of(services: Services, tablet: Tablet) -> str:
    async with services.database.reading() as conn:
        (code,) = [
            each.code
            for each in await access.associates(conn)
            if str(each.id) == tablet.associate_id
        ]
    return code


async def test_a_feed_is_checked_while_nothing_happens_and_its_cursor_moves_on(
    services: Services, make_key: MakeKey
) -> None:
    secret = await make_key("backoffice")
    await services.part(feeds.LogReader).started()
    request: Any = SimpleNamespace(headers={"x-api-key": secret})
    stream = Stream(frozenset({uuid4()}), types=None, subjects=frozenset())
    may_go_on = True

    async def allowed(_: Principal) -> bool:
        return may_go_on

    feed = Feed(
        services, request, stream, after=None, write=lambda entry: entry.for_staff,
        allowed=allowed, heartbeat_seconds=0.05,
    )  # fmt: skip
    client = FeedClient(feed, "/", {})  # type: ignore[arg-type]
    async with client:
        opened = await client.next()
        await record(services.database, fact("order.placed"))
        moved = await client.next()
        while Position.parse(moved.id).seen == Position.parse(opened.id).seen:
            moved = await client.next()
        assert (moved.kind, moved.data) == ("", {})
        may_go_on = False
        await client.end()


async def test_a_slow_client_is_cut_and_others_get_everything(
    edge: Edge, services: Services, backoffice_key: str
) -> None:
    headers = {"X-API-Key": backoffice_key}
    mark = f"test.{uuid4().hex}"
    count = feeds.MAX_WAITING + 200
    async with (
        FeedClient(edge, EVERYTHING, headers) as slow,
        FeedClient(edge, EVERYTHING, headers) as quick,
    ):
        await slow.next()
        await quick.next()
        slow.reads.clear()
        for number in range(0, count, 100):
            await record(services.database, *[fact(f"{mark}.{number + i}") for i in range(100)])
            got = await quick.types(100, of=mark)
            assert got == [f"{mark}.{number + i}" for i in range(100)]
        assert slow.task is not None
        async with asyncio.timeout(5):
            await asyncio.wait([slow.task])
        assert not slow.ended, "cut, not ended: the client must notice that something is missing"


async def test_two_hundred_feeds_do_not_slow_the_reader(
    edge: Edge, http: httpx.AsyncClient, services: Services
) -> None:
    """Streams of other stores cost nothing; those of the store share what is written."""
    shop = await make_shop(services.database, stores=2, skus=1)
    here, there = shop.stores
    tablets = [await sign_in(http, services, shop, store=number) for number in (0, 1)]
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(
                FeedClient(edge, "/v1/store/feed", tablets[number % 2].headers)
            )
            for number in range(200)
        ]
        for client in clients:
            await client.next()
        began = time.perf_counter()
        for _ in range(20):
            await record(
                services.database, *[fact("pickup.ready", at=here.location_id) for _ in range(50)]
            )
        for client in clients[::2]:
            assert await client.types(1_000) == ["pickup.ready"] * 1_000
        taken = time.perf_counter() - began
        assert [client.body() for client in clients[1::2]] == [b""] * 100
        bodies = {client.body() for client in clients[::2]}
        assert bodies == {b""}
    assert taken < 20, f"100,000 deliveries took {taken:.1f} s"
    assert there.location_id != here.location_id


async def test_the_reader_outlives_its_connection_and_loses_nothing(
    edge: Edge, services: Services, backoffice_key: str
) -> None:
    db = services.database
    mark = f"test.{uuid4().hex}"
    async with FeedClient(edge, EVERYTHING, {"X-API-Key": backoffice_key}) as client:
        await client.next()
        ended = await db.pool.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'mostrador-reader' AND datname = current_database()"
        )
        await record(db, fact(f"{mark}.1"))
        assert ended == 1
        assert await client.types(1, of=mark) == [f"{mark}.1"]
        await record(db, fact(f"{mark}.2"))
        assert await client.types(1, of=mark) == [f"{mark}.2"]


async def test_a_store_that_changed_is_looked_up_anew(services: Services) -> None:
    shop = await make_shop(services.database, stores=1, skus=1)
    kept = await services.part(directory).stores()
    kept.store(shop.stores[0].location_id)
    await record(services.database, fact("store.changed", at=shop.stores[0].location_id))

    async def forgotten() -> bool:
        return await services.part(directory).stores() is not kept

    assert await until(forgotten) < 3


async def test_a_feed_through_the_web_server_is_cut_and_resumed(
    prepared_dsn: str, make_key: MakeKey, services: Services
) -> None:
    """The server pushes back when a client reads too slowly; that is what cutting rests on."""
    secret = await make_key("backoffice")
    headers = {"X-API-Key": secret}
    mark = f"test.{uuid4().hex}"
    with WebProcess(prepared_dsn) as web:
        await web.ready()
        async with (
            httpx.AsyncClient(base_url=web.url, headers=headers, timeout=20) as client,
            client.stream("GET", EVERYTHING) as answer,
        ):
            lines = answer.aiter_lines()
            assert answer.headers["content-type"] == "text/event-stream"
            assert [await anext(lines) for _ in range(4)][1] == "event: open"
            big = {"text": "x" * 4_000}
            for _ in range(40):
                await record(
                    services.database,
                    *[Event(mark, "order", uuid4(), "test", big) for _ in range(100)],
                )
            await asyncio.sleep(2)
            last, count = "", 0
            with suppress(httpx.RemoteProtocolError):
                async for line in lines:
                    if line.startswith("id: "):
                        last, count = line.removeprefix("id: "), count + 1
            assert 0 < count < 4_000, "a client that does not read was not cut"
        async with client_at(web.url, headers | {"Last-Event-ID": last}) as answer:
            async for line in answer.aiter_lines():
                count += line == f"event: {mark}"
                if count == 4_000:
                    break
