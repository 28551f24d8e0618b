"""Persons: each merged row points at the root of its live merges, and no other row points."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import exists, select

from commerce.kernel.auditing import Check, Finding
from commerce.kernel.sql import Query
from commerce.tables import shopper, shopper_merge


class Pointer(Struct, frozen=True):
    """A row that points elsewhere than its merges say."""

    id: UUID
    merged_into: UUID | None
    root: UUID | None


_live = select(shopper_merge).where(shopper_merge.c.undone_at.is_(None)).subquery("live")
_above = _live.alias("above")
_up = select(_live.c.source_id.label("row"), _live.c.target_id.label("root")).cte(
    "up", recursive=True
)
# Without duplicates, so that merges in a circle come to an end; they have no root at all.
_up = _up.union(
    select(_up.c.row, _above.c.target_id).join(_above, _above.c.source_id == _up.c.root)
)
_further = _live.alias("further")
_roots = (
    select(_up.c.row, _up.c.root)
    .where(~exists().where(_further.c.source_id == _up.c.root))
    .subquery("roots")
)
POINTERS = Query(
    select(shopper.c.id, shopper.c.merged_into, _roots.c.root)
    .outerjoin(_roots, _roots.c.row == shopper.c.id)
    .where(shopper.c.merged_into.is_distinct_from(_roots.c.root)),
    Pointer,
)


def judge_pointer(row: Pointer) -> Iterator[Finding]:
    """Pure."""
    yield Finding(
        f"shopper {row.id}",
        _words(row.root),
        _words(row.merged_into),
        "Undo and repeat its merges; until then some of its things are found under the wrong one.",
    )


def _words(root: UUID | None) -> str:
    return f"merged into {root}" if root is not None else "merged into nobody"


CHECKS: tuple[Check[Any], ...] = (
    Check("merged shoppers point at the root of their merges", POINTERS, judge_pointer),
)
