"""Lists that a shopper keeps beside the cart: saved for later, a wishlist, and lists with names.

Owns `shopping_list` and `list_line`. One list of each of the first two kinds per shopper, made when
it is first needed; up to twenty with names. A list holds up to two hundred SKUs. The wishlist and
lists with names may be shared: whoever has the token reads the chosen name and the lines, and
nothing about whose it is. The token is derived, never stored; a list that is no longer shared opens
to nobody, and shared again it has another token.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.availability import TooMany
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, NotFound
from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.pricing import Line, UnknownSku
from commerce.tables import list_line, shopping_list, sku

MAX_LISTS = 20
"""With names, per shopper."""

MAX_LINES = 200
TOKEN_LENGTH = 26

Kind = Literal["saved_for_later", "wishlist", "list"]
OwnKind = Literal["saved_for_later", "wishlist"]
"""Of these a shopper has one each."""


class ListNotShareable(CommerceError):
    """What is saved for later is the shopper's own. Put it on a list, and share that."""

    code = "list_not_shareable"
    list_id: UUID


class ListLine(msgspec.Struct, frozen=True):
    """So many units of a SKU."""

    list_id: UUID
    sku: str
    quantity: int
    added_at: datetime


class Head(msgspec.Struct, frozen=True):
    """A list without its lines."""

    id: UUID
    shopper_id: UUID
    kind: Kind
    name: str | None
    share_number: int
    shared_at: datetime | None
    created_at: datetime


class ShoppingList(msgspec.Struct, frozen=True):
    """A list, its lines in the order in which they were added."""

    head: Head
    lines: tuple[ListLine, ...]

    @property
    def id(self) -> UUID:
        """The list's id."""
        return self.head.id


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_OF = shopping_list.c.id == bindparam("of")
_PERSON = shopping_list.c.shopper_id == any_(bindparam("person_ids", type_=ARRAY(Uuid())))
_HEAD = select(*(shopping_list.c[name] for name in Head.__struct_fields__))
_OF_SHOPPER = bindparam("shopper", type_=Uuid())
_NEW = rows_of("n", sku=Text(), quantity=Integer())

OF_PERSON = Query(_HEAD.where(_PERSON).order_by(shopping_list.c.id), Head)
BY_ID = Query(_HEAD.where(_OF), Head)
LOCK = Query(_HEAD.where(_OF, _PERSON).with_for_update(key_share=True), Head)
LINES = Query(
    select(*(list_line.c[name] for name in ListLine.__struct_fields__))
    .where(list_line.c.list_id == any_(bindparam("list_ids", type_=ARRAY(Uuid))))
    .order_by(list_line.c.list_id, list_line.c.added_at, list_line.c.sku),
    ListLine,
)
_NAMED = (
    select(func.count())
    .select_from(shopping_list)
    .where(shopping_list.c.shopper_id == _OF_SHOPPER, shopping_list.c.kind == "list")
    .scalar_subquery()
)
CREATE = Query(
    insert(shopping_list)
    .from_select(
        ["id", "shopper_id", "kind", "name", "created_at"],
        select(
            bindparam("new_id", type_=Uuid()),
            _OF_SHOPPER,
            literal("list"),
            bindparam("called", type_=Text()),
            _NOW,
        ).where(_NAMED < MAX_LISTS),
    )
    .returning(shopping_list.c.id),
    UUID,
)
_OWN = upsert(shopping_list).values(
    id=bindparam("new_id", type_=Uuid()),
    shopper_id=_OF_SHOPPER,
    kind=bindparam("of_kind", type_=Text()),
    created_at=_NOW,
)
# Written anew where it stands already, so that it is locked and its id comes back.
ENSURE = Query(
    _OWN.on_conflict_do_update(
        index_elements=["shopper_id", "kind"],
        index_where=shopping_list.c.kind != "list",
        set_={"kind": _OWN.excluded.kind},
    ).returning(shopping_list.c.id),
    UUID,
)
RENAME = Query(update(shopping_list).values(name=bindparam("called", type_=Text())).where(_OF))
SHARE = Query(
    update(shopping_list)
    .values(share_number=shopping_list.c.share_number + 1, shared_at=_NOW)
    .where(_OF, shopping_list.c.shared_at.is_(None))
)
UNSHARE = Query(update(shopping_list).values(shared_at=null()).where(_OF))
REMOVE_LINES = Query(delete(list_line).where(list_line.c.list_id == bindparam("of")))
REMOVE = Query(delete(shopping_list).where(_OF))
REMOVE_LINE = Query(
    delete(list_line)
    .where(list_line.c.list_id == bindparam("of"), list_line.c.sku == bindparam("of_sku"))
    .returning(list_line.c.quantity),
    int,
)
_PUT = upsert(list_line).from_select(
    ["list_id", "sku", "quantity", "added_at"],
    select(bindparam("of", type_=Uuid()), _NEW.c.sku, _NEW.c.quantity, _NOW)
    .where(exists().where(sku.c.sku == _NEW.c.sku))
    .order_by(_NEW.c.sku),
)
PUT_LINES = Query(
    _PUT.on_conflict_do_update(
        index_elements=["list_id", "sku"],
        set_={
            "quantity": case(
                (
                    list_line.c.quantity > _PUT.excluded.quantity,
                    case(
                        (bindparam("keep_larger").is_(True), list_line.c.quantity),
                        else_=_PUT.excluded.quantity,
                    ),
                ),
                else_=_PUT.excluded.quantity,
            )
        },
    ).returning(list_line.c.sku),
    str,
)


