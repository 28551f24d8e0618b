"""Writing and sending what needs a consent; carriers that are slow, down, or answer twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from api.carriers import HttpCarrier, open_carriers
from api.courier import Courier
from api.mail import Mail, is_nobody
from commerce import consents, customers, messages
from commerce.consents import Decision, MessageChannel
from commerce.kernel import ids
from commerce.kernel.settings import OperatorError, Settings
from commerce.kernel.sql import Database
from commerce.messages import (
    Carriers,
    Message,
    NewMessage,
    NotSent,
    Outcome,
    ParameterMissing,
    UnknownTemplate,
    signing,
)
from tests.background import LINKS, work_of
from tests.simulation.story import Moment

ZONE = "America/Mexico_City"
NIGHT = datetime(2026, 11, 21, 4, tzinfo=UTC)  # 22:00 in Mexico
MORNING = datetime(2026, 11, 21, 15, tzinfo=UTC)  # 09:00 there


class Taker:
    """Takes messages, after having been told to."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self.reached = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Take it when the way is open."""
        self.asked += 1
        self.reached.set()
        await self.open.wait()
        self.taken.append(message)


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(own_dsn)
    yield database
    await database.close()


@pytest.fixture
def clock() -> Moment:
    moment = Moment()
    moment.at = datetime(2026, 11, 20, 20, tzinfo=UTC)  # 14:00 in Mexico
    return moment


async def shopper(db: Database, clock: Moment, *allows: tuple[str, str]) -> UUID:
    """Somebody with an address and a number, who allows these purposes by these channels."""
    async with db.transaction() as conn:
        ana = await customers.put_shopper(
            conn, email=f"{uuid4().hex}@example.com", phone=None, locale="es", now=clock()
        )
    await db.pool.execute(
        "UPDATE shopper SET phone = $2 WHERE id = $1", ana.id, f"+5255{uuid4().int % 10**8:08}"
    )
    await decides(db, clock, ana.id, *allows, granted=True)
    return ana.id


async def decides(
    db: Database, clock: Moment, shopper_id: UUID, *what: tuple[str, str], granted: bool
) -> None:
    decisions = [
        Decision(purpose, granted=granted, channel=channel)  # type: ignore[arg-type]
        for purpose, channel in what
    ]
    async with db.transaction() as conn:
        await consents.decide(conn, shopper_id, decisions, "profile", "test", clock())


async def write(db: Database, clock: Moment, shopper_id: UUID, **changed: Any) -> Outcome:
    fields: dict[str, Any] = {
        "template": "after_purchase", "parameters": {"name": "Ana", "number": "7K3M9QX"},
        "reason": ids.uuid7(), "shopper_id": shopper_id, "purpose": "follow_up",
        "time_zone": ZONE, **changed,
    }  # fmt: skip
    async with db.transaction() as conn:
        (outcome,) = await messages.write(conn, [NewMessage(**fields)], clock())
    return outcome


async def stored(db: Database, message_id: UUID) -> tuple[str, str | None]:
    row = await db.pool.fetchrow("SELECT state, why FROM message WHERE id = $1", message_id)
    return row["state"], row["why"]


async def send(db: Database, taker: Taker, clock: Moment, channel: MessageChannel) -> int:
    return await messages.send(db, channel, taker, LINKS, now=clock)


async def test_a_message_goes_by_a_channel_that_is_allowed_and_preferred(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock, ("follow_up", "sms"), ("follow_up", "whatsapp"))
    assert (await write(db, clock, ana)).channel == "sms"
    assert (await write(db, clock, ana, purpose="service")).channel == "email"
    await db.pool.execute("INSERT INTO preferred_channel VALUES ($1, 'whatsapp')", ana)
    assert (await write(db, clock, ana)).channel == "whatsapp"
    assert (await write(db, clock, ana, purpose="service")).channel == "whatsapp"
    refused = await write(db, clock, ana, channel="email")
    assert (refused.state, refused.why) == ("refused", "no_consent")
    refused = await write(db, clock, ana, purpose="marketing")
    assert (refused.state, refused.why) == ("refused", "no_consent")
    refused = await write(db, clock, ana, channel="push")
    assert (refused.state, refused.why) == ("refused", "unreachable")
    refused = await write(db, clock, uuid4())
    assert (refused.state, refused.why) == ("refused", "unreachable")
    assert await db.pool.fetchval("SELECT count(*) FROM message") == 4


