"""Who may be one person: what they have in common is noticed, and suggested once."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from commerce import customers, matching
from commerce.access import OPERATOR
from commerce.customers import Contact, ProfileChanges
from commerce.kernel import events, ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Database
from commerce.matching import TOO_COMMON, Duplicate
from tests.persons import NOW, make_shopper, merge, undo
from tests.shop import Shop, make_shop
from tests.sold import sell

SECRET = b"s" * 32
LAST = UUID(int=2**128 - 1)


@pytest.fixture
async def db(own_dsn: str) -> AsyncIterator[Database]:
    database = await Database.open(own_dsn)
    yield database
    await database.close()


async def learned(db: Database, *aggregate_ids: UUID) -> list[Duplicate]:
    """Suggestions after the events of these shoppers and orders, which may come twice."""
    for _ in range(2):
        async with db.transaction() as conn:
            told = [each for of in aggregate_ids for each in await events.timeline(conn, of)]
            await matching.learn(conn, told, secret=SECRET, now=NOW)
    async with db.reading() as conn:
        return await matching.suggested(conn, before=LAST, page=50)


def pairs(found: list[Duplicate]) -> dict[frozenset[UUID], list[str]]:
    """The suggested pairs, and why."""
    return {
        frozenset((each.first.shopper_id, each.second.shopper_id)): [
            reason.kind for reason in each.reasons
        ]
        for each in found
    }


async def bought(
    db: Database, shop: Shop, shopper_id: UUID, *, card: str | None = None, **reached: str
) -> UUID:
    """An order of a shopper, with a contact and a card of its own."""
    order = await sell(db, shop, (0, 1), total_minor=10_000, shopper_id=shopper_id)
    contact = Contact(id=ids.uuid7(), name="Ana", shopper_id=shopper_id, **reached)
    async with db.transaction() as conn:
        await customers.add_contacts(conn, [contact])
    await db.pool.execute("UPDATE orders SET contact_id = $2 WHERE id = $1", order.id, contact.id)
    await db.pool.execute(
        "UPDATE payment SET card_fingerprint = $2 WHERE order_id = $1", order.id, card
    )
    return order.id


async def test_a_phone_left_with_an_order_matches_who_signs_in_with_it(db: Database) -> None:
    shop = await make_shop(db)
    ana = await make_shopper(db, email=None, phone="+525512340001", name="Ana Torres")
    luz, eva = await make_shopper(db), await make_shopper(db)
    orders = [
        await bought(db, shop, luz.id, phone="+525512340001"),
        await bought(db, shop, eva.id, phone="+525512340002"),
    ]
    (found,) = await learned(db, ana.id, luz.id, eva.id, *orders)
    assert pairs([found]) == {frozenset((ana.id, luz.id)): ["phone"]}
    names = {each.shopper_id: each.name for each in (found.first, found.second)}
    assert names == {ana.id: "A*** T***", luz.id: None}


async def test_a_card_and_an_address_of_orders_match_and_add_up(db: Database) -> None:
    shop = await make_shop(db)
    ana, luz = await make_shopper(db), await make_shopper(db)
    orders = [
        await bought(db, shop, ana.id, card="card-1", email="ana@example.com"),
        await bought(db, shop, luz.id, card="card-1", email="luz@example.com"),
    ]
    both = frozenset((ana.id, luz.id))
    assert pairs(await learned(db, *orders)) == {both: ["card"]}
    eva, mia = await make_shopper(db), await make_shopper(db, phone="+525512340003")
    left = await bought(db, shop, eva.id, phone="+525512340003")
    others = frozenset((eva.id, mia.id))
    assert pairs(await learned(db, mia.id, left)) == {both: ["card"], others: ["phone"]}
    last = await bought(db, shop, luz.id, card="card-2", email=ana.email or "")
    found = pairs(await learned(db, ana.id, last))
    assert found == {both: ["card", "email"], others: ["phone"]}


async def test_the_code_of_another_card_matches_its_profile(db: Database) -> None:
    ana, luz = await make_shopper(db), await make_shopper(db)
    async with db.transaction() as conn:
        told = ProfileChanges(other_loyalty_code=ana.loyalty_code.lower())
        await customers.change_profile(conn, OPERATOR, luz.id, told, now=NOW)
    found = await learned(db, luz.id, ana.id)
    assert pairs(found) == {frozenset((ana.id, luz.id)): ["loyalty_code"]}


async def test_what_many_share_says_nothing(db: Database) -> None:
    shop = await make_shop(db)
    rows = [(await make_shopper(db)).id for _ in range(TOO_COMMON)]
    orders = [await bought(db, shop, each, phone="+525512340009") for each in rows]
    few = orders[: TOO_COMMON - 1]
    pairs_of_few = len(few) * (len(few) - 1) // 2
    assert len(await learned(db, *few)) == pairs_of_few
    assert len(await learned(db, *orders)) == pairs_of_few


async def test_who_was_merged_is_not_listed_and_not_again_after_an_undo(db: Database) -> None:
    ana, luz = await make_shopper(db), await make_shopper(db)
    async with db.transaction() as conn:
        told = ProfileChanges(other_loyalty_code=ana.loyalty_code)
        await customers.change_profile(conn, OPERATOR, luz.id, told, now=NOW)
    assert len(await learned(db, ana.id, luz.id)) == 1
    made = await merge(db, ana.id, luz.id)
    assert await learned(db, ana.id, luz.id) == []
    async with db.transaction() as conn:
        await matching.undo(conn, OPERATOR, made.id, now=NOW)
    assert await learned(db, ana.id, luz.id) == []


async def test_a_merge_undone_elsewhere_keeps_its_suggestion(db: Database) -> None:
    ana, luz, eva = [await make_shopper(db) for _ in range(3)]
    async with db.transaction() as conn:
        told = ProfileChanges(other_loyalty_code=ana.loyalty_code)
        await customers.change_profile(conn, OPERATOR, luz.id, told, now=NOW)
    await learned(db, ana.id, luz.id)
    made = await merge(db, ana.id, eva.id)
    found = await learned(db, ana.id, luz.id)
    assert pairs(found) == {frozenset((eva.id, luz.id)): ["loyalty_code"]}
    await undo(db, made.id)
    found = await learned(db, ana.id, luz.id)
    assert frozenset((ana.id, luz.id)) in pairs(found)


async def test_what_was_dismissed_stays_away(db: Database) -> None:
    ana, luz = await make_shopper(db), await make_shopper(db)
    async with db.transaction() as conn:
        told = ProfileChanges(other_loyalty_code=ana.loyalty_code)
        await customers.change_profile(conn, OPERATOR, luz.id, told, now=NOW)
    (found,) = await learned(db, ana.id, luz.id)
    for _ in range(2):
        async with db.transaction() as conn:
            await matching.dismiss(conn, OPERATOR, found.id, now=NOW)
    assert await learned(db, ana.id, luz.id) == []
    with pytest.raises(NotFound):
        async with db.transaction() as conn:
            await matching.dismiss(conn, OPERATOR, uuid4(), now=NOW)


async def test_traits_are_no_text(db: Database) -> None:
    ana = await make_shopper(db, email="ana@example.com")
    await learned(db, ana.id)
    rows = await db.pool.fetch("SELECT kind, digest FROM shopper_trait ORDER BY kind")
    assert [row["kind"] for row in rows] == ["email", "loyalty_code"]
    assert {len(row["digest"]) for row in rows} == {32}
