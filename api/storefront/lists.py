"""What a shopper keeps beside the cart: saved for later, the wishlist, and lists with names."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import HeaderParameter

from api.auth import may
from api.cart_views import CartView
from api.contract import no_key_needed, raises
from api.once import once
from api.services import Services
from api.storefront.carts import Sku, cart_owner
from commerce import carts, lists
from commerce.access import Principal
from commerce.availability import TooMany
from commerce.carts import CartOrdered
from commerce.kernel import ids
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection
from commerce.lists import Kind, ListNotShareable, ShoppingList
from commerce.pricing import MAX_LINE_UNITS, UnknownSku

CREATED = 201
Quantity = Annotated[int, msgspec.Meta(ge=0, le=MAX_LINE_UNITS, examples=[1])]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80, examples=["Mesa de regalos"])]
ListToken = Annotated[
    str, HeaderParameter(name="List-Token", max_length=64, description="Opens a shared list.")
]


class NewList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list to make: with a name, or the shopper's one list of its kind, if it is not there."""

    kind: Kind = "list"
    name: Name | None = None


class ListName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the list is called from now on. Whoever it is shared with reads it."""

    name: Name


class ListQuantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many units the line shall have; 0 removes it."""

    quantity: Quantity


class ChosenCart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cart that takes the line."""

    cart_id: UUID


class ListLineView(msgspec.Struct, frozen=True):
    """So many units of a SKU."""

    sku: Annotated[str, msgspec.Meta(examples=["APP-01-01"])]
    quantity: int


class ListView(msgspec.Struct, frozen=True):
    """A list as its shopper sees it. With `share_token`, as `List-Token`, others may read it."""

    id: UUID
    kind: Kind
    name: str | None
    share_token: str | None
    created_at: datetime
    lines: list[ListLineView]

    @classmethod
    def of(cls, found: ShoppingList, secret: bytes) -> "ListView":
        """As it stands."""
        head = found.head
        token = lists.token(secret, head) if head.shared_at is not None else None
        return cls(head.id, head.kind, head.name, token, head.created_at, _lines(found))


class SharedListView(msgspec.Struct, frozen=True):
    """A list as others see it: what it is called and what is on it."""

    id: UUID
    name: str | None
    lines: list[ListLineView]


def _lines(found: ShoppingList) -> list[ListLineView]:
    return [ListLineView(line.sku, line.quantity) for line in found.lines]


class Lists(msgspec.Struct, frozen=True):
    """All lists of a shopper, the oldest first."""

    items: list[ListView]


@get("/v1/lists", guards=[may("list.write_own")], opt=raises())
async def list_lists(reading: Connection, who: Principal, services: Services) -> Lists:
    """The signed-in shopper's lists with what is on them."""
    found = await lists.of_person(reading, who.person_ids)
    return Lists([ListView.of(each, services.secret) for each in found])


@post(
    "/v1/lists",
    guards=[may("list.write_own")],
    status_code=CREATED,
    opt=raises(InvalidField, TooMany),
)
@once
async def create_list(
    data: NewList, conn: Connection, who: Principal, services: Services, now: datetime
) -> ListView:
    """Make a list. Of `wishlist` and `saved_for_later` there is one, which is answered again."""
    assert who.shopper_id is not None
    if (data.kind == "list") != (data.name is not None):
        raise InvalidField(path="/name", reason="a list has a name, the other kinds have none")
    if data.kind == "list":
        assert data.name is not None
        made = await lists.create(conn, who.shopper_id, ids.uuid7(), name=data.name, now=now)
    else:
        made = await lists.own(conn, who.shopper_id, data.kind, now=now)
    return ListView.of(made, services.secret)


@patch("/v1/lists/{list_id:uuid}", guards=[may("list.write_own")], opt=raises(NotFound))
async def rename_list(
    list_id: UUID, data: ListName, conn: Connection, who: Principal, services: Services
) -> ListView:
    """Call a list otherwise; only one that has a name."""
    renamed = await lists.rename(conn, list_id, who.person_ids, name=data.name)
    return ListView.of(renamed, services.secret)


@delete("/v1/lists/{list_id:uuid}", guards=[may("list.write_own")], opt=raises(NotFound))
async def remove_list(list_id: UUID, conn: Connection, who: Principal) -> None:
    """Throw a list away with all that is on it."""
    await lists.remove(conn, list_id, who.person_ids)


@put(
    "/v1/lists/{list_id:uuid}/lines/{sku:str}",
    guards=[may("list.write_own")],
    opt=raises(NotFound, UnknownSku, TooMany),
)
async def set_list_line(
    list_id: UUID,
    sku: Sku,
    data: ListQuantity,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
) -> ListView:
    """Set how many units of a SKU the list has."""
    after = await lists.set_line(
        conn, list_id, who.person_ids, sku=sku, quantity=data.quantity, now=now
    )
    return ListView.of(after, services.secret)


@post(
    "/v1/lists/{list_id:uuid}/lines/{sku:str}/to-cart",
    guards=[may("list.write_own")],
    status_code=200,
    opt=raises(NotFound, CartOrdered, UnknownSku, TooMany),
)
@no_key_needed("once the line has left the list there is nothing to move again")
async def move_to_cart(
    list_id: UUID,
    sku: Sku,
    data: ChosenCart,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
) -> CartView:
    """Move a line into one of the shopper's carts, on top of what is in it already."""
    owner = cart_owner(data.cart_id, who, None, services)
    after = await carts.take_from_list(
        conn, data.cart_id, owner, list_id=list_id, sku=sku, actor=who.actor, now=now
    )
    return CartView.of(after, now)


@put(
    "/v1/lists/{list_id:uuid}/share",
    guards=[may("list.write_own")],
    opt=raises(NotFound, ListNotShareable),
)
async def share_list(
    list_id: UUID, conn: Connection, who: Principal, services: Services, now: datetime
) -> ListView:
    """Let whoever has the token read the list: its name and what is on it, not whose it is."""
    shared = await lists.share(conn, list_id, who.person_ids, now=now)
    return ListView.of(shared, services.secret)


@delete(
    "/v1/lists/{list_id:uuid}/share",
    guards=[may("list.write_own")],
    status_code=200,
    opt=raises(NotFound),
)
async def unshare_list(
    list_id: UUID, conn: Connection, who: Principal, services: Services
) -> ListView:
    """Let nobody else read it any more. Shared again, it has another token."""
    return ListView.of(await lists.unshare(conn, list_id, who.person_ids), services.secret)


@get(
    "/v1/shared-lists/{list_id:uuid}",
    guards=[may("catalog.read")],
    opt=raises(NotFound),
)
async def read_shared_list(
    list_id: UUID, reading: Connection, services: Services, list_token: ListToken
) -> SharedListView:
    """A list that somebody has shared."""
    found = await lists.shared(reading, list_id, given_token=list_token, secret=services.secret)
    return SharedListView(found.id, found.head.name, _lines(found))


ROUTES = [
    list_lists,
    create_list,
    rename_list,
    remove_list,
    set_list_line,
    move_to_cart,
    share_list,
    unshare_list,
    read_shared_list,
]
