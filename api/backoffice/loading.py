"""Import files over HTTP: the same files and the same rules as `mostrador import`.

A file is read as it comes and kept on disk when it is large; its good lines are stored 500 to a
transaction, so a request that breaks off leaves whole stretches, and sending the file again goes
on from there. No line of a stock file counts twice, so no `Idempotency-Key` is needed.
"""

from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from api.auth import may
from api.contract import answers, no_key_needed, raises, takes
from api.refusals import BodyTooLarge, InvalidRequest
from api.services import Services
from commerce import importing, loading
from commerce.access import Principal
from commerce.importing import Bad, FileFormat, Kind

MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_FAULTS = 100
_IN_MEMORY_BYTES = 1024 * 1024
_FORMATS: dict[str, FileFormat] = {
    "text/csv": "csv",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
}
_EXAMPLES = {
    media_type: importing.example("locations", file_format)
    for media_type, file_format in _FORMATS.items()
}
_LOADERS = tuple(dict.fromkeys(loading.PERMISSIONS.values()))

OfKind = Annotated[Kind, PathParameter(description="What the lines of the file are.")]
Reference = Annotated[
    str,
    QueryParameter(
        max_length=120,
        description="A stock file that was loaded before counts again under another reference.",
    ),
]
Check = Annotated[
    bool, QueryParameter(description="Say what is wrong with the file; change nothing.")
]
Format = Annotated[
    FileFormat, QueryParameter(name="format", description="Which of the two formats.")
]


class LineFault(msgspec.Struct, frozen=True):
    """What is wrong with a line. Lines are counted from 1, with the header and comments."""

    line: int
    code: str
    field: str | None
    message: str


class LoadedFile(msgspec.Struct, frozen=True):
    """What became of a file. `faults` are the first 100; `refused` counts all."""

    kind: str
    checked_only: bool
    loaded: int
    loaded_before: int
    """Lines of a stock file that came before, and did not count again."""
    first_loaded_at: datetime | None
    refused: int
    faults: list[LineFault]


@post(
    "/v1/backoffice/import/{kind:str}",
    guards=[may(*_LOADERS)],
    status_code=200,
    request_max_body_size=None,
    opt=raises(BodyTooLarge, InvalidRequest) | takes(_EXAMPLES),
)
@no_key_needed("a file may come again: each line counts once")
async def import_file(
    request: Request[Any, Any, Any],
    kind: OfKind,
    services: Services,
    who: Principal,
    *,
    reference: Reference = "",
    check: Check = False,
) -> LoadedFile:
    """Load a file of records; good lines are stored, wrong ones are told by their number.

    At most 20 MiB, as CSV or JSON lines by `Content-Type`. The answer is 200 also when lines were
    refused; nothing of those was stored. `GET .../example` shows a file of each kind.
    """
    file_format = _format(request.headers.get("content-type", ""))
    with SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        await _receive(request, file)
        return await _load(
            services, kind, file, file_format, who=who, reference=reference, check=check
        )


@get(
    "/v1/backoffice/import/{kind:str}/example",
    guards=[may(*_LOADERS)],
    opt=answers(str, "text/plain"),
)
async def get_import_example(kind: OfKind, *, file_format: Format = "csv") -> Response[str]:
    """A small file of this kind, with comments that say what each field must be."""
    return Response(importing.example(kind, file_format), media_type="text/plain")


def _format(content_type: str) -> FileFormat:
    found = _FORMATS.get(content_type.partition(";")[0].strip().lower())
    if found is None:
        raise InvalidRequest(path="Content-Type", reason=f"One of {', '.join(_FORMATS)}")
    return found


async def _receive(request: Request[Any, Any, Any], file: IO[bytes]) -> None:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > MAX_FILE_BYTES:
            raise BodyTooLarge(limit_bytes=MAX_FILE_BYTES)
        file.write(chunk)


async def _load(
    services: Services,
    kind: Kind,
    file: IO[bytes],
    file_format: FileFormat,
    *,
    who: Principal,
    reference: str,
    check: bool,
) -> LoadedFile:
    file_id: UUID | None = None
    if kind == "stock":
        file.seek(0)
        file_id = loading.stock_file_id(file, reference=reference)
    file.seek(0)
    loaded = before = refused = 0
    first_loaded_at: datetime | None = None
    faults: list[Bad] = []
    async for each in loading.load(
        services.database,
        kind,
        importing.read(kind, file, file_format),
        who=who,
        now=services.now,
        file_id=file_id,
        check=check,
    ):
        loaded += each.loaded
        before += each.loaded_before
        refused += len(each.refused)
        faults += each.refused[: MAX_FAULTS - len(faults)]
        first_loaded_at = each.first_loaded_at if before else None
    shown = [msgspec.convert(fault, LineFault, from_attributes=True) for fault in faults]
    return LoadedFile(kind, check, loaded, before, first_loaded_at, refused, shown)


ROUTES = [import_file, get_import_example]
