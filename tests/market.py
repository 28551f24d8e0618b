"""A shop in the middle of its day: people of every kind, and things in every state to act on.

What there is, is told as scenes: values by the names that fields and parameters have. `sell.total`
is for the operation `sell` only, and `sell` is a whole body for it.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from commerce import access
from commerce.access import OPERATOR
from commerce.kernel import ids
from tests import sold
from tests.carts import make_coupon
from tests.everyone import PIN, PRINCIPALS, headers_of
from tests.paying import WebShop
from tests.shop import Shop, make_shop

Scene = dict[str, Any]

KEPT = 5
"""Things of each kind that are known at a time; older ones have been used."""

CARDS = ("pm_card_visa", "pm_card_chargeDeclined", "pm_card_threeDSecure2Required")
OTHER = {"name": "Zulema Quetzal", "email": "zulema.q@example.com", "phone": "+528112345678"}
"""Somebody whose things stand at the second store. Only the back office may read about her."""

_CODE = "SELECT body FROM message WHERE reason = $1"


class Market:
    """The shop's people by what they are, and the things that they know."""

    def __init__(self, web: WebShop, shop: Shop) -> None:
        self.web = web
        self.shop = shop
        self.callers: dict[str, dict[str, str]] = {}
        self._persons: tuple[str, ...] = ()
        self._papers: tuple[str, ...] = ()
        self._known: dict[str, list[Scene]] = {}
        self._goods: Scene = {}
        self._commands = count()

    @classmethod
    async def opened(cls, web: WebShop) -> "Market":
        """With goods on the shelves and everybody signed in."""
        shop = await make_shop(web.services.database, skus=3, stores=2, on_hand=500_000)
        market = cls(web, shop)
        for who in PRINCIPALS:
            await market.sign_in(who)
        await market._lay_out_goods()
        await market._welcome_the_other()
        for kind in ("cart_id", "order_id", "return_id", "basket_id", "key_id", "sign_in_id"):
            await market.bring(kind)
        return market

    async def sign_in(self, who: str) -> None:
        """Anew, with a key and a session of their own."""
        store = self.shop.stores[0].location_id
        self.callers[who] = await headers_of(self.web.services, who, store)

    def hidden_from(self, who: str) -> tuple[str, ...]:
        """What of the other somebody may not learn."""
        if who == "back_office":
            return ()
        return self._persons if who == "integration" else (*self._persons, *self._papers)

    def scene(self, turn: int) -> Scene:
        """Something to buy, and one thing of each kind; each has its turn, the newest first."""
        found = dict(self._goods) | {
            "payment_method": CARDS[turn % len(CARDS)],
            "Idempotency-Key": f"command-{next(self._commands)}",
        }
        for scenes in self._known.values():
            found |= scenes[-1 - turn % len(scenes)]
        return found

    async def bring(self, name: str) -> None:
        """Something new of the kind that a parameter of this name stands for."""
        kind = {"order_number": "order_id", "pickup_id": "order_id"}.get(name, name)
        made = {
            "cart_id": self._carts,
            "order_id": self._orders,
            "return_id": self._returns,
            "basket_id": self._baskets,
            "key_id": self._keys,
            "sign_in_id": self._sign_ins,
        }.get(kind)
        if made is not None:
            self._known[kind] = [*self._known.get(kind, []), *await made()][-KEPT:]

    async def _do(self, who: str, method: str, path: str, body: Any = None) -> Any:
        headers = self.callers[who] | {"Idempotency-Key": uuid4().hex}
        answer = await self.web.http.request(method, path, headers=headers, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def _lay_out_goods(self) -> None:
        shop, store = self.shop, self.shop.stores[0]
        sku, spare = shop.skus[0], shop.skus[-1].sku
        coupon = await make_coupon(self.web.services.database)
        associate = f"E{uuid4().hex[:10]}"
        async with self.web.services.database.transaction() as conn:
            await access.put_associate(
                conn, OPERATOR, code=associate, name="Eva", role="associate", pin=PIN,
                location_ids=[store.location_id], now=self.web.clock(),
            )  # fmt: skip
        self._goods = {
            "location_id": str(store.location_id),
            "store_id": str(store.location_id),
            "sku": sku.sku,
            "barcode": sku.gtin,
            "gtin": sku.gtin,
            "get_item.code": sku.item_code,
            "price_zone": shop.price_zone,
            "coupon_code": coupon,
            "apply_coupon.code": coupon,
            "total": {"amount_minor": sku.price_minor, "currency": shop.currency},
            "tendered": {"amount_minor": sku.price_minor, "currency": shop.currency},
            "lines": [{"sku": sku.sku, "quantity": 1}],
            "request_return.lines": [{"line_number": 1, "quantity": 1}],
            "request_return_at_store.lines": [{"line_number": 1, "quantity": 1}],
            **{
                f"{operation}.sku": spare
                for operation in ("move_stock", "put_safety_stock", "put_sku", "put_price")
            },
            "units": [{"line_number": 1, "disposition": "restock", "quantity": 1}],
            "line_number": 1,
            "contact": {"name": "Ana Torres", "email": "ana@example.com"},
            "associate_code": associate,
            "pin": PIN,
        }
        self._goods |= self._bodies(coupon)

    async def _welcome_the_other(self) -> None:
        mine, shop = self.callers["shopper"], self.shop
        await self.sign_in("shopper")
        started = await self._do("shopper", "POST", "/v1/carts", {})
        body = self._order(1) | {"contact": OTHER}
        placed = await self._do("shopper", "POST", "/v1/orders", body)
        hers, self.callers["shopper"] = self.callers["shopper"], mine
        order = placed["order"]
        self._persons = (*OTHER.values(), hers["Authorization"].partition(" ")[2])
        self._papers = (order["number"], placed["order_token"], placed["pickup_code"])
        self._known["other"] = [
            {},
            {},
            {
                "cart_id": started["cart"]["id"],
                "order_id": order["id"],
                "pickup_id": order["fulfillments"][0]["id"],
                "location_id": str(shop.stores[1].location_id),
            },
        ]

    def _bodies(self, coupon: str) -> Scene:
        """What does something, where inventing it field by field would take long."""
        shop, goods = self.shop, self._goods
        paid = {"total": goods["total"], "tender": {"kind": "cash", "tendered": goods["total"]}}
        place = {
            "location_code": shop.stores[1].code, "name": "Store", "street": "Av. Madero 2",
            "city": "Ciudad de México", "country": "MX", "time_zone": "America/Mexico_City",
            "price_zone": shop.price_zone, "tax_zone": shop.tax_zone, "mon": ["08:00-20:00"],
        }  # fmt: skip
        return {
            "place_order": self._order(),
            "complete_cart": {name: self._order()[name] for name in ("contact", "tender", "total")},
            "sell": paid,
            "finish_picking": {"staging_location": "A-1"},
            "receive_return": {"units": goods["units"]},
            "put_coupon": {"code": coupon, "kind": "percent", "percent_bp": 1_000},
            "put_coupon.code": coupon,
            "put_store": place,
            "put_store.code": place["location_code"],
            "get_store_detail.code": place["location_code"],
        }

    def _order(self, store: int = 0, **fields: Any) -> Scene:
        return {
            "location_id": str(self.shop.stores[store].location_id),
            "lines": self._goods["lines"],
            "contact": self._goods["contact"],
            "tender": "pay_at_pickup",
            "total": self._goods["total"],
            **fields,
        }

    async def _carts(self) -> Sequence[Scene]:
        made = []
        for steps in (("lines",), ("lines", "checkout")):
            body = {"location_id": self._goods["location_id"]}
            started = await self._do("storefront", "POST", "/v1/carts", body)
            cart_id, token = started["cart"]["id"], started["cart_token"]
            path = f"/v1/carts/{cart_id}"
            headers = self.callers["storefront"] | {"Cart-Token": token}
            line = f"{path}/lines/{self._goods['sku']}"
            await self.web.http.put(line, headers=headers, json={"quantity": 1})
            if "checkout" in steps:
                await self.web.http.put(f"{path}/checkout", headers=headers)
            made.append({"cart_id": cart_id, "Cart-Token": token})
        return made

    async def _orders(self) -> Sequence[Scene]:
        """Placed; being picked; ready; handed over, of a shopper; one that waits for its card."""
        card = {
            "tender": "card",
            "payment_method": CARDS[-1],
            "return_url": "https://shop.example/",
        }
        return [
            await self._placed("storefront"),
            await self._picking("storefront"),
            await self._ready("storefront"),
            await self._collected(),
            await self._placed("storefront", **card),
        ]

    async def _placed(self, who: str, **fields: Any) -> Scene:
        placed = await self._do(who, "POST", "/v1/orders", self._order(**fields))
        order = placed["order"]
        return {
            "order_id": order["id"],
            "order_number": order["number"],
            "Order-Token": placed["order_token"],
            "pickup_id": order["fulfillments"][0]["id"],
            "hand_over.code": placed["pickup_code"],
            "hand_over": {
                "code": placed["pickup_code"],
                "tender": {"kind": "cash", "tendered": self._goods["total"]},
            },
            "take_back": {"order_number": order["number"], "units": self._goods["units"]},
        }

    async def _picking(self, who: str) -> Scene:
        order = await self._placed(who)
        await self._do("associate", "POST", f"/v1/store/pickups/{order['pickup_id']}/start")
        return order

    async def _ready(self, who: str) -> Scene:
        order = await self._picking(who)
        path = f"/v1/store/pickups/{order['pickup_id']}/ready"
        await self._do("associate", "POST", path, self._goods["finish_picking"])
        return order

    async def _collected(self) -> Scene:
        order = await self._ready("shopper")
        path = f"/v1/store/pickups/{order['pickup_id']}/hand-over"
        await self._do("associate", "POST", path, order["hand_over"])
        return order

    async def _returns(self) -> Sequence[Scene]:
        """One that may be received, and one that a manager must decide."""
        lines = self._goods["request_return.lines"]
        order = await self._collected()
        path = f"/v1/orders/{order['order_id']}/returns"
        fresh = await self._do("shopper", "POST", path, {"lines": lines})
        late = await sold.sell(
            self.web.services.database, self.shop, (0, 1),
            total_minor=self._goods["total"]["amount_minor"],
            at=self.web.clock() - timedelta(days=40),
        )  # fmt: skip
        body = {"order_number": late.head.number, "lines": lines, "exception": "was ill"}
        asked = await self._do("associate", "POST", "/v1/store/returns", body)
        return [{"return_id": fresh["id"]}, {"return_id": asked["id"]}]

    async def _baskets(self) -> Sequence[Scene]:
        basket = await self._do("associate", "POST", "/v1/store/baskets", {})
        path = f"/v1/store/baskets/{basket['id']}/lines"
        await self._do("associate", "POST", path, {"barcode": self._goods["barcode"]})
        return [{"basket_id": basket["id"]}]

    async def _keys(self) -> Sequence[Scene]:
        body = {"kind": "integration", "name": "spare", "channel": "web"}
        made = await self._do("back_office", "POST", "/v1/backoffice/keys", body)
        return [{"key_id": made["key"]["id"]}]

    async def _sign_ins(self) -> Sequence[Scene]:
        address = f"{ids.uuid7().hex}@example.com"
        started = await self._do("storefront", "POST", "/v1/sign-ins", {"email": address})
        sign_in_id = started["sign_in_id"]
        async with self.web.services.database.reading() as conn:
            told = await conn.driver.fetchval(_CODE, sign_in_id)
        code = re.search(r"\b\d{6}\b", told)
        assert code is not None
        return [{"sign_in_id": sign_in_id, "start_shopper_session.code": code.group()}]
