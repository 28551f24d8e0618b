"""A shop in the middle of its day: people of every kind, and things in every state to act on.

What there is, is told as scenes: values by the names that fields and parameters have. `sell.total`
is for the operation `sell` only, and `sell` is a whole body for it.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from commerce import access
from commerce.access import OPERATOR
from commerce.kernel import ids
from tests import sold
from tests.carts import make_coupon
from tests.everyone import PIN, PRINCIPALS
from tests.market_people import People, Scene
from tests.market_shoppers import COLLEAGUE, KEPT, KINDS, Clientele, Maker, bodies
from tests.paying import WebShop
from tests.shop import Shop, make_shop

CARDS = ("pm_card_visa", "pm_card_chargeDeclined", "pm_card_threeDSecure2Required")
OTHER = {"name": "Zulema Quetzal", "email": "zulema.q@example.com", "phone": "+528112345678"}
"""Somebody whose things stand at the second store. Only the back office may read about her."""


class Market(People):
    """The shop's people by what they are, and the things that they know."""

    def __init__(self, web: WebShop, shop: Shop) -> None:
        super().__init__(web, shop)
        self._persons: tuple[str, ...] = ()
        self._papers: tuple[str, ...] = ()
        self._known: dict[str, list[Scene]] = {}
        self._commands = count()
        self._makers: Mapping[str, Maker] = {
            "cart_id": self._carts,
            "order_id": self._orders,
            "hand_over": self._pickups,
            "return_id": self._returns,
            "basket_id": self._baskets,
            "key_id": self._keys,
            "sign_in_id": self._sign_ins,
            **Clientele(self).makers,
        }

    @classmethod
    async def opened(cls, web: WebShop) -> "Market":
        """With goods on the shelves and everybody signed in."""
        shop = await make_shop(web.services.database, skus=3, stores=2, on_hand=500_000)
        market = cls(web, shop)
        for who in PRINCIPALS:
            await market.sign_in(who)
        await market.sign_in("associate", COLLEAGUE)
        await market._lay_out_goods()
        await market._welcome_the_other()
        for kind in ("cart_id", "order_id", "return_id", "basket_id", "key_id", "sign_in_id"):
            await market.bring(kind)
        return market

    def hidden_from(self, who: str) -> tuple[str, ...]:
        """What of the other somebody may not learn."""
        if who == "back_office":
            return ()
        return self._persons if who == "integration" else (*self._persons, *self._papers)

    def scene(self, turn: int) -> Scene:
        """Something to buy, and one thing of each kind; each has its turn, the newest first."""
        found = dict(self.goods) | {
            "payment_method": CARDS[turn % len(CARDS)],
            "Idempotency-Key": f"command-{next(self._commands)}",
        }
        for scenes in self._known.values():
            found |= scenes[-1 - turn % len(scenes)]
        return found

    async def bring(self, name: str) -> None:
        """Something new that a parameter of this name stands for, or this operation needs."""
        kind = KINDS.get(name, name)
        if maker := self._makers.get(kind):
            self._known[kind] = [*self._known.get(kind, []), *await maker()][-KEPT:]

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
        self.goods = {
            "location_id": str(store.location_id),
            "store_id": str(store.location_id),
            "sku": sku.sku,
            "barcode": sku.gtin,
            "gtin": sku.gtin,
            "get_item.code": sku.item_code,
            "price_zone": shop.price_zone,
            "coupon_code": coupon,
            "apply_coupon.code": coupon,
            "apply_claimed_coupon.code": coupon,
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
        self.goods |= self._bodies(coupon) | bodies(self)
        colleague = await self.ask(COLLEAGUE, "GET", "/v1/store/sessions/current")
        self.goods["pass_on.associate_id"] = colleague["associate_id"]

    async def _welcome_the_other(self) -> None:
        mine, shop = self.callers["shopper"], self.shop
        await self.sign_in("shopper")
        started = await self.ask("shopper", "POST", "/v1/carts", {})
        body = self._order(1) | {"contact": OTHER}
        placed = await self.ask("shopper", "POST", "/v1/orders", body)
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
        shop, goods = self.shop, self.goods
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
            "lines": self.goods["lines"],
            "contact": self.goods["contact"],
            "tender": "pay_at_pickup",
            "total": self.goods["total"],
            **fields,
        }

    async def _carts(self) -> Sequence[Scene]:
        """One of a shopper, one of a guest, and one in checkout."""
        own = await self.filled_cart("shopper")
        guest, checked_out = [await self.filled_cart("storefront") for _ in range(2)]
        path = f"/v1/carts/{checked_out['cart_id']}/checkout"
        await self.ask("storefront", "PUT", path, Cart_Token=checked_out["Cart-Token"])
        return [{"save_for_later.cart_id": own["cart_id"]} | guest, checked_out]

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
        placed = await self.ask(who, "POST", "/v1/orders", self._order(**fields))
        order = placed["order"]
        return {
            "order_id": order["id"],
            "order_number": order["number"],
            "Order-Token": placed["order_token"],
            "pickup_id": order["fulfillments"][0]["id"],
            "hand_over.code": placed["pickup_code"],
            "hand_over": {
                "code": placed["pickup_code"],
                "tender": {"kind": "cash", "tendered": self.goods["total"]},
            },
            "take_back": {"order_number": order["number"], "units": self.goods["units"]},
        }

    async def _picking(self, who: str) -> Scene:
        order = await self._placed(who)
        await self.ask("associate", "POST", f"/v1/store/pickups/{order['pickup_id']}/start")
        return order

    async def _ready(self, who: str) -> Scene:
        order = await self._picking(who)
        path = f"/v1/store/pickups/{order['pickup_id']}/ready"
        await self.ask("associate", "POST", path, self.goods["finish_picking"])
        return order

    async def _collected(self) -> Scene:
        order = await self._ready("shopper")
        path = f"/v1/store/pickups/{order['pickup_id']}/hand-over"
        await self.ask("associate", "POST", path, order["hand_over"])
        return order

    async def _pickups(self) -> Sequence[Scene]:
        """One that waits for its shopper."""
        order = await self._ready("storefront")
        return [{"hand_over.pickup_id": order["pickup_id"], "hand_over": order["hand_over"]}]

    async def _returns(self) -> Sequence[Scene]:
        """One that may be received, and one that a manager must decide."""
        lines = self.goods["request_return.lines"]
        order = await self._collected()
        path = f"/v1/orders/{order['order_id']}/returns"
        fresh = await self.ask("shopper", "POST", path, {"lines": lines})
        late = await sold.sell(
            self.web.services.database, self.shop, (0, 1),
            total_minor=self.goods["total"]["amount_minor"],
            at=self.web.clock() - timedelta(days=40),
        )  # fmt: skip
        body = {"order_number": late.head.number, "lines": lines, "exception": "was ill"}
        asked = await self.ask("associate", "POST", "/v1/store/returns", body)
        return [{"return_id": fresh["id"]}, {"return_id": asked["id"]}]

    async def _baskets(self) -> Sequence[Scene]:
        basket = await self.ask("associate", "POST", "/v1/store/baskets", {})
        path = f"/v1/store/baskets/{basket['id']}/lines"
        await self.ask("associate", "POST", path, {"barcode": self.goods["barcode"]})
        return [{"basket_id": basket["id"]}]

    async def _keys(self) -> Sequence[Scene]:
        body = {"kind": "integration", "name": "spare", "channel": "web"}
        made = await self.ask("back_office", "POST", "/v1/backoffice/keys", body)
        return [{"key_id": made["key"]["id"]}]

    async def _sign_ins(self) -> Sequence[Scene]:
        address = f"{ids.uuid7().hex}@example.com"
        started = await self.ask("storefront", "POST", "/v1/sign-ins", {"email": address})
        sign_in_id = started["sign_in_id"]
        code = await self.code_sent(sign_in_id)
        return [{"sign_in_id": sign_in_id, "start_shopper_session.code": code}]
