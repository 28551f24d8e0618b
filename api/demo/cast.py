"""Who plays in the story, where, and with which goods; and the stock that they move."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
from msgspec import Struct

from api.demo.caller import Caller, NotAsTold
from api.demo.teller import Teller, units
from api.sample_keys import SampleKeys

COLLEAGUE = "DEMO"
"""The associate whom the back office enrols for the other store; out of service between stories."""

PAGE = 200
ASKED_AT_ONCE = 100
ENOUGH_UNITS = 5
SCARCE_UNITS = 20
RECENT = 30

Entry = tuple[str, int, int, int]
"""A change of stock: its kind, and by how much on hand, reserved and unsellable change."""


class Store(Struct, frozen=True):
    """Where something happens."""

    id: str
    name: str
    time_zone: str


class Good(Struct, frozen=True):
    """A SKU on the shelves of the first store."""

    sku: str
    name: str
    gtin: str | None
    available: int


class Cast(Struct, frozen=True):
    """Everybody and everything."""

    teller: Teller
    app: Caller
    """The shopper's phone."""
    office: Caller
    tablet: Caller
    """Of the first store, its associate signed in."""
    other_tablet: Caller
    here: Store
    there: Store
    favourite: Good
    """The story's main article; there is plenty of it."""
    second: Good
    scarce: Good
    """The few units of it are for the till."""

    def called(self, sku: str) -> str:
        """What people call a SKU of the story."""
        return next(
            each.name for each in (self.favourite, self.second, self.scarce) if each.sku == sku
        )

    @asynccontextmanager
    async def moving(self, good: Good, at: Store, *expected: Entry) -> AsyncGenerator[None]:
        """What happens in the block changes the stock of a good so; it is told afterwards."""
        path = f"/v1/backoffice/stock/{at.id}/{good.sku}"
        before = (await self.office.get(f"{path}/ledger", limit=1))["items"]
        yield
        after = (await self.office.get(f"{path}/ledger", limit=RECENT))["items"]
        new = [_entry(each) for each in after if not before or each["id"] > before[0]["id"]]
        for entry in expected:
            if entry not in new:
                raise NotAsTold(f"the ledger of {good.sku} at {at.name} gets {entry}", after)
        level = await self.office.get(path)
        apart = "".join(f", {n} {reason}" for reason, n in level["unsellable"].items())
        self.teller.stock(
            f"{good.name} at {at.name}: {level['on_hand']} on hand, {level['reserved']} reserved,"
            f" {level['available_to_promise']} to promise{apart}"
        )

    async def bring(self, good: Good, at: Store, quantity: int, *, reason: str) -> None:
        """A van comes to a store, or takes units away."""
        action = "receive" if quantity > 0 else "adjust"
        body = {"action": action, "quantity": quantity, "reason": reason}
        async with self.moving(good, at, (action, quantity, 0, 0)):
            path = f"/v1/backoffice/stock/{at.id}/{good.sku}/movements"
            await self.office.send("POST", path, body)


@asynccontextmanager
async def gathered(
    http: httpx.AsyncClient, keys: SampleKeys, teller: Teller
) -> AsyncGenerator[Cast]:
    """Sign everybody in. What was enrolled for the story is out of service when it ends."""
    shop, office = Caller(http, keys.storefront), Caller(http, keys.back_office)
    here = _store(await shop.get(f"/v1/stores/{keys.store_id}"))
    there = await _another_store(shop, keys, here)
    favourite, second, scarce = await _goods(shop, keys, here)
    teller.step("Before the doors open")
    async with AsyncExitStack() as closing:
        teller.say("The back office makes a key for the shopping app and one for a tablet.")
        app = await _key(office, closing, "storefront", "app")
        other_tablet = await _key(office, closing, "tablet", "store", location_id=there.id)
        pin = f"{uuid4().int % 10**8:08}"
        await _enrol(office, there, pin=pin)
        closing.push_async_callback(_enrol, office, there, active=False)
        cast = Cast(
            teller=teller,
            app=app,
            office=office,
            tablet=await _sign_in(Caller(http, keys.tablet), keys.associate_code, keys.pin),
            other_tablet=await _sign_in(other_tablet, COLLEAGUE, pin),
            here=here,
            there=there,
            favourite=favourite,
            second=second,
            scarce=scarce,
        )
        teller.say(f"Associate {keys.associate_code} signs in at {here.name}, by PIN.")
        teller.say(f"A colleague does so at {there.name}.")
        teller.say("What the story is about:")
        for good in (favourite, second, scarce):
            left = f"{units(good.available)} to sell at {here.name}"
            teller.say(f"  {good.name} ({good.sku}), {left}")
        yield cast


