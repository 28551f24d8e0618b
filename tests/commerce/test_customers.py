"""Signing in by a one-time code, and the contacts of orders."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import bindparam, select

from commerce import access, customers, messages
from commerce.access import OPERATOR, Principal, StartedSession
from commerce.customers import (
    CODE_LIFETIME,
    CODE_PAUSE,
    CODE_TRIES,
    CODES_PER_HOUR,
    CodeRefused,
    Contact,
    Person,
    StartedSignIn,
    TooManyCodes,
)
from commerce.kernel import events
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Database, Query
from commerce.tables import message, one_time_code

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRET = b"installation secret of this test"


class Message(msgspec.Struct):
    """What was queued."""

    channel: str
    template: str
    recipient: str
    subject: str
    body: str
    state: str


MESSAGES = Query(
    select(
        message.c.channel,
        message.c.template,
        message.c.recipient,
        message.c.subject,
        message.c.body,
        message.c.state,
    )
    .where(message.c.recipient == bindparam("to"))
    .order_by(message.c.id),
    Message,
)
STORED_DIGEST = Query(
    select(one_time_code.c.code_hash).where(one_time_code.c.id == bindparam("of")), bytes
)


@pytest.fixture(scope="module")
async def who(db: Database) -> Principal:
    async with db.transaction() as conn:
        _, secret = await access.create_key(
            conn, OPERATOR, kind="storefront", name="Shop", channel="web", now=NOW
        )
        return await access.authenticate(conn, key_secret=secret, session_secret=None, now=NOW)


def address() -> str:
    return f"ana-{uuid4().hex}@example.com"


async def start(
    db: Database,
    who: Principal,
    email: str | None = None,
    phone: str | None = None,
    now: datetime = NOW,
    locale: customers.Locale = "en",
) -> StartedSignIn:
    async with db.transaction() as conn:
        return await messages.start_sign_in(
            conn, who, secret=SECRET, email=email, phone=phone, locale=locale, now=now
        )


async def finish(
    db: Database, who: Principal, sign_in_id: UUID, code: str, now: datetime = NOW
) -> tuple[StartedSession, Person]:
    return await customers.finish_sign_in(
        db, who, sign_in_id, secret=SECRET, code=code, locale="en", now=now
    )


async def messages_to(db: Database, recipient: str) -> list[Message]:
    async with db.reading() as conn:
        return await conn.run(MESSAGES, to=recipient)


async def code_to(db: Database, recipient: str) -> str:
    found = re.search(r"\d{6}", (await messages_to(db, recipient))[-1].body)
    assert found is not None
    return found.group()


async def test_the_first_right_code_makes_the_shopper_and_the_next_finds_them(
    db: Database, who: Principal
) -> None:
    email = address()
    first = await start(db, who, email)
    started, shopper = await finish(db, who, first.id, await code_to(db, email))
    later = NOW + timedelta(minutes=5)
    second = await start(db, who, email.upper(), now=later)
    again, found = await finish(db, who, second.id, await code_to(db, email), now=later)
    assert (shopper.email, shopper.phone, shopper.locale) == (email, None, "en")
    assert found == shopper
    assert started.secret.startswith("ss_")
    assert again.id != started.id


async def test_a_phone_number_in_any_notation_is_one_shopper(db: Database, who: Principal) -> None:
    digits = f"+5255{uuid4().int % 10**8:08}"
    spaced = f"{digits[:3]} {digits[3:5]} {digits[5:9]} {digits[9:]}"
    first = await start(db, who, phone=spaced)
    _, shopper = await finish(db, who, first.id, await code_to(db, digits))
    assert (shopper.email, shopper.phone) == (None, digits)
    assert [message.channel for message in await messages_to(db, digits)] == ["sms"]


async def test_the_code_stands_in_the_message_and_nowhere_else(
    db: Database, who: Principal
) -> None:
    email = address()
    started = await start(db, who, email, locale="es")
    code = await code_to(db, email)
    (message,) = await messages_to(db, email)
    async with db.reading() as conn:
        stored = await conn.one(STORED_DIGEST, of=started.id)
        (fact,) = await events.timeline(conn, started.id)
    assert (message.channel, message.template, message.state) == ("email", "sign_in_code", "queued")
    assert message.subject == "Tu código para entrar"
    assert code.encode() not in stored
    assert (fact.type, fact.payload) == ("sign_in.code_requested", {})
    assert email not in msgspec.json.encode(fact).decode()


async def test_a_code_is_good_once(db: Database, who: Principal) -> None:
    email = address()
    started = await start(db, who, email)
    code = await code_to(db, email)
    await finish(db, who, started.id, code)
    with pytest.raises(CodeRefused):
        await finish(db, who, started.id, code)


async def test_a_code_runs_out(db: Database, who: Principal) -> None:
    email = address()
    started = await start(db, who, email)
    with pytest.raises(CodeRefused):
        await finish(db, who, started.id, await code_to(db, email), now=NOW + CODE_LIFETIME)


async def test_wrong_codes_use_up_the_right_one(db: Database, who: Principal) -> None:
    email = address()
    started = await start(db, who, email)
    code = await code_to(db, email)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for _ in range(CODE_TRIES):
        with pytest.raises(CodeRefused):
            await finish(db, who, started.id, wrong)
    with pytest.raises(CodeRefused):
        await finish(db, who, started.id, code)


async def test_a_code_belongs_to_the_sign_in_that_asked_for_it(
    db: Database, who: Principal
) -> None:
    mine, other = address(), address()
    started = await start(db, who, mine)
    await start(db, who, other)
    with pytest.raises(CodeRefused):
        await finish(db, who, uuid4(), await code_to(db, mine))
    if (stolen := await code_to(db, other)) != await code_to(db, mine):
        with pytest.raises(CodeRefused):
            await finish(db, who, started.id, stolen)


async def test_codes_go_out_at_a_pace_whether_or_not_the_shopper_exists(
    db: Database, who: Principal
) -> None:
    email = address()
    now = NOW
    await start(db, who, email, now=now)
    with pytest.raises(TooManyCodes) as refused:
        await start(db, who, email, now=now + timedelta(seconds=10))
    assert refused.value.retry_after_seconds == 21
    for _ in range(CODES_PER_HOUR - 1):
        now += CODE_PAUSE
        await start(db, who, email, now=now)
    with pytest.raises(TooManyCodes) as refused:
        await start(db, who, email, now=now + CODE_PAUSE)
    assert refused.value.retry_after_seconds == 3600 - 30 * CODES_PER_HOUR + 1
    await start(db, who, email, now=NOW + timedelta(hours=1))
    assert len(await messages_to(db, email)) == CODES_PER_HOUR + 1


@pytest.mark.parametrize("given", ["ana", "ana@", "@example.com", "ana@home", "a b@example.com"])
def test_what_is_no_email_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidField) as refused:
        customers.normal_email(given)
    assert refused.value.path == "/email"


@pytest.mark.parametrize("given", ["", "123", "5512345678", "+52 12", "telephone"])
def test_what_is_no_international_number_is_refused(given: str) -> None:
    with pytest.raises(InvalidField) as refused:
        customers.normal_phone(given)
    assert refused.value.path == "/phone"


async def test_an_address_or_a_number_but_not_both(db: Database, who: Principal) -> None:
    with pytest.raises(InvalidField):
        await start(db, who)
    with pytest.raises(InvalidField):
        await start(db, who, address(), "+525512345678")


async def test_contacts_are_kept_once(db: Database) -> None:
    made = [
        Contact(id=uuid4(), name="Ana", email="ana@example.com"),
        Contact(id=uuid4(), name="Luis", phone="+525512345678", locale="es"),
    ]
    async with db.transaction() as conn:
        await customers.add_contacts(conn, made)
        await customers.add_contacts(conn, [msgspec.structs.replace(made[0], name="Eva")])
        found = await customers.contacts_by_ids(conn, [each.id for each in made])
    assert sorted(found, key=lambda each: each.name) == made
