"""`mostrador import` and `mostrador keys`, as an operator calls them on a database."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from api import import_command, key_commands
from commerce import importing
from commerce.importing import KINDS, FileFormat
from commerce.kernel.settings import OperatorError

PROJECT = Path(__file__).parent.parent.parent
STOCK = "location_code,sku,action,quantity,reason\n"


def mostrador(dsn: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Call the command line on a database."""
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *map(str, words)],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A directory with an example of every kind, in both formats."""
    for kind in KINDS:
        file_format: FileFormat = "jsonl" if kind in {"prices", "stores"} else "csv"
        file = tmp_path / f"{kind}.{file_format}"
        file.write_text(importing.example(kind, file_format))
    return tmp_path


def test_a_directory_loads_into_an_empty_database_and_again(empty_dsn: str, examples: Path) -> None:
    first = mostrador(empty_dsn, "import", "--all", examples)
    assert (first.returncode, first.stderr) == (0, "")
    told = re.sub(r" \([0-9.]+ s\)", "", first.stdout).splitlines()
    assert told == [
        "locations from locations.csv: 2 loaded, 0 refused.",
        "price_zones from price_zones.csv: 2 loaded, 0 refused.",
        "tax_zones from tax_zones.csv: 1 loaded, 0 refused.",
        "stores from stores.jsonl: 1 loaded, 0 refused.",
        "skus from skus.csv: 2 loaded, 0 refused.",
        "prices from prices.jsonl: 2 loaded, 0 refused.",
        "stock from stock.csv: 3 loaded, 0 refused.",
        "coupons from coupons.csv: 2 loaded, 0 refused.",
        "associates from associates.csv: 1 loaded, 0 refused.",
    ]
    on_hand = "SELECT sum(on_hand) FROM stock_level"
    assert value(empty_dsn, on_hand) == 24 - 1 + 310
    again = mostrador(empty_dsn, "import", "--all", examples)
    assert again.returncode == 0
    assert "stock from stock.csv: 0 loaded, 3 had been loaded before, 0 refused" in again.stdout
    assert value(empty_dsn, on_hand) == 24 - 1 + 310
    named = CliRunner().invoke(
        import_command.command,
        ["stock", str(examples / "stock.csv"), "--reference", "note 119"],
        env={"DATABASE_URL": empty_dsn},
    )
    assert "stock from stock.csv: 3 loaded, 0 refused" in named.stdout
    assert value(empty_dsn, on_hand) == 48 - 2 + 310


def test_wrong_lines_are_listed_and_the_exit_status_says_so(own_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "zones"
    file.write_text("code,rate_bp\nA,100\nB,x\nC,300\n")
    words = ["tax_zones", str(file), "--format", "csv"]
    checked = CliRunner().invoke(
        import_command.command, [*words, "--check"], env={"DATABASE_URL": own_dsn}
    )
    assert checked.exit_code == 1
    assert "tax_zones from zones: 2 would be loaded, 1 refused" in checked.stdout
    assert value(own_dsn, "SELECT count(*) FROM tax_zone") == 0
    loaded = mostrador(own_dsn, "import", *words)
    assert loaded.returncode == 1
    wanted = "a number of basis points, such as 1600 for 16 %"
    assert loaded.stderr == f"zones, line 3: rate_bp 'x' is not {wanted}\n"
    assert "tax_zones from zones: 2 loaded, 1 refused" in loaded.stdout
    assert value(own_dsn, "SELECT array_agg(code ORDER BY code) FROM tax_zone") == ["A", "C"]
    assert value(own_dsn, "SELECT DISTINCT actor FROM staff_record") == "operator"


def test_many_wrong_lines_are_counted_and_not_all_listed(own_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "zones.csv"
    file.write_text("code,rate_bp\n" + "A,x\n" * 1_234)
    loaded = CliRunner().invoke(
        import_command.command, ["tax_zones", str(file)], env={"DATABASE_URL": own_dsn}
    )
    lines = loaded.stderr.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "... and 1,134 more refused lines"
    assert "0 loaded, 1,234 refused" in loaded.stdout


def test_an_example_is_printed_without_a_database() -> None:
    printed = mostrador("postgresql://nobody@127.0.0.1:1/none", "import", "--example", "prices")
    assert (printed.returncode, printed.stdout) == (0, importing.example("prices", "csv"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bananas", "FILE"], "KIND is one of locations, price_zones, tax_zones, stores"),
        (["prices"], "Which file? mostrador import prices FILE"),
        (["prices", "FILE"], "say whether it is --format csv or --format jsonl"),
        (["prices", "FILE", "--format", "csv", "--reference", "x"], "--reference is for stock"),
        (["prices", "--all", "."], "--all takes a directory"),
    ],
)
def test_a_wrong_call_says_what_to_write(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "FILE").touch()
    called = [*(str(tmp_path / "FILE") if word == "FILE" else word for word in words)]
    refused = CliRunner().invoke(import_command.command, called)
    assert refused.exit_code == 2
    assert said in refused.output


def test_help_names_every_kind() -> None:
    printed = CliRunner().invoke(import_command.command, ["--help"]).output
    assert [kind for kind in KINDS if kind not in printed] == []


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tax_zones.csv").touch()
    refused = mostrador("postgresql://nobody@127.0.0.1:1/none", "import", "--all", tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("mostrador: The database does not answer: ")
    assert "Traceback" not in refused.stderr


def test_a_key_is_made_rotated_and_revoked(own_dsn: str) -> None:
    made = mostrador(
        own_dsn, "keys", "create", "storefront", "Web shop", "--origin", "https://shop.example"
    )
    secret = made.stdout.splitlines()[-1]
    assert (made.returncode, secret[:3]) == (0, "pk_")
    key_id = re.search(r"[0-9a-f-]{36}", made.stdout)
    assert key_id is not None
    rotated = mostrador(own_dsn, "keys", "rotate", key_id[0], "--grace-hours", "1")
    successor = rotated.stdout.splitlines()[-1]
    assert (successor[:3], successor != secret) == ("pk_", True)
    revoked = CliRunner().invoke(
        key_commands.keys, ["revoke", key_id[0]], env={"DATABASE_URL": own_dsn}
    )
    assert revoked.output == f"storefront key ...{secret[-4:]}, Web shop, is revoked.\n"
    listed = mostrador(own_dsn, "keys", "list").stdout
    states = [line.split()[2] for line in listed.splitlines()]
    assert states == ["revoked", "active"]
    assert secret not in listed
    assert successor not in listed
    assert f"...{successor[-4:]}" in listed
    assert value(own_dsn, "SELECT count(*) FROM staff_record WHERE actor = 'operator'") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "tablet", "T", "--store", "NOWHERE"], "There is no store NOWHERE."),
        (["create", "tablet", "T", "--origin", "https://a.example"], "Only a storefront key"),
        (["rotate", "00000000-0000-7000-8000-000000000000"], "There is no key"),
    ],
)
def test_a_key_that_cannot_be_is_refused(dsn: str, words: list[str], said: str) -> None:
    refused = CliRunner().invoke(key_commands.keys, words, env={"DATABASE_URL": dsn})
    assert isinstance(refused.exception, OperatorError)
    assert said in str(refused.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "storefront", "S", "--origin", "shop"], "looks like https://shop.example"),
        (["revoke", "x"], "'x' is not a valid UUID"),
    ],
)
def test_a_wrong_call_for_a_key_says_what_to_write(words: list[str], said: str) -> None:
    refused = CliRunner().invoke(key_commands.keys, words)
    assert refused.exit_code == 2
    assert said in refused.output
