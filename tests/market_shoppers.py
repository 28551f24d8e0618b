"""What shoppers keep and ask for, and what a store and its back office do about shoppers.

Who is looked up, written to, merged or erased is a client: a shopper of their own each time, so
that nothing happens to the one who calls.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID, uuid4

from commerce import matching, messages
from commerce.kernel import events, ids
from commerce.messages import Link, Told, links, stops
from tests.market_people import People, Scene

Maker = Callable[[], Awaitable[Sequence[Scene]]]

KEPT = 5
"""Things of each kind that are known at a time; older ones have been used."""

CLIENT, COLLEAGUE = "client", "colleague"
"""The client who came last; an associate who never calls otherwise, and mistypes nothing."""

LINKED = ("show_preferences", "choose_preferences", "show_unsubscribing", "unsubscribe")
"""Operations that a link in a message opens."""

CLAIMED = (
    "read_claimed_cart", "follow_claimed_cart", "set_claimed_line", "apply_claimed_coupon",
    "remove_claimed_coupon", "bring_here", "begin_claimed_checkout", "release_cart", "sell_cart",
    "make_payment_link", "revoke_payment_link",
)  # fmt: skip
"""Operations on a cart that the store has claimed."""

KINDS = {
    "order_number": "order_id",
    "pickup_id": "order_id",
    **dict.fromkeys(LINKED, "link"),
    **dict.fromkeys(CLAIMED, "claimed_cart"),
    **dict.fromkeys(("export_profile", "erase_profile"), "fresh_sign_in"),
    "look_up": "candidate_id",
}
"""What is known under another name, of a parameter or an operation."""

PERSONAL = {"purpose": "personal_service", "granted": True}
FOLLOWING = {"purpose": "follow_up", "channel": "email", "granted": True}
TEXT = {"template": "order_cancelled", "channel": "email", "locale": "en"}
WORDS = {"subject": "Cancelled", "body": "Your order {{ number }} is cancelled."}
LOOK = {"purpose": "serve_in_store", "reason": "Asked for a size"}

AN_HOUR_AGO = "UPDATE shopper_look_up SET at = at - interval '1 hour'"
"""So many look-ups are let through in an hour, and the market's clock stands still."""

ASKED = """INSERT INTO follow_up (id, trigger, subject_id, shopper_id, state, due_at, scheduled_at,
    decided_at) VALUES ($1, 'after_purchase', $2, $3, 'sent', $4, $4, $4)"""


def bodies(people: People) -> Scene:
    """What does something, where inventing it field by field would take long."""
    total = people.goods["total"]
    return {
        "granted": True,
        "start_sign_in": {"email": "luz@example.com"},
        "sell_cart": {"total": total, "tender": {"kind": "cash", "tendered": total}},
        "write_outreach": {"template": "outreach_thanks"},
        "record_consents": {"decisions": [PERSONAL, FOLLOWING]},
        "decide_consents": {"decisions": [PERSONAL, FOLLOWING]},
        "create_list": {"kind": "list", "name": "Boda"},
        **{
            f"{operation}.{name}": value
            for operation in ("put_template", "preview_template")
            for name, value in TEXT.items()
        },
        **dict.fromkeys(("put_template", "preview_template"), WORDS),
    }


