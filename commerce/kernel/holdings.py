"""What is held about persons, table by table: how it is told to them, and how it is emptied.

Each noun lists its own tables as `HOLDINGS` in its module `personal`; `commerce.privacy` puts the
lists together. A statement names as parameters which part of a `Scope` it needs.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Subquery,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    literal,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel.sql import Connection, Query

MAX_COLUMNS = 50
"""PostgreSQL takes no more than 100 arguments, and each column needs two."""


class Scope(msgspec.Struct, frozen=True):
    """Whom a holding is about.

    Addresses are those that the person has proved to be theirs. By them only what is older than
    `until` is found: whoever writes from such an address later is somebody new.
    """

    shopper_ids: list[UUID]
    contact_ids: list[UUID]
    addresses: list[str]
    until: datetime
    now: datetime

    def values_for(self, query: Query[Any]) -> dict[str, Any]:
        """The parameters of one statement."""
        return {name: getattr(self, name) for name in query.names}


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One table, or one kind of its rows.

    `export` yields a JSON object per row. `erase` changes only what is not empty yet and returns
    something for each row, so that it may be repeated until it finds nothing. What is needed while
    an order is under way is emptied after it: `waits`. `stays` says what is not emptied, and why.
    """

    table: str
    export: Query[str] | None = None
    erase: Query[Any] | None = None
    ids: Query[UUID] | None = None
    """Of rows that answers to staff may show, which are kept for a while."""
    waits: bool = False
    stays: str = ""


SHOPPER_IDS = any_(bindparam("shopper_ids", type_=ARRAY(Uuid())))
CONTACT_IDS = any_(bindparam("contact_ids", type_=ARRAY(Uuid())))
ADDRESSES = any_(bindparam("addresses", type_=ARRAY(Text())))
UNTIL = bindparam("until", type_=DateTime(timezone=True))
NOW = bindparam("now", type_=DateTime(timezone=True))


def document(table: Table | Subquery, *, without: Sequence[str] = ()) -> ColumnElement[str]:
    """A row as the text of a JSON object."""
    columns = [column for column in table.c if column.name not in without]
    assert len(columns) <= MAX_COLUMNS, f"{table.name} is too wide for one object"
    pairs = [part for each in columns for part in (literal(each.name, Text()), each)]
    return cast(func.jsonb_build_object(*pairs), Text()).label("row")


async def erase(conn: Connection, holding: Holding, scope: Scope) -> int:
    """Empty one holding; returns how many rows changed. Repeating it changes nothing."""
    assert holding.erase is not None
    return len(await conn.run(holding.erase, **scope.values_for(holding.erase)))
