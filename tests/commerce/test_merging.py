"""Merging shoppers and undoing it: in any order, nothing lost, and never two at once."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce import access, customers
from commerce.access import OPERATOR
from commerce.customers import AlreadyOnePerson, MergeStale, PersonTooLarge, ProfileChanges
from commerce.customers.merging import branch
from commerce.customers.persons import MAX_ROWS
from commerce.kernel import events
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Database
from tests.persons import NOW, erase, make_shopper, merge, person, seen, undo


async def pointers(db: Database, shopper_ids: list[UUID]) -> dict[UUID, UUID | None]:
    rows = await db.pool.fetch(
        "SELECT id, merged_into FROM shopper WHERE id = ANY($1)", shopper_ids
    )
    return {row["id"]: row["merged_into"] for row in rows}


async def test_a_merged_row_is_found_under_the_root_and_undone_as_it_was(db: Database) -> None:
    ana, luz = await make_shopper(db, name="Ana"), await make_shopper(db, name="Luz")
    before = [await person(db, each.id) for each in (ana, luz)]
    made = await merge(db, ana.id, luz.id)
    one = await person(db, ana.id)
    assert (made.source_id, made.target_id, one.ids) == (ana.id, luz.id, (luz.id, ana.id))
    assert (one.name, one.emails) == ("Luz", [luz.email, ana.email])
    async with db.reading() as conn:
        found = await customers.persons_of(conn, [ana.id, luz.id, uuid4()])
    assert found == {ana.id: one.ids, luz.id: one.ids}
    undone = await undo(db, made.id)
    assert (undone.undone_at, undone.undone_by) == (NOW, "operator")
    after = [await person(db, each.id) for each in (ana, luz)]
    assert [each.ids for each in after] == [each.ids for each in before]
    assert [each.name for each in after] == ["Ana", "Luz"]


async def test_what_the_root_does_not_tell_the_other_does_and_what_it_took_back_stays_away(
    db: Database,
) -> None:
    ana, luz = await make_shopper(db, name="Ana"), await make_shopper(db)

    async def told(of: UUID, **changes: Any) -> None:
        async with db.transaction() as conn:
            await customers.change_profile(
                conn,
                OPERATOR,
                of,
                ProfileChanges(**changes),
                now=NOW,
            )

    await told(ana.id, sizes={"tops": "M", "shoes": "38"}, time_zone="America/Mexico_City")
    await told(luz.id, sizes={"tops": "S"})
    made = await merge(db, ana.id, luz.id)
    one = await person(db, luz.id)
    assert (one.name, one.time_zone) == ("Ana", "America/Mexico_City")
    assert one.sizes == {"tops": "S", "shoes": "38"}
    await told(ana.id, sizes={"shoes": None, "hats": "57"}, name="Ana Luz")
    assert (await person(db, luz.id)).sizes == {"tops": "S", "hats": "57"}
    await undo(db, made.id)
    apart = [await person(db, each.id) for each in (ana, luz)]
    assert [each.name for each in apart] == ["Ana", "Ana Luz"]
    assert [each.sizes for each in apart] == [
        {"tops": "M", "shoes": "38"}, {"tops": "S", "hats": "57"},
    ]  # fmt: skip


async def test_undoing_one_merge_of_a_chain_takes_only_its_branch_off(db: Database) -> None:
    a, b, c, d = [(await make_shopper(db)).id for _ in range(4)]
    b_to_a = await merge(db, b, a)
    a_to_c = await merge(db, a, c)
    c_to_d = await merge(db, c, d)
    assert set((await person(db, b)).ids) == {a, b, c, d}
    await undo(db, a_to_c.id)
    assert await pointers(db, [a, b, c, d]) == {a: None, b: a, c: d, d: None}
    await undo(db, c_to_d.id)
    assert await pointers(db, [a, b, c, d]) == {a: None, b: a, c: None, d: None}
    await undo(db, b_to_a.id)
    assert set((await pointers(db, [a, b, c, d])).values()) == {None}


async def test_merge_and_undo_take_effect_once_and_are_on_record(db: Database) -> None:
    ana, luz = (await make_shopper(db)).id, (await make_shopper(db)).id
    token = await seen(db, ana, luz)
    made = await merge(db, ana, luz, token)
    assert await merge(db, ana, luz, token) == made
    undone = await undo(db, made.id)
    assert await undo(db, made.id) == undone
    async with db.reading() as conn:
        told = await events.timeline(conn, luz)
        record = await access.staff_record_page(conn, before=None, page=2)
    expected = {"merge_id": str(made.id), "shopper_id": str(ana)}
    assert [(each.type, each.payload) for each in told[1:]] == [
        ("shopper.merged", expected), ("shopper.merge_undone", expected),
    ]  # fmt: skip
    assert [(each.action, each.subject) for each in record] == [
        ("shopper.merge_undone", f"shopper:{luz}"), ("shopper.merged", f"shopper:{luz}"),
    ]  # fmt: skip
    with pytest.raises(NotFound):
        await undo(db, uuid4())


async def test_who_has_changed_since_they_were_compared_is_not_merged(db: Database) -> None:
    ana, luz = (await make_shopper(db)).id, (await make_shopper(db)).id
    token = await seen(db, ana, luz)
    async with db.transaction() as conn:
        await customers.change_profile(conn, OPERATOR, luz, ProfileChanges(name="Luz"), now=NOW)
    with pytest.raises(MergeStale):
        await merge(db, ana, luz, token)
    with pytest.raises(MergeStale):
        await merge(db, luz, ana, await seen(db, ana, luz))
    assert set((await pointers(db, [ana, luz])).values()) == {None}


async def test_a_circle_is_no_merge(db: Database) -> None:
    a, b, c = [(await make_shopper(db)).id for _ in range(3)]
    token = await seen(db, c, a)
    await merge(db, a, b)
    await merge(db, b, c)
    for source, target in ((c, a), (a, c), (a, a)):
        with pytest.raises(AlreadyOnePerson):
            await merge(db, source, target, token)
    with pytest.raises(AlreadyOnePerson):
        await seen(db, c, a)


async def test_so_many_profiles_are_not_one_person(db: Database) -> None:
    root, others = (await make_shopper(db)).id, [
        (await make_shopper(db)).id for _ in range(MAX_ROWS)
    ]  # fmt: skip
    for each in others[:-1]:
        await merge(db, each, root)
    with pytest.raises(PersonTooLarge):
        await merge(db, others[-1], root)
    assert len((await person(db, root)).ids) == MAX_ROWS


async def test_of_two_merges_at_once_one_is_made(db: Database) -> None:
    for _ in range(5):
        ana, luz = (await make_shopper(db)).id, (await make_shopper(db)).id
        there, back = await seen(db, ana, luz), await seen(db, luz, ana)
        outcomes = await asyncio.gather(
            merge(db, ana, luz, there), merge(db, luz, ana, back), return_exceptions=True
        )
        (refused,) = [each for each in outcomes if isinstance(each, BaseException)]
        assert isinstance(refused, AlreadyOnePerson)
        assert list((await pointers(db, [ana, luz])).values()).count(None) == 1


async def test_three_merges_at_once_into_one_another_leave_whole_persons(db: Database) -> None:
    for _ in range(5):
        a, b, c = [(await make_shopper(db)).id for _ in range(3)]
        wanted = [(a, b), (b, c), (c, a)]
        tokens = [await seen(db, *each) for each in wanted]
        outcomes = await asyncio.gather(
            *(merge(db, *each, token) for each, token in zip(wanted, tokens, strict=True)),
            return_exceptions=True,
        )
        refused = [each for each in outcomes if isinstance(each, BaseException)]
        assert len(refused) == 2
        assert {type(each) for each in refused} <= {MergeStale, AlreadyOnePerson}
        found = await pointers(db, [a, b, c])
        assert list(found.values()).count(None) == 2


async def test_nobody_is_merged_with_a_person_who_is_erased_at_that_moment(db: Database) -> None:
    for _ in range(5):
        ana, luz = (await make_shopper(db)).id, (await make_shopper(db)).id
        token = await seen(db, ana, luz)
        merged, _ = await asyncio.gather(
            merge(db, ana, luz, token), erase(db, luz), return_exceptions=True
        )
        both = await person(db, ana)
        assert both.erased == (not isinstance(merged, BaseException))
        if isinstance(merged, BaseException):
            assert isinstance(merged, NotFound)
            assert both.ids == (ana,)


async def test_who_is_erased_is_compared_with_nobody(db: Database) -> None:
    ana, luz = (await make_shopper(db)).id, (await make_shopper(db)).id
    await erase(db, luz)
    for source, target in ((ana, luz), (luz, ana), (ana, uuid4())):
        with pytest.raises(NotFound):
            await seen(db, source, target)


@pytest.mark.parametrize("seed", range(6))
async def test_persons_stay_whole_and_undoing_all_leaves_nothing(db: Database, seed: int) -> None:
    chosen = Random(seed)
    rows = [(await make_shopper(db)).id for _ in range(7)]
    live: dict[UUID, tuple[UUID, UUID]] = {}
    for _ in range(25):
        if live and chosen.random() < 0.4:
            merge_id = chosen.choice(list(live))
            await undo(db, merge_id)
            del live[merge_id]
        else:
            source, target = chosen.sample(rows, 2)
            try:
                made = await merge(db, source, target)
            except AlreadyOnePerson:
                continue
            live[made.id] = (made.source_id, made.target_id)
        assert await persons(db, rows) == joined(rows, live.values())
    left = list(live)
    chosen.shuffle(left)
    for merge_id in left:
        await undo(db, merge_id)
    assert await pointers(db, rows) == dict.fromkeys(rows)


async def persons(db: Database, rows: list[UUID]) -> set[frozenset[UUID]]:
    """Who is one person, as everybody else sees it."""

    async def work(conn: Connection) -> dict[UUID, tuple[UUID, ...]]:
        return await customers.persons_of(conn, rows)

    found = await db.commit(work)
    parts = {frozenset(person_ids) for person_ids in found.values()}
    assert sum(map(len, parts)) == len(rows)
    return parts


def joined(rows: list[UUID], pairs: Iterable[tuple[UUID, UUID]]) -> set[frozenset[UUID]]:
    """Who is one person when these pairs are."""
    parts = {row: {row} for row in rows}
    for first, second in pairs:
        whole = parts[first] | parts[second]
        for row in whole:
            parts[row] = whole
    return {frozenset(part) for part in parts.values()}


@given(st.lists(st.integers(0, 30), max_size=30))
def test_a_branch_is_what_climbs_to_its_root(draws: list[int]) -> None:
    names = [UUID(int=number + 1) for number in range(len(draws) + 1)]
    parents = {
        names[row + 1]: names[draw % (row + 1)] for row, draw in enumerate(draws) if draw < 25
    }

    def climbs(row: UUID) -> list[UUID]:
        return [parents[row], *climbs(parents[row])] if row in parents else []

    for root in names:
        assert branch(parents, root) == {row for row in names if root in climbs(row)}
