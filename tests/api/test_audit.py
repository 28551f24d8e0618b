"""`mostrador audit`: what it prints, how it ends, and what it costs."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import psycopg
import pytest

from api import audit
from commerce.kernel import settings
from commerce.kernel.sql import Database
from tests.shop import make_shop

PROJECT = Path(__file__).parent.parent.parent


async def shop_of(dsn: str, *, skus: int) -> None:
    database = await Database.open(dsn)
    await make_shop(database, skus=skus, stores=1)
    await database.close()


def run(dsn: str, *options: str) -> tuple[int, str]:
    """Exit status and output."""
    ended = subprocess.run(
        [sys.executable, "-m", "api.cli", "audit", *options],
        cwd=PROJECT,
        env=settings.inherited(os.environ) | {"DATABASE_URL": dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())


async def test_it_says_what_it_saw_finds_what_is_broken_and_repairs_it(own_dsn: str) -> None:
    await shop_of(own_dsn, skus=25)
    status, said = run(own_dsn)
    assert status == 0
    assert [line.split() for line in said.splitlines()[2:4]] == [
        ["stock", "levels", "25"],
        ["ledger", "entries", "25"],
    ]
    assert said.endswith("Everything agrees.\n")

    execute(own_dsn, "UPDATE stock_level SET reserved = 2")
    status, said = run(own_dsn)
    assert status == 1
    assert said.count("    found     reserved 2, in the ledger 0\n") == audit.SHOWN
    assert "... and 5 more of these; --all prints them" in said
    assert "to do     `mostrador audit --repair` makes them agree again." in said
    assert "25 findings." in said
    assert run(own_dsn, "--all")[1].count("    found     reserved 2, in the ledger 0\n") == 25

    status, said = run(own_dsn, "--repair")
    assert status == 0
    assert said.count("agrees again\n") == 25
    assert "Repaired 25 stock levels." in said
    assert said.endswith("Everything agrees.\n")
    assert "Repaired 0 stock levels." in run(own_dsn, "--repair")[1]


async def test_memory_is_bounded_however_much_is_wrong(
    own_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(
        own_dsn,
        "INSERT INTO stock_ledger"
        " (id, at, location_id, sku, kind, on_hand_delta, reserved_delta, actor)"
        " SELECT gen_random_uuid(), now(), md5((n % 7)::text)::uuid, (n % 20000)::text,"
        " 'receive', 1, 0, 'test' FROM generate_series(1, 200000) n",
    )
    database = await Database.open(own_dsn, statement_timeout_seconds=60)
    tracemalloc.start()
    report = await audit.audit(database)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await database.close()
    # 140,000 levels that are not there, 7 locations, 20,000 SKUs.
    assert report.findings == 140_000 + 7 + 20_000
    assert report.counts["ledger entries"] == 200_000
    assert peak < 10_000_000
    assert capsys.readouterr().out.count("    row  ") == 2 * audit.SHOWN + 7
