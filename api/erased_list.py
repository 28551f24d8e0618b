"""The list of erased persons as a file beside the database, because a restore takes those inside.

One line of JSON per erasure, ids only. A line is on the disk before the database says so, so none
is missing; a line may come twice. Keep it where no restore reaches it, and where each machine with
a worker reads and writes the same file (`ERASED_LIST`).
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from commerce import privacy
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database
from commerce.privacy import Listed

PAGE = 500
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Listed).decode


async def keep(database: Database, path: Path, *, now: Clock) -> None:
    """Write down the erasures that are not on the list."""
    while True:
        async with database.reading() as conn:
            new = await privacy.unlisted(conn, page=PAGE)
        if not new:
            return
        await asyncio.to_thread(_append, path, new)

        async def note(conn: Connection, new: list[Listed] = new) -> None:
            await privacy.listed(conn, [each.id for each in new], now=now())

        await database.commit(note)


async def reapply(database: Database, path: Path, *, now: Clock) -> int:
    """Ask again for the erasure of whoever a restore has brought back; returns how many."""
    back = 0
    for lines in await asyncio.to_thread(lambda: list(pages(path))):

        async def ask(conn: Connection, lines: list[Listed] = lines) -> int:
            return await privacy.reapply(conn, lines, now=now())

        back += await database.commit(ask)
    return back


def _append(path: Path, new: list[Listed]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        # A line that a crash has cut off ends here.
        file.write(b"\n" + b"".join(_encode(each) + b"\n" for each in new))
        file.flush()
        os.fsync(file.fileno())


def pages(path: Path) -> Iterator[list[Listed]]:
    """The lines of the list, some at a time. One that a crash has cut off was written again."""
    if not path.exists():
        return
    page: list[Listed] = []
    with path.open("rb") as file:
        for line in file:
            with suppress(msgspec.DecodeError):
                page.append(_decode(line))
            if len(page) == PAGE:
                yield page
                page = []
    if page:
        yield page
