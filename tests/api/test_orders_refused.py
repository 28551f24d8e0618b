"""Orders that are not taken: each wrong one has its own code, and leaves nothing behind."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import msgspec
import pytest

from api.problem_json import MAX_BODY_BYTES
from api.services import Services
from commerce.kernel.sql import Database
from commerce.pricing import MAX_LINE_UNITS, MAX_LINES
from tests.carts import make_coupon
from tests.ordering import body, counters, footprint, place, send
from tests.shop import Shop, make_shop
from tests.tablet import told

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, stores=1, on_hand=5)


def at(*path: str | int, to: Any) -> Change:
    """A change of one place in a good body."""

    def change(order: dict[str, Any]) -> None:
        place: Any = order
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def without(*path: str | int) -> Change:
    """A good body without one field."""

    def change(order: dict[str, Any]) -> None:
        place: Any = order
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


class Wrong(NamedTuple):
    """What is wrong, and which field is named for it."""

    change: Change
    path: str


MALFORMED = {
    "unknown field": Wrong(at("price", to=1), "/price"),
    "unknown field in a line": Wrong(at("lines", 0, "price", to=1), "/lines/0/price"),
    "unknown field of the contact": Wrong(at("contact", "vip", to=True), "/contact/vip"),
    "unknown field of the total": Wrong(at("total", "tax", to=0), "/total/tax"),
    "no store": Wrong(without("location_id"), "/location_id"),
    "store that is no id": Wrong(at("location_id", to="S1"), "/location_id"),
    "no lines": Wrong(without("lines"), "/lines"),
    "empty lines": Wrong(at("lines", to=[]), "/lines"),
    "lines that are no list": Wrong(at("lines", to={}), "/lines"),
    "too many lines": Wrong(
        lambda order: order["lines"].extend(order["lines"][:1] * MAX_LINES), "/lines"
    ),
    "no quantity": Wrong(without("lines", 0, "quantity"), "/lines/0/quantity"),
    "quantity zero": Wrong(at("lines", 0, "quantity", to=0), "/lines/0/quantity"),
    "negative quantity": Wrong(at("lines", 0, "quantity", to=-1), "/lines/0/quantity"),
    "quantity as text": Wrong(at("lines", 0, "quantity", to="1"), "/lines/0/quantity"),
    "half a unit": Wrong(at("lines", 0, "quantity", to=0.5), "/lines/0/quantity"),
    "true units": Wrong(at("lines", 0, "quantity", to=True), "/lines/0/quantity"),
    "huge quantity": Wrong(at("lines", 0, "quantity", to=MAX_LINE_UNITS + 1), "/lines/0/quantity"),
    "quantity beyond 64 bits": Wrong(at("lines", 0, "quantity", to=2**70), "/lines/0/quantity"),
    "sku as number": Wrong(at("lines", 0, "sku", to=1), "/lines/0/sku"),
    "empty sku": Wrong(at("lines", 0, "sku", to=""), "/lines/0/sku"),
    "endless sku": Wrong(at("lines", 0, "sku", to="x" * 65), "/lines/0/sku"),
    "no contact": Wrong(without("contact"), "/contact"),
    "contact without a name": Wrong(without("contact", "name"), "/contact/name"),
    "unknown locale": Wrong(at("contact", "locale", to="fr"), "/contact/locale"),
    "tender of the counter": Wrong(at("tender", to="cash"), "/tender"),
    "no total": Wrong(without("total"), "/total"),
    "total as a number": Wrong(at("total", to=10_000), "/total"),
    "total in pesos": Wrong(at("total", "amount_minor", to=100.0), "/total/amount_minor"),
    "total beyond all money": Wrong(
        at("total", "amount_minor", to=10**15 + 1), "/total/amount_minor"
    ),
    "currency of no country": Wrong(at("total", "currency", to="pesos"), "/total/currency"),
    "card without its payment method": Wrong(at("tender", to="card"), "/payment_method"),
    "way back that is a script": Wrong(at("return_url", to="javascript:x"), "/return_url"),
}


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_body_that_is_no_order_is_refused_with_the_path_of_the_field(
    storefront: httpx.AsyncClient, db: Database, shop: Shop, wrong: Wrong
) -> None:
    order, key = body(shop), uuid4().hex
    left = await footprint(db, shop)
    wrong.change(order)
    refused = await send(storefront, order, key=key)
    assert (told(refused), refused.json()["path"]) == ((400, "invalid_request"), wrong.path)
    assert await footprint(db, shop) == left
    assert (await send(storefront, body(shop), key=key)).status_code == 201


BROKEN_RULES: dict[str, tuple[Change, tuple[int, str], dict[str, Any]]] = {
    "nobody to tell": (
        without("contact", "email"), (422, "invalid_field"), {"path": "/contact"},
    ),
    "mail address without a domain": (
        at("contact", "email", to="ana"), (422, "invalid_field"), {"path": "/contact/email"},
    ),
    "phone number of no country": (
        at("contact", "phone", to="12345"), (422, "invalid_field"), {"path": "/contact/phone"},
    ),
    "unknown sku": (
        at("lines", 1, "sku", to="NOTHING"),
        (422, "unknown_sku"), {"sku": "NOTHING", "path": "/lines/1/sku"},
    ),
    "unknown store": (
        at("location_id", to="01900000-0000-7000-8000-000000000000"),
        (422, "unknown_store"), {"location_id": "01900000-0000-7000-8000-000000000000"},
    ),
    "unknown coupon": (
        at("coupon_code", to="NOPE"),
        (409, "coupon_refused"), {"coupon_code": "NOPE", "reason": "unknown"},
    ),
    "negative total": (
        at("total", "amount_minor", to=-21_000),
        (409, "price_changed"), {"total": {"amount_minor": 21_000, "currency": "MXN"}},
    ),
    "total that moved": (
        at("total", "amount_minor", to=20_999),
        (409, "price_changed"),
        {"seen": {"amount_minor": 20_999, "currency": "MXN"},
         "total": {"amount_minor": 21_000, "currency": "MXN"}},
    ),
    "total in another currency": (
        at("total", "currency", to="USD"),
        (409, "price_changed"), {"total": {"amount_minor": 21_000, "currency": "MXN"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected", "fields"), BROKEN_RULES.values(), ids=BROKEN_RULES.keys()
)
async def test_an_order_that_breaks_a_rule_is_refused_and_changes_nothing(
    storefront: httpx.AsyncClient, db: Database, shop: Shop, change: Change,
    expected: tuple[int, str], fields: dict[str, Any],
) -> None:  # fmt: skip
    order, key = body(shop, (0, 1), (1, 1)), uuid4().hex
    left = await footprint(db, shop)
    change(order)
    refused = await send(storefront, order, key=key)
    assert told(refused) == expected
    assert refused.headers["content-type"] == "application/problem+json"
    assert {name: refused.json()[name] for name in fields} == fields
    assert await footprint(db, shop) == left


async def test_a_price_that_moved_is_told_and_the_new_one_is_taken(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE price SET amount_minor = 12345 WHERE price_zone = $1 AND sku = $2",
            shop.price_zone, shop.skus[0].sku,
        )  # fmt: skip
    order, key = body(shop), uuid4().hex
    refused = await send(storefront, order, key=key)
    assert told(refused) == (409, "price_changed")
    again = await send(storefront, order, key=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (refused.content, "true")
    assert await counters(db, shop) == (5, 0)
    taken = await place(storefront, shop, total=refused.json()["total"])
    assert taken["order"]["total"]["amount_minor"] == 12_345


async def test_more_than_there_is_is_refused_with_what_there_is(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    left = await footprint(db, shop)
    refused = await send(storefront, body(shop, (0, 1), (1, 6), (2, 9)))
    assert told(refused) == (409, "stock_short")
    assert refused.json()["location_id"] == str(shop.stores[0].location_id)
    assert refused.json()["short"] == [
        {"sku": shop.skus[1].sku, "requested": 6, "available": 5},
        {"sku": shop.skus[2].sku, "requested": 9, "available": 5},
    ]
    assert await footprint(db, shop) == left


async def test_a_sku_on_several_lines_is_summed_before_it_is_compared(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    left = await footprint(db, shop)
    refused = await send(storefront, body(shop, (0, 3), (1, 1), (0, 3)))
    assert told(refused) == (409, "stock_short")
    assert refused.json()["short"] == [{"sku": shop.skus[0].sku, "requested": 6, "available": 5}]
    assert await footprint(db, shop) == left
    taken = await place(storefront, shop, (0, 3), (0, 2))
    assert [line["quantity"] for line in taken["order"]["lines"]] == [3, 2]
    assert await counters(db, shop) == (5, 5)


async def test_the_largest_order_there_can_be_is_only_short_of_stock(
    storefront: httpx.AsyncClient, shop: Shop
) -> None:
    lines = ((0, MAX_LINE_UNITS),) * MAX_LINES
    refused = await send(storefront, body(shop, *lines))
    assert told(refused) == (409, "stock_short")
    assert refused.json()["short"] == [
        {"sku": shop.skus[0].sku, "requested": MAX_LINE_UNITS * MAX_LINES, "available": 5}
    ]


async def test_stock_that_is_kept_from_online_sale_is_not_sold(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE stock_level SET safety_stock = 4 WHERE location_id = $1",
            shop.stores[0].location_id,
        )
    refused = await send(storefront, body(shop, (0, 2)))
    assert refused.json()["short"][0]["available"] == 1


@pytest.mark.parametrize(
    ("statement", "code", "reason"),
    [
        ("UPDATE store SET pickup_enabled = false", "pickup_unavailable", "pickup_disabled"),
        (
            "UPDATE store SET opening_hours = '[[], [], [], [], [], [], []]'",
            "pickup_unavailable",
            "store_closed",
        ),
    ],
)
async def test_a_store_that_hands_out_nothing_takes_no_order(
    storefront: httpx.AsyncClient, db: Database, shop: Shop, statement: str, code: str, reason: str
) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute(f"{statement} WHERE location_id = $1", shop.stores[0].location_id)
    left = await footprint(db, shop)
    refused = await send(storefront, body(shop))
    assert (told(refused), refused.json()["reason"]) == ((409, code), reason)
    assert await footprint(db, shop) == left


async def test_a_sku_that_is_not_sold_any_more_is_unknown(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    async with db.transaction() as conn:
        await conn.driver.execute("UPDATE sku SET active = false WHERE sku = $1", shop.skus[0].sku)
    assert told(await send(storefront, body(shop))) == (422, "unknown_sku")


async def test_a_coupon_that_is_used_up_is_refused_and_its_order_too(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    code = await make_coupon(db, max_redemptions=2)
    order = body(shop, coupon_code=code, total={"amount_minor": 9_000, "currency": "MXN"})
    answers = await asyncio.gather(*(send(storefront, order) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
    refusals = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(each["code"], each["reason"]) for each in refusals} == {("coupon_refused", "used_up")}
    assert await counters(db, shop) == (5, 2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (400, "invalid_request")),
        (b"{", (400, "malformed_body")),
        (b"\xff\xfe", (400, "malformed_body")),
        (b'{"contact": {"name": "\xc3"}}', (400, "malformed_body")),
        (b'{"lines": [NaN]}', (400, "malformed_body")),
        (b"null", (400, "invalid_request")),
        (b"[" * 100_000, (400, "invalid_request")),
        (b" " * (MAX_BODY_BYTES + 1), (413, "body_too_large")),
    ],
)
async def test_what_is_not_json_is_refused(
    storefront: httpx.AsyncClient, content: bytes, expected: tuple[int, str]
) -> None:
    refused = await storefront.post(
        "/v1/orders", content=content, headers={"Idempotency-Key": uuid4().hex}
    )
    assert told(refused) == expected


@pytest.mark.parametrize("field", ["sku", "name", "coupon"])
async def test_a_character_that_no_text_holds_is_refused_and_spoils_no_other_order(
    storefront: httpx.AsyncClient, db: Database, shop: Shop, field: str
) -> None:
    wrong = body(shop, (1, 1))
    {
        "sku": at("lines", 0, "sku", to="a\0b"),
        "name": at("contact", "name", to="Ana\0"),
        "coupon": at("coupon_code", to="\0"),
    }[field](wrong)
    answers = await asyncio.gather(
        *(send(storefront, order) for order in (body(shop), wrong, body(shop)))
    )
    assert [answer.status_code for answer in answers] == [201, 400, 201]
    assert told(answers[1]) == (400, "invalid_request")
    assert await counters(db, shop, 0) == (5, 2)
    assert await counters(db, shop, 1) == (5, 0)


async def test_half_a_character_is_no_text(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    left = await footprint(db, shop)
    content = msgspec.json.encode(body(shop)).replace(b"Ana ", b"Ana \\ud800")
    refused = await storefront.post(
        "/v1/orders", content=content, headers={"Idempotency-Key": uuid4().hex}
    )
    assert refused.status_code == 400
    assert await footprint(db, shop) == left


@pytest.mark.parametrize(
    ("key", "path"), [(None, None), ("", None), ("x" * 256, "Idempotency-Key")]
)
async def test_an_order_needs_a_key_that_is_one(
    storefront: httpx.AsyncClient, db: Database, shop: Shop, key: str | None, path: str | None
) -> None:
    left = await footprint(db, shop)
    headers = {} if key is None else {"Idempotency-Key": key}
    refused = await storefront.post("/v1/orders", json=body(shop), headers=headers)
    code = "invalid_request" if path else "idempotency_key_missing"
    assert (told(refused), refused.json().get("path")) == ((400, code), path)
    assert await footprint(db, shop) == left


async def test_only_a_shops_keys_place_orders(
    http: httpx.AsyncClient, make_key: Callable[..., Any], client_of: Callable[..., Any],
    db: Database, shop: Shop,
) -> None:  # fmt: skip
    left = await footprint(db, shop)
    assert told(await send(http, body(shop))) == (401, "api_key_missing")
    async with client_of("sk_wrong") as stranger:
        assert told(await send(stranger, body(shop))) == (401, "api_key_invalid")
    async with client_of(await make_key("tablet")) as tablet:
        assert told(await send(tablet, body(shop))) == (403, "permission_denied")
    assert await footprint(db, shop) == left


async def test_an_order_that_costs_nothing_is_placed_but_not_by_card(
    storefront: httpx.AsyncClient, db: Database, shop: Shop
) -> None:
    free = await make_coupon(db, percent_bp=10_000)
    nothing = {"amount_minor": 0, "currency": "MXN"}
    left = await footprint(db, shop)
    by_card = {"tender": "card", "payment_method": "pm_card_visa"}
    refused = await send(storefront, body(shop, coupon_code=free, total=nothing, **by_card))
    assert (told(refused), refused.json()["path"]) == ((422, "invalid_field"), "/tender")
    assert await footprint(db, shop) == left
    placed = await place(storefront, shop, coupon_code=free, total=nothing)
    assert (placed["order"]["state"], placed["order"]["total"]) == ("placed", nothing)
    assert await counters(db, shop) == (5, 1)
