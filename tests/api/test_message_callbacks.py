"""What carriers tell afterwards: signed, in any order, twice, late, and about nothing here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from api import message_callbacks
from api.middleware import Edge
from api.services import Services
from commerce import consents, customers, messages
from commerce.consents import Decision
from commerce.kernel import clock, ids
from commerce.kernel.sql import Database
from commerce.messages import NewMessage, Told, signing
from commerce.messages.callbacks import Standing, moves
from tests.answered import listening

URL = "/v1/webhooks/messages"
SECRET = "carriers and we know this"
Start = Callable[..., AbstractAsyncContextManager[Edge]]


@pytest.fixture
def db(services: Services) -> Database:
    return services.database


@pytest.fixture(scope="module")
async def carrier(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    """Calls an application that knows the carriers' secret."""
    async with (
        start([message_callbacks], carrier_secret=SECRET) as edge,
        httpx.AsyncClient(transport=listening(edge), base_url="http://mostrador") as client,
    ):
        yield client


async def tells(
    carrier: httpx.AsyncClient, *events: dict[str, Any], secret: str = SECRET,
    late: timedelta = timedelta(), body: bytes | None = None,
) -> httpx.Response:  # fmt: skip
    """A callback as a carrier signs it."""
    sent = msgspec.json.encode({"events": events}) if body is None else body
    signature = signing.sign(secret, sent, clock.now() - late)
    return await carrier.post(URL, content=sent, headers={signing.HEADER: signature})


def event(kind: str, message_id: UUID | None, **more: Any) -> dict[str, Any]:
    about = {"message_id": str(message_id)} if message_id is not None else {}
    return {"id": uuid4().hex, "kind": kind, "at": clock.now().isoformat(), **about, **more}


class Sent(msgspec.Struct, frozen=True):
    """A message that its carrier took."""

    id: UUID
    shopper_id: UUID
    address: str


async def sent(db: Database, *, attempts: int = 1) -> Sent:
    now = clock.now()
    email = f"{uuid4().hex}@example.com"
    async with db.transaction() as conn:
        ana = await customers.put_shopper(conn, email=email, phone=None, locale="es", now=now)
        grants = [Decision(each, granted=True, channel="email") for each in consents.WRITING]
        await consents.decide(conn, ana.id, grants, "profile", "test", now)
        new = NewMessage(
            template="sign_in_code", parameters={"code": "x"}, reason=ids.uuid7(),
            shopper_id=ana.id,
        )  # fmt: skip
        (written,) = await messages.write(conn, [new], now)
    await db.pool.execute(
        "UPDATE message SET state = 'sent', attempts = $2 WHERE id = $1", written.id, attempts
    )
    return Sent(written.id, ana.id, email)


async def standing(db: Database, message_id: UUID) -> tuple[str, str | None]:
    row = await db.pool.fetchrow("SELECT state, why FROM message WHERE id = $1", message_id)
    return row["state"], row["why"]


async def replies(db: Database, shopper_id: UUID) -> list[str]:
    rows = await db.pool.fetch(
        "SELECT body FROM message WHERE shopper_id = $1 AND state = 'received' ORDER BY id",
        shopper_id,
    )
    return [row["body"] for row in rows]


async def test_states_move_up_however_often_and_in_whatever_order_they_are_told(
    carrier: httpx.AsyncClient, db: Database
) -> None:
    one = await sent(db)
    read, delivered = event("read", one.id), event("delivered", one.id)
    assert (await tells(carrier, delivered)).json() == {"changed": 1}
    assert await standing(db, one.id) == ("delivered", None)
    assert (await tells(carrier, delivered, delivered)).json() == {"changed": 0}
    assert (await tells(carrier, read, delivered)).json() == {"changed": 1}
    assert await standing(db, one.id) == ("read", None)
    assert (await tells(carrier, event("failed", one.id))).json() == {"changed": 0}
    assert await standing(db, one.id) == ("read", None)


async def test_carriers_that_tell_at_once_leave_the_state_that_one_after_the_other_would(
    carrier: httpx.AsyncClient, db: Database
) -> None:
    some = [await sent(db) for _ in range(5)]
    told = [event(kind, each.id) for kind in ("delivered", "read", "failed") for each in some]
    reply = event("reply", some[0].id, text="Baja")
    answers = await asyncio.gather(
        *(tells(carrier, *told[i::3], reply) for i in range(3)),
        *(tells(carrier, *reversed([*told, reply])) for _ in range(3)),
    )
    assert {each.status_code for each in answers} == {200}
    assert {await standing(db, each.id) for each in some} == {("read", None)}
    assert await replies(db, some[0].shopper_id) == ["Baja"]


async def test_a_callback_may_come_before_the_sender_has_noted_that_it_sent(
    carrier: httpx.AsyncClient, db: Database
) -> None:
    one = await sent(db)
    await db.pool.execute("UPDATE message SET state = 'queued' WHERE id = $1", one.id)
    await tells(carrier, event("delivered", one.id))
    assert await standing(db, one.id) == ("delivered", None)
    assert await db.pool.fetchval("SELECT sent_at FROM message WHERE id = $1", one.id) is not None


@pytest.mark.parametrize("before", [Standing("sent"), Standing("failed", "not_accepted")])
def test_the_order_of_what_is_told_makes_no_difference(before: Standing) -> None:
    now = clock.now()
    told = [
        Told(id=kind, kind=kind, at=now - timedelta(seconds=ago))  # type: ignore[arg-type]
        for ago, kind in enumerate(("read", "bounced", "failed", "delivered", "delivered"))
    ]
    ends: dict[frozenset[int], set[Standing]] = {}
    for count in range(1, len(told) + 1):
        for order in permutations(range(len(told)), count):
            after = before
            for index in order:
                after = moves(after, told[index], now)
            ends.setdefault(frozenset(order), set()).add(after)
    assert len(ends) == 2 ** len(told) - 1
    assert {len(each) for each in ends.values()} == {1}


