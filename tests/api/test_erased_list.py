"""The list of erased persons: a restore brings nobody back."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from api import erased_list
from api.backup import backup, restore
from api.sweeps import SWEEPS, run_once
from commerce import customers, privacy
from commerce.kernel.settings import Settings
from commerce.kernel.sql import Connection, Database
from tests.background import work_of

NOW = datetime(2026, 11, 21, 18, tzinfo=UTC)


def clock() -> datetime:
    return NOW


async def new_shopper(conn: Connection) -> UUID:
    made = await customers.put_shopper(
        conn, email=f"{uuid4().hex}@example.com", phone=None, locale="en", now=NOW, name="Ana"
    )
    return made.id


async def erase(db: Database, shopper_id: UUID) -> None:
    async with db.transaction() as conn:
        asked = await privacy.request(conn, shopper_id, actor="test", now=NOW)
        await conn.flush()
        await conn.driver.execute("UPDATE message SET state = 'sent'")
    await privacy.carry_on(db, asked.id, now=clock)
    async with db.reading() as conn:
        assert (await privacy.by_id(conn, asked.id)).state == "finished"


async def names(db: Database, *shopper_ids: UUID) -> list[str | None]:
    async with db.reading() as conn:
        return [(await customers.person_of(conn, each)).name for each in shopper_ids]


async def test_whoever_was_erased_after_the_backup_is_erased_again_after_the_restore(
    own_dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    kept, dump = tmp_path / "kept" / "erased.jsonl", tmp_path / "dump"
    db = await Database.open(own_dsn)
    async with db.transaction() as conn:
        before, after, stays = [await new_shopper(conn) for _ in range(3)]
    await erase(db, before)
    backup(own_dsn, dump)
    await erase(db, after)
    await erased_list.keep(db, kept, now=clock)
    written = kept.read_bytes()
    await erased_list.keep(db, kept, now=clock)
    assert kept.read_bytes() == written
    await db.close()

    restore(empty_dsn, dump, replace=False)
    db = await Database.open(empty_dsn)
    assert await names(db, before, after, stays) == [None, "Ana", "Ana"]
    assert await erased_list.reapply(db, kept, now=clock) == 1
    assert await names(db, before, after, stays) == [None, None, "Ana"]
    assert await erased_list.reapply(db, kept, now=clock) == 0
    async with db.reading() as conn:
        (again, _) = await privacy.newest(conn, before=None, page=5)
    assert (again.shopper_id, again.requested_by, again.state) == (after, "restore", "pending")
    await erased_list.keep(db, kept, now=clock)
    assert again.id not in listed(kept)
    await db.close()


def listed(path: Path) -> set[UUID]:
    return {line.id for page in erased_list.pages(path) for line in page}


async def test_a_line_that_a_crash_has_cut_off_spoils_no_other(
    own_dsn: str, tmp_path: Path
) -> None:
    kept = tmp_path / "erased.jsonl"
    db = await Database.open(own_dsn)
    async with db.transaction() as conn:
        first, second = [await new_shopper(conn) for _ in range(2)]
    await erase(db, first)
    await erased_list.keep(db, kept, now=clock)
    kept.write_bytes(kept.read_bytes() + b'{"id":"0190')
    await erase(db, second)
    await erased_list.keep(db, kept, now=clock)
    assert len(listed(kept)) == 2
    await db.close()


async def test_the_sweeps_keep_the_list_and_apply_it(own_dsn: str, tmp_path: Path) -> None:
    db = await Database.open(own_dsn)
    chosen = Settings(database_url=own_dsn, state_dir=tmp_path)
    work = msgspec.structs.replace(work_of(db), settings=chosen)
    sweeps = {sweep.name: sweep for sweep in SWEEPS}
    async with db.transaction() as conn:
        shopper_id = await new_shopper(conn)
    await erase(db, shopper_id)
    await run_once(work, sweeps["erasures"])
    assert len(listed(tmp_path / "erased.jsonl")) == 1
    async with db.transaction() as conn:
        await conn.driver.execute(
            "UPDATE shopper SET erased_at = NULL, name = 'Ana' WHERE id = $1", shopper_id
        )
        await conn.driver.execute("DELETE FROM erasure")
    await run_once(work, sweeps["restored_persons"])
    assert await names(db, shopper_id) == [None]
    await db.close()
