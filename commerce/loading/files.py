"""Files of records: read in stretches, each stored in a transaction of its own, in bounded memory.

Owns `stock_file` and `refused_stock_line`: how far each file of stock movements has been loaded,
and which lines before that were refused. The file's row is locked by each stretch, so that two
loads of one file take turns.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from itertools import islice
from typing import IO
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal
from commerce.importing import Bad, Good, Kind
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database, Query
from commerce.loading.putting import PERMISSIONS, Act, put
from commerce.tables import refused_stock_line, stock_file

LINES = 500
LINES_OF_ASSOCIATES = 50
"""Fewer, because a PIN takes longer to hash than a row to write."""

_READ_BYTES = 1 << 20


class Loaded(msgspec.Struct, frozen=True):
    """What became of a stretch of lines that ends with `last_line`."""

    last_line: int
    loaded: int
    loaded_before: int
    """Lines of a stock file that counted already, and did not count again."""
    first_loaded_at: datetime | None
    """When this stock file was loaded for the first time, if it was before."""
    refused: list[Bad]


class _StockFile(msgspec.Struct, frozen=True):
    first_loaded_at: datetime
    done_through: int


class _Undone(Exception):
    """What a stretch would have done; raised so that the transaction undoes it."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded


_LINES = bindparam("lines", type_=ARRAY(Integer()))
_OF_LINES = (
    refused_stock_line.c.file_id == bindparam("file_id"),
    refused_stock_line.c.line == any_(_LINES),
)

OPEN = Query(
    upsert(stock_file)
    .values(
        id=bindparam("file_id", type_=Uuid()),
        first_loaded_at=bindparam("now", type_=DateTime(timezone=True)),
        actor=bindparam("by", type_=Text()),
    )
    .on_conflict_do_nothing()
)
LOCK = Query(
    select(stock_file.c.first_loaded_at, stock_file.c.done_through)
    .where(stock_file.c.id == bindparam("file_id"))
    .with_for_update(key_share=True),
    _StockFile,
)
ADVANCE = Query(
    update(stock_file)
    .values(
        done_through=func.greatest(stock_file.c.done_through, bindparam("through", type_=Integer()))
    )
    .where(stock_file.c.id == bindparam("file_id"))
)
REFUSED = Query(select(refused_stock_line.c.line).where(*_OF_LINES), int)
FORGET_REFUSED = Query(delete(refused_stock_line).where(*_OF_LINES))
REMEMBER_REFUSED = Query(
    upsert(refused_stock_line)
    .from_select(
        ["file_id", "line"],
        select(bindparam("file_id", type_=Uuid()), func.unnest(_LINES)),
    )
    .on_conflict_do_nothing()
)


def stock_file_id(content: IO[bytes], *, reference: str = "") -> UUID:
    """What a file of stock movements is known by: its bytes, and a reference if it is given one."""
    digest = hashlib.sha256(reference.encode() + b"\0")
    while chunk := content.read(_READ_BYTES):
        digest.update(chunk)
    return UUID(bytes=digest.digest()[:16])


async def load(
    db: Database,
    kind: Kind,
    lines: Iterable[Good | Bad],
    *,
    who: Principal,
    now: Clock,
    file_id: UUID | None = None,
    check: bool = False,
) -> AsyncGenerator[Loaded]:
    """Load what `importing.read` found, stretch by stretch; each is committed when it is told of.

    `file_id`, from `stock_file_id`, makes the lines of a stock file count once. `check` does
    everything and keeps nothing; then no stretch sees what the ones before it would have brought.
    Raises PermissionDenied, SessionRequired.
    """
    assert (kind == "stock") == (file_id is not None), "a stock file, and no other, counts once"
    who.require(PERMISSIONS[kind])
    size = LINES_OF_ASSOCIATES if kind == "associates" else LINES
    rest = iter(lines)
    while stretch := list(islice(rest, size)):
        by = Act(who, now(), file_id)

        async def work(
            conn: Connection, stretch: list[Good | Bad] = stretch, by: Act = by
        ) -> Loaded:
            loaded = await _stretch(conn, kind, stretch, by)
            if check:
                raise _Undone(loaded)
            return loaded

        try:
            yield await db.commit(work)
        except _Undone as undone:
            yield undone.loaded


async def _stretch(conn: Connection, kind: Kind, stretch: list[Good | Bad], by: Act) -> Loaded:
    good = [each for each in stretch if isinstance(each, Good)]
    refused = [each for each in stretch if isinstance(each, Bad)]
    new, first_loaded_at = good, None
    if by.file_id is not None:
        new, first_loaded_at = await _not_counted(conn, by.file_id, good, by)
    outcomes = await put(conn, kind, [each.record for each in new], by=by) if new else []
    faults = [
        Bad(each.line, outcome.code, outcome.path.strip("/"), outcome.reason)
        for each, outcome in zip(new, outcomes, strict=True)
        if outcome is not None
    ]
    if by.file_id is not None and new:
        await _count(conn, by.file_id, new, faults)
    return Loaded(
        last_line=max(each.line for each in stretch),
        loaded=len(new) - len(faults),
        loaded_before=len(good) - len(new),
        first_loaded_at=first_loaded_at,
        refused=sorted([*refused, *faults], key=lambda fault: fault.line),
    )


async def _not_counted(
    conn: Connection, file_id: UUID, good: list[Good], by: Act
) -> tuple[list[Good], datetime | None]:
    """Lines of a stock file that do not count yet; since when it is known, if it is."""
    await conn.run(OPEN, file_id=file_id, now=by.now, by=by.who.actor)
    file = await conn.one(LOCK, file_id=file_id)
    if not file.done_through:
        return good, None
    tried = [each.line for each in good if each.line <= file.done_through]
    refused = set(await conn.run(REFUSED, file_id=file_id, lines=tried)) if tried else set()
    new = [each for each in good if each.line > file.done_through or each.line in refused]
    return new, file.first_loaded_at


async def _count(conn: Connection, file_id: UUID, tried: list[Good], faults: list[Bad]) -> None:
    """From now on these lines count, but for those that were refused."""
    lines = [each.line for each in tried]
    refused = [each.line for each in faults]
    await conn.later(FORGET_REFUSED, file_id=file_id, lines=lines)
    await conn.later(ADVANCE, file_id=file_id, through=max(lines))
    if refused:
        await conn.later(REMEMBER_REFUSED, file_id=file_id, lines=refused)
