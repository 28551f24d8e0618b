"""`mostrador audit`: every invariant that rows can show, on a live database, in one moment of it.

Reads in one snapshot, in bounded memory, while everything goes on. `--repair` makes stock counters,
ledger and reservations agree again, each level in a short transaction of its own; nothing else can
be derived, so nothing else is repaired.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

import click
from msgspec import Struct

from api import state
from commerce.kernel import auditing, clock, settings
from commerce.kernel.auditing import Check, Counted, Finding
from commerce.kernel.sql import Database

PATIENCE_SECONDS = 2.0
SHOWN = 20
"""Findings of one check that are printed, unless all are asked for."""

_STATEMENT_SECONDS = 3_600.0


class Report(Struct, frozen=True):
    """What an audit has seen and found."""

    counts: dict[str, int]
    findings: int
    seconds: float


@click.command(name="audit")
@click.option("--repair", "repairing", is_flag=True, help="First make stock counters agree again.")
@click.option("--all", "every", is_flag=True, help=f"Print more than {SHOWN} findings of a check.")
def command(*, repairing: bool, every: bool) -> None:
    """Check every invariant of the data; exit status 1 when one is broken.

    Safe while everything runs. What is wrong is named row by row, with what to do about it.
    """
    with state.database(settings.load()) as dsn:
        report = asyncio.run(run(dsn, repairing=repairing, shown=None if every else SHOWN))
    sys.exit(1 if report.findings else 0)


async def run(dsn: str, *, repairing: bool = False, shown: int | None = SHOWN) -> Report:
    """Audit a database, after a repair if one is asked for, and print what is found."""
    database = await Database.open(
        dsn, max_size=2, statement_timeout_seconds=_STATEMENT_SECONDS, name="mostrador-audit"
    )
    try:
        if repairing:
            repaired = await repair(database)
            click.echo(f"Repaired {repaired} stock levels.\n")
        return await audit(database, shown=shown)
    finally:
        await database.close()


async def audit(database: Database, *, shown: int | None = SHOWN) -> Report:
    """Run all checks in one snapshot and print what they find."""
    todo = checks()
    began = time.monotonic()
    findings = 0
    async with database.snapshot() as conn, _patience() as doing:
        await auditing.begin(conn)
        click.echo(f"Audit of the database as of {clock.now():%Y-%m-%d %H:%M:%S} UTC\n")
        for check in todo:
            doing.name = check.name
            found = 0
            async for finding in auditing.findings(conn, check):
                found += 1
                if shown is None or found <= shown:
                    click.echo(text(check.name, finding))
            if shown is not None and found > shown:
                click.echo(f"  ... and {found - shown} more of these; --all prints them\n")
            findings += found
        doing.name = "counting"
        counts = {each.words: await auditing.rows(conn, each) for each in counted()}
    report = Report(counts, findings, time.monotonic() - began)
    click.echo(summary(report, checks=len(todo)))
    return report


async def repair(database: Database) -> int:
    """Repair the stock levels that have drifted; returns how many. Safe while everything runs."""
    from inventory import audit as stock_audit

    repaired = 0
    async with database.snapshot() as conn:
        await auditing.begin(conn)
        async for key in stock_audit.drifted(conn):
            if await database.commit(partial(stock_audit.repair, key=key, now=clock.now())):
                click.echo(f"  {key[1]} at {key[0]} agrees again")
                repaired += 1
    return repaired


class _Doing:
    """What an audit is at, for whoever waits for it."""

    name = ""


@asynccontextmanager
async def _patience() -> AsyncGenerator[_Doing]:
    """Tell what is being done, every two seconds that nothing else can be seen."""
    doing = _Doing()
    began = time.monotonic()

    async def tell() -> None:
        while True:
            await asyncio.sleep(PATIENCE_SECONDS)
            click.echo(f"  [{time.monotonic() - began:5.0f} s] {doing.name}", err=True)

    telling = asyncio.create_task(tell())
    try:
        yield doing
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


def text(rule: str, finding: Finding) -> str:
    """A finding, for the person who has to act on it."""
    return (
        f"  {rule}\n"
        f"    row       {finding.subject}\n"
        f"    expected  {finding.expected}\n"
        f"    found     {finding.found}\n"
        f"    to do     {finding.remedy}\n"
    )


def summary(report: Report, *, checks: int) -> str:
    """The last page: what was looked at, how long it took, and how it went."""
    width = max(len(words) for words in report.counts)
    counts = "\n".join(f"  {words:{width}}  {n:>12,}" for words, n in report.counts.items())
    verdict = (
        f"{report.findings:,} findings. Each names its row and what to do; this command's exit "
        "status is 1."
        if report.findings
        else "Everything agrees."
    )
    return f"{counts}\n\n  {checks} checks in {report.seconds:.2f} s. {verdict}"


def checks() -> list[Check[Any]]:
    """Of every layer, from the ground up."""
    return [check for page in _pages() for check in page.CHECKS]


def counted() -> list[Counted]:
    """What an audit says it has seen."""
    return [each for page in _pages() for each in page.COUNTED]


def _pages() -> tuple[ModuleType, ...]:
    import commerce.audit
    import inventory.audit
    import pos_sync.audit

    return inventory.audit, commerce.audit, pos_sync.audit
