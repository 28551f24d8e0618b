"""Commands take effect once per key: replays, conflicts, refusals, faults, two at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from litestar import post
from sqlalchemy import bindparam, func, select

from api.auth import may
from api.middleware import Edge
from api.once import once
from commerce import access
from commerce.access import Principal
from commerce.kernel.errors import NotFound, WrongState
from commerce.kernel.idempotency import MAX_KEY_LENGTH
from commerce.kernel.sql import Busy, Connection, Database, Query
from commerce.tables.people import staff_record
from tests.api.conftest import MakeKey, client

Start = Callable[..., AbstractAsyncContextManager[Edge]]

WRITES = Query(
    select(func.count()).select_from(staff_record).where(staff_record.c.subject == bindparam("of")),
    int,
)


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to write, and how it is to end."""

    subject: str
    end: str = "well"
    amount: Annotated[int, msgspec.Meta(ge=1)] = 1


class Noted(msgspec.Struct, frozen=True):
    """What was written."""

    subject: str
    note_id: UUID


GATE = asyncio.Event()
ENTERED = asyncio.Event()


@post("/probe/notes", guards=[may("order.place")])
@once
async def note(data: Note, conn: Connection, who: Principal, now: datetime) -> Noted:
    """Write, then end as told."""
    await access.record_staff(conn, who, action="probe", subject=data.subject, changes={}, now=now)
    if data.end == "refused":
        raise WrongState(kind="note", id=data.subject, state="shut", allowed=["open"])
    if data.end == "busy":
        raise Busy
    if data.end == "bug":
        raise RuntimeError
    if data.end == "slow":
        ENTERED.set()
        await GATE.wait()
    return Noted(data.subject, uuid4())


@post("/probe/notes/{note_id:uuid}/close", guards=[may("order.place")], status_code=204)
@once
async def close(note_id: UUID, conn: Connection) -> None:
    """Nothing to answer."""
    assert conn.statements > 0
    if note_id.int == 0:
        raise NotFound(kind="note", id=str(note_id))


PROBE = SimpleNamespace(ROUTES=[note, close])


@pytest.fixture(scope="module")
async def probe(start: Start) -> AsyncIterator[Edge]:
    async with start([PROBE]) as edge:
        yield edge


@pytest.fixture(scope="module")
async def shop(probe: Edge, make_key: MakeKey) -> AsyncIterator[httpx.AsyncClient]:
    async with client(probe, await make_key("storefront")) as made:
        yield made


async def send(
    http: httpx.AsyncClient, key: str | None, subject: str, path: str = "/probe/notes", **more: Any
) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await http.post(path, json={"subject": subject, **more}, headers=headers)


async def written(db: Database, subject: str) -> int:
    async with db.reading() as conn:
        return await conn.one(WRITES, of=subject)


def fresh() -> str:
    return uuid4().hex


async def test_a_repeated_key_gets_the_first_answer_and_changes_nothing(
    shop: httpx.AsyncClient, db: Database
) -> None:
    key, subject = fresh(), fresh()
    first = await send(shop, key, subject)
    again = await send(shop, key, subject)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert await written(db, subject) == 1


async def test_another_key_is_another_command(shop: httpx.AsyncClient, db: Database) -> None:
    subject = fresh()
    first = await send(shop, fresh(), subject)
    second = await send(shop, fresh(), subject)
    assert first.json()["note_id"] != second.json()["note_id"]
    assert await written(db, subject) == 2


async def test_the_same_key_with_another_body_is_refused(
    shop: httpx.AsyncClient, db: Database
) -> None:
    key, other = fresh(), fresh()
    await send(shop, key, fresh())
    refused = await send(shop, key, other)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert await written(db, other) == 0


async def test_the_same_key_at_another_address_is_refused(shop: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": fresh()}
    one = await shop.post(f"/probe/notes/{uuid4()}/close", headers=headers)
    other = await shop.post(f"/probe/notes/{uuid4()}/close", headers=headers)
    assert (one.status_code, one.content) == (204, b"")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_an_empty_answer_is_repeated_too(shop: httpx.AsyncClient) -> None:
    path, headers = f"/probe/notes/{uuid4()}/close", {"Idempotency-Key": fresh()}
    await shop.post(path, headers=headers)
    again = await shop.post(path, headers=headers)
    assert (again.status_code, again.content) == (204, b"")
    assert again.headers["idempotent-replayed"] == "true"


async def test_each_principal_has_its_own_keys(
    probe: Edge, shop: httpx.AsyncClient, make_key: MakeKey, db: Database
) -> None:
    key, subject = fresh(), fresh()
    async with client(probe, await make_key("storefront")) as other:
        mine, theirs = await send(shop, key, subject), await send(other, key, subject)
    assert mine.json()["note_id"] != theirs.json()["note_id"]
    assert await written(db, subject) == 2


async def test_a_refusal_undoes_the_work_and_is_the_answer_ever_after(
    shop: httpx.AsyncClient, db: Database
) -> None:
    key, subject = fresh(), fresh()
    refused = await send(shop, key, subject, end="refused")
    again = await send(shop, key, subject, end="refused")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    assert again.content == refused.content
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers["idempotent-replayed"] == "true"
    assert await written(db, subject) == 0


@pytest.mark.parametrize(("end", "status"), [("busy", 503), ("bug", 500)])
async def test_a_fault_is_not_kept(
    shop: httpx.AsyncClient, db: Database, end: str, status: int
) -> None:
    key, subject = fresh(), fresh()
    for _ in range(2):
        failed = await send(shop, key, subject, end=end)
        assert failed.status_code == status
        assert "idempotent-replayed" not in failed.headers
    assert await written(db, subject) == 0


async def test_a_body_that_was_wrong_leaves_the_key_free(
    shop: httpx.AsyncClient, db: Database
) -> None:
    key, subject = fresh(), fresh()
    assert (await send(shop, key, subject, amount=0)).status_code == 400
    assert (await send(shop, key, subject)).status_code == 201
    assert await written(db, subject) == 1


async def test_a_command_needs_a_key_that_is_one(shop: httpx.AsyncClient, db: Database) -> None:
    subject = fresh()
    missing = await send(shop, None, subject)
    endless = await send(shop, "x" * (MAX_KEY_LENGTH + 1), subject)
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_missing")
    assert (endless.status_code, endless.json()["path"]) == (400, "Idempotency-Key")
    assert await written(db, subject) == 0


async def test_who_may_not_is_refused_before_the_key_counts(probe: Edge, make_key: MakeKey) -> None:
    async with client(probe, await make_key("tablet")) as tablet:
        refused = await send(tablet, fresh(), fresh())
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


async def test_a_key_that_is_still_running_is_told_to_wait(
    shop: httpx.AsyncClient, db: Database
) -> None:
    key, subject = fresh(), fresh()
    first = asyncio.create_task(send(shop, key, subject, end="slow"))
    await ENTERED.wait()
    second = await send(shop, key, subject, end="slow")
    GATE.set()
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_running")
    assert second.headers["retry-after"] == "1"
    assert (await first).status_code == 201
    assert (await send(shop, key, subject, end="slow")).content == (await first).content
    assert await written(db, subject) == 1


async def test_many_at_once_take_effect_once(shop: httpx.AsyncClient, db: Database) -> None:
    key, subject = fresh(), fresh()
    answers = await asyncio.gather(*(send(shop, key, subject) for _ in range(12)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert await written(db, subject) == 1
