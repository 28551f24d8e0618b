"""Shoppers who may be one person: suggestions, comparing two, merging them, undoing it.

For the back office and for managers of stores. Names and addresses are masked; whoever compares is
on record, and so is whoever decides.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post, put
from litestar.params import QueryParameter

from api.auth import may
from api.contract import raises
from api.once import once
from api.pages import Cursor, Page, PageSize, decode_id, page_of
from commerce import customers, matching
from commerce.access import Principal
from commerce.customers import AlreadyOnePerson, Merge, MergeStale, PersonTooLarge
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection
from commerce.matching import (
    Compared,
    Duplicate,
    Field,
    MergeUnproven,
    Preview,
    Reason,
    Sighting,
)

LAST_ID = UUID(int=2**128 - 1)


class SightingView(msgspec.Struct, frozen=True):
    """A profile by its id; the name by its initials."""

    profile_id: UUID
    name: Annotated[str, msgspec.Meta(examples=["A*** T***"])] | None
    since: datetime

    @classmethod
    def of(cls, seen: Sighting) -> "SightingView":
        """Of one person."""
        return cls(seen.shopper_id, seen.name, seen.since)


class DuplicateView(msgspec.Struct, frozen=True):
    """Two profiles that may be one person's, and what they have in common.

    Of each reason `proof` says whether both have shown it (`proven`: they paid with one card), or
    it was only typed, with an order or into a profile (`told`), as anybody may who knows it.
    """

    id: UUID
    first: SightingView
    second: SightingView
    reasons: list[Reason]
    found_at: datetime

    @classmethod
    def of(cls, found: Duplicate) -> "DuplicateView":
        """As staff see it."""
        first, second = SightingView.of(found.first), SightingView.of(found.second)
        return cls(found.id, first, second, found.reasons, found.found_at)


class ComparedView(msgspec.Struct, frozen=True):
    """One side: how it is known, and how much stands under its ids, by kind, up to 1,000 each."""

    profile: SightingView
    profile_ids: list[UUID]
    emails: Annotated[list[str], msgspec.Meta(examples=[["a***@example.com"]])]
    phones: Annotated[list[str], msgspec.Meta(examples=[["+52***78"]])]
    external_identities: int
    brings: Annotated[dict[str, int], msgspec.Meta(examples=[{"orders": 3, "cart": 1}])]

    @classmethod
    def of(cls, side: Compared) -> "ComparedView":
        """As staff see it."""
        return cls(
            SightingView.of(side.shopper),
            side.shopper_ids,
            side.emails,
            side.phones,
            side.external_identities,
            side.brings,
        )


class PreviewView(msgspec.Struct, frozen=True):
    """What merging `source` into `target` would do. Send `seen` with the merge.

    Nothing is moved or lost: `brings` stays where it is and is found under both. `fields` says
    whose word counts where a field is told, `proof` of each reason whether both have shown it.
    """

    source: ComparedView
    target: ComparedView
    fields: list[Field]
    reasons: list[Reason]
    seen: Annotated[str, msgspec.Meta(examples=["9f86d081884c7d659a2feaa0c55ad015"])]

    @classmethod
    def of(cls, shown: Preview) -> "PreviewView":
        """As staff see it."""
        return cls(
            ComparedView.of(shown.source),
            ComparedView.of(shown.target),
            shown.fields,
            shown.reasons,
            shown.seen,
        )


class NewMerge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to become one person, and the `seen` of the preview that was looked at."""

    source_id: UUID
    target_id: UUID
    seen: Annotated[str, msgspec.Meta(max_length=64, examples=["9f86d081884c7d659a2feaa0c55ad015"])]


class MergeView(msgspec.Struct, frozen=True):
    """A merge, and who made and undid it."""

    id: UUID
    source_id: UUID
    target_id: UUID
    merged_at: datetime
    merged_by: str
    undone_at: datetime | None
    undone_by: str | None

    @classmethod
    def of(cls, made: Merge) -> "MergeView":
        """As staff see it."""
        return msgspec.convert(made, cls, from_attributes=True)


ProfileId = Annotated[
    UUID, QueryParameter(description="A profile on this side, by any of its ids.")
]


@get(
    "/v1/backoffice/duplicates",
    guards=[may("shopper.merge")],
    tags=["Back office"],
    opt=raises(),
)
async def list_duplicates(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[DuplicateView]:
    """Profiles that may be one person's, the newest suggestion first."""
    before = decode_id(cursor) or LAST_ID
    found = await matching.suggested(reading, before=before, page=limit + 1)
    return page_of(found, limit, view=DuplicateView.of, key=lambda each: str(each.id))


@put(
    "/v1/backoffice/duplicates/{duplicate_id:uuid}/dismissal",
    guards=[may("shopper.merge")],
    tags=["Back office"],
    status_code=204,
    opt=raises(NotFound),
)
async def dismiss_duplicate(
    duplicate_id: UUID, conn: Connection, who: Principal, now: datetime
) -> None:
    """They are two persons, and are not suggested again. Repeating it changes nothing."""
    await matching.dismiss(conn, who, duplicate_id, now=now)


@get(
    "/v1/backoffice/merges/preview",
    guards=[may("shopper.merge")],
    tags=["Back office"],
    opt=raises(NotFound, AlreadyOnePerson),
)
async def preview_merge(
    source_id: ProfileId, target_id: ProfileId, conn: Connection, who: Principal, now: datetime
) -> PreviewView:
    """Compare two persons before merging them. That somebody looked goes on record."""
    shown = await matching.preview(conn, who, source_id=source_id, target_id=target_id, now=now)
    return PreviewView.of(shown)


@get("/v1/backoffice/merges", guards=[may("shopper.merge")], tags=["Back office"], opt=raises())
async def list_merges(
    reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[MergeView]:
    """Every merge, the newest first, undone ones too."""
    before = decode_id(cursor) or LAST_ID
    found = await customers.merges(reading, before=before, page=limit + 1)
    return page_of(found, limit, view=MergeView.of, key=lambda each: str(each.id))


@post(
    "/v1/backoffice/merges",
    guards=[may("shopper.merge")],
    tags=["Back office"],
    opt=raises(NotFound, AlreadyOnePerson, MergeStale, PersonTooLarge, MergeUnproven),
)
@once
async def merge_shoppers(
    data: NewMerge, conn: Connection, who: Principal, now: datetime
) -> MergeView:
    """Make one person of two. Who has changed since the preview is refused as `merge_stale`.

    Sessions of both go on, as sessions of the one person; every address of either gets a message.
    Without a `proven` reason only the back office may: a manager gets `merge_unproven`.
    """
    made = await matching.merge(
        conn, who, source_id=data.source_id, target_id=data.target_id, seen=data.seen, now=now
    )
    return MergeView.of(made)


@post(
    "/v1/backoffice/merges/{merge_id:uuid}/undo",
    guards=[may("shopper.merge")],
    tags=["Back office"],
    status_code=200,
    opt=raises(NotFound),
)
@once
async def undo_merge(merge_id: UUID, conn: Connection, who: Principal, now: datetime) -> MergeView:
    """Make two persons of one again, each with what it had; they are not suggested again.

    What came in after the merge stays with the profile that it was written under.
    """
    return MergeView.of(await matching.undo(conn, who, merge_id, now=now))


ROUTES = [
    list_duplicates,
    dismiss_duplicate,
    preview_merge,
    list_merges,
    merge_shoppers,
    undo_merge,
]
