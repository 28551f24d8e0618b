"""What a shopper waits for at a store, and what they answer when they are asked."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, put
from litestar.params import PathParameter

from api.auth import may
from api.contract import raises
from commerce import follow_ups
from commerce.access import Principal
from commerce.clienteling import ConsentMissing
from commerce.follow_ups import InStock, Question, TooManyWatches, Watch
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection

SkuCode = Annotated[str, PathParameter(min_length=1, max_length=64)]


class WatchView(msgspec.Struct, frozen=True):
    """The shopper is told once when there are some of this SKU at this store."""

    sku: str
    location_id: UUID
    created_at: datetime

    @classmethod
    def of(cls, stored: Watch) -> "WatchView":
        """As its shopper sees it."""
        return cls(stored.sku, stored.location_id, stored.created_at)


class PutAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it was: one star to five, and words if there are any."""

    rating: Annotated[int, msgspec.Meta(ge=1, le=5, examples=[5])]
    comment: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)] | None = None


class QuestionView(msgspec.Struct, frozen=True):
    """How was it? About an order; the answer is null until it is given."""

    id: UUID
    order_id: UUID
    asked_at: datetime
    rating: int | None
    comment: str | None
    answered_at: datetime | None

    @classmethod
    def of(cls, asked: Question) -> "QuestionView":
        """As its shopper sees it."""
        return msgspec.convert(asked, cls, from_attributes=True)


@put(
    "/v1/profile/watches/{sku:str}/{location_id:uuid}",
    guards=[may("watch.write_own")],
    opt=raises(NotFound, ConsentMissing, InStock, TooManyWatches),
)
async def put_watch(
    sku: SkuCode, location_id: UUID, conn: Connection, who: Principal, now: datetime
) -> WatchView:
    """Be told, once, when there are some again. Needs consent to follow-ups on some channel."""
    return WatchView.of(await follow_ups.put_watch(conn, who, sku, location_id, now=now))


@delete("/v1/profile/watches/{sku:str}/{location_id:uuid}", guards=[may("watch.write_own")])
async def end_watch(
    sku: SkuCode, location_id: UUID, conn: Connection, who: Principal, now: datetime
) -> None:
    """Wait no more. Repeating it changes nothing."""
    await follow_ups.end_watch(conn, who, sku, location_id, now=now)


@get("/v1/profile/watches", guards=[may("watch.write_own")])
async def list_watches(reading: Connection, who: Principal) -> list[WatchView]:
    """What the shopper waits for, at most fifty."""
    return [WatchView.of(each) for each in await follow_ups.watches(reading, who.person_ids)]


@get("/v1/profile/questions", guards=[may("question.answer_own")])
async def list_questions(reading: Connection, who: Principal) -> list[QuestionView]:
    """What the shopper was asked after purchases, the newest fifty, with the answers."""
    return [QuestionView.of(each) for each in await follow_ups.questions(reading, who.person_ids)]


@put(
    "/v1/profile/questions/{question_id:uuid}/answer",
    guards=[may("question.answer_own")],
    opt=raises(NotFound),
)
async def put_answer(
    question_id: UUID, data: PutAnswer, conn: Connection, who: Principal, now: datetime
) -> QuestionView:
    """Answer, or answer anew: the last answer counts."""
    return QuestionView.of(
        await follow_ups.put_answer(
            conn, who, question_id, rating=data.rating, comment=data.comment, now=now
        )
    )


ROUTES = [put_watch, end_watch, list_watches, list_questions, put_answer]
