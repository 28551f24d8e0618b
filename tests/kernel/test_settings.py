"""Settings come from the environment, and a wrong one is refused by its name."""

from pathlib import Path

import pytest

from commerce.kernel import settings
from commerce.kernel.settings import SettingsError


def test_nothing_set_means_the_embedded_parts() -> None:
    found = settings.load({})
    assert (found.database_url, found.broker_url, found.stripe_api_key) == ("", "", "")
    assert (found.host, found.port, found.state_dir) == ("127.0.0.1", 8_000, Path(".state"))


def test_variables_become_typed_values() -> None:
    found = settings.load(
        {
            "PORT": "9000",
            "STATEMENT_CACHE": "false",
            "STATE_DIR": "/var/lib/a shop",
            "DATABASE_URL": "postgresql://shop@db/shop",
            "HOME": "/root",
        }
    )
    assert (found.port, found.statement_cache) == (9_000, False)
    assert found.state_dir == Path("/var/lib/a shop")
    assert found.direct_url == "postgresql://shop@db/shop"


def test_an_empty_variable_counts_as_absent() -> None:
    assert settings.load({"PORT": "", "DATABASE_URL": ""}) == settings.load({})


def test_the_direct_address_may_differ_from_the_pooled_one() -> None:
    environ = {
        "DATABASE_URL": "postgresql://bouncer/shop",
        "DIRECT_DATABASE_URL": "postgresql://db",
    }
    assert settings.load(environ).direct_url == "postgresql://db"


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("PORT", "eighty", "expected `int`"),
        ("PORT", "0", "expected `int` >= 1"),
        ("PORT", "65536", "expected `int` <= 65535"),
        ("LOG_LEVEL", "loud", "expected one of debug, info, warning, error."),
        ("STATEMENT_CACHE", "maybe", "expected `bool`"),
        ("DATABASE_URL", "localhost", "expected an address such as `scheme://host/path`."),
        ("WEB_PROCESSES", "0", "expected `int` >= 1"),
    ],
)
def test_a_wrong_value_names_its_variable_and_the_rule(
    variable: str, value: str, rule: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({variable: value})
    assert str(refused.value).startswith(f"{variable} is wrong: {rule}")


def test_secrets_are_not_repeated_in_an_error() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({"DATABASE_URL": "shop:hunter2@db"})
    assert "hunter2" not in str(refused.value)


def test_a_child_reads_what_its_parent_passed() -> None:
    parent = settings.load({"PORT": "9000", "STATEMENT_CACHE": "0", "STATE_DIR": "/a b"})
    inherited = settings.inherited({"PORT": "1", "SMTP_URL": "smtp://old", "PATH": "/bin"})
    assert inherited == {"PATH": "/bin"}
    assert settings.load(inherited | parent.environ()) == parent
