"""The question after a purchase, and what the shopper answers."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Text, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query, either
from commerce.tables import answer, follow_up

MAX_QUESTIONS = 50


class Question(msgspec.Struct, frozen=True):
    """How was it? About one order, with the answer if there is one."""

    id: UUID
    order_id: UUID
    asked_at: datetime
    rating: int | None
    comment: str | None
    answered_at: datetime | None


class Answer(msgspec.Struct, frozen=True):
    """What somebody said about an order. Its words are personal data."""

    follow_up_id: UUID
    order_id: UUID
    rating: int
    comment: str | None
    answered_at: datetime


_PERSON_IDS = bindparam("person_ids", type_=ARRAY(Uuid))
_ASKED = (
    select(
        follow_up.c.id,
        follow_up.c.subject_id.label("order_id"),
        follow_up.c.decided_at.label("asked_at"),
        answer.c.rating,
        answer.c.comment,
        answer.c.answered_at,
    )
    .outerjoin(answer, answer.c.follow_up_id == follow_up.c.id)
    .where(
        follow_up.c.shopper_id == any_(_PERSON_IDS),
        follow_up.c.trigger == "after_purchase",
        follow_up.c.state == "sent",
    )
)
ASKED = Query(_ASKED.order_by(follow_up.c.id.desc()).limit(MAX_QUESTIONS), Question)
ONE_ASKED = Query(_ASKED.where(follow_up.c.id == bindparam("of")), Question)
_said = {
    "rating": bindparam("stars", type_=Integer()),
    "comment": bindparam("words", type_=Text()),
    "answered_at": bindparam("now", type_=DateTime(timezone=True)),
}
PUT = Query(
    upsert(answer)
    .values(
        follow_up_id=bindparam("of", type_=Uuid()),
        shopper_id=bindparam("by", type_=Uuid()),
        order_id=bindparam("about", type_=Uuid()),
        **_said,
    )
    .on_conflict_do_update(index_elements=[answer.c.follow_up_id], set_=_said)
)
_SHOWN = [answer.c[name] for name in Answer.__struct_fields__]
NEWEST_FIRST = Query(
    select(*_SHOWN)
    .where(either(answer.c.follow_up_id < bindparam("before"), "before", Uuid()))
    .order_by(answer.c.follow_up_id.desc())
    .limit(bindparam("page", type_=Integer())),
    Answer,
)


async def questions(conn: Connection, person_ids: Sequence[UUID]) -> list[Question]:
    """What a person was asked, newest first, with the answers."""
    return await conn.run(ASKED, person_ids=list(person_ids))


async def put_answer(
    conn: Connection,
    who: Principal,
    question_id: UUID,
    *,
    rating: int,
    comment: str | None,
    now: datetime,
) -> Question:
    """Answer a question, or answer it anew: the last answer counts. Raises NotFound."""
    person_ids = list(who.person_ids)
    asked = await conn.first(ONE_ASKED, person_ids=person_ids, of=question_id)
    if asked is None:
        raise NotFound(kind="question", id=str(question_id))
    await conn.run(
        PUT,
        of=question_id,
        by=who.shopper_id,
        about=asked.order_id,
        stars=rating,
        words=comment,
        now=now,
    )
    return await conn.one(ONE_ASKED, person_ids=person_ids, of=question_id)


async def answers(conn: Connection, *, before: UUID | None, page: int) -> list[Answer]:
    """What people say, those asked last first."""
    return await conn.run(NEWEST_FIRST, before=before, page=page)