async def test_a_bounce_stops_the_address_until_the_back_office_lifts_it(
    carrier: httpx.AsyncClient, back_office: httpx.AsyncClient, db: Database
) -> None:
    one = await sent(db)
    bounced = event("bounced", one.id)
    assert (await tells(carrier, bounced)).json() == {"changed": 1}
    assert await standing(db, one.id) == ("failed", "bounced")

    async def write() -> tuple[str, str | None]:
        new = NewMessage(
            template="sign_in_code", parameters={"code": "x"}, reason=ids.uuid7(),
            shopper_id=one.shopper_id,
        )  # fmt: skip
        async with db.transaction() as conn:
            (outcome,) = await messages.write(conn, [new], clock.now())
        return outcome.state, outcome.why

    assert await write() == ("refused", "unreachable")
    lift = {"channel": "email", "address": one.address}
    url = "/v1/backoffice/stopped-addresses/lift"
    assert (await back_office.post(url, json=lift)).status_code == 204
    assert await write() == ("queued", None)
    assert (await tells(carrier, bounced)).json() == {"changed": 0}, "told twice stops once"
    assert await write() == ("queued", None)
    again = await back_office.post(url, json=lift)
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


async def test_a_reply_is_kept_once_and_told_to_who_listens(
    carrier: httpx.AsyncClient, db: Database
) -> None:
    one = await sent(db)
    reply = event("reply", one.id, text="¿Y en azul?\x00 ")
    assert (await tells(carrier, reply)).json() == {"changed": 1}
    assert (await tells(carrier, reply)).json() == {"changed": 0}
    assert await replies(db, one.shopper_id) == ["¿Y en azul?"]
    unprompted = {"from": one.address, "channel": "email", "text": "Hola"}
    assert (await tells(carrier, event("reply", None, **unprompted))).json() == {"changed": 1}
    assert await replies(db, one.shopper_id) == ["¿Y en azul?", "Hola"]
    told = await db.pool.fetch(
        "SELECT payload FROM event WHERE type = 'message.received' AND aggregate_id = $1",
        one.shopper_id,
    )
    assert len(told) == 2
    assert [list(each["payload"]) for each in told] == [["message_id"]] * 2


async def test_who_answers_stop_hears_no_more_by_that_channel(
    carrier: httpx.AsyncClient, db: Database
) -> None:
    one = await sent(db)
    await tells(carrier, event("reply", one.id, text="No me gusta, ALTO ahí"))
    async with db.reading() as conn:
        assert (await consents.of(conn, [one.shopper_id])).allows("marketing", "email")
    await tells(carrier, event("reply", one.id, text=" Baja. "))
    async with db.reading() as conn:
        held = await consents.of(conn, [one.shopper_id])
    assert not held.allows("marketing")
    assert not held.allows("follow_up")
    kept = held.decision("marketing", "email")
    assert kept is not None
    assert kept.source == "unsubscribe"


async def test_what_is_about_nothing_here_is_no_error_and_changes_nothing(
    carrier: httpx.AsyncClient, db: Database
) -> None:
    never_sent = await sent(db, attempts=0)
    answer = await tells(
        carrier,
        event("delivered", uuid4()),
        event("read", None),
        event("delivered", never_sent.id),
        event("reply", uuid4(), text="Hola"),
        event("reply", None, text="Hola", channel="sms", **{"from": "+5255000"}),
        event("reply", never_sent.id, text="  "),
        event("reply", never_sent.id),
    )
    assert answer.json() == {"changed": 0}
    assert await standing(db, never_sent.id) == ("sent", None)
    assert await replies(db, never_sent.shopper_id) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"secret": "another"}, "the signature is not of this body and secret"),
        ({"late": timedelta(minutes=6)}, "signed more than five minutes ago, or ahead"),
        ({"late": timedelta(minutes=-6)}, "signed more than five minutes ago, or ahead"),
    ],
)
async def test_what_no_carrier_signed_just_now_is_refused(
    carrier: httpx.AsyncClient, db: Database, change: dict[str, Any], reason: str
) -> None:
    one = await sent(db)
    answer = await tells(carrier, event("read", one.id), **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "callback_refused")
    assert answer.json()["reason"] == reason
    assert await standing(db, one.id) == ("sent", None)


@pytest.mark.parametrize("header", ["", "t=1", "v1=00", "t=x,v1=00", "t=9999999999999999999,v1=00"])
async def test_a_signature_that_is_none_is_refused(
    carrier: httpx.AsyncClient, http: httpx.AsyncClient, header: str
) -> None:
    answer = await carrier.post(URL, content=b"{}", headers={signing.HEADER: header})
    assert (answer.status_code, answer.json()["code"]) == (400, "callback_refused")
    answer = await http.post(URL, content=b"{}", headers={signing.HEADER: header})
    assert answer.json()["reason"] == "CARRIER_SECRET is not set here"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"events": []}',
        b'{"events": [{"id": "1", "kind": "eaten", "at": "2026-11-21T10:00:00Z"}]}',
        b'{"events": [{"id": "1", "kind": "read", "at": "2026-11-21T10:00:00"}]}',
    ],
)
async def test_a_signed_body_that_says_nothing_we_know_is_refused(
    carrier: httpx.AsyncClient, body: bytes
) -> None:
    answer = await tells(carrier, body=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "callback_refused")
    assert answer.json()["reason"].startswith("it is signed, but no callback: ")
