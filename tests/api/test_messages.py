"""Messages to shoppers: what they say, once per event, sent whatever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from uuid import UUID

import httpx
import pytest
from click.testing import CliRunner

from api import outbox_command
from api.actors import deliver, tell_shopper
from api.backoffice import messages as outbox_routes
from api.mail import Mail
from api.middleware import Edge
from api.services import Services
from api.work import Work
from commerce import fulfillment, messages, orders
from commerce.access import OPERATOR
from commerce.customers import Contact
from commerce.kernel import events, ids
from commerce.kernel.events import Event
from commerce.kernel.money import Money
from commerce.kernel.sql import Database
from commerce.messages import ATTEMPTS, Message, NotSent, Written
from commerce.messages.texts import SAMPLES, say
from commerce.orders import Numbers, Order, Placement
from commerce.pricing import Basket, Line
from tests import counter
from tests.answered import listening
from tests.background import LINKS, SECRET, work_of
from tests.shop import Shop, make_shop
from tests.simulation.story import Moment

Start = Callable[..., AbstractAsyncContextManager[Edge]]
MakeKey = Callable[..., Awaitable[str]]

OUTBOX = "/v1/backoffice/messages"


class Carrier:
    """Takes mail, unless it is told not to."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.refuses = False
        self.dies = False

    async def send(self, message: Message) -> None:
        """Take a message; or refuse it; or take it and never come back."""
        if self.refuses:
            raise NotSent("no room")
        self.taken.append(message)
        if self.dies:
            raise asyncio.CancelledError


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(own_dsn)
    yield database
    await database.close()


@pytest.fixture
async def shop(db: Database) -> Shop:
    return await make_shop(db, stores=1, skus=1, on_hand=100)


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


@pytest.fixture
def work(db: Database, clock: Moment, carrier: Carrier) -> Work:
    return work_of(db, carriers={"email": carrier}, now=clock)


async def order(db: Database, shop: Shop, **contact: str | None) -> Order:
    """An order over 100.00 MXN; the contact has a mail address unless it is given otherwise."""
    wanted = Placement(
        order_id=ids.uuid7(), fulfillment_id=ids.uuid7(),
        basket=Basket(shop.stores[0].location_id, (Line(shop.skus[0].sku, 1),)),
        seen=Money(10_000, "MXN"), tender="pay_at_pickup", channel="web", key_id=ids.uuid7(),
        actor="test",
        contact=Contact(
            **{"id": ids.uuid7(), "name": "Ana", "email": "ana@example.com", "locale": "es",
               **contact}  # type: ignore[arg-type]
        ),
    )  # fmt: skip
    async with db.transaction() as conn:
        (made,) = await orders.place(conn, [wanted], numbers=Numbers(SECRET), now=counter.NOW)
    assert isinstance(made, Order), made
    return made


async def told_of(work: Work, order_id: UUID, kind: str) -> None:
    """Let the actor know of an order's events of a type."""
    rows = await work.database.pool.fetch(
        "SELECT id FROM event WHERE aggregate_id = $1 AND type = $2 ORDER BY sequence",
        order_id, kind,
    )  # fmt: skip
    assert rows, kind
    await deliver(work, tell_shopper, [row["id"] for row in rows])
    await work.courier.idle()


async def send(db: Database, carrier: Carrier, clock: Moment) -> int:
    """Send what is due of the mail."""
    return await messages.send(db, "email", carrier, LINKS, now=clock)


async def outbox(db: Database) -> list[Written]:
    async with db.reading() as conn:
        return await messages.page(conn, state=None, before=None, page=100)


async def test_a_pickup_that_is_ready_is_told_with_store_hours_and_code(
    db: Database, shop: Shop, work: Work, carrier: Carrier
) -> None:
    made = await order(db, shop)
    pickup_id = made.fulfillments[0].id
    await counter.ready(db, counter.associate(shop), pickup_id)
    await told_of(work, made.id, "pickup.ready")
    (mail,) = carrier.taken
    code = fulfillment.pickup_code(SECRET, pickup_id)
    assert mail.recipient == "ana@example.com"
    assert mail.subject == f"Tu pedido {made.head.number} está listo"
    assert mail.body.splitlines() == [
        "Hola Ana:",
        "",
        f"tu pedido {made.head.number} te espera en Store 0.",
        "",
        f"Código para recogerlo: {code}",
        "",
        "Enséñalo en el mostrador hasta el viernes 27 de noviembre, 10:00.",
        "",
        "Store 0",
        "Av. Madero 1, Ciudad de México",
        "lun - dom: 00:00 - 24:00",
    ]
    (kept,) = await outbox(db)
    assert (kept.state, kept.template, kept.attempts) == ("sent", "pickup_ready", 1)


