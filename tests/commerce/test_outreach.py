"""Outreach: one associate for a shopper of a store, at decent hours, and not too often."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from commerce import consents, outreach
from commerce.access import OPERATOR, Principal
from commerce.clienteling import View
from commerce.consents import Decision
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.holdings import Scope, erase
from commerce.kernel.sql import Database
from commerce.outreach import CAP, ClientOfColleague, Entry, OutreachCapReached, Sent
from commerce.outreach.personal import HOLDINGS
from tests import counter, following, sold
from tests.shop import Shop, make_shop

NOON = datetime(2026, 11, 20, 18, tzinfo=UTC)
"""In Mexico."""


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db)


async def associate(db: Database, shop: Shop) -> Principal:
    """Somebody who works at the first store."""
    who = counter.associate(shop)
    await db.pool.execute(
        "INSERT INTO associate (id, code, name, role, pin_hash) VALUES ($1, $2, 'Eva', $3, 'x')",
        who.associate_id, uuid4().hex, "associate",
    )  # fmt: skip
    return who


async def shopper(db: Database) -> UUID:
    """Somebody who allows personal service, and follow-ups by mail."""
    owner = await following.shopper(db, now=NOON)
    async with db.transaction() as conn:
        serve = Decision("personal_service", granted=True)
        await consents.decide(conn, owner.person_ids[0], [serve], "profile", "test", NOON)
    return owner.person_ids[0]


def view(who: Principal, *person_ids: UUID) -> View:
    """An open one."""
    assert who.associate_id is not None
    assert who.session_id is not None
    assert who.location_ids is not None
    return View(
        id=ids.uuid7(), shopper_id=person_ids[0], person_ids=list(person_ids), order_id=None,
        associate_id=who.associate_id, session_id=who.session_id, location_id=who.location_ids[0],
        purpose="serve_in_store", reason="Asked", consented=True, opened_at=NOON,
        expires_at=NOON + timedelta(minutes=15),
    )  # fmt: skip


async def add(db: Database, who: Principal, *person_ids: UUID) -> Entry | CommerceError:
    try:
        async with db.transaction() as conn:
            return await outreach.add_client(conn, who, view(who, *person_ids), now=NOON)
    except CommerceError as refused:
        return refused


async def entry(db: Database, who: Principal, shopper_id: UUID) -> Entry:
    made = await add(db, who, shopper_id)
    assert isinstance(made, Entry), made
    return made


async def write(
    db: Database, who: Principal, entry_id: UUID, *, now: datetime = NOON
) -> Sent | CommerceError:
    try:
        async with db.transaction() as conn:
            return await outreach.write(
                conn, who, entry_id, template="outreach_thanks", sku=None, line=None, now=now
            )
    except CommerceError as refused:
        return refused


async def test_two_associates_at_once_get_one_client(db: Database, shop: Shop) -> None:
    people = [await associate(db, shop) for _ in range(2)]
    ana = await shopper(db)
    outcomes = await asyncio.gather(*(add(db, who, ana) for who in people))
    assert sorted(type(each).__name__ for each in outcomes) == ["ClientOfColleague", "Entry"]
    kept = await db.pool.fetch("SELECT * FROM client_book_entry WHERE shopper_id = $1", ana)
    assert len(kept) == 1


async def test_a_client_under_another_id_of_the_person_is_the_same_client(
    db: Database, shop: Shop
) -> None:
    eva, other = [await associate(db, shop) for _ in range(2)]
    ana = await shopper(db)
    made = await entry(db, eva, ana)
    root = await shopper(db)
    assert await add(db, eva, root, ana) == made
    assert isinstance(await add(db, other, root, ana), ClientOfColleague)


@pytest.fixture
async def quiet_nights(db: Database) -> None:
    """Whatever another test has made of the hours, which all share."""
    async with db.transaction() as conn:
        await consents.set_quiet_window(conn, OPERATOR, consents.QuietHours(), now=NOON)


@pytest.mark.usefixtures("quiet_nights")
async def test_in_the_night_outreach_waits_for_the_morning(db: Database, shop: Shop) -> None:
    eva = await associate(db, shop)
    made = await entry(db, eva, await shopper(db))
    sent = await write(db, eva, made.id, now=datetime(2026, 11, 21, 4, tzinfo=UTC))
    assert isinstance(sent, Sent)
    assert sent.send_at == datetime(2026, 11, 21, 15, tzinfo=UTC)


@pytest.mark.usefixtures("quiet_nights")
async def test_the_night_is_the_shoppers_wherever_the_store_is(db: Database, shop: Shop) -> None:
    eva, ana = await associate(db, shop), await shopper(db)
    await db.pool.execute("UPDATE shopper SET time_zone = 'Europe/Madrid' WHERE id = $1", ana)
    made = await entry(db, eva, ana)
    sent = await write(db, eva, made.id, now=datetime(2026, 11, 20, 21, tzinfo=UTC))
    assert isinstance(sent, Sent)
    assert sent.send_at == datetime(2026, 11, 21, 8, tzinfo=UTC)


async def test_however_many_write_at_once_the_cap_holds(db: Database, shop: Shop) -> None:
    eva = await associate(db, shop)
    made = await entry(db, eva, await shopper(db))
    outcomes = await asyncio.gather(*(write(db, eva, made.id) for _ in range(CAP + 2)))
    assert sum(isinstance(each, Sent) for each in outcomes) == CAP
    refused = [each for each in outcomes if isinstance(each, OutreachCapReached)]
    assert [each.next_at for each in refused] == [NOON + timedelta(days=7)] * 2
    assert isinstance(await write(db, eva, made.id, now=NOON + timedelta(days=7)), Sent)


async def test_a_purchase_is_put_down_to_the_newest_outreach_before_it(
    db: Database, shop: Shop
) -> None:
    eva = await associate(db, shop)
    ana = await shopper(db)
    made = await entry(db, eva, ana)
    first, second = [
        await write(db, eva, made.id, now=NOON + timedelta(hours=hours)) for hours in (0, 1)
    ]
    assert isinstance(first, Sent)
    assert isinstance(second, Sent)
    at = NOON + timedelta(hours=2)
    bought = await sold.sell(db, shop, (0, 1), total_minor=10_000, shopper_id=ana, at=at)
    late = NOON + timedelta(days=30)
    later = await sold.sell(db, shop, (0, 1), total_minor=10_000, shopper_id=ana, at=late)
    async with db.transaction() as conn:
        for order in (bought, later):
            told = await events.timeline(conn, order.id)
            await outreach.hear(conn, told, now=at)
    rows = await db.pool.fetch(
        "SELECT id, order_id FROM outreach WHERE entry_id = $1 ORDER BY id", made.id
    )
    assert [(row["id"], row["order_id"]) for row in rows] == [
        (first.id, None),
        (second.id, bought.id),
    ]


async def test_an_erased_client_leaves_the_book_and_notes_are_emptied(
    db: Database, shop: Shop
) -> None:
    eva = await associate(db, shop)
    ana = await shopper(db)
    made = await entry(db, eva, ana)
    sent = await write(db, eva, made.id)
    assert isinstance(sent, Sent)
    async with db.transaction() as conn:
        await outreach.note_outcome(
            conn, eva, sent.id, outcome="reply_later", note="On holiday", now=NOON
        )
        scope = Scope([ana], [], [], NOON, NOON)
        assert [await erase(conn, each, scope) for each in HOLDINGS] == [1, 1]
        assert [await erase(conn, each, scope) for each in HOLDINGS] == [0, 0]
    row = await db.pool.fetchrow("SELECT outcome, note FROM outreach WHERE id = $1", sent.id)
    assert tuple(row) == ("reply_later", None)
    gone = await write(db, eva, made.id)
    assert isinstance(gone, CommerceError)
    assert gone.code == "not_found"
    manager = msgspec.structs.replace(eva, role="manager")
    async with db.transaction() as conn:
        shown = await outreach.clients(
            conn, manager, made.location_id, associate_id=eva.associate_id, after=UUID(int=0),
            page=10, now=NOON,
        )  # fmt: skip
    assert shown.shown == []
