"""The 360 view beside a cart read, and with few and with many browsing events stored."""

import asyncio
from collections.abc import Sequence
from statistics import quantiles
from time import perf_counter
from uuid import UUID, uuid4

import httpx
import msgspec

from commerce import access, carts, clienteling, consents, customers, lists, orders
from commerce.access import OPERATOR, Principal, permissions_of
from commerce.carts import Owner
from commerce.clienteling.searches import ByLoyaltyCode
from commerce.consents import Decision
from commerce.customers import Contact, Person
from commerce.installation import installation_secret
from commerce.kernel import clock, ids
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.orders import Numbers, Placement
from commerce.pricing import Basket, Line
from tests.bench import browsing, database
from tests.bench.measuring import Bench, Row, request
from tests.bench.stack import HOST
from tests.shop import Shop

READS = 800
VIEWS = 400
ORDERS = 40
LINES = 5
PIN = "4711"
OK = frozenset({200})


class Regular(msgspec.Struct, frozen=True):
    """A shopper who buys, browses, wishes and fills a cart, and allows to be served."""

    person: Person
    cart_id: UUID


async def measure_views(bench: Bench) -> None:
    """Over HTTP by one client after a cart read; then in two databases by turns."""
    stack = bench.stack
    ana = await _regular(stack.database, stack.shop)
    owner = await _session(stack.database, ana)
    tablet = await _tablet(bench, ana)
    reads = [
        request("GET", f"/v1/carts/{ana.cart_id}", owner[0], head=_bearer(owner[1]))
        for _ in range(READS)
    ]
    cart = await bench.load("cart read", [[read] for read in reads], clients=1, expected=OK)
    bench.say(cart)
    key, session, view_id = tablet
    path = f"/v1/store/shopper-views/{view_id}"
    flows = [[request("GET", path, key, head=_bearer(session))] for _ in range(READS)]
    row = await bench.load("360 view", flows, clients=1, expected=OK)
    row.ratios["p50/cart"] = row.p50_ms / cart.p50_ms
    row.target = "(wanted: under 6)"
    bench.say(row)
    await _compare(bench, ana)


async def _compare(bench: Bench, known: Regular) -> None:
    """The view with a thousand browsing events stored and with five million."""
    stack = bench.stack
    few = await Database.open(stack.peer_dsn, max_size=1)
    try:
        other = await _regular(few, stack.peer_shop)
        for dsn, stored in ((stack.peer_dsn, browsing.FEW), (stack.dsn, browsing.MANY)):
            await asyncio.to_thread(browsing.fill, dsn, stored)
            await asyncio.to_thread(database.settle, dsn)
        sides = [
            (browsing.FEW, few, await _opened(few, stack.peer_shop, other.person)),
            (browsing.MANY, stack.database,
             await _opened(stack.database, stack.shop, known.person)),
        ]  # fmt: skip
        taken: dict[int, list[float]] = {stored: [] for stored, _, _ in sides}
        for _ in range(VIEWS):
            for stored, db, (who, view_id) in sides:
                before = perf_counter()
                await _look(db, who, view_id)
                taken[stored].append(perf_counter() - before)
    finally:
        await few.close()
    rows = [_row(f"360 view, {stored:,} events stored", times) for stored, times in taken.items()]
    rows[1].ratios["p50/few"] = rows[1].p50_ms / rows[0].p50_ms
    rows[1].target = "(wanted: at most 1.3)"
    for row in rows:
        bench.say(row)


async def _look(db: Database, who: Principal, view_id: UUID) -> None:
    now = clock.now()
    async with db.transaction() as conn:
        found = await clienteling.standing(conn, view_id, who, now)
        assert found.ending is None
        seen = await clienteling.show(conn, found, now=now)
    assert seen.portrait.orders is not None
    assert seen.portrait.browsing is not None
    assert len(seen.portrait.browsing.searches) > 0


async def _regular(db: Database, shop: Shop) -> Regular:
    """Forty orders, four hundred browsing events, a wishlist and a cart of five lines."""
    now = clock.now()
    async with db.transaction() as conn:
        made = await customers.put_shopper(
            conn, email=f"{uuid4().hex}@example.com", phone=None, name="Ana Torres", locale="es",
            now=now,
        )  # fmt: skip
        person = await customers.person_of(conn, made.id)
        allowed = [Decision("personal_service", True), Decision("browsing_insight", True)]
        await consents.decide(conn, made.id, allowed, "profile", "bench", now)
    async with db.transaction() as conn:
        numbers = Numbers(await installation_secret(conn))
        wanted = [_placement(shop, made.id, number) for number in range(ORDERS)]
        await orders.place(conn, wanted, numbers=numbers, now=now)
    await browsing.browse(db, made.id)
    async with db.transaction() as conn:
        cart_id = await _fill_cart(conn, shop, made.id)
    return Regular(person, cart_id)


