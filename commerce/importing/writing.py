"""Writing records as CSV or JSON lines: the inverse of reading."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from commerce.importing.records import KINDS, Kind, Record

FileFormat: TypeAlias = Literal["csv", "jsonl"]


def write(kind: Kind, records: Iterable[Record], file_format: FileFormat) -> Iterator[bytes]:
    """The lines of a file with these records, each with its line break, one by one."""
    if file_format == "jsonl":
        for record in records:
            yield msgspec.json.encode(record) + b"\n"
        return
    columns = KINDS[kind].__struct_fields__
    yield _csv_line(columns)
    for record in records:
        values = msgspec.to_builtins(record)
        yield _csv_line(_cell(values[column]) for column in columns)


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list() | tuple():
            return ";".join(value)
    return msgspec.json.encode(value).decode()
