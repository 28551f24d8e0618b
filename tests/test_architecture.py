"""The rules of the architecture, each a test whose message is the rule."""

import ast
from collections.abc import Callable, Container, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).parent.parent
PACKAGES = ("commerce", "inventory", "pos_sync", "api", "migrations")

LAYERS = {
    "commerce.kernel": {"commerce.kernel"},
    "inventory": {"commerce.kernel", "inventory"},
    "commerce": {"commerce.kernel", "inventory", "commerce"},
    "pos_sync": {"commerce.kernel", "inventory", "commerce", "pos_sync"},
    "api": {"commerce.kernel", "inventory", "commerce", "pos_sync", "api", "migrations"},
    "migrations": {"commerce.kernel", "migrations"},
}
EDGES = ("api.storefront", "api.store", "api.backoffice", "api.fake_stripe")
ROOTS = {"api.app", "api.cli", "api.supervisor"}
"""What puts the edges together; it may know them."""

HOMES: dict[str, tuple[str, ...]] = {
    "litestar": ("api",),
    "dramatiq": ("api",),
    "dramatiq_postgres": ("api",),
    "granian": ("api",),
    "click": ("api",),
    "stripe": ("commerce.stripe_gateway", "commerce.stripe_objects"),
    "argon2": ("commerce.access",),
    "phonenumbers": ("commerce.customers", "commerce.importing"),
    "psycopg": ("migrations", "api"),
    "alembic": ("migrations",),
}
"""Libraries that one part of the product hides from the others."""

RAW_STATEMENTS = {
    "api.backup",
    "api.database",
    "api.doorbell",
    "api.relay",
    "commerce.kernel.generations",
    "commerce.kernel.partitions",
    "commerce.kernel.readers",
    "commerce.kernel.sql",
}
"""Where statements are run that no Query can be: DDL, locks, NOTIFY, cursors."""

CLOCKS = {"commerce.kernel.clock", "api.fake_stripe.__main__"}
MAX_LINES = 600
MAX_FUNCTION_LINES = 60

FORBIDDEN_PARTS = {"helper", "helpers", "util", "utils", "qty", "cust", "txn", "info"}
FORBIDDEN_NAMES = {"data", "manager"}
"""Litestar calls a body `data`, so the api may."""

WRITES = {"insert", "upsert", "update", "delete", "merge"}
SHARED_TABLES = {
    # The catalog says what a coupon is worth; pricing counts how often it was used.
    "coupon": {"commerce.catalog", "commerce.pricing"},
    # An order is born with its fulfillments, in one batch; from then on they live by themselves.
    "fulfillment": {"commerce.fulfillment", "commerce.orders"},
}


class Module(NamedTuple):
    """A module of the product, parsed."""

    name: str
    text: str
    nodes: tuple[ast.AST, ...]


Rule = Callable[[Module], Iterator[str]]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            if "versions" not in path.parts:
                name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
                text = path.read_text()
                nodes = tuple(ast.walk(ast.parse(text)))
                found.append(Module(name.removesuffix(".__init__"), text, nodes))
    assert len(found) > 50
    return tuple(found)


