"""The chapters of the story, in order. Each leaves nothing behind that the next story minds."""

from typing import Any
from uuid import uuid4

import httpx
from msgspec import Struct

from api.demo.caller import Feed, NotAsTold
from api.demo.cast import Cast, Good
from api.demo.outbox import message
from api.demo.shopper import known_at_the_counter
from api.demo.teller import moment, money, payments, units

COUPON = "WELCOME10"
DECLINED = "pm_card_chargeDeclinedInsufficientFunds"
ASKS_FOR_MORE = "pm_card_authenticationRequired"
GOOD_CARD = "pm_card_visa"
SHELF = "A-12"
RETURN_URL = "https://shop.example/back-from-the-bank"
NOTE_MINOR = 10_000
"""The shopper pays in notes of 100."""


class Order(Struct, frozen=True):
    """An order and what only its shopper knows."""

    id: str
    number: str
    pickup: str
    token: dict[str, str]
    code: str

    @classmethod
    def of(cls, placed: dict[str, Any]) -> "Order":
        """From the answer to whoever placed it."""
        order = placed["order"]
        (share,) = order["fulfillments"]
        token = {"Order-Token": placed["order_token"]}
        return cls(order["id"], order["number"], share["id"], token, placed["pickup_code"])


async def play(cast: Cast) -> None:
    """All of it."""
    async with Feed.of(cast.tablet) as feed:
        cart, token = await fill_a_cart(cast)
        order = await pay_by_card(cast, feed, cart, token)
        await pick(cast, feed, order)
        await collect(cast, feed, order)
        await bring_back(cast, order)
        await the_last_units(cast)
        await pay_in_cash(cast, feed)
        await change_of_mind(cast)
        await known_at_the_counter(cast)
        await deliver(cast)


async def fill_a_cart(cast: Cast) -> tuple[str, dict[str, str]]:
    """From a search near her to a basket with a coupon."""
    tell, here = cast.teller, cast.here
    tell.step(f"Ana looks for {cast.favourite.name} on her phone")
    found = await cast.app.get(f"/v1/stores/{here.id}")
    near = {"latitude": found["latitude"], "longitude": found["longitude"], "limit": 3}
    answer = await cast.app.get("/v1/availability", sku=cast.favourite.sku, **near)
    for each in answer["skus"][0]["stores"]:
        when = each["promised_at"]
        ready = f", from {moment(when, here.time_zone)} on" if when else f" ({each['reason']})"
        tell.say(
            f"{each['distance_km']:6.1f} km  {each['name']}:"
            f" {units(each['available_to_promise'])} to pick up{ready}"
        )

    tell.step(f"She fills a cart at {here.name} and uses the coupon {COUPON}")
    started = await cast.app.send("POST", "/v1/carts", {"location_id": here.id})
    cart, token = f"/v1/carts/{started['cart']['id']}", {"Cart-Token": started["cart_token"]}
    for good, quantity in ((cast.favourite, 2), (cast.second, 1)):
        await cast.app.send("PUT", f"{cart}/lines/{good.sku}", {"quantity": quantity}, token=token)
    await cast.app.send("PUT", f"{cart}/coupon", {"code": COUPON}, token=token)
    quote = (await cast.app.get(cart, token=token))["quote"]
    for line in quote["lines"]:
        tell.say(
            f"{line['quantity']} x {cast.called(line['sku'])}: {money(line['price']['total'])}"
        )
    tell.say(f"The coupon takes {money(quote['discount'])} off. To pay: {money(quote['total'])}.")
    if not quote["discount"]["amount_minor"]:
        raise NotAsTold(f"the coupon {COUPON} takes something off", quote)

    tell.step("She goes to the checkout: the goods are held for her")
    async with (
        cast.moving(cast.second, here, ("hold", 0, 1, 0)),
        cast.moving(cast.favourite, here, ("hold", 0, 2, 0)),
    ):
        held = await cast.app.send("PUT", f"{cart}/checkout", token=token)
    tell.say(f"Held until {moment(held['cart']['hold_expires_at'], here.time_zone)}.")
    return cart, token


