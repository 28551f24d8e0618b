"""Reading an import file line by line: each line becomes a record, or says what is wrong with it.

Memory is bounded whatever the file holds. A quoted CSV text may run over several lines; when a
quote is never closed, only its own line is lost, and reading goes on at the next one.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any

import msgspec
from msgspec import inspect

from commerce.importing.checks import Refused
from commerce.importing.fields import Field, Layout, layout
from commerce.importing.records import Kind, Record
from commerce.importing.writing import FileFormat

MAX_LINE_BYTES = 64 * 1024
MAX_LINES_PER_RECORD = 50
MAX_SHOWN = 40

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,9}([.][0-9]{1,18})?([eE][+-]?[0-9]{1,3})?")


class Good(msgspec.Struct, frozen=True):
    """A record and the line where it begins."""

    line: int
    record: Record


class Bad(msgspec.Struct, frozen=True):
    """One thing wrong with a line: a stable code, the field if it is one field's fault."""

    line: int
    code: str
    field: str | None
    message: str


class _Line(msgspec.Struct, frozen=True):
    line: int
    text: str


class _Row(msgspec.Struct, frozen=True):
    line: int
    values: dict[str, Any]


def read(kind: Kind, file: IO[bytes], file_format: FileFormat) -> Iterator[Good | Bad]:
    """The records of a file and the faults of its other lines, in order, as they are read.

    A line with several wrong fields gives one `Bad` for each. A header that does not fit ends the
    file. Repeating is harmless: nothing is stored here.
    """
    of = layout(kind)
    lines = _lines(file)
    for row in _csv_rows(of, lines) if file_format == "csv" else _json_rows(lines):
        if isinstance(row, Bad):
            yield row
            continue
        try:
            record = msgspec.convert(row.values, of.record)
        except msgspec.ValidationError as error:
            yield from _faults(of, row, error)
        else:
            yield Good(row.line, record)


def _lines(file: IO[bytes]) -> Iterator[_Line | Bad]:
    number = 0
    in_preamble = True
    while chunk := file.readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
        if in_preamble and chunk.startswith(b"#"):
            continue
        in_preamble = in_preamble and not chunk.strip()
        if len(chunk) == MAX_LINE_BYTES and not chunk.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield Bad(number, "line_too_long", None, f"the line exceeds {MAX_LINE_BYTES} bytes")
            continue
        try:
            yield _Line(number, chunk.decode("utf-8"))
        except UnicodeDecodeError:
            yield Bad(number, "not_utf8", None, "the line is not UTF-8; save the file as UTF-8")


def _json_rows(lines: Iterator[_Line | Bad]) -> Iterator[_Row | Bad]:
    for line in lines:
        if isinstance(line, Bad):
            yield line
        elif line.text.strip():
            try:
                values = msgspec.json.decode(line.text)
            except (msgspec.DecodeError, RecursionError):
                values = None
            if isinstance(values, dict):
                yield _Row(line.line, values)
            else:
                yield Bad(line.line, "malformed_line", None, "the line is not a JSON object")


def _csv_rows(of: Layout, lines: Iterator[_Line | Bad]) -> Iterator[_Row | Bad]:
    first = next((at for at in lines if isinstance(at, Bad) or at.text.strip()), None)
    if first is None:
        yield Bad(1, "missing_header", None, f"the file is empty; {_expected_columns(of)}")
        return
    columns = first if isinstance(first, Bad) else _columns(first)
    if isinstance(columns, Bad):
        yield columns
        return
    faults = list(_header_faults(of, first.line, columns))
    if faults:
        yield from faults
        return
    fields = [of.fields[column] for column in columns]
    for row in _cells(lines, width=len(fields)):
        if isinstance(row, Bad):
            yield row
        else:
            line, cells = row
            named = zip(fields, cells, strict=True)
            yield _Row(line, {field.name: _value(field, cell) for field, cell in named if cell})


def _columns(line: _Line) -> list[str] | Bad:
    try:
        return [name.strip() for name in next(csv.reader([line.text], strict=True))]
    except csv.Error as error:
        return Bad(line.line, "malformed_line", None, f"the header is not CSV: {error}")


