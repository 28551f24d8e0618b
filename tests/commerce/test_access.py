"""Keys, sessions, PINs and permissions: who is let in, who is not, and what is on record."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from commerce import access
from commerce.access import (
    OPERATOR,
    Key,
    KeyInvalid,
    PermissionDenied,
    Principal,
    SessionInvalid,
    SessionRequired,
    SignInRefused,
    StartedSession,
    StoreNotAllowed,
)
from commerce.access.associates import PIN_LOCKED_FOR, PIN_TRIES
from commerce.kernel import events
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection, Database, Query
from inventory.tables import location
from tests.shop import Shop, make_shop

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PIN = "4711"

LOCATIONS_IN_SCOPE = Query(select(location.c.id).where(access.in_scope(location.c.id)), UUID)


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=0, stores=2)


async def make_key(db: Database, kind: Any = "storefront", **fields: Any) -> tuple[Key, str]:
    channel: Any = "store" if kind == "tablet" else "web"
    async with db.transaction() as conn:
        return await access.create_key(
            conn, OPERATOR, kind=kind, name="A key", channel=channel, now=NOW, **fields
        )


async def verify(
    db: Database, key: str, session: str | None = None, now: datetime = NOW
) -> Principal:
    async with db.reading() as conn:
        return await access.authenticate(conn, key_secret=key, session_secret=session, now=now)


async def make_associate(db: Database, shop: Shop, *, stores: int = 1, **fields: Any) -> str:
    code = f"A-{uuid4().hex[:8]}"
    await put(db, code, shop, stores=stores, **fields)
    return code


async def put(db: Database, code: str, shop: Shop, *, stores: int = 1, **fields: Any) -> None:
    wanted = {"name": "Ana", "role": "associate", "pin": PIN} | fields
    places = [store.location_id for store in shop.stores[:stores]]
    async with db.transaction() as conn:
        await access.put_associate(
            conn, OPERATOR, code=code, location_ids=places, now=NOW, **wanted
        )


async def sign_in(
    db: Database, tablet: str, code: str, at: UUID, pin: str = PIN, now: datetime = NOW
) -> StartedSession:
    who = await verify(db, tablet, now=now)
    return await access.sign_in(db, who, code=code, pin=pin, location_id=at, now=now)


async def types_of(db: Database, aggregate_id: UUID) -> list[str]:
    async with db.reading() as conn:
        return [event.type for event in await events.timeline(conn, aggregate_id)]


async def newest_record(conn: Connection) -> access.StaffEntry:
    return (await access.staff_record_page(conn, before=None, page=1))[0]


async def test_a_key_opens_what_its_kind_may(db: Database) -> None:
    key, secret = await make_key(db, origins=["https://shop.example"])
    who = await verify(db, secret)
    assert secret.startswith("pk_")
    assert key.hint == secret[-4:]
    assert (who.key_id, who.key_kind, who.channel, who.session_id) == (
        key.id,
        "storefront",
        "web",
        None,
    )
    assert who.origins == {"https://shop.example"}
    assert who.actor == f"key:{key.id}"
    assert who.scope is None
    assert {"catalog.read", "order.place", "cart.write", "session.start"} <= who.permissions
    assert not {"order.read", "key.write", "order.read_own"} & who.permissions


async def test_a_back_office_key_may_everything_but_what_is_somebodys_own(db: Database) -> None:
    _, secret = await make_key(db, "backoffice")
    assert frozenset(access.PERMISSIONS) - (await verify(db, secret)).permissions == {
        "associate_session.read_own", "browsing.read_own", "browsing.write_own",
        "cart.attach_own", "cart.read_own", "cart.serve", "client_book.use_own",
        "consent.decide_own", "list.write_own", "order.read_own", "profile.erase_own",
        "profile.export_own", "profile.read_own", "profile.write_own", "question.answer_own",
        "return.request_own", "session.end", "shopper.view", "watch.write_own",
    }  # fmt: skip


async def test_a_tablet_without_an_associate_may_only_start_a_session(db: Database) -> None:
    _, secret = await make_key(db, "tablet")
    assert (await verify(db, secret)).permissions == {"associate_session.start"}


async def test_an_unknown_key_is_refused(db: Database) -> None:
    with pytest.raises(KeyInvalid):
        await verify(db, "pk_nobody")


async def test_a_key_runs_out(db: Database) -> None:
    _, secret = await make_key(db, expires_at=NOW + DAY)
    await verify(db, secret, now=NOW + DAY - timedelta(seconds=1))
    with pytest.raises(KeyInvalid):
        await verify(db, secret, now=NOW + DAY)


async def test_scripts_may_use_storefront_keys_only(db: Database) -> None:
    with pytest.raises(InvalidField) as refused:
        await make_key(db, "integration", origins=["https://shop.example"])
    assert refused.value.path == "/origins"


async def test_a_tablet_belongs_to_a_store_that_exists(db: Database) -> None:
    with pytest.raises(InvalidField) as refused:
        await make_key(db, "tablet", location_id=uuid4())
    assert refused.value.path == "/location_id"


async def test_only_a_tablet_belongs_to_a_store(db: Database, shop: Shop) -> None:
    with pytest.raises(InvalidField) as refused:
        await make_key(db, "storefront", location_id=shop.stores[0].location_id)
    assert refused.value.path == "/location_id"


async def test_a_rotated_key_is_good_for_its_grace_and_its_successor_at_once(
    db: Database,
) -> None:
    old, old_secret = await make_key(db, origins=["https://shop.example"])
    grace = timedelta(hours=1)
    async with db.transaction() as conn:
        ending, new, secret = await access.rotate_key(conn, OPERATOR, old.id, grace=grace, now=NOW)
        record = await newest_record(conn)
    assert (ending.id, ending.expires_at) == (old.id, NOW + grace)
    assert (new.kind, new.name, new.origins) == (old.kind, old.name, old.origins)
    assert (await verify(db, secret, now=NOW + 2 * grace)).key_id == new.id
    await verify(db, old_secret, now=NOW + grace / 2)
    with pytest.raises(KeyInvalid):
        await verify(db, old_secret, now=NOW + grace)
    assert (record.action, record.subject) == ("key.rotated", f"key:{old.id}")
    assert secret not in str(record.changes)


async def test_sessions_outlive_the_rotation_of_their_key(db: Database) -> None:
    old, old_secret = await make_key(db)
    who = await verify(db, old_secret)
    async with db.transaction() as conn:
        started = await access.start_shopper_session(conn, who, uuid4(), now=NOW)
        _, new, secret = await access.rotate_key(conn, OPERATOR, old.id, grace=timedelta(), now=NOW)
    found = await verify(db, secret, started.secret, now=NOW + timedelta(minutes=1))
    assert (found.key_id, found.session_id) == (new.id, started.id)


async def test_a_key_that_is_no_longer_valid_is_not_rotated(db: Database) -> None:
    key, _ = await make_key(db)
    async with db.transaction() as conn:
        await access.revoke_key(conn, OPERATOR, key.id, now=NOW)
    with pytest.raises(KeyInvalid):
        async with db.transaction() as conn:
            await access.rotate_key(conn, OPERATOR, key.id, grace=DAY, now=NOW)


async def test_a_revoked_key_ends_with_its_sessions(db: Database) -> None:
    key, secret = await make_key(db)
    _, other = await make_key(db)
    who = await verify(db, secret)
    async with db.transaction() as conn:
        started = await access.start_shopper_session(conn, who, uuid4(), now=NOW)
        await access.revoke_key(conn, OPERATOR, key.id, now=NOW)
        await access.revoke_key(conn, OPERATOR, key.id, now=NOW + DAY)
    with pytest.raises(KeyInvalid):
        await verify(db, secret)
    with pytest.raises(SessionInvalid):
        await verify(db, other, started.secret)
    assert await types_of(db, key.id) == ["key.created", "key.revoked"]


async def test_revoking_no_key_is_refused(db: Database) -> None:
    with pytest.raises(NotFound):
        async with db.transaction() as conn:
            await access.revoke_key(conn, OPERATOR, uuid4(), now=NOW)


async def test_origins_of_keys_that_are_valid(db: Database) -> None:
    tag = uuid4().hex
    _, _ = await make_key(db, origins=[f"https://{tag}.example"])
    gone, _ = await make_key(db, origins=[f"https://{tag}-gone.example"])
    async with db.transaction() as conn:
        await access.revoke_key(conn, OPERATOR, gone.id, now=NOW)
        found = await access.all_origins(conn, now=NOW)
    assert {origin for origin in found if tag in origin} == {f"https://{tag}.example"}


async def test_a_shopper_session_adds_what_shoppers_may(db: Database) -> None:
    key, secret = await make_key(db)
    shopper_id = uuid4()
    async with db.transaction() as conn:
        started = await access.start_shopper_session(
            conn, await verify(db, secret), shopper_id, now=NOW
        )
    who = await verify(db, secret, started.secret)
    assert (who.id, who.actor, who.key_id) == (shopper_id, f"shopper:{shopper_id}", key.id)
    assert {"order.read_own", "profile.read_own", "order.place"} <= who.permissions
    assert "order.read" not in who.permissions


async def test_a_session_needs_a_key_of_its_own_kind(db: Database) -> None:
    _, secret = await make_key(db)
    _, integration = await make_key(db, "integration")
    async with db.transaction() as conn:
        started = await access.start_shopper_session(
            conn, await verify(db, secret), uuid4(), now=NOW
        )
    with pytest.raises(SessionInvalid):
        await verify(db, integration, started.secret)


async def test_a_session_ends_once(db: Database) -> None:
    _, secret = await make_key(db)
    async with db.transaction() as conn:
        started = await access.start_shopper_session(
            conn, await verify(db, secret), uuid4(), now=NOW
        )
    who = await verify(db, secret, started.secret)
    async with db.transaction() as conn:
        await access.end_session(conn, who, now=NOW)
        await access.end_session(conn, who, now=NOW)
    with pytest.raises(SessionInvalid):
        await verify(db, secret, started.secret)
    assert await types_of(db, started.id) == ["session.started", "session.ended"]


async def test_a_session_runs_out(db: Database) -> None:
    _, secret = await make_key(db)
    async with db.transaction() as conn:
        started = await access.start_shopper_session(
            conn, await verify(db, secret), uuid4(), now=NOW
        )
    with pytest.raises(SessionInvalid):
        await verify(db, secret, started.secret, now=started.expires_at)


async def test_an_associate_signs_in_at_one_store(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet", location_id=store)
    code = await make_associate(db, shop)
    started = await sign_in(db, tablet, code, store)
    who = await verify(db, tablet, started.secret)
    assert started.secret.startswith("as_")
    assert (who.role, who.location_ids, who.scope) == ("associate", (store,), [store])
    assert who.actor == f"associate:{who.associate_id}"
    assert {"pickup.hand_over", "return.receive", "stock.read"} <= who.permissions
    assert not {"stock.write", "pickup.override", "key.write"} & who.permissions


async def test_a_manager_may_more_and_is_at_one_store_too(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop, stores=2, role="manager")
    who = await verify(db, tablet, (await sign_in(db, tablet, code, store)).secret)
    assert {"stock.write", "pickup.override"} <= who.permissions
    assert who.location_ids == (store,)
    async with db.reading() as conn:
        assert await conn.run(LOCATIONS_IN_SCOPE, scope=who.scope) == [store]


async def test_nobody_without_a_store_is_kept_to_one(db: Database, shop: Shop) -> None:
    async with db.reading() as conn:
        found = await conn.run(LOCATIONS_IN_SCOPE, scope=OPERATOR.scope)
    assert {store.location_id for store in shop.stores} <= set(found)


async def test_a_session_of_one_store_is_refused_on_the_tablet_of_another(
    db: Database, shop: Shop
) -> None:
    here, there = (store.location_id for store in shop.stores)
    _, tablet = await make_key(db, "tablet", location_id=here)
    _, other = await make_key(db, "tablet", location_id=there)
    started = await sign_in(db, tablet, await make_associate(db, shop), here)
    with pytest.raises(SessionInvalid):
        await verify(db, other, started.secret)


async def test_an_associate_of_another_store_is_refused_after_the_right_pin(
    db: Database, shop: Shop
) -> None:
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop, stores=1)
    with pytest.raises(StoreNotAllowed):
        await sign_in(db, tablet, code, shop.stores[1].location_id)
    with pytest.raises(SignInRefused):
        await sign_in(db, tablet, code, shop.stores[1].location_id, pin="0000")


async def test_an_unknown_code_is_refused_like_a_wrong_pin(db: Database, shop: Shop) -> None:
    _, tablet = await make_key(db, "tablet")
    with pytest.raises(SignInRefused):
        await sign_in(db, tablet, f"nobody-{uuid4()}", shop.stores[0].location_id)


async def test_five_wrong_pins_lock_and_time_unlocks(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop)
    for _ in range(PIN_TRIES):
        with pytest.raises(SignInRefused):
            await sign_in(db, tablet, code, store, pin="0000")
    with pytest.raises(SignInRefused):
        await sign_in(db, tablet, code, store)
    with pytest.raises(SignInRefused):
        await sign_in(db, tablet, code, store, now=NOW + PIN_LOCKED_FOR - timedelta(seconds=1))
    await sign_in(db, tablet, code, store, now=NOW + PIN_LOCKED_FOR)


async def test_a_right_pin_starts_the_count_again(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop)
    for _ in range(2):
        for _ in range(PIN_TRIES - 1):
            with pytest.raises(SignInRefused):
                await sign_in(db, tablet, code, store, pin="0000")
        await sign_in(db, tablet, code, store)


async def test_parallel_guesses_are_counted_too(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop, pin="4711")
    who = await verify(db, tablet)
    pins = [f"{number:04}" for number in range(10)]
    guesses = [
        access.sign_in(db, who, code=code, pin=pin, location_id=store, now=NOW) for pin in pins
    ]
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert [type(each) for each in outcomes] == [SignInRefused] * len(pins)
    with pytest.raises(SignInRefused):
        await sign_in(db, tablet, code, store, pin="4711")


async def test_a_new_pin_lifts_the_lock_and_ends_the_sessions(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop)
    started = await sign_in(db, tablet, code, store)
    for _ in range(PIN_TRIES):
        with pytest.raises(SignInRefused):
            await sign_in(db, tablet, code, store, pin="0000")
    await put(db, code, shop, pin="8080")
    with pytest.raises(SessionInvalid):
        await verify(db, tablet, started.secret)
    await sign_in(db, tablet, code, store, pin="8080")


@pytest.mark.parametrize("change", [{"pin": "8080"}, {"pin": None, "active": False}])
async def test_a_pin_that_ends_while_it_is_looked_at_starts_no_session(
    db: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop)
    looking, changed = threading.Event(), threading.Event()
    verify_pin = PasswordHasher.verify

    def slowly(hasher: PasswordHasher, pin_hash: str, pin: str) -> bool:
        if not looking.is_set():
            looking.set()
            changed.wait(5)
        return verify_pin(hasher, pin_hash, pin)

    monkeypatch.setattr(PasswordHasher, "verify", slowly)
    signing_in = asyncio.create_task(sign_in(db, tablet, code, shop.stores[0].location_id))
    assert await asyncio.to_thread(looking.wait, 5)
    await put(db, code, shop, **change)
    changed.set()
    with pytest.raises(SignInRefused):
        await signing_in


async def test_putting_the_same_associate_again_changes_nothing(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop)
    started = await sign_in(db, tablet, code, store)
    async with db.reading() as conn:
        before = await newest_record(conn)
    await put(db, code, shop)
    await verify(db, tablet, started.secret)
    async with db.reading() as conn:
        assert await newest_record(conn) == before
    assert before.subject == f"associate:{code}"
    assert PIN not in str(before.changes)


async def test_an_associate_who_left_is_out_at_once(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    _, tablet = await make_key(db, "tablet")
    code = await make_associate(db, shop)
    started = await sign_in(db, tablet, code, store)
    await put(db, code, shop, pin=None, active=False)
    with pytest.raises(SessionInvalid):
        await verify(db, tablet, started.secret)
    with pytest.raises(SignInRefused):
        await sign_in(db, tablet, code, store)


async def test_a_new_associate_needs_a_pin_and_real_stores(db: Database, shop: Shop) -> None:
    with pytest.raises(InvalidField) as refused:
        await make_associate(db, shop, pin=None)
    assert refused.value.path == "/pin"
    async with db.transaction() as conn:
        with pytest.raises(InvalidField) as refused:
            await access.put_associate(
                conn, OPERATOR, code="x", name="X", role="associate", pin=PIN,
                location_ids=[uuid4()], now=NOW,
            )  # fmt: skip
    assert refused.value.path == "/location_ids"


async def test_associates_are_listed_by_code(db: Database, shop: Shop) -> None:
    codes = sorted([await make_associate(db, shop, stores=2) for _ in range(3)])
    async with db.reading() as conn:
        found = await access.associates(conn, after=codes[0], page=1000)
    listed = [each for each in found if each.code in codes]
    assert [each.code for each in listed] == codes[1:]
    assert set(listed[0].location_ids) == {store.location_id for store in shop.stores}


async def test_the_staff_record_tells_who_where_and_what(db: Database, shop: Shop) -> None:
    store = shop.stores[0].location_id
    associate_id, key_id = uuid4(), uuid4()
    who = Principal(
        key_id=key_id, key_kind="tablet", channel="store", permissions=frozenset(),
        associate_id=associate_id, role="manager", location_ids=(store,),
    )  # fmt: skip
    subject = f"sku:{uuid4()}"
    async with db.transaction() as conn:
        await access.record_staff(
            conn, who, action="stock.counted", subject=subject, changes={"on_hand": [3, 5]}, now=NOW
        )
        entry = await newest_record(conn)
        older = await access.staff_record_page(conn, before=entry.id, page=1)
    assert (entry.actor, entry.key_id, entry.location_id) == (
        f"associate:{associate_id}", key_id, store,
    )  # fmt: skip
    assert (entry.action, entry.subject, entry.changes) == (
        "stock.counted", subject, {"on_hand": [3, 5]},
    )  # fmt: skip
    assert older[0].id < entry.id


@pytest.mark.parametrize(
    ("kind", "permission", "refusal"),
    [
        ("tablet", "pickup.hand_over", SessionRequired),
        ("tablet", "order.place", PermissionDenied),
        ("storefront", "order.read_own", SessionRequired),
        ("storefront", "pickup.hand_over", PermissionDenied),
        ("integration", "key.write", PermissionDenied),
        ("backoffice", "profile.read_own", PermissionDenied),
    ],
)
def test_a_refusal_says_whether_signing_in_would_help(
    kind: str, permission: str, refusal: type[Exception]
) -> None:
    who = Principal(
        key_id=uuid4(), key_kind=kind, channel="web", permissions=access.permissions_of(kind)
    )
    with pytest.raises(refusal):
        who.require(permission)


def test_who_is_signed_in_is_not_asked_to_sign_in() -> None:
    who = Principal(
        key_id=uuid4(), key_kind="tablet", channel="store", session_id=uuid4(),
        permissions=access.permissions_of("tablet", "associate"),
    )  # fmt: skip
    with pytest.raises(PermissionDenied):
        who.require("stock.write")