async def pay_by_card(cast: Cast, feed: Feed, cart: str, token: dict[str, str]) -> Order:
    """A card without money, then one whose bank asks, then the order is placed."""
    tell = cast.teller
    tell.step("She pays by card, and the card is declined")
    quote = (await cast.app.get(cart, token=token))["quote"]
    body = {
        "contact": _contact("Ana Torres"),
        "tender": "card",
        "payment_method": DECLINED,
        "return_url": RETURN_URL,
        "total": quote["total"],
    }
    placed = await cast.app.send("PUT", f"{cart}/order", body, token=token)
    order = Order.of(placed)
    (paid,) = placed["order"]["payments"]
    _expect(placed, "state", "pending_payment")
    if paid["decline_code"] is None:
        raise NotAsTold("the card is declined", paid)
    tell.say(f"Order {order.number} waits for another card: {paid['decline_code']}.")
    _tell_money(cast, placed["order"])

    tell.step("Another card: her bank wants to know whether it is her")
    asked = await cast.app.send(
        "POST",
        f"/v1/orders/{order.id}/payments",
        {"payment_method": ASKS_FOR_MORE, "return_url": RETURN_URL},
        token=order.token,
    )
    (paid,) = asked["payments"]
    if paid["state"] != "requires_action" or not paid["redirect_url"]:
        raise NotAsTold("the payment waits for the shopper at the bank's page", asked)
    tell.say(f"She is sent to {paid['redirect_url']}")
    await _approve(cast.app.http, paid["redirect_url"])
    tell.say("and says yes there. Her phone comes back to the shop.")
    refreshed = await cast.app.send(
        "POST", f"/v1/orders/{order.id}/payments/refresh", token=order.token
    )
    _expect(refreshed, "state", "placed")
    _tell_money(cast, refreshed["order"])
    await feed.heard("pickup.requested", order.id)
    tell.say(f"The tablet at {cast.here.name} hears of order {order.number} at once.")
    return order


async def pick(cast: Cast, feed: Feed, order: Order) -> None:
    """The associate fetches the goods; Ana is told."""
    tell, pickup = cast.teller, f"/v1/store/pickups/{order.pickup}"
    tell.step("The associate picks the order")
    waiting = await cast.tablet.get("/v1/store/pickups", state="requested", limit=200)
    _find(waiting["items"], "id", order.pickup, "the order is on the store's list")
    started = await cast.tablet.send("POST", f"{pickup}/start")
    for line in started["lines"]:
        tell.say(f"{line['quantity']} x {cast.called(line['sku'])}")
    await cast.tablet.send("POST", f"{pickup}/ready", {"staging_location": SHELF})
    await feed.heard("pickup.ready", order.id)
    tell.say(f"The bag waits at {SHELF}. No goods have left yet, and no money was taken:")
    _tell_money(cast, await _order(cast, order))

    tell.step("Ana is told that she can come")
    mail = await message(cast.office, "pickup_ready", order.number)
    tell.say(f"To {mail['recipient']}: {mail['subject']}")
    if order.code not in mail["body"]:
        raise NotAsTold("the mail tells the pickup code", mail["template"])


async def collect(cast: Cast, feed: Feed, order: Order) -> None:
    """Goods for a code, and only now the money."""
    tell, path = cast.teller, f"/v1/store/pickups/{order.pickup}/hand-over"
    tell.step("At the counter Ana shows a wrong code")
    wrong = "0" * len(order.code) if order.code != "0" * len(order.code) else "1" * 6
    refused = await cast.tablet.refused("POST", path, {"code": wrong}, code="pickup_code_wrong")
    tell.say(f"{refused['title']}. Tries left: {refused['tries_left']}.")

    tell.step("Now the right one: goods leave, money comes")
    async with (
        cast.moving(cast.second, cast.here, ("fulfill", -1, -1, 0)),
        cast.moving(cast.favourite, cast.here, ("fulfill", -2, -2, 0)),
    ):
        given = await cast.tablet.send("POST", path, {"code": order.code})
    if given["payment"] != "paid":
        raise NotAsTold("the card is captured at the hand-over", given)
    completed = await _order(cast, order)
    if completed["state"] != "completed":
        raise NotAsTold("the order is completed", completed)
    _tell_money(cast, completed)
    await feed.heard("order.completed", order.id)
    again = await cast.tablet.refused("POST", path, {"code": order.code}, code="already_collected")
    tell.say(f"The same code once more: {again['title']}.")


