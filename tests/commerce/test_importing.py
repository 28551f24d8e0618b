"""Reading import files: which line, field and code each fault gets, and that good lines survive."""

import io
import tracemalloc
from collections.abc import Iterator
from typing import IO, cast

import pytest

from commerce import importing
from commerce.importing import Bad, FileFormat, Good, Kind
from commerce.importing.reading import MAX_LINE_BYTES

TAX_ZONES = "code,rate_bp\n"


def read(kind: Kind, text: str | bytes, file_format: FileFormat = "csv") -> list[Good | Bad]:
    content = text.encode() if isinstance(text, str) else text
    return list(importing.read(kind, io.BytesIO(content), file_format))


def only_fault(kind: Kind, text: str | bytes, file_format: FileFormat = "csv") -> Bad:
    (fault,) = (found for found in read(kind, text, file_format) if isinstance(found, Bad))
    return fault


def good_codes(found: list[Good | Bad]) -> list[tuple[int, str]]:
    return [(g.line, g.record.code) for g in found if isinstance(g, Good)]  # type: ignore[attr-defined]


def test_columns_may_stand_in_any_order_and_cells_are_trimmed() -> None:
    assert read("tax_zones", "rate_bp , code\n 1600 ,  MX-16 \n") == [
        Good(2, importing.TaxZoneRecord(code="MX-16", rate_bp=1600))
    ]


def test_byte_order_mark_windows_line_ends_and_blank_lines_are_tolerated() -> None:
    content = b"\xef\xbb\xbf# a comment\r\n\r\ncode,rate_bp\r\n\r\nA,1\r\n,\r\nB,2\r\n"
    assert good_codes(read("tax_zones", content)) == [(5, "A"), (7, "B")]
    content = b'\xef\xbb\xbf# a comment\r\n\r\n{"code":"A","rate_bp":1}\r\n'
    assert good_codes(read("tax_zones", content, "jsonl")) == [(3, "A")]


def test_good_lines_around_bad_ones_are_kept() -> None:
    found = read("tax_zones", TAX_ZONES + "A,1\nB,x\nC,3\nD\nE,5\n")
    assert good_codes(found) == [(2, "A"), (4, "C"), (6, "E")]
    assert [(b.line, b.code, b.field) for b in found if isinstance(b, Bad)] == [
        (3, "invalid_value", "rate_bp"),
        (5, "wrong_cell_count", None),
    ]


def test_every_wrong_field_of_a_line_is_reported() -> None:
    found = read("tax_zones", '{"code":"a b","rate_bp":-1,"rate":3}\n', "jsonl")
    assert [(b.code, b.field) for b in found if isinstance(b, Bad)] == [
        ("unknown_field", "rate"),
        ("invalid_value", "code"),
        ("invalid_value", "rate_bp"),
    ]


def test_an_unknown_column_is_named_with_the_allowed_ones() -> None:
    assert read("tax_zones", "code,rate\nA,1\n") == [
        Bad(
            1,
            "unknown_column",
            "rate",
            "column 'rate' is unknown; "
            "the first line names the columns, separated by commas: code, rate_bp",
        ),
        Bad(
            1,
            "missing_column",
            "rate_bp",
            "column rate_bp is missing; it is a number of basis points, such as 1600 for 16 %",
        ),
    ]


def test_a_duplicate_column_is_refused() -> None:
    fault = only_fault("tax_zones", "code,rate_bp,code\nA,1,B\n")
    assert (fault.line, fault.code, fault.field) == (1, "duplicate_column", "code")


def test_a_broken_header_ends_the_file() -> None:
    assert [type(found) for found in read("tax_zones", 'code,"rate_bp\nA,1\n')] == [Bad]
    assert only_fault("tax_zones", 'code,"rate_bp\nA,1\n').code == "malformed_line"
    assert only_fault("tax_zones", b"code,\xff\nA,1\n").code == "not_utf8"


def test_an_empty_csv_has_no_header_and_an_empty_jsonl_no_records() -> None:
    assert only_fault("tax_zones", "# nothing\n\n").code == "missing_header"
    assert read("tax_zones", "", "jsonl") == []


def test_a_quoted_text_may_run_over_several_lines() -> None:
    found = read(
        "skus",
        "sku,item_code,item_name,department,description\n"
        'S1,I1,Vaso,Hogar,"uno\r\ndos, ""tres"""\n'
        "S2,I1,Vaso,Hogar,\n",
    )
    assert [(g.line, g.record.description) for g in found if isinstance(g, Good)] == [  # type: ignore[attr-defined]
        (2, 'uno\ndos, "tres"'),
        (4, ""),
    ]


@pytest.mark.parametrize("following", [1, 3, 200])
def test_a_quote_that_is_never_closed_costs_only_its_own_line(following: int) -> None:
    lines = "".join(f"B{n},{n}\n" for n in range(following))
    found = read("tax_zones", TAX_ZONES + 'A,"16\n' + lines)
    assert found[0] == Bad(2, "malformed_line", None, "the line is not CSV: unexpected end of data")
    assert good_codes(found) == [(3 + n, f"B{n}") for n in range(following)]


def test_a_quote_closed_in_a_later_record_gives_that_record_back() -> None:
    found = read("tax_zones", TAX_ZONES + 'A,"16\nB,2\nC,"3"\nD,4\n')
    assert good_codes(found) == [(3, "B"), (4, "C"), (5, "D")]
    found = read("tax_zones", TAX_ZONES + 'A,"16\nB,2\n",3\nD,4\n')
    assert [(b.line, b.code) for b in found if isinstance(b, Bad)] == [
        (2, "wrong_cell_count"),
        (4, "malformed_line"),
    ]
    assert good_codes(found) == [(3, "B"), (5, "D")]