async def test_a_phone_number_alone_gets_one_short_line_which_nobody_carries_yet(
    db: Database, shop: Shop, work: Work, carrier: Carrier
) -> None:
    made = await order(db, shop, email=None, phone="+525512345678", locale="en")
    pickup_id = made.fulfillments[0].id
    await counter.ready(db, counter.associate(shop), pickup_id)
    await told_of(work, made.id, "pickup.ready")
    (kept,) = await outbox(db)
    code = fulfillment.pickup_code(SECRET, pickup_id)
    assert kept.body == (
        f"Order {made.head.number} is ready at Store 0. Pickup code {code},"
        " until Friday, November 27, 10:00 AM."
    )
    assert (kept.channel, kept.recipient, kept.subject) == ("sms", "+525512345678", "")
    assert kept.state == "sent"
    assert carrier.taken == []


async def test_an_order_is_confirmed_and_its_cancelling_is_told(
    db: Database, shop: Shop, work: Work, carrier: Carrier
) -> None:
    made = await order(db, shop, locale="en")
    await told_of(work, made.id, "order.placed")
    async with db.transaction() as conn:
        await orders.cancel(conn, made.id, reason="test", actor="test", now=work.now())
    await told_of(work, made.id, "order.cancelled")
    assert [mail.subject for mail in carrier.taken] == [
        f"Your order {made.head.number}",
        f"Your order {made.head.number} was cancelled",
    ]
    assert "of MX$100.00" in carrier.taken[0].body
    assert "Friday, November 20, 11:00 AM" in carrier.taken[0].body


async def test_each_refund_is_told_with_its_amount(
    db: Database, shop: Shop, work: Work, carrier: Carrier
) -> None:
    made = await order(db, shop, locale="en")
    about = {"fulfillment_id": made.fulfillments[0].id, "tender": "card", "currency": "MXN"}
    facts = [
        Event("payment.refunded", "order", made.id, "test", {**about, "amount_minor": minor})
        for minor in (2_500, 1_000)
    ]
    async with db.transaction() as conn:
        await events.record(conn, facts, now=work.now())
    await told_of(work, made.id, "payment.refunded")
    assert sorted(mail.body.splitlines()[2] for mail in carrier.taken) == [
        f"we have refunded MX$10.00 of your order {made.head.number}.",
        f"we have refunded MX$25.00 of your order {made.head.number}.",
    ]
    assert "Your bank shows it within a few days." in carrier.taken[0].body


async def test_what_is_no_longer_so_is_not_told(
    db: Database, shop: Shop, work: Work, carrier: Carrier
) -> None:
    made = await order(db, shop)
    await counter.ready(db, counter.associate(shop), made.fulfillments[0].id)
    async with db.transaction() as conn:
        await orders.cancel(conn, made.id, reason="test", actor="test", now=work.now())
    await told_of(work, made.id, "order.placed")
    await told_of(work, made.id, "pickup.ready")
    assert carrier.taken == []
    assert await outbox(db) == []


async def test_an_event_is_told_once_however_often_it_comes(
    db: Database, shop: Shop, work: Work, carrier: Carrier
) -> None:
    made = await order(db, shop)
    await asyncio.gather(*(told_of(work, made.id, "order.placed") for _ in range(5)))
    await db.pool.execute("DELETE FROM delivery")  # as if it had been forgotten
    await told_of(work, made.id, "order.placed")
    assert len(carrier.taken) == len(await outbox(db)) == 1


async def test_many_messages_are_each_carried_once_by_senders_that_race(
    db: Database, shop: Shop, work: Work, carrier: Carrier, clock: Moment
) -> None:
    numbers = [(await order(db, shop)).head.number for _ in range(30)]
    rows = await db.pool.fetch("SELECT id FROM event WHERE type = 'order.placed'")
    carrier.refuses = True
    await deliver(work, tell_shopper, [row["id"] for row in rows])
    await work.courier.idle()
    assert carrier.taken == []
    carrier.refuses = False
    clock.pass_by(minutes=1)
    await asyncio.gather(*(send(db, carrier, clock) for _ in range(4)))
    assert sorted(each.subject for each in carrier.taken) == sorted(
        f"Tu pedido {number}" for number in numbers
    )
    assert {each.state for each in await outbox(db)} == {"sent"}


async def test_a_sender_that_dies_after_sending_sends_once_more_and_loses_nothing(
    db: Database, shop: Shop, work: Work, carrier: Carrier, clock: Moment
) -> None:
    made = await order(db, shop)
    carrier.dies = True
    await told_of(work, made.id, "order.placed")
    assert [each.state for each in await outbox(db)] == ["queued"]
    carrier.dies = False
    assert await send(db, carrier, clock) == 0, "it may still be at it"
    clock.pass_by(minutes=3)
    assert await send(db, carrier, clock) == 1
    assert await send(db, carrier, clock) == 0
    assert len(carrier.taken) == 2
    assert carrier.taken[0].id == carrier.taken[1].id
    assert [each.state for each in await outbox(db)] == ["sent"]


async def test_a_refused_message_waits_longer_each_time_and_fails_in_the_end(
    db: Database, shop: Shop, work: Work, carrier: Carrier, clock: Moment
) -> None:
    made = await order(db, shop)
    carrier.refuses = True
    await told_of(work, made.id, "order.placed")
    for tried in range(1, ATTEMPTS):
        (kept,) = await outbox(db)
        assert (kept.state, kept.attempts) == ("queued", tried)
        wait = timedelta(seconds=15) * 2 ** (tried - 1)
        clock.at += wait - timedelta(seconds=1)
        assert await send(db, carrier, clock) == 0
        clock.at += timedelta(seconds=1)
        assert await send(db, carrier, clock) == 1
    (kept,) = await outbox(db)
    assert (kept.state, kept.attempts, kept.sent_at) == ("failed", ATTEMPTS, None)
    clock.pass_by(days=1)
    assert await send(db, carrier, clock) == 0


async def test_without_a_carrier_messages_stay_in_the_outbox(
    db: Database, shop: Shop, clock: Moment
) -> None:
    made = await order(db, shop)
    await told_of(work_of(db, now=clock), made.id, "order.placed")
    (kept,) = await outbox(db)
    assert (kept.state, kept.attempts, kept.sent_at) == ("sent", 0, clock())


async def test_a_sign_in_code_is_carried(db: Database, carrier: Carrier, clock: Moment) -> None:
    async with db.transaction() as conn:
        await messages.start_sign_in(
            conn, OPERATOR, secret=SECRET, email="ana@example.com", phone=None, locale="en",
            now=clock(),
        )  # fmt: skip
    assert await send(db, carrier, clock) == 1
    (mail,) = carrier.taken
    assert (mail.recipient, mail.subject) == ("ana@example.com", "Your sign-in code")


@pytest.mark.parametrize("locale", ["en", "es"])
@pytest.mark.parametrize("template", SAMPLES)
def test_every_template_is_said_in_both_languages_on_every_channel(
    template: str, locale: str
) -> None:
    mail, sms, whatsapp, push = (
        say(template, channel, locale, "America/Mexico_City", SAMPLES[template])
        for channel in ("email", "sms", "whatsapp", "push")
    )
    assert mail.subject
    assert mail.subject == push.subject
    assert "\n" not in mail.subject + sms.body
    assert sms.subject == ""
    assert sms == whatsapp
    assert sms.body == push.body
    assert len(sms.body) <= 160


class MailServer:
    """Speaks enough SMTP to take a message."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.refuse = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        writer.write(b"220 test\r\n")
        while line := (await reader.readline()).decode().strip():
            command = line.split(" ")[0].upper()
            if command == "DATA":
                writer.write(b"354 go\r\n")
                text = (await reader.readuntil(b"\r\n.\r\n")).decode()
                self.mails.append(text)
            refused = self.refuse and command == "RCPT"
            writer.write(b"550 nobody here\r\n" if refused else b"250 ok\r\n")
            if command == "QUIT":
                break
        writer.close()


async def test_mail_goes_out_over_smtp(db: Database, shop: Shop, clock: Moment) -> None:
    smtp = MailServer()
    server = await asyncio.start_server(smtp.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"smtp://127.0.0.1:{port}?from=tienda%40example.com"
        work = work_of(db, carriers={"email": Mail(url)}, now=clock)
        made = await order(db, shop)
        await told_of(work, made.id, "order.placed")
        (mail,) = smtp.mails
        assert "From: tienda@example.com" in mail
        assert "To: ana@example.com" in mail
        (kept,) = await outbox(db)
        assert f"Message-ID: <{kept.id}@mostrador>" in mail
        smtp.refuse = True
        made = await order(db, shop)
        await told_of(work, made.id, "order.placed")
        refused, _ = await outbox(db)
        assert (refused.state, refused.why, refused.attempts) == ("failed", "bounced", 1)
        made = await order(db, shop)
        smtp.refuse = False
        await told_of(work, made.id, "order.placed")
        stopped, *_ = await outbox(db)
        assert (stopped.state, stopped.why) == ("failed", "address_stopped")
        assert len(smtp.mails) == 1
    gone = Mail(f"smtp://127.0.0.1:{port}")
    with pytest.raises(NotSent, match="SMTPConnectError"):
        await gone.send(Message(ids.uuid7(), "email", "ana@example.com", "en", "x", "x"))


async def test_the_back_office_reads_the_outbox_and_the_look_is_on_record(
    services: Services, back_office: httpx.AsyncClient, storefront: httpx.AsyncClient
) -> None:
    db = services.database
    shop = await make_shop(db, stores=1, skus=1)
    made = await order(db, shop)
    await told_of(work_of(db), made.id, "order.placed")
    answer = await back_office.get(OUTBOX, params={"limit": 1, "state": "sent"})
    (shown,) = answer.json()["items"]
    assert made.head.number in shown["subject"]
    record = await back_office.get("/v1/backoffice/staff-record", params={"limit": 1})
    (looked,) = record.json()["items"]
    assert (looked["action"], looked["changes"]) == ("message.read", {"shown": [shown["id"]]})
    assert "ana@example.com" not in record.text
    assert (await storefront.get(OUTBOX)).status_code == 403


async def test_the_outbox_is_printed_on_this_machine_and_the_look_is_on_record(
    db: Database, shop: Shop, own_dsn: str, clock: Moment
) -> None:
    made = await order(db, shop)
    await told_of(work_of(db, now=clock), made.id, "order.placed")

    async def printed(**configured: str) -> str:
        env = {"DATABASE_URL": own_dsn, "PUBLIC_URL": "https://shop.example", **configured}
        run = partial(CliRunner().invoke, outbox_command.command, ["--limit", "1"], env=env)
        result = await asyncio.to_thread(run)
        assert result.exit_code == 0, result.output
        return result.output

    head, subject, _, greeting, *_ = (await printed()).splitlines()
    assert head.endswith("  sent  email  order_placed  ana@example.com")
    assert subject == f"  Tu pedido {made.head.number}"
    assert greeting == "  Hola Ana:"
    assert (await printed(SMTP_URL="smtp://127.0.0.1:9")).splitlines() == [head]
    looks = await db.pool.fetch("SELECT actor FROM staff_record WHERE action = 'message.read'")
    assert [each["actor"] for each in looks] == ["operator"] * 2


async def test_where_mail_goes_out_the_back_office_reads_no_codes(
    services: Services, start: Start, make_key: MakeKey
) -> None:
    db = services.database
    made = await order(db, await make_shop(db, stores=1, skus=1))
    await told_of(work_of(db), made.id, "order.placed")
    key = await make_key("backoffice")
    async with (
        start([outbox_routes], smtp_url="smtp://127.0.0.1:9") as edge,
        httpx.AsyncClient(
            transport=listening(edge), base_url="http://mostrador", headers={"X-API-Key": key}
        ) as back_office,
    ):
        (shown,) = (await back_office.get(OUTBOX, params={"limit": 1})).json()["items"]
    assert (shown["recipient"], shown["body"]) == ("ana@example.com", None)
