"""A person's export over HTTP: written to a file that has no name, then sent from there.

So the transaction that sees one moment ends before a slow client has read the answer, a fault of
ours is an error and no document that is cut off, and memory is bounded.
"""

from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Any
from uuid import UUID

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from commerce import privacy
from commerce.kernel.sql import Database

IN_MEMORY_BYTES = 1 << 20
PIECE_BYTES = 1 << 16
HEADERS = (
    (b"content-type", b"application/json"),
    (b"content-disposition", b'attachment; filename="export.json"'),
    (b"cache-control", b"no-store"),
)


class PersonExport(msgspec.Struct, frozen=True):
    """All that is held about a person: for each table, its rows."""

    shopper_ids: list[UUID]
    exported_at: datetime
    held: dict[str, list[dict[str, Any]]]


async def export_response(database: Database, shopper_id: UUID, *, now: datetime) -> ASGIApp:
    """The answer with the whole document. Raises NotFound."""
    file = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  the answer closes it
    try:
        async with database.snapshot() as conn:
            async for piece in privacy.export(conn, shopper_id, now=now):
                file.write(piece)
    except BaseException:
        file.close()
        raise
    headers = [*HEADERS, (b"content-length", str(file.tell()).encode())]

    async def answer(_: Scope, __: Receive, send: Send) -> None:
        with file:
            file.seek(0)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while piece := file.read(PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answer