async def of_person(conn: Connection, person_ids: Sequence[UUID]) -> list[ShoppingList]:
    """All lists of a person, under whichever id they were made; the oldest first."""
    return await _with_lines(conn, await conn.run(OF_PERSON, person_ids=list(person_ids)))


async def by_id(conn: Connection, list_id: UUID, person_ids: Sequence[UUID]) -> ShoppingList:
    """A list of this person. Raises NotFound, also for another's."""
    head = await conn.first(BY_ID, of=list_id)
    if head is None or head.shopper_id not in person_ids:
        raise _unknown(list_id)
    return (await _with_lines(conn, [head]))[0]


async def create(
    conn: Connection, shopper_id: UUID, list_id: UUID, *, name: str, now: datetime
) -> ShoppingList:
    """An empty list with a name. Raises TooMany."""
    made = await conn.run(CREATE, new_id=list_id, shopper=shopper_id, called=name, now=now)
    if not made:
        raise TooMany(what="lists", given=MAX_LISTS + 1, limit=MAX_LISTS)
    return await by_id(conn, list_id, [shopper_id])


async def own(conn: Connection, shopper_id: UUID, kind: OwnKind, *, now: datetime) -> ShoppingList:
    """The shopper's one list of this kind, made if there was none. Safe to repeat."""
    list_id = await conn.one(ENSURE, new_id=ids.uuid7(), shopper=shopper_id, of_kind=kind, now=now)
    return await by_id(conn, list_id, [shopper_id])


async def rename(
    conn: Connection, list_id: UUID, person_ids: Sequence[UUID], *, name: str
) -> ShoppingList:
    """Call a list otherwise. Raises NotFound, also for one that has no name."""
    if (await _lock(conn, list_id, person_ids)).kind != "list":
        raise _unknown(list_id)
    await conn.run(RENAME, of=list_id, called=name)
    return await by_id(conn, list_id, person_ids)


async def remove(conn: Connection, list_id: UUID, person_ids: Sequence[UUID]) -> None:
    """Throw a list away with all that is on it. Raises NotFound."""
    await _lock(conn, list_id, person_ids)
    await conn.run(REMOVE_LINES, of=list_id)
    await conn.run(REMOVE, of=list_id)


async def set_line(
    conn: Connection,
    list_id: UUID,
    person_ids: Sequence[UUID],
    *,
    sku: str,
    quantity: int,
    now: datetime,
) -> ShoppingList:
    """So many units of a SKU from now on, none at 0. Repeating it changes nothing.

    Raises NotFound, UnknownSku, TooMany.
    """
    await _lock(conn, list_id, person_ids)
    if quantity == 0:
        await conn.run(REMOVE_LINE, of=list_id, of_sku=sku)
        return await by_id(conn, list_id, person_ids)
    put = await conn.run(
        PUT_LINES, of=list_id, sku=[sku], quantity=[quantity], keep_larger=False, now=now
    )
    if not put:
        raise UnknownSku(sku=sku, path="/sku")
    after = await by_id(conn, list_id, person_ids)
    _check_room(after)
    return after