async def test_a_reason_has_one_message_of_a_template_however_many_write_it_at_once(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock, ("follow_up", "email"))
    reason = ids.uuid7()
    outcomes = await asyncio.gather(*(write(db, clock, ana, reason=reason) for _ in range(6)))
    assert sorted((each.state, each.why) for each in outcomes) == [
        ("queued", None), *[("refused", "repeated")] * 5,
    ]  # fmt: skip
    assert len({each.id for each in outcomes}) == 1
    assert await db.pool.fetchval("SELECT count(*) FROM message") == 1


async def test_what_cannot_be_said_writes_nothing(db: Database, clock: Moment) -> None:
    ana = await shopper(db, clock, ("follow_up", "email"))
    with pytest.raises(UnknownTemplate) as unknown:
        await write(db, clock, ana, template="birthday")
    assert "after_purchase" in unknown.value.known
    with pytest.raises(ParameterMissing) as missing:
        await write(db, clock, ana, parameters={"name": "Ana"})
    assert missing.value.missing == ["number"]
    assert await db.pool.fetchval("SELECT count(*) FROM message") == 0


async def test_quiet_hours_postpone_what_is_not_service(db: Database, clock: Moment) -> None:
    ana = await shopper(db, clock, ("follow_up", "email"))
    clock.at = NIGHT
    taker = Taker()
    postponed = await write(db, clock, ana)
    assert (postponed.state, postponed.send_at) == ("postponed", MORNING)
    assert (await write(db, clock, ana, purpose="service")).state == "queued"
    assert await send(db, taker, clock, "email") == 1
    clock.at = MORNING - timedelta(seconds=1)
    assert await send(db, taker, clock, "email") == 0
    clock.at = MORNING
    assert await send(db, taker, clock, "email") == 1
    assert await stored(db, postponed.id) == ("sent", None)


async def test_a_message_that_is_late_into_the_night_waits_for_the_morning(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock, ("follow_up", "email"))
    taker = Taker()
    written = await write(db, clock, ana)
    assert written.state == "queued"
    clock.at = NIGHT
    assert await send(db, taker, clock, "email") == 1
    assert taker.taken == []
    assert await stored(db, written.id) == ("queued", None)
    clock.at = MORNING
    assert await send(db, taker, clock, "email") == 1
    assert [each.id for each in taker.taken] == [written.id]


async def test_consent_that_is_withdrawn_in_between_suppresses_the_message(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock, ("follow_up", "email"), ("marketing", "email"))
    follow_up = await write(db, clock, ana)
    marketing = await write(db, clock, ana, purpose="marketing")
    service = await write(db, clock, ana, purpose="service")
    await decides(db, clock, ana, ("follow_up", "email"), granted=False)
    taker = Taker()
    await send(db, taker, clock, "email")
    assert await stored(db, follow_up.id) == ("suppressed", "no_consent")
    assert await stored(db, marketing.id) == ("sent", None)
    assert await stored(db, service.id) == ("sent", None)
    assert {each.id for each in taker.taken} == {marketing.id, service.id}


async def test_the_way_out_is_in_every_mail_and_one_click_in_what_is_not_service(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock, ("follow_up", "email"), ("follow_up", "sms"))
    taker = Taker()
    await write(db, clock, ana)
    await write(db, clock, ana, purpose="service")
    await send(db, taker, clock, "email")
    by_kind = {each.unsubscribe_url is not None: each for each in taker.taken}
    for each in by_kind.values():
        assert each.preferences_url is not None
        assert each.preferences_url.startswith("https://shop.example/preferences/")
        assert each.body.endswith(each.preferences_url)
    assert (by_kind[True].unsubscribe_url or "").startswith("https://shop.example/unsubscribe/")
    mail = Mail("smtp://localhost")._mail(by_kind[True])
    assert mail["List-Unsubscribe"] == f"<{by_kind[True].unsubscribe_url}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    mail = Mail("smtp://localhost")._mail(by_kind[False])
    assert mail["List-Unsubscribe"] is None
    taker.taken.clear()
    await write(db, clock, ana, purpose="service", channel="sms")
    await send(db, taker, clock, "sms")
    assert taker.taken[0].preferences_url is None


