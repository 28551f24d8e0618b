"""The chapter of the shopper: from the app to the counter, and out of every table."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from api.demo.caller import Caller, NotAsTold
from api.demo.cast import Cast
from api.demo.outbox import message_because
from api.demo.teller import money
from commerce.kernel import clock

HAPPENS_WITHIN_SECONDS = 30.0
LOOKS_EVERY_SECONDS = 0.3
REASON = "Asked for help with a size"


async def known_at_the_counter(cast: Cast) -> None:
    """A shopper browses, allows, is served with what she allows, reads who looked, and leaves."""
    before = await _abandoned(cast)
    elena, cart = await _in_the_app(cast)
    await _left_behind(cast, before)
    await _seen(cast, elena)
    await _sold(cast, elena, cart)
    await _not_reminded(cast, before)
    await _who_looked(cast, elena)
    await _gone(cast, elena)


async def _in_the_app(cast: Cast) -> tuple[Caller, str]:
    """As a visitor first, then signed in by a code; her cart, and what she allows."""
    tell, visitor_id = cast.teller, str(uuid4())
    tell.step("Elena looks around in the app, and nobody knows who she is")
    events = [{"type": "view", "sku": cast.favourite.sku}, {"type": "search", "query": "linen"}]
    now = clock.now().isoformat()
    body = {
        "visitor_id": visitor_id,
        "session_id": str(uuid4()),
        "device": "app",
        "events": [each | {"id": str(uuid4()), "at": now} for each in events],
    }
    await cast.app.send("POST", "/v1/browsing-events", body)
    email = f"elena.{uuid4().hex[:8]}@example.com"
    asked = await cast.app.send("POST", "/v1/sign-ins", {"email": email})
    mail = await message_because(cast.office, asked["sign_in_id"], "sign_in_code")
    code = re.search(r"\b\d{6}\b", mail["body"])
    if code is None:
        raise NotAsTold("the mail tells the code", mail["subject"])
    body = {"sign_in_id": asked["sign_in_id"], "code": code[0], "visitor_id": visitor_id}
    session = await cast.app.send("POST", "/v1/sessions", body)
    elena = Caller(cast.app.http, cast.app.headers["X-API-Key"], session["secret"])
    await elena.send("PATCH", "/v1/profile", {"name": "Elena Prieto"})
    viewed = (await elena.get("/v1/profile/browsing"))["viewed"]
    if [each["sku"] for each in viewed] != [cast.favourite.sku]:
        raise NotAsTold("what the visitor looked at is hers now", viewed)
    tell.say("She signs in with a code from her mail; what she looked at is hers now.")

    tell.step(f"She puts {cast.favourite.name} into her cart, and says what she allows")
    started = await elena.send("POST", "/v1/carts", {"location_id": cast.here.id})
    cart = str(started["cart"]["id"])
    path = f"/v1/carts/{cart}/lines/{cast.favourite.sku}"
    await elena.send("PUT", path, {"quantity": 1})
    decisions = [
        {"purpose": "personal_service", "granted": True},
        {"purpose": "follow_up", "channel": "email", "granted": True},
    ]
    await elena.send("PUT", "/v1/profile/consents", {"decisions": decisions})
    tell.say("Staff may see her profile; not what she browses. Follow-ups may come by mail.")
    return elena, cart


async def _left_behind(cast: Cast, before: dict[str, Any]) -> None:
    """The phone goes into the pocket; in some hours she would be reminded."""

    async def scheduled() -> bool:
        return bool((await _abandoned(cast))["waiting"] > before["waiting"])

    await _until(scheduled, "a reminder of her cart is scheduled")
    delay = (await _abandoned(cast))["settings"]["delay_minutes"]
    cast.teller.say(f"If she buys nothing, she is reminded of it in {delay // 60} hours.")


async def _seen(cast: Cast, elena: Caller) -> None:
    """What purpose and consent allow, and the names of the rest."""
    tell = cast.teller
    tell.step(f"She walks into {cast.here.name} and shows the code on her phone")
    shown = await elena.get("/v1/profile/code")
    search = {"kind": "profile_code", "profile_code": shown["code"]}
    purpose = {"purpose": "serve_in_store", "reason": REASON}
    found = await cast.tablet.send(
        "POST", "/v1/store/shopper-look-ups", {"search": search} | purpose
    )
    (candidate,) = found["candidates"]
    view = await cast.tablet.send(
        "POST", "/v1/store/shopper-views", {"candidate_id": candidate["id"]} | purpose
    )
    if view["shopper"]["profile"]["name"] != "Elena Prieto" or view["shopper"]["browsing"]:
        raise NotAsTold("the tablet shows her name, and nothing of what she browsed", view)
    tell.say(f"The tablet shows {view['shopper']['profile']['name']}, for a quarter of an hour.")
    for each in view["withheld"]:
        why = each["why"].replace("_", " ")
        tell.say(f"  withheld: {each['field']} ({why})")
    if "browsing" not in {each["field"] for each in view["withheld"]}:
        raise NotAsTold("browsing is withheld, with the reason", view["withheld"])


async def _sold(cast: Cast, elena: Caller, cart: str) -> None:
    """She hands the cart over by its code; the till is paid, the sale put down to who served."""
    tell = cast.teller
    tell.step("She hands her cart over, and pays it at the till")
    code = (await elena.send("POST", f"/v1/carts/{cart}/code"))["code"]
    await cast.tablet.send("POST", "/v1/store/cart-claims", {"code": code})
    total = (await cast.tablet.get(f"/v1/store/carts/{cart}"))["quote"]["total"]
    sale = {"total": total, "tender": {"kind": "cash", "tendered": total}}
    async with cast.moving(cast.favourite, cast.here, ("fulfill", -1, -1, 0)):
        sold = await cast.tablet.send("POST", f"/v1/store/carts/{cart}/sell", sale)
    tell.money(f"{money(total)} in cash")
    order = await cast.tablet.get(f"/v1/store/orders/{sold['order']['number']}")
    associate = await cast.tablet.get("/v1/store/sessions/current")
    if order["attributed_to"] != associate["associate_id"]:
        raise NotAsTold("the sale is put down to the associate", order)
    (newest,) = (await elena.get("/v1/orders"))["items"]
    if newest["number"] != order["number"]:
        raise NotAsTold("the order is among hers in the app", newest)
    tell.say(f"Order {order['number']} is in her app, and put down to who served her.")


async def _not_reminded(cast: Cast, before: dict[str, Any]) -> None:
    def bought(numbers: dict[str, Any]) -> int:
        return int(numbers["stopped"].get("purchase", 0))

    async def stopped() -> bool:
        return bought(await _abandoned(cast)) > bought(before)

    await _until(stopped, "the reminder is stopped by the purchase")
    cast.teller.say("Nobody reminds her of a cart that she has bought in a store.")


async def _who_looked(cast: Cast, elena: Caller) -> None:
    cast.teller.step("In the app she reads who has looked at her profile")
    (look,) = (await elena.get("/v1/profile/views"))["items"]
    if look["reason"] != REASON:
        raise NotAsTold("the reason is told in the associate's words", look)
    cast.teller.say(f'{look["associate_name"]}, {look["store_name"]}: "{look["reason"]}"')


async def _gone(cast: Cast, elena: Caller) -> None:
    """Everything about her is emptied, and her session with it; the order stays."""
    tell = cast.teller
    tell.step("She wants to be forgotten")
    asked = await elena.send("DELETE", "/v1/profile")
    path = f"/v1/backoffice/erasures/{asked['id']}"
    report: dict[str, Any] = {}

    async def finished() -> bool:
        report.update(await cast.office.get(path))
        return bool(report["state"] == "finished")

    await _until(finished, "the erasure is finished")
    tables = [name for name, rows in report["counts"].items() if rows]
    tell.say(f"What {len(tables)} tables held about her is gone; the order stays in the books.")
    await elena.refused("GET", "/v1/profile", None, code="session_invalid")
    tell.say("Her session opens nothing any more.")


async def _abandoned(cast: Cast) -> dict[str, Any]:
    triggers: list[dict[str, Any]] = await cast.office.get("/v1/backoffice/follow-ups")
    return next(each for each in triggers if each["settings"]["trigger"] == "abandoned_cart")


async def _until(happened: Callable[[], Awaitable[bool]], expected: str) -> None:
    try:
        async with asyncio.timeout(HAPPENS_WITHIN_SECONDS):
            while True:
                if await happened():
                    return
                await asyncio.sleep(LOOKS_EVERY_SECONDS)
    except TimeoutError:
        within = f"within {HAPPENS_WITHIN_SECONDS:g} seconds"
        raise NotAsTold(f"{expected} {within}", "It did not happen.") from None
