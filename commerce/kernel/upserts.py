"""Insert rows or update those that differ, a whole batch in one statement.

Loading the same file twice writes nothing the second time, and RETURNING names what really changed.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, TableValuedAlias, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.dml import ReturningInsert


def merge(
    table: Table,
    new: TableValuedAlias,
    *,
    key: Sequence[str],
    keep: Sequence[str] = (),
    returning: Sequence[ColumnElement[Any]],
) -> ReturningInsert[Any]:
    """The rows of `new` in `table`, found again by the unique `key`, sorted by it.

    Columns in `keep` are written only when the row is new. The rows of a batch must differ in
    their key. Every row is locked, also one that stays as it was; only changed ones are returned.
    """
    names = [column.name for column in new.c if column.name != "position"]
    insert = upsert(table).from_select(
        names, select(*(new.c[name] for name in names)).order_by(*(new.c[name] for name in key))
    )
    changing = [name for name in names if name not in {*key, *keep}]
    return insert.on_conflict_do_update(
        index_elements=list(key),
        set_={name: insert.excluded[name] for name in changing},
        where=or_(*(table.c[name].is_distinct_from(insert.excluded[name]) for name in changing)),
    ).returning(*returning)
