"""Every statement of the system: constants of its modules, also those kept in tables of them."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from commerce.kernel.sql import Query

PACKAGES = ("commerce", "inventory", "pos_sync", "api")


@cache
def statements() -> dict[str, Query[Any]]:
    """All of them by name, `inventory.stock.LOCK_LEVELS`: the module where each is defined."""
    names: dict[int, str] = {}
    found: dict[str, Query[Any]] = {}
    for package in PACKAGES:
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                for name, query in _queries_in(vars(import_module(module.name)), module.name):
                    # A package is met before its modules; the longer name is where it is defined.
                    known = names.get(id(query))
                    if known is None or known.count(".") < name.count("."):
                        found.pop(known or "", None)
                        names[id(query)] = name
                        found[name] = query
    return found


def _queries_in(values: dict[str, Any], of: str) -> Iterator[tuple[str, Query[Any]]]:
    for name, value in values.items():
        yield from _queries(value, f"{of}.{name}")


def _queries(value: Any, name: str) -> Iterator[tuple[str, Query[Any]]]:
    if isinstance(value, Query):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _queries(each, f"{name}[{key}]")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _queries(each, f"{name}[{index}]")