async def bring_back(cast: Cast, order: Order) -> None:
    """Another store takes two units back: one to sell again, one broken."""
    tell, there = cast.teller, cast.there
    tell.step(f"Another day, another store: two come back to {there.name}")
    path = f"/v1/store/orders/{order.number}/returnable"
    offered = (await cast.other_tablet.get(path))["lines"]
    line = _find(offered, "sku", cast.favourite.sku, "the article may come back")
    worth = line["refunds"][0]["unit_refund"]
    tell.say(f"{units(line['returnable'])} may come back until {line['closes_on']},")
    tell.say(f"each for {money(worth)}, which is what she paid after the coupon.")
    back = [
        {"line_number": line["line_number"], "disposition": disposition, "quantity": 1}
        for disposition in ("damaged", "restock")
    ]
    async with cast.moving(cast.favourite, there, ("return", 1, 0, 0), ("return", 0, 0, 1)):
        taken = await cast.other_tablet.send(
            "POST",
            "/v1/store/returns/take-back",
            {"order_number": order.number, "units": back, "reason": "too small"},
        )
    if taken["state"] != "settled":
        raise NotAsTold("the refund is made at once", taken)
    tell.say("One is as good as new and on sale there; one is damaged and stands apart.")
    refunded = await _order(cast, order)
    _tell_money(cast, refunded)
    (paid,) = refunded["payments"]
    if paid["refunded"] != taken["refund"] or not taken["refund"]["amount_minor"]:
        raise NotAsTold(f"{money(taken['refund'])} went back to her card", paid)
    await message(cast.office, "refund_made", order.number)
    body = {"order_number": order.number, "units": back}
    refused = await cast.other_tablet.refused(
        "POST", "/v1/store/returns/take-back", body, code="return_exceeds_bought"
    )
    tell.say(f"The same two once more: {refused['title']}.")


async def the_last_units(cast: Cast) -> None:
    """What lies on a counter cannot be bought from a sofa."""
    tell, good, here = cast.teller, cast.scarce, cast.here
    count = good.available
    tell.step(f"All that is left of {good.name} lies on the counter: {units(count)}")
    basket = await cast.tablet.send("POST", "/v1/store/baskets", {})
    path = f"/v1/store/baskets/{basket['id']}"
    async with cast.moving(good, here, ("hold", 0, count, 0)):
        scanned = {"barcode": good.gtin or good.sku, "quantity": count}
        basket = await cast.tablet.send("POST", f"{path}/lines", scanned)

    tell.step("Bruno wants one of them on the web at this moment")
    started = await cast.app.send("POST", "/v1/carts", {"location_id": here.id})
    cart, token = f"/v1/carts/{started['cart']['id']}", {"Cart-Token": started["cart_token"]}
    await cast.app.send("PUT", f"{cart}/lines/{good.sku}", {"quantity": 1}, token=token)
    refused = await cast.app.refused(
        "PUT", f"{cart}/checkout", None, code="stock_short", token=token
    )
    (short,) = refused["short"]
    tell.say(f"{refused['title']}. Asked for: {short['requested']}, left: {short['available']}.")

    tell.step("The till sells them, in cash")
    total = basket["total"]
    cash = _notes(total)
    async with cast.moving(good, here, ("fulfill", -count, -count, 0)):
        body = {"total": total, "tender": {"kind": "cash", "tendered": cash}}
        sold = await cast.tablet.send("POST", f"{path}/sell", body)
    tell.money(f"{money(cash)} on the counter, {money(sold['change'])} change")
    if sold["change"]["amount_minor"] != cash["amount_minor"] - total["amount_minor"]:
        raise NotAsTold("the change is what was given less the price", sold)


async def pay_in_cash(cast: Cast, feed: Feed) -> None:
    """Ordered on the phone, paid at the counter."""
    tell, good = cast.teller, cast.second
    tell.step(f"Carla orders {good.name}, to be paid when she comes")
    async with cast.moving(good, cast.here, ("hold", 0, 1, 0)):
        order = Order.of(await _place(cast, good, "Carla Nava", tender="pay_at_pickup"))
    await feed.heard("pickup.requested", order.id)
    _tell_money(cast, await _order(cast, order))

    tell.step("She comes, pays in cash, and takes it home")
    pickup = f"/v1/store/pickups/{order.pickup}"
    await cast.tablet.send("POST", f"{pickup}/start")
    ready = await cast.tablet.send("POST", f"{pickup}/ready", {"staging_location": SHELF})
    refused = await cast.tablet.refused(
        "POST", f"{pickup}/hand-over", {"code": order.code}, code="tender_required"
    )
    tell.say(f"{refused['title']}. Due: {money(refused['due'])}.")
    cash = _notes(ready["due"])
    async with cast.moving(good, cast.here, ("fulfill", -1, -1, 0)):
        body = {"code": order.code, "tender": {"kind": "cash", "tendered": cash}}
        given = await cast.tablet.send("POST", f"{pickup}/hand-over", body)
    tell.say(f"{money(cash)} on the counter, {money(given['change'])} change.")
    completed = await _order(cast, order)
    if completed["state"] != "completed":
        raise NotAsTold("the order is completed", completed)
    _tell_money(cast, completed)