def test_an_unreadable_line_within_a_quoted_text_is_reported_by_itself() -> None:
    found = read("tax_zones", b'code,rate_bp\nA,"1\n\xff\nB,2\n')
    assert [(b.line, b.code) for b in found if isinstance(b, Bad)] == [
        (2, "malformed_line"),
        (3, "not_utf8"),
    ]
    assert good_codes(found) == [(4, "B")]


@pytest.mark.parametrize("line", ["[1]", "{", '"text"', '{"code":"\\ud800"}', "[" * 5000])
def test_a_line_that_is_no_json_object_is_malformed(line: str) -> None:
    found = read("tax_zones", f'{line}\n{{"code":"A","rate_bp":1}}\n', "jsonl")
    assert found[0] == Bad(1, "malformed_line", None, "the line is not a JSON object")
    assert good_codes(found) == [(2, "A")]


def test_json_values_have_their_json_type() -> None:
    fault = only_fault("tax_zones", '{"code":"A","rate_bp":"1600"}', "jsonl")
    assert (fault.code, fault.field) == ("invalid_value", "rate_bp")
    assert fault.message == "rate_bp '1600' is not a number of basis points, such as 1600 for 16 %"


def test_a_line_beyond_the_limit_is_refused_and_skipped() -> None:
    found = read("tax_zones", TAX_ZONES + "x" * (3 * MAX_LINE_BYTES) + "\nB,2\n")
    assert found[0] == Bad(2, "line_too_long", None, "the line exceeds 65536 bytes")
    assert good_codes(found) == [(3, "B")]
    whole = "A" + " " * (MAX_LINE_BYTES - 4) + ",1\n"
    assert len(whole) == MAX_LINE_BYTES
    assert good_codes(read("tax_zones", TAX_ZONES + whole)) == [(2, "A")]


@pytest.mark.parametrize("cell", ["1.5", "1_000", "1e3", "٣", "", "9" * 5000])
def test_a_whole_number_is_written_in_plain_digits(cell: str) -> None:
    fault = only_fault("tax_zones", TAX_ZONES + f"A,{cell}\n")
    assert (fault.line, fault.field) == (2, "rate_bp")
    assert fault.code == ("invalid_value" if cell else "missing_value")


@pytest.mark.parametrize("cell", ["nan", "inf", "91", "19,4336", "1_9"])
def test_a_latitude_is_a_number_of_degrees(cell: str) -> None:
    text = f'code,name,kind,latitude,longitude\nA,A,store,"{cell}",0\n'
    assert only_fault("locations", text).field == "latitude"


def test_long_values_are_shown_shortened() -> None:
    message = only_fault("tax_zones", TAX_ZONES + f"{'a' * 500},1\n").message
    assert message.startswith("code 'aaaaaaa")
    assert len(message) < 130


PIN = "739518"
PEOPLE = "code,name,role,store_codes,pin\n"


@pytest.mark.parametrize(
    ("text", "file_format"),
    [
        (PEOPLE + f"A1,Ana,manager,S1,x{PIN}\n", "csv"),
        (PEOPLE + f"A1,Ana,{PIN},S1,manager\n", "csv"),
        (PEOPLE + f"{PIN}!,Ana,manager,S1;S1,1234\n", "csv"),
        (PEOPLE + f'A1,"Ana,manager,S1,{PIN}\n', "csv"),
        (f"A1,Ana,manager,S1,{PIN}\n", "csv"),
        (f'{{"code":"A1","{PIN}":1}}\n', "jsonl"),
        (f'{{"pin":{PIN}}}\n', "jsonl"),
    ],
)
def test_no_fault_of_an_associate_repeats_a_value(text: str, file_format: FileFormat) -> None:
    faults = [found for found in read("associates", text, file_format) if isinstance(found, Bad)]
    assert faults
    assert PIN not in repr(faults)


def test_an_associate_does_not_print_the_pin() -> None:
    (found,) = read("associates", PEOPLE + f"A1,Ana,manager,S1,{PIN}\n")
    assert isinstance(found, Good)
    assert cast("importing.AssociateRecord", found.record).pin == PIN
    assert PIN not in repr(found)


class EndlessFile(io.RawIOBase):
    """A file with as many lines as one cares to read."""

    def __init__(self) -> None:
        self.lines_read = 0

    def readline(self, _limit: int | None = -1, /) -> bytes:
        """The header, then line after line."""
        self.lines_read += 1
        return f"Z{self.lines_read},5\n".encode() if self.lines_read > 1 else b"code,rate_bp\n"


def first_of_endless(count: int) -> tuple[EndlessFile, Iterator[Good | Bad]]:
    file = EndlessFile()
    found = importing.read("tax_zones", cast("IO[bytes]", file), "csv")
    for _ in range(count):
        next(found)
    return file, found


def test_a_file_is_read_no_further_than_its_records_are_taken() -> None:
    file, _ = first_of_endless(10)
    assert file.lines_read == 11


def test_memory_does_not_grow_with_the_file() -> None:
    _, found = first_of_endless(100)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            next(found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", list(importing.KINDS))
def test_the_example_of_each_kind_loads_as_it_is(kind: Kind, file_format: FileFormat) -> None:
    text = importing.example(kind, file_format)
    found = read(kind, text, file_format)
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    columns = importing.KINDS[kind].__struct_fields__
    assert all(isinstance(good, Good) for good in found)
    assert len(found) == len(text.splitlines()) - len(comments) - (file_format == "csv")
    documented = [comment.split()[1].rstrip(":") for comment in comments[1:]]
    assert documented == list(columns)