async def _fill_cart(conn: Connection, shop: Shop, shopper_id: UUID) -> UUID:
    now, owner = clock.now(), Owner((shopper_id,), has_token=False)
    cart = await carts.create(
        conn, cart_id=ids.uuid7(), key_id=ids.uuid7(), shopper_id=shopper_id,
        location_id=shop.stores[0].location_id, now=now,
    )  # fmt: skip
    wishes = await lists.own(conn, shopper_id, "wishlist", now=now)
    for each in shop.skus[:LINES]:
        await carts.set_line(conn, cart.id, owner, sku=each.sku, quantity=1, actor="bench", now=now)
        await lists.set_line(conn, wishes.head.id, (shopper_id,), sku=each.sku, quantity=1, now=now)
    return cart.id


def _placement(shop: Shop, shopper_id: UUID, number: int) -> Placement:
    first, second = shop.skus[number], shop.skus[number + 1]
    return Placement(
        order_id=ids.uuid7(), fulfillment_id=ids.uuid7(), tender="pay_at_pickup", channel="web",
        basket=Basket(shop.stores[0].location_id, (Line(first.sku, 1), Line(second.sku, 1))),
        seen=Money(first.price_minor + second.price_minor, shop.currency),
        key_id=ids.uuid7(), actor="bench", shopper_id=shopper_id,
        contact=Contact(id=ids.uuid7(), name="Ana", shopper_id=shopper_id, email="a@example.com"),
    )  # fmt: skip


async def _session(db: Database, known: Regular) -> tuple[str, str]:
    """The shopper's own key and session."""
    async with db.transaction() as conn:
        key, secret = await _key(conn, "storefront")
        session = await access.start_shopper_session(conn, key, known.person.id, now=clock.now())
    return secret, session.secret


async def _tablet(bench: Bench, known: Regular) -> tuple[str, str, str]:
    """A tablet's key, an associate's session, and a view that is open in it."""
    stack, now = bench.stack, clock.now()
    store = stack.shop.stores[0].location_id
    async with stack.database.transaction() as conn:
        key, secret = await _key(conn, "tablet")
        await access.put_associate(
            conn, OPERATOR, code="BENCH", name="Eva", role="associate", location_ids=[store],
            pin=PIN, now=now,
        )  # fmt: skip
    session = await access.sign_in(
        stack.database, key, code="BENCH", pin=PIN, location_id=store, now=now
    )
    headers = {"X-API-Key": secret, "Authorization": f"Bearer {session.secret}"}
    why = {"purpose": "serve_in_store", "reason": "Measuring"}
    search = {"kind": "loyalty_code", "loyalty_code": known.person.loyalty_code}
    base = f"http://{HOST}:{stack.port}/v1/store"
    async with httpx.AsyncClient(headers=headers, timeout=30) as http:
        found = await http.post(f"{base}/shopper-look-ups", json={**why, "search": search})
        candidate_id = found.json()["candidates"][0]["id"]
        opened = await http.post(
            f"{base}/shopper-views", json={**why, "candidate_id": candidate_id}
        )
    return secret, session.secret, opened.json()["id"]


async def _opened(db: Database, shop: Shop, person: Person) -> tuple[Principal, UUID]:
    """A view that is open without a tablet."""
    now = clock.now()
    who = Principal(
        key_id=ids.uuid7(), key_kind="tablet", channel="store", session_id=ids.uuid7(),
        permissions=permissions_of("tablet", "associate"), associate_id=ids.uuid7(),
        role="associate", location_ids=(shop.stores[0].location_id,),
    )  # fmt: skip
    async with db.transaction() as conn:
        found = await clienteling.look_up(
            conn, who, ByLoyaltyCode(person.loyalty_code), purpose="serve_in_store",
            reason="Measuring", secret=b"", now=now,
        )  # fmt: skip
        opened = await clienteling.open_view(
            conn, who, found.candidates[0].id, purpose="serve_in_store", reason="Measuring",
            now=now,
        )  # fmt: skip
    return who, opened.view.id


async def _key(conn: Connection, kind: access.KeyKind) -> tuple[Principal, str]:
    now = clock.now()
    _, secret = await access.create_key(
        conn, OPERATOR, kind=kind, name=f"bench {kind}", requests_per_minute=100_000_000, now=now,
        channel="store" if kind == "tablet" else "web",
    )  # fmt: skip
    return await access.authenticate(conn, key_secret=secret, session_secret=None, now=now), secret


def _bearer(session: str) -> str:
    return f"Authorization: Bearer {session}\r\n"


def _row(name: str, times: Sequence[float]) -> Row:
    cuts = quantiles(times, n=100)
    return Row(name, len(times) / sum(times), 1000 * cuts[49], 1000 * cuts[98])
