"""`mostrador import`, as it is called; `api/import_files.py` does it.

Apart, because what it needs is slow to import and `mostrador --help` needs none of it.
"""

import sys
from pathlib import Path

import click

from api import state
from commerce.kernel import settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(name="import")
@click.argument("kind", required=False)
@click.argument("file", required=False, type=_FILE)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "jsonl"]),
    help="Default: by the file's ending.",
)
@click.option("--check", is_flag=True, help="Say what is wrong with the file; change nothing.")
@click.option(
    "--reference",
    default="",
    metavar="TEXT",
    help="Lets a stock file that was loaded before count again, under this name.",
)
@click.option("--example", is_flag=True, help="Print an example file of this KIND.")
@click.option(
    "--all",
    "directory",
    metavar="DIRECTORY",
    type=_DIRECTORY,
    help="Load DIRECTORY/locations.csv and so on, in the right order.",
)
def command(
    kind: str | None,
    file: Path | None,
    *,
    file_format: str | None,
    check: bool,
    reference: str,
    example: bool,
    directory: Path | None,
) -> None:
    """Load FILE with records of one KIND, in CSV or JSON lines.

    KIND is one of locations, price_zones, tax_zones, stores, skus, prices, stock, coupons and
    associates; load them in this order. `mostrador import KIND --example` prints a file to start
    from, which says what each column must be.

    Good lines are stored, wrong ones are listed by their number. Loading a file again is harmless:
    no line of a stock file moves stock twice. The exit status is 1 when a line was refused.
    """
    from api import import_files

    if directory is not None:
        if kind or check or example or file_format:
            raise click.UsageError("--all takes a directory, and of the others only --reference.")
        jobs = import_files.jobs_in(directory, reference=reference)
    elif example:
        click.echo(import_files.example(kind, file_format), nl=False)
        return
    else:
        jobs = [import_files.job(kind, file, file_format, reference=reference, check=check)]
    with state.database(settings.load()) as dsn:
        sys.exit(1 if import_files.load(dsn, jobs) else 0)