async def _key(
    office: Caller, closing: AsyncExitStack, kind: str, channel: str, **more: str
) -> Caller:
    """Whoever has a new key, which is revoked in the end."""
    body = {"kind": kind, "name": f"mostrador demo, {channel}", "channel": channel} | more
    made = await office.send("POST", "/v1/backoffice/keys", body)
    path = f"/v1/backoffice/keys/{made['key']['id']}/revoke"
    closing.push_async_callback(office.send, "POST", path)
    return Caller(office.http, made["secret"])


async def _enrol(office: Caller, at: Store, **more: Any) -> None:
    body = {"name": "Demo colleague", "role": "associate", "location_ids": [at.id]} | more
    await office.send("PUT", f"/v1/backoffice/associates/{COLLEAGUE}", body)


async def _sign_in(tablet: Caller, code: str, pin: str) -> Caller:
    body = {"associate_code": code, "pin": pin}
    session = await tablet.send("POST", "/v1/store/sessions", body)
    return Caller(tablet.http, tablet.headers["X-API-Key"], session["secret"])


def _store(found: dict[str, Any]) -> Store:
    return Store(found["id"], found["name"], found["time_zone"])


async def _another_store(shop: Caller, keys: SampleKeys, here: Store) -> Store:
    """The nearest other one in the same country, whatever it has in stock."""
    near: dict[str, Any] = {"latitude": keys.latitude, "longitude": keys.longitude, "limit": 20}
    answer = await shop.get("/v1/availability", sku=keys.sku, **near)
    for each in answer["skus"][0]["stores"]:
        if each["store_id"] != here.id:
            found = await shop.get(f"/v1/stores/{each['store_id']}")
            if found["currency"] == keys.currency:
                return _store(found)
    raise NotAsTold("there is another store with the same currency", answer)


async def _goods(shop: Caller, keys: SampleKeys, here: Store) -> tuple[Good, Good, Good]:
    """The sample SKU, another one of which there is enough, and the scarcest of all."""
    goods = [each async for each in _on_the_shelf(shop, here)]
    favourite = next((each for each in goods if each.sku == keys.sku), None)
    others = [each for each in goods if each.sku[:3] != keys.sku[:3]]
    second = next((each for each in others if each.available >= ENOUGH_UNITS), None)
    rest = [each for each in others if each is not second and each.available <= SCARCE_UNITS]
    scarce = min(rest, key=lambda each: each.available, default=None)
    if favourite is None or favourite.available < ENOUGH_UNITS or not second or not scarce:
        raise NotAsTold(
            f"{here.name} has {units(ENOUGH_UNITS)} of {keys.sku} and something else",
            f"It has {len(goods)} SKUs to sell. Bring it goods: `mostrador import`.",
        )
    return favourite, second, scarce


async def _on_the_shelf(shop: Caller, here: Store) -> AsyncIterator[Good]:
    """What the first store can sell now and take back later."""
    cursor: dict[str, Any] = {}
    while True:
        page = await shop.get("/v1/items", store_id=here.id, limit=PAGE, **cursor)
        found = {
            sku["sku"]: (f"{item['name']}, {sku['name']}", sku["gtin"])
            for item in page["items"]
            if not item["final_sale"]
            for sku in item["skus"]
            if sku["price"] is not None
        }
        codes = list(found)
        for start in range(0, len(codes), ASKED_AT_ONCE):
            asked = codes[start : start + ASKED_AT_ONCE]
            answer = await shop.get("/v1/availability", sku=asked, store_id=here.id)
            for each in answer["skus"]:
                available = each["stores"][0]["available_to_promise"]
                if available:
                    yield Good(each["sku"], *found[each["sku"]], available)
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def _entry(shown: dict[str, Any]) -> Entry:
    return (
        shown["kind"],
        shown["on_hand_delta"],
        shown["reserved_delta"],
        shown["unsellable_delta"],
    )
