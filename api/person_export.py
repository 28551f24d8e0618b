"""A person's export over HTTP: written to a file that has no name, then sent from there.

So the transaction that sees one moment ends before a slow client has read the answer, a fault of
ours is an error and no document that is cut off, and memory is bounded.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from uuid import UUID

import msgspec
from litestar.response import Stream

from commerce import privacy
from commerce.kernel.sql import Database

IN_MEMORY_BYTES = 1 << 20
PIECE_BYTES = 1 << 16


class PersonExport(msgspec.Struct, frozen=True):
    """All that is held about a person: for each table, its rows."""

    shopper_ids: list[UUID]
    exported_at: datetime
    held: dict[str, list[dict[str, Any]]]


async def export_response(database: Database, shopper_id: UUID, *, now: datetime) -> Stream:
    """The answer with the whole document. Raises NotFound."""
    file = SpooledTemporaryFile(IN_MEMORY_BYTES)
    try:
        async with database.snapshot() as conn:
            async for piece in privacy.export(conn, shopper_id, now=now):
                file.write(piece)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return Stream(
        _pieces(file),
        media_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="export.json"'},
    )


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece
