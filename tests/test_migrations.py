"""The schema's history ends in exactly the tables that the code declares."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import migrations


def test_upgrading_from_nothing_leaves_no_drift(empty_dsn: str) -> None:
    assert migrations.drift(empty_dsn) != []
    assert migrations.upgrade(empty_dsn)
    assert migrations.drift(empty_dsn) == []


def test_a_type_a_default_and_a_table_that_differ_are_drift(own_dsn: str) -> None:
    assert migrations.drift(own_dsn) == []
    with psycopg.connect(own_dsn) as connection:
        connection.execute("ALTER TABLE location ALTER COLUMN name TYPE varchar(9)")
        connection.execute("ALTER TABLE location ALTER COLUMN code SET DEFAULT 'x'")
        connection.execute("CREATE TABLE stray (id int)")
    drift = " ".join(migrations.drift(own_dsn))
    assert "modify_type" in drift
    assert "modify_default" in drift
    assert "stray" in drift


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