class Clientele:
    """Makes something new of each kind, through the API."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._services = people.web.services
        self._ask = people.ask
        self.makers: Mapping[str, Maker] = {
            "list_id": self._lists,
            "address_change_id": self._address_changes,
            "put_watch": self._sold_out,
            "question_id": self._questions,
            "fresh_sign_in": self._fresh_sign_ins,
            "link": self._links,
            "claim_cart": self._codes,
            "claimed_cart": self._claimed_carts,
            "candidate_id": self._candidates,
            "view_id": self._views,
            "answer_shopper": self._replies,
            "entry_id": self._entries,
            "outreach_id": self._outreach,
            "shopper_id": self._clients,
            "erasure_id": self._erasures,
            "source_id": self._pairs,
            "merge_id": self._merges,
            "duplicate_id": self._duplicates,
            "address": self._stopped_addresses,
            "remove_template": self._templates,
        }

    async def _lists(self) -> Sequence[Scene]:
        """Shared, with a line; and a cart of the shopper's to move it to. Nobody has many lists."""
        for old in (await self._ask("shopper", "GET", "/v1/lists"))["items"][:-KEPT]:
            await self._ask("shopper", "DELETE", f"/v1/lists/{old['id']}")
        made = await self._ask("shopper", "POST", "/v1/lists", {"kind": "list", "name": "Boda"})
        path = f"/v1/lists/{made['id']}"
        line = f"{path}/lines/{self._people.goods['sku']}"
        await self._ask("shopper", "PUT", line, {"quantity": 1})
        shared = await self._ask("shopper", "PUT", f"{path}/share")
        cart = await self._people.filled_cart("shopper")
        return [
            {
                "list_id": made["id"],
                "List-Token": shared["share_token"],
                "move_to_cart.cart_id": cart["cart_id"],
            }
        ]

    async def _address_changes(self) -> Sequence[Scene]:
        body = {"email": f"{uuid4().hex}@example.com"}
        started = await self._ask("shopper", "POST", "/v1/profile/addresses", body)
        change_id = started["address_change_id"]
        code = await self._people.code_sent(change_id)
        return [{"address_change_id": change_id, "confirm_address.code": code}]

    async def _sold_out(self) -> Sequence[Scene]:
        """Of which no store has any; and the shopper may be told when there are some."""
        sku = f"GONE-{uuid4().hex[:10]}"
        body = {"sku": sku, "item_code": sku, "item_name": "Sold out", "department": "Ropa"}
        await self._ask("back_office", "PUT", f"/v1/backoffice/skus/{sku}", body)
        await self._ask("shopper", "PUT", "/v1/profile/consents", {"decisions": [FOLLOWING]})
        return [{"put_watch.sku": sku}]

    async def _questions(self) -> Sequence[Scene]:
        """As if the shopper had bought something the day before."""
        profile = await self._ask("shopper", "GET", "/v1/profile")
        question_id = ids.uuid7()
        await self._services.database.pool.execute(
            ASKED, question_id, uuid4(), UUID(profile["id"]), self._services.now()
        )
        return [{"question_id": str(question_id)}]

    async def _fresh_sign_ins(self) -> Sequence[Scene]:
        await self._people.sign_in("shopper")
        return [{}]

    async def _links(self) -> Sequence[Scene]:
        """A minute later: one address opens only so many links in one."""
        client = await self._client()
        self._people.web.clock.pass_by(minutes=1)
        link = Link(UUID(client["id"]), "marketing", "email")
        token = links.token(self._services.secret, link)
        return [{f"{operation}.token": token for operation in LINKED}]

    async def _codes(self) -> Sequence[Scene]:
        return [{"claim_cart.code": (await self._offered())["code"]}]

    async def _claimed_carts(self) -> Sequence[Scene]:
        offered = await self._offered()
        await self._ask(COLLEAGUE, "POST", "/v1/store/cart-claims", {"code": offered["code"]})
        return [{f"{operation}.cart_id": offered["cart_id"] for operation in CLAIMED}]

    async def _offered(self) -> Scene:
        """A guest's cart, and the code to claim it by."""
        cart = await self._people.filled_cart("storefront")
        path = f"/v1/carts/{cart['cart_id']}/code"
        made = await self._ask("storefront", "POST", path, Cart_Token=cart["Cart-Token"])
        return cart | {"code": made["code"]}

    async def _client(self) -> Scene:
        """The profile of a new shopper who allows to be served and written to."""
        await self._people.sign_in("shopper", CLIENT)
        decided = {"decisions": [PERSONAL, FOLLOWING]}
        await self._ask(CLIENT, "PUT", "/v1/profile/consents", decided)
        profile: Scene = await self._ask(CLIENT, "GET", "/v1/profile")
        return profile

    async def _clients(self) -> Sequence[Scene]:
        return [{"shopper_id": (await self._client())["id"]}]

    async def _candidates(self) -> Sequence[Scene]:
        client = await self._client()
        await self._services.database.pool.execute(AN_HOUR_AGO)
        search = {"kind": "loyalty_code", "loyalty_code": client["loyalty_code"]}
        look_up = {"search": search, **LOOK}
        found = await self._ask("associate", "POST", "/v1/store/shopper-look-ups", look_up)
        (candidate,) = found["candidates"]
        return [{"look_up": look_up, "open_view": {"candidate_id": candidate["id"], **LOOK}}]

    async def _view(self) -> str:
        (candidate,) = await self._candidates()
        body = candidate["open_view"]
        view = await self._ask("associate", "POST", "/v1/store/shopper-views", body)
        return str(view["id"])

    async def _views(self) -> Sequence[Scene]:
        return [{"view_id": await self._view()}]

    async def _replies(self) -> Sequence[Scene]:
        """A view of a client who wrote to the store."""
        view_id, services = await self._view(), self._services
        profile = await self._ask(CLIENT, "GET", "/v1/profile")
        told = Told(
            id=uuid4().hex, kind="reply", at=services.now(), channel="email",
            sender=profile["email"], text="¿Y en azul?",
        )  # fmt: skip
        async with services.database.transaction() as conn:
            await messages.apply(conn, [told], now=services.now())
        (reply,) = (await self._ask(CLIENT, "GET", "/v1/profile/messages"))["items"]
        return [{"answer_shopper.view_id": view_id, "message_id": reply["id"]}]

    async def _entry(self) -> str:
        path = f"/v1/store/shopper-views/{await self._view()}/client-book-entry"
        return str((await self._ask("associate", "POST", path))["id"])

    async def _entries(self) -> Sequence[Scene]:
        return [{"entry_id": await self._entry()}]

    async def _outreach(self) -> Sequence[Scene]:
        path = f"/v1/store/client-book/{await self._entry()}/outreach"
        written = await self._ask("associate", "POST", path, {"template": "outreach_thanks"})
        return [{"outreach_id": written["id"]}]

    async def _erasures(self) -> Sequence[Scene]:
        path = f"/v1/backoffice/shoppers/{(await self._client())['id']}/erasures"
        return [{"erasure_id": (await self._ask("back_office", "POST", path))["id"]}]

    async def _pairs(self) -> Sequence[Scene]:
        """Two persons, and the token of who has compared them."""
        source, target = await self._client(), await self._client()
        pair = {"source_id": source["id"], "target_id": target["id"]}
        query = f"source_id={pair['source_id']}&target_id={pair['target_id']}"
        path = f"/v1/backoffice/merges/preview?{query}"
        return [pair | {"seen": (await self._ask("back_office", "GET", path))["seen"]}]

    async def _merges(self) -> Sequence[Scene]:
        (pair,) = await self._pairs()
        merged = await self._ask("back_office", "POST", "/v1/backoffice/merges", pair)
        return [{"merge_id": merged["id"]}]

    async def _duplicates(self) -> Sequence[Scene]:
        """Two who hold the same card."""
        first, second = await self._client(), await self._client()
        body = {"other_loyalty_code": first["loyalty_code"]}
        await self._ask(CLIENT, "PATCH", "/v1/profile", body)
        services = self._services
        async with services.database.transaction() as conn:
            told = [
                *await events.timeline(conn, UUID(first["id"])),
                *await events.timeline(conn, UUID(second["id"])),
            ]
            await matching.learn(conn, told, secret=services.secret, now=services.now())
        found = await self._ask("back_office", "GET", "/v1/backoffice/duplicates?limit=1")
        return [{"duplicate_id": found["items"][0]["id"]}]

    async def _stopped_addresses(self) -> Sequence[Scene]:
        """Where a mail came back from."""
        address = f"{uuid4().hex}@example.com"
        async with self._services.database.transaction() as conn:
            now = self._services.now()
            await stops.stop(conn, [("email", address)], why="bounced", now=now)
        return [{"lift_stop": {"channel": "email", "address": address}}]

    async def _templates(self) -> Sequence[Scene]:
        path = "/v1/backoffice/message-templates/{template}/{channel}/{locale}".format(**TEXT)
        await self._ask("back_office", "PUT", path, WORDS)
        return [{f"remove_template.{name}": value for name, value in TEXT.items()}]