async def save(
    conn: Connection, shopper_id: UUID, lines: Sequence[Line], *, now: datetime, bounded: bool
) -> None:
    """Keep lines for later; of a SKU that is there already, the larger quantity.

    Raises TooMany where `bounded`; a merge of carts must not lose lines, so it is not.
    """
    list_id = (await own(conn, shopper_id, "saved_for_later", now=now)).id
    await conn.run(
        PUT_LINES,
        of=list_id,
        sku=[line.sku for line in lines],
        quantity=[line.quantity for line in lines],
        keep_larger=True,
        now=now,
    )
    if bounded:
        _check_room(await by_id(conn, list_id, [shopper_id]))


async def take(conn: Connection, list_id: UUID, person_ids: Sequence[UUID], sku: str) -> int:
    """Take a SKU off a list; returns how many units it had. Raises NotFound."""
    await _lock(conn, list_id, person_ids)
    quantity = await conn.first(REMOVE_LINE, of=list_id, of_sku=sku)
    if quantity is None:
        raise NotFound(kind="list_line", id=sku)
    return quantity


async def share(
    conn: Connection, list_id: UUID, person_ids: Sequence[UUID], *, now: datetime
) -> ShoppingList:
    """Let whoever has the token read it. Shared already: nothing changes.

    Raises NotFound, ListNotShareable.
    """
    if (await _lock(conn, list_id, person_ids)).kind == "saved_for_later":
        raise ListNotShareable(list_id=list_id)
    await conn.run(SHARE, of=list_id, now=now)
    return await by_id(conn, list_id, person_ids)


async def unshare(conn: Connection, list_id: UUID, person_ids: Sequence[UUID]) -> ShoppingList:
    """Let nobody else read it any more; the token that is out is dead for ever."""
    await _lock(conn, list_id, person_ids)
    await conn.run(UNSHARE, of=list_id)
    return await by_id(conn, list_id, person_ids)


async def shared(
    conn: Connection, list_id: UUID, *, given_token: str, secret: bytes
) -> ShoppingList:
    """A list by its token. Raises NotFound, whatever the reason is."""
    head = await conn.first(BY_ID, of=list_id)
    if head is None or head.shared_at is None:
        raise _unknown(list_id)
    if not ids.same_code(given_token, token(secret, head)):
        raise _unknown(list_id)
    return (await _with_lines(conn, [head]))[0]


def token(secret: bytes, of: Head) -> str:
    """What opens a shared list to others: derived, stored nowhere."""
    return ids.derived(secret, f"list:{of.share_number}", of.id, TOKEN_LENGTH)


async def _lock(conn: Connection, list_id: UUID, person_ids: Sequence[UUID]) -> Head:
    head = await conn.first(LOCK, of=list_id, person_ids=list(person_ids))
    if head is None:
        raise _unknown(list_id)
    return head


async def _with_lines(conn: Connection, heads: Sequence[Head]) -> list[ShoppingList]:
    lines: dict[UUID, list[ListLine]] = {head.id: [] for head in heads}
    for line in await conn.run(LINES, list_ids=list(lines)) if heads else ():
        lines[line.list_id].append(line)
    return [ShoppingList(head, tuple(lines[head.id])) for head in heads]


def _check_room(after: ShoppingList) -> None:
    if len(after.lines) > MAX_LINES:
        raise TooMany(what="lines", given=len(after.lines), limit=MAX_LINES)


def _unknown(list_id: UUID) -> NotFound:
    return NotFound(kind="list", id=str(list_id))


_OURS = shopping_list.c.shopper_id == SHOPPER_IDS
_LINE_OF_OURS = list_line.c.list_id.in_(select(shopping_list.c.id).where(_OURS))
HOLDINGS = (
    Holding(
        table="list_line",
        export=Query(select(document(list_line)).where(_LINE_OF_OURS), str),
        erase=Query(delete(list_line).where(_LINE_OF_OURS).returning(list_line.c.list_id), UUID),
    ),
    Holding(
        table="shopping_list",
        export=Query(select(document(shopping_list)).where(_OURS), str),
        erase=Query(delete(shopping_list).where(_OURS).returning(shopping_list.c.id), UUID),
    ),
)
"""What is held about a person's lists: all of it goes."""