async def change_of_mind(cast: Cast) -> None:
    """What is called off is free for the next shopper, and the card is as it was."""
    tell, good = cast.teller, cast.favourite
    tell.step(f"Diego orders {good.name} by card, and thinks again")
    async with cast.moving(good, cast.here, ("hold", 0, 1, 0)):
        placed = await _place(cast, good, "Diego Kuri", tender="card", payment_method=GOOD_CARD)
    _expect(placed, "state", "placed")
    _tell_money(cast, placed["order"])
    order = Order.of(placed)

    tell.step("He cancels: the goods are free again, and so is his money")
    async with cast.moving(good, cast.here, ("release", 0, -1, 0)):
        cancelled = await cast.app.send(
            "POST", f"/v1/orders/{order.id}/cancel", {"reason": "thought again"}, token=order.token
        )
    (paid,) = cancelled["payments"]
    if (cancelled["state"], paid["state"]) != ("cancelled", "voided"):
        raise NotAsTold("the order is cancelled and the card's hold given back", cancelled)
    _tell_money(cast, cancelled)


async def deliver(cast: Cast) -> None:
    """What the story sold comes back, so that it can be told again."""
    cast.teller.step(f"In the evening a van brings goods to {cast.here.name}")
    reason = "evening delivery"
    await cast.bring(cast.favourite, cast.there, -1, reason=reason)
    await cast.bring(cast.favourite, cast.here, 3, reason=reason)
    await cast.bring(cast.second, cast.here, 2, reason=reason)
    await cast.bring(cast.scarce, cast.here, cast.scarce.available, reason=reason)


async def _place(cast: Cast, good: Good, name: str, **more: str) -> dict[str, Any]:
    """One unit in one call, for the total that a cart would have shown."""
    started = await cast.app.send("POST", "/v1/carts", {"location_id": cast.here.id})
    cart, token = f"/v1/carts/{started['cart']['id']}", {"Cart-Token": started["cart_token"]}
    await cast.app.send("PUT", f"{cart}/lines/{good.sku}", {"quantity": 1}, token=token)
    quote = (await cast.app.get(cart, token=token))["quote"]
    body = {
        "location_id": cast.here.id,
        "lines": [{"sku": good.sku, "quantity": 1}],
        "contact": _contact(name),
        "total": quote["total"],
    }
    placed: dict[str, Any] = await cast.app.send("POST", "/v1/orders", body | more)
    return placed


async def _order(cast: Cast, order: Order) -> dict[str, Any]:
    found: dict[str, Any] = await cast.app.get(f"/v1/orders/{order.id}", token=order.token)
    standing: dict[str, Any] = found["order"]
    return standing


async def _approve(http: httpx.AsyncClient, url: str) -> None:
    """Say yes on the bank's page; its answer leads back to the shop."""
    answer = await http.post(url, data={"outcome": "approve"}, follow_redirects=False)
    if not answer.has_redirect_location:
        raise NotAsTold("the bank sends her back to the shop", answer.text)


def _contact(name: str) -> dict[str, str]:
    address = f"{name.lower().replace(' ', '.')}.{uuid4().hex[:6]}@example.com"
    return {"name": name, "email": address, "locale": "en"}


def _notes(price: dict[str, Any]) -> dict[str, Any]:
    """Whole notes that are enough, with something over."""
    return price | {"amount_minor": (price["amount_minor"] // NOTE_MINOR + 1) * NOTE_MINOR}


def _tell_money(cast: Cast, order: dict[str, Any]) -> None:
    for line in payments(order):
        cast.teller.money(line)


def _expect(placed: dict[str, Any], field: str, value: str) -> None:
    if placed["order"][field] != value:
        raise NotAsTold(f"the order is {value}", placed["order"])


def _find(items: list[dict[str, Any]], field: str, value: str, expected: str) -> dict[str, Any]:
    for each in items:
        if each[field] == value:
            return each
    raise NotAsTold(expected, items)