def _header_faults(of: Layout, line: int, columns: list[str]) -> Iterator[Bad]:
    for position, name in enumerate(columns):
        if name not in of.fields:
            # A file of people without a header has a person in its first line.
            field, shown = (None, f"number {position + 1}") if of.secret else (name, _shown(name))
            message = f"column {shown} is unknown; {_expected_columns(of)}"
            yield Bad(line, "unknown_column", field, message)
        elif name in columns[:position]:
            yield Bad(line, "duplicate_column", name, f"column {name} stands there twice")
    for name, required in of.fields.items():
        if required.required and name not in columns:
            message = f"column {name} is missing; it is {required.description}"
            yield Bad(line, "missing_column", name, message)


def _expected_columns(of: Layout) -> str:
    return f"the first line names the columns, separated by commas: {', '.join(of.fields)}"


def _cells(lines: Iterator[_Line | Bad], *, width: int) -> Iterator[tuple[int, list[str]] | Bad]:
    """Trimmed cells of each record. Lines that a broken record took after its own are re-read."""
    waiting: deque[_Line | Bad] = deque()
    while (first := waiting.popleft() if waiting else next(lines, None)) is not None:
        if isinstance(first, Bad):
            yield first
            continue
        taken: list[_Line] = []
        try:
            text = _take(first, waiting, lines, taken)
            cells = [
                cell.strip().replace("\r\n", "\n")
                for cell in next(csv.reader(text, strict=True, skipinitialspace=True))
            ]
        except csv.Error as error:
            waiting.extendleft(reversed(taken))
            yield Bad(first.line, "malformed_line", None, f"the line is not CSV: {error}")
            continue
        if not any(cells):
            continue
        if len(cells) == width:
            yield first.line, cells
        else:
            waiting.extendleft(reversed(taken))
            message = f"the line has {len(cells)} cells, the header has {width}"
            yield Bad(first.line, "wrong_cell_count", None, message)


def _take(
    first: _Line, waiting: deque[_Line | Bad], lines: Iterator[_Line | Bad], taken: list[_Line]
) -> Iterator[str]:
    """The text of a line, then of those after it as long as the CSV reader asks for more."""
    yield first.text
    while len(taken) < MAX_LINES_PER_RECORD:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        if isinstance(line, Bad):
            waiting.appendleft(line)
            return
        taken.append(line)
        yield line.text


def _whole_number(cell: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(cell):
        raise ValueError(cell)
    return int(cell)


def _decimal(cell: str) -> float:
    if not _DECIMAL.fullmatch(cell):
        raise ValueError(cell)
    return float(cell)


def _list(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


_PARSERS: dict[type[inspect.Type], Callable[[str], object]] = {
    inspect.IntType: _whole_number,
    inspect.FloatType: _decimal,
    inspect.BoolType: lambda cell: {"true": True, "false": False}[cell.lower()],
    inspect.VarTupleType: _list,
    inspect.DictType: msgspec.json.decode,
}


def _value(field: Field, cell: str) -> object:
    """What a cell says. A cell that does not fit its field stays text, which the field refuses."""
    try:
        return _PARSERS.get(type(field.shape), str)(cell)
    except (ValueError, KeyError, msgspec.DecodeError, RecursionError):
        return cell


def _faults(of: Layout, row: _Row, error: msgspec.ValidationError) -> Iterator[Bad]:
    """Every field that is wrong; when each is right by itself, the rule between them."""
    found = False
    for name in row.values.keys() - of.fields.keys():
        found = True
        allowed = ", ".join(of.fields)
        shown = "a field" if of.secret else f"field {_shown(name)}"
        field = None if of.secret else name
        yield Bad(row.line, "unknown_field", field, f"{shown} is unknown; allowed: {allowed}")
    for name, field_of in of.fields.items():
        if name in row.values:
            value = row.values[name]
            try:
                msgspec.convert(value, field_of.annotation)
            except msgspec.ValidationError:
                found = True
                shown = name if of.secret else f"{name} {_shown(value)}"
                message = f"{shown} is not {field_of.description}"
                yield Bad(row.line, "invalid_value", name, message)
        elif field_of.required:
            found = True
            message = f"{name} is missing; it is {field_of.description}"
            yield Bad(row.line, "missing_value", name, message)
    if not found:
        refused = error.__cause__
        assert isinstance(refused, Refused), error
        yield Bad(row.line, refused.code, refused.field, refused.message)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