async def test_a_carrier_that_does_not_answer_holds_up_no_other_and_nobody(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock)
    slow, quick = Taker(), Taker()
    slow.open.clear()
    carriers: Carriers = {"email": slow, "sms": quick}
    courier: Courier = work_of(db, carriers=carriers, now=clock).courier
    for _ in range(20):
        await write(db, clock, ana, purpose="service", channel="email")
    courier.wake()
    async with asyncio.timeout(5):
        await slow.reached.wait()
        await write(db, clock, ana, purpose="service", channel="sms")
        courier.wake()
        await quick.reached.wait()
        courier.wake()
        assert slow.asked == 8, "so many at a time, however often it is woken"
        slow.open.set()
        await courier.idle()
    assert len(slow.taken) == 20
    assert len({each.id for each in slow.taken}) == 20


async def test_a_message_that_was_taken_over_is_not_noted_by_who_lost_it(
    db: Database, clock: Moment
) -> None:
    ana = await shopper(db, clock)
    written = await write(db, clock, ana, purpose="service", channel="email")

    class Refuses(Taker):
        async def send(self, message: Message) -> None:
            await super().send(message)
            raise NotSent("no room")

    late, second = Refuses(), Taker()
    late.open.clear()
    first = asyncio.create_task(send(db, late, clock, "email"))
    async with asyncio.timeout(5):
        await late.reached.wait()
    clock.pass_by(minutes=3)
    assert await send(db, second, clock, "email") == 1
    late.open.set()
    await first
    assert await stored(db, written.id) == ("sent", None)


class Gateway:
    """An HTTP carrier's other end: answers with what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """One POST."""
        self.requests.append(request)
        if self.status == 0:
            raise httpx.ConnectError("nobody there")
        return httpx.Response(self.status)


@pytest.fixture
async def gateway() -> Gateway:
    return Gateway()


async def carried(gateway: Gateway, clock: Moment) -> NotSent | None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(gateway))
    carrier = HttpCarrier(client, "https://sms.example/send", "secret", clock)
    message = Message(ids.uuid7(), "sms", "+525512345678", "es", "", "Hola")
    try:
        await carrier.send(message)
    except NotSent as refused:
        return refused
    finally:
        await client.aclose()
    return None


async def test_a_message_is_posted_signed_with_its_id_as_key(
    gateway: Gateway, clock: Moment
) -> None:
    assert await carried(gateway, clock) is None
    (request,) = gateway.requests
    parcel = msgspec.json.decode(request.content)
    assert parcel == {
        "id": request.headers["idempotency-key"], "channel": "sms", "to": "+525512345678",
        "locale": "es", "body": "Hola",
    }  # fmt: skip
    signing.verify("secret", request.headers[signing.HEADER], request.content, clock())
    with pytest.raises(messages.CallbackRefused):
        signing.verify("secret", request.headers[signing.HEADER], b"{}", clock())


@pytest.mark.parametrize(
    ("status", "ends"),
    [
        (202, None),
        (409, None),
        (410, (True, True)),
        (400, (False, True)),
        (422, (False, True)),
        (429, (False, False)),
        (503, (False, False)),
        (0, (False, False)),
    ],
)
async def test_what_a_carrier_answers_decides_what_becomes_of_the_message(
    gateway: Gateway, clock: Moment, status: int, ends: tuple[bool, bool] | None
) -> None:
    gateway.status = status
    refused = await carried(gateway, clock)
    assert (None if refused is None else (refused.gone, refused.final)) == ends


@pytest.mark.parametrize(
    ("code", "answer", "nobody"),
    [
        (550, "5.1.1 user unknown", True),
        (550, "no such user", True),
        (550, "5.7.1 blocked for policy", False),
        (554, "rejected", False),
        (450, "4.1.1 try later", False),
    ],
)
def test_only_what_says_that_nobody_is_there_stops_an_address(
    code: int, answer: str, nobody: bool
) -> None:
    assert is_nobody(code, answer) is nobody


async def test_carriers_open_as_configured_and_need_their_secret(clock: Moment) -> None:
    urls = {"sms_url": "https://sms.example", "push_url": "https://push.example"}
    async with open_carriers(Settings(**urls, carrier_secret="s"), clock) as carriers:  # type: ignore[arg-type]
        assert set(carriers) == {"sms", "push"}
    with pytest.raises(OperatorError, match="CARRIER_SECRET is missing"):
        async with open_carriers(Settings(**urls), clock):  # type: ignore[arg-type]
            pass