def imported(module: Module) -> Iterator[str]:
    """Full names of what a module imports; `from a import b` gives `a.b`."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def layer(name: str) -> str | None:
    if within(name, "commerce.kernel"):
        return "commerce.kernel"
    first = name.partition(".")[0]
    return first if first in LAYERS else None


def found_by(rule: Rule, *, except_in: Container[str] = ()) -> list[str]:
    return [
        f"{module.name}: {wrong}"
        for module in modules()
        if module.name not in except_in
        for wrong in rule(module)
    ]


def test_imports_point_downward() -> None:
    def upward(module: Module) -> Iterator[str]:
        own = layer(module.name)
        assert own is not None
        for target in imported(module):
            other = layer(target)
            if other is not None and other not in LAYERS[own]:
                yield f"imports {target}"

    assert found_by(upward) == [], "kernel < inventory < commerce < pos_sync < api; never upward"


def test_edges_do_not_import_each_other() -> None:
    def sideways(module: Module) -> Iterator[str]:
        own = next((edge for edge in EDGES if within(module.name, edge)), None)
        for target in imported(module):
            other = next((edge for edge in EDGES if within(target, edge)), None)
            if other not in {None, own}:
                yield f"imports {target}"

    assert found_by(sideways, except_in=ROOTS) == [], "only the composition root knows the edges"


def test_libraries_stay_where_they_belong() -> None:
    def strays(module: Module) -> Iterator[str]:
        for target in imported(module):
            homes = HOMES.get(target.partition(".")[0])
            if homes is not None and not any(within(module.name, home) for home in homes):
                yield f"imports {target}"

    assert found_by(strays) == [], f"each library has its homes: {HOMES}"


def attributes(module: Module) -> Iterator[tuple[str, int]]:
    """Uses of `name.attribute`, with their lines."""
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno


def test_only_settings_read_the_environment() -> None:
    def readers(module: Module) -> Iterator[str]:
        for used, line in attributes(module):
            if used in {"os.environ", "os.getenv"}:
                yield f"line {line}"

    found = found_by(readers, except_in={"commerce.kernel.settings"})
    assert found == [], "os.environ is read in commerce/kernel/settings.py only"


def test_only_the_clock_reads_wall_time() -> None:
    readings = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    readings |= {"time.time", "time.time_ns"}

    def readers(module: Module) -> Iterator[str]:
        for used, line in attributes(module):
            if used in readings:
                yield f"line {line}"

    found = found_by(readers, except_in=CLOCKS)
    assert found == [], "edges read the clock and hand `now` to the verbs"


def noun(name: str) -> str:
    """`commerce.orders` for every module of that noun."""
    return ".".join(name.split(".")[:2])


def written_by(module: Module) -> Iterator[str]:
    """The tables that a module's statements write."""
    tables = {
        alias.asname or alias.name: alias.name
        for node in module.nodes
        if isinstance(node, ast.ImportFrom) and "tables" in (node.module or "")
        for alias in node.names
    }
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            target = node.args[0]
            if node.func.id in WRITES and isinstance(target, ast.Name) and target.id in tables:
                yield tables[target.id]


def test_only_the_owning_noun_writes_a_table() -> None:
    writers: dict[str, set[str]] = {}
    for module in modules():
        for table in written_by(module):
            writers.setdefault(table, set()).add(noun(module.name))
    assert len(writers) > 15
    shared = {table: nouns for table, nouns in writers.items() if len(nouns) > 1}
    assert shared == SHARED_TABLES, "only the owning noun writes its tables; ask it for a verb"


def test_statements_are_constants() -> None:
    def built_at_run_time(module: Module) -> Iterator[str]:
        for function in module.nodes:  # a plain function may build constants, while it is imported
            if isinstance(function, ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Query":
                        yield f"line {node.lineno}"

    assert found_by(built_at_run_time) == [], "a Query is a module constant, so that tests find it"


def test_the_driver_runs_queries_only() -> None:
    def raw(module: Module) -> Iterator[str]:
        for node in module.nodes:
            if (
                isinstance(node, ast.Attribute)
                and node.attr in {"execute", "fetch", "fetchval", "fetchrow", "executemany"}
                and isinstance(node.value, ast.Attribute)
                and node.value.attr == "driver"
            ):
                yield f"line {node.lineno}"

    found = found_by(raw, except_in=RAW_STATEMENTS)
    assert found == [], "SQL is a Query constant; the exceptions are named here"


def test_files_and_functions_stay_readable() -> None:
    tests = {path.name: path.read_text() for path in (PROJECT / "tests").rglob("*.py")}
    texts = {module.name: module.text for module in modules()} | tests
    long = {name: lines for name, text in texts.items() if (lines := text.count("\n")) > MAX_LINES}
    assert long == {}, f"a file has at most {MAX_LINES} lines; aim at 400"

    def endless(module: Module) -> Iterator[str]:
        for node in module.nodes:
            if isinstance(node, FUNCTIONS):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{node.name} has {lines} lines"

    assert found_by(endless) == [], f"a function has at most {MAX_FUNCTION_LINES} lines"


def names_given(module: Module) -> Iterator[tuple[str, int]]:
    """Names that a module gives: definitions, parameters, variables, fields."""
    for node in module.nodes:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def test_words_of_the_design_are_used() -> None:
    def synonyms(module: Module) -> Iterator[str]:
        edge = within(module.name, "api")
        for given, line in names_given(module):
            parts = set(given.lower().strip("_").split("_"))
            verb = given.startswith(("process_", "handle_")) and not edge
            exact = given in FORBIDDEN_NAMES and not (given == "data" and edge)
            if parts & FORBIDDEN_PARTS or verb or exact:
                yield f"{given} in line {line}"

    found = found_by(synonyms, except_in={"commerce.stripe_objects"})  # speaks Stripe's words
    assert found == [], "the words of the field, and no synonyms (DESIGN.md, 11)"


FOLDERS = ("services", "models", "utils", "repositories", "helpers", "core")


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_are_nouns_and_edges_and_nothing_between(folder: str) -> None:
    assert not [path for package in PACKAGES for path in (PROJECT / package).rglob(folder)]
