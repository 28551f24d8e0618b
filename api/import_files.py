"""Loading a retailer's own files at the server's command line, and telling how it went."""

import asyncio
from datetime import datetime
from pathlib import Path
from time import monotonic

import click
from msgspec import Struct

from api.database import prepare
from commerce import importing, loading
from commerce.access import OPERATOR
from commerce.importing import KINDS, FileFormat, Kind
from commerce.kernel import clock
from commerce.kernel.settings import OperatorError
from commerce.kernel.sql import Database
from commerce.loading import Loaded

PROGRESS_SECONDS = 2.0
MAX_SHOWN = 100

_FORMATS: dict[str, FileFormat] = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip


class Job(Struct, frozen=True):
    """One file to load."""

    kind: Kind
    file: Path
    file_format: FileFormat
    reference: str = ""
    check: bool = False


class Tally(Struct):
    """How a file goes."""

    began: float
    told: float
    loaded: int = 0
    loaded_before: int = 0
    refused: int = 0
    first_loaded_at: datetime | None = None


def example(kind: str | None, file_format: str | None) -> str:
    """A documented file of a kind."""
    return importing.example(_kind(kind), "jsonl" if file_format == "jsonl" else "csv")


def job(
    kind: str | None, file: Path | None, file_format: str | None, *, reference: str, check: bool
) -> Job:
    """What the command line asks for."""
    of = _kind(kind)
    if file is None:
        raise click.UsageError(f"Which file? mostrador import {of} FILE")
    if reference and of != "stock":
        raise click.UsageError("--reference is for stock; other files may come again as they are.")
    return Job(of, file, _format(file, file_format), reference, check)


def jobs_in(directory: Path, *, reference: str) -> list[Job]:
    """The files of a directory whose names are kinds, in load order."""
    jobs = []
    for kind in KINDS:
        found = [file for ending in _FORMATS if (file := directory / (kind + ending)).is_file()]
        if len(found) > 1:
            names = " and ".join(file.name for file in found)
            raise OperatorError(f"{directory} has {names}. Leave one of them there.")
        jobs += [Job(kind, file, _format(file, None), reference) for file in found]
    if not jobs:
        raise OperatorError(f"{directory} has no file such as locations.csv or prices.jsonl.")
    return jobs


def load(dsn: str, jobs: list[Job]) -> int:
    """Load files one after the other, with their outcome on the terminal; how many refused lines.

    The database gets its schema if it has none yet.
    """
    asyncio.run(prepare(dsn))
    return asyncio.run(_load(dsn, jobs))


def _kind(given: str | None) -> Kind:
    for kind in KINDS:
        if kind == given:
            return kind
    raise click.UsageError(f"KIND is one of {', '.join(KINDS)}.")


def _format(file: Path, given: str | None) -> FileFormat:
    found = _FORMATS.get(f".{given}" if given else file.suffix.lower())
    if found is None:
        raise click.UsageError(f"{file.name}: say whether it is --format csv or --format jsonl.")
    return found


async def _load(dsn: str, jobs: list[Job]) -> int:
    database = await Database.open(dsn, max_size=1, name="mostrador-import")
    try:
        return sum([await _load_file(database, job) for job in jobs])
    finally:
        await database.close()


async def _load_file(database: Database, job: Job) -> int:
    tally = Tally(monotonic(), monotonic())
    with job.file.open("rb") as content:
        file_id = None
        if job.kind == "stock":
            file_id = loading.stock_file_id(content, reference=job.reference)
            content.seek(0)
        lines = importing.read(job.kind, content, job.file_format)
        async for each in loading.load(
            database, job.kind, lines, who=OPERATOR, now=clock.now, file_id=file_id, check=job.check
        ):
            _tell(job, tally, each)
    _conclude(job, tally)
    return tally.refused


def _tell(job: Job, tally: Tally, each: Loaded) -> None:
    for fault in each.refused[: max(0, MAX_SHOWN - tally.refused)]:
        click.echo(f"{job.file.name}, line {fault.line}: {fault.message}", err=True)
    tally.loaded += each.loaded
    tally.loaded_before += each.loaded_before
    tally.refused += len(each.refused)
    tally.first_loaded_at = each.first_loaded_at
    now = monotonic()
    if now - tally.told > PROGRESS_SECONDS:
        tally.told = now
        click.echo(f"[{now - tally.began:6.2f} s] {job.kind}: {each.last_line:,} lines read")


def _conclude(job: Job, tally: Tally) -> None:
    if tally.refused > MAX_SHOWN:
        click.echo(f"... and {tally.refused - MAX_SHOWN:,} more refused lines", err=True)
    loaded = "would be loaded" if job.check else "loaded"
    parts = [f"{tally.loaded:,} {loaded}"]
    if tally.loaded_before:
        parts.append(f"{tally.loaded_before:,} had been loaded before")
    parts.append(f"{tally.refused:,} refused")
    seconds = monotonic() - tally.began
    click.echo(f"{job.kind} from {job.file.name}: {', '.join(parts)} ({seconds:.1f} s).")
    if tally.loaded_before and tally.first_loaded_at is not None:
        click.echo(
            f"This file was loaded first at {tally.first_loaded_at:%Y-%m-%d %H:%M} UTC; its lines "
            "count once. If it is another delivery with the same lines, give it a name of its own: "
            "--reference 'note 118'."
        )
    if tally.refused and not job.check:
        click.echo("Nothing of the refused lines was stored.")
        if job.kind == "stock":
            click.echo(
                "Load this file again once what they name exists, or correct them in a file of "
                "their own: the lines that are loaded would count again in an edited one."
            )
