"""The schema's history ends in exactly the tables that the code declares."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
from migrations import schema

PROJECT = Path(__file__).parent.parent


def test_upgrading_from_nothing_leaves_no_drift(empty_dsn: str) -> None:
    assert schema.drift(empty_dsn) != []
    assert migrations.upgrade(empty_dsn)
    assert schema.drift(empty_dsn) == []


def test_a_type_a_default_and_a_table_that_differ_are_drift(own_dsn: str) -> None:
    assert schema.drift(own_dsn) == []
    with psycopg.connect(own_dsn) as connection:
        connection.execute("ALTER TABLE location ALTER COLUMN name TYPE varchar(9)")
        connection.execute("ALTER TABLE location ALTER COLUMN code SET DEFAULT 'x'")
        connection.execute("CREATE TABLE stray (id int)")
    drift = " ".join(schema.drift(own_dsn))
    assert "modify_type" in drift
    assert "modify_default" in drift
    assert "stray" in drift


def test_the_history_is_what_alembic_reads() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    walked = [script.revision for script in scripts.walk_revisions()]
    assert migrations.revisions() == walked[::-1] != []


def test_a_start_without_missing_revisions_does_not_wait_for_alembic(own_dsn: str) -> None:
    program = "import migrations, sys; assert migrations.upgrade(sys.argv[1]) == [];"
    program += "assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", program, own_dsn], check=True, cwd=PROJECT)


def test_upgrading_again_does_nothing(own_dsn: str) -> None:
    assert migrations.upgrade(own_dsn) == []


def test_starters_at_the_same_time_upgrade_once(empty_dsn: str) -> None:
    with ThreadPoolExecutor(4) as starters:
        results = list(starters.map(migrations.upgrade, [empty_dsn] * 4))
    assert sorted(map(bool, results)) == [False, False, False, True]


def test_a_database_of_a_newer_version_is_refused(own_dsn: str) -> None:
    with psycopg.connect(own_dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(migrations.MigrationError, match="a newer version wrote it"):
        migrations.upgrade(own_dsn)
