"""SQLAlchemy writes the SQL, asyncpg runs it.

A `Query` is a Core statement, compiled once, with the Struct that its rows become. All
queries are module constants, so that one test can prepare every one of them against the migrated
schema. A `Connection` runs queries inside one transaction; a `Database` opens transactions and
repeats those that lost a race. There is no session and no identity map.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, time
from functools import cached_property, lru_cache
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints, overload
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import (
    JSON,
    ColumnElement,
    MetaData,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    column,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql import visitors
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import BindParameter, ClauseElement
from sqlalchemy.types import TypeEngine

from commerce.kernel.errors import CommerceError

Row = TypeVar("Row")
Answer = TypeVar("Answer")

CONVENTION = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}

metadata = MetaData(naming_convention=CONVENTION)
"""Every table of every noun, each registered by its owner's `tables` module."""

SERIALIZATION_FAILURES = frozenset({"40001", "40P01"})
"""SQLSTATEs of a transaction that lost a race and may be repeated as a whole."""

ATTEMPTS = 5
_DIALECT = dialect()  # type: ignore[no-untyped-call]
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


class Busy(CommerceError):
    """The database could not answer in time. Nothing was changed; try again after a moment."""

    code = "busy"
    retry_after_seconds: int = 1


class LostRace(Exception):
    """Another transaction was faster, and this one must be repeated as a whole to see it."""


class Query(Generic[Row]):
    """A statement, compiled once, and what its rows become.

    Compiled when it is first used: of several hundred statements each process uses a few, and all
    of them would take longer to compile than everything else that a start does.

    `returns` is a Struct (columns matched to its fields by name), or a plain type for a statement
    of one column, or left out for a statement without rows.
    """

    @overload
    def __init__(self: "Query[Any]", statement: Executable) -> None: ...
    @overload
    def __init__(self, statement: Executable, returns: type[Row]) -> None: ...
    def __init__(self, statement: Executable, returns: type[Row] | None = None) -> None:
        assert isinstance(statement, ClauseElement)
        self._statement = statement
        self.returns = returns
        self._json: Callable[[str], list[Row]] | None = None
        table = getattr(statement, "table", None)
        self.writes: str | None = getattr(table, "name", None)
        """The table that the statement changes."""

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...]]:
        compiled = _inlined(self._statement).compile(
            dialect=_DIALECT, compile_kwargs={"render_postcompile": True}
        )
        return str(compiled), tuple(getattr(compiled, "positiontup", None) or ())

    @cached_property
    def sql(self) -> str:
        """The statement as the driver gets it."""
        return self._compiled[0]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its parameters, in the order of their placeholders."""
        return self._compiled[1]

    @cached_property
    def decode(self) -> Callable[[asyncpg.Record], Row] | None:
        """What makes a row of a record; None: the statement has no rows."""
        return _decoder(self.returns) if self.returns is not None else None

    @cached_property
    def _wanted(self) -> frozenset[str]:
        return frozenset(self.names)

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of the placeholders. A name that is not in the query is a bug."""
        assert values.keys() == self._wanted, f"{sorted(values)} given for {sorted(self._wanted)}"
        return [values[name] for name in self.names]

    def from_json(self, text: str) -> list[Row]:
        """Rows that came as one JSON array."""
        if self._json is None:
            self._json = msgspec.json.Decoder(list[self.returns]).decode  # type: ignore[name-defined]
        return self._json(text)

    def rows(self, records: Sequence[asyncpg.Record]) -> list[Row]:
        """Records of the driver as typed rows."""
        if self.decode is None:
            return []
        return [self.decode(record) for record in records]


def _inlined(statement: ClauseElement) -> ClauseElement:
    """Constants of the statement as literals in its text.

    A generic plan can use a partial index only when it can read the condition's constant.
    """

    def inline(element: BindParameter[Any]) -> None:
        element.literal_execute = element.unique  # a constant; parameters have names of their own
        element.required = False  # its value comes with each run, not with the compilation

    return visitors.cloned_traverse(statement, {}, {"bindparam": inline})


_NATIVE = (UUID, str, int, bool, float, bytes, datetime, time, NoneType)


def _is_native(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return all(_is_native(part) for part in get_args(annotation))
    if get_origin(annotation) is list:
        return all(_is_native(part) for part in get_args(annotation))
    return annotation in _NATIVE


def _decoder(returns: type[Row]) -> Callable[[asyncpg.Record], Row]:
    """The cheapest decoding that is right: the driver's types are ours, or are converted."""
    if not (isinstance(returns, type) and issubclass(returns, msgspec.Struct)):
        return lambda record: record[0]
    fields = returns.__struct_fields__
    hints = get_type_hints(returns)
    struct: Callable[..., Row] = returns
    if not all(_is_native(hints[name]) for name in fields):
        return lambda record: msgspec.convert(dict(record), returns)
    in_order: list[bool] = []

    def decode(record: asyncpg.Record) -> Row:
        if not in_order:
            in_order.append(tuple(record.keys()) == fields)
        return struct(*record) if in_order[0] else struct(**record)

    return decode


class Connection:
    """One connection inside one transaction. `statements` counts the round trips it made."""

    def __init__(self, driver: "PoolConnectionProxy[asyncpg.Record]") -> None:
        self._driver = driver
        self._waiting: list[tuple[Query[Any], list[Any]]] = []
        self.statements = 0

    @property
    def driver(self) -> "PoolConnectionProxy[asyncpg.Record]":
        """The driver's connection, for what no `Query` can say. Flush first what waits."""
        assert not self._waiting, "flush() before the driver is used: writes are waiting"
        return self._driver

    async def run(self, query: Query[Row], /, **values: Any) -> list[Row]:
        """All rows. Writes that wait go first."""
        if self._waiting:
            await self.flush()
        self.statements += 1
        return query.rows(await self._driver.fetch(query.sql, *query.arguments(values)))

    async def gather(self, *reads: tuple[Query[Any], dict[str, Any]]) -> list[list[Any]]:
        """The rows of several reading queries with their values, in one round trip.

        They come as JSON, so their Structs hold what JSON can say: no bytes.
        """
        await self.flush()
        self.statements += 1
        statement = _gathered(tuple(query.sql for query, _ in reads))
        values = [value for query, named in reads for value in query.arguments(named)]
        answer = await self._driver.fetchrow(statement, *values)
        return [query.from_json(text) for (query, _), text in zip(reads, answer, strict=True)]

    async def later(self, query: Query[Any], /, **values: Any) -> None:
        """A write whose rows nobody needs: it travels with the next ones, in one round trip.

        It is sent before the next `run`, before another write to the same table, and before the
        commit. Its faults show only then.
        """
        assert query.writes is not None, "only a write can wait"
        if any(each.writes == query.writes for each, _ in self._waiting):
            await self.flush()
        self._waiting.append((query, query.arguments(values)))

    async def flush(self) -> None:
        """Send what waits, as one statement of several parts that all see the same state."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.statements += 1
            statement = _together(tuple(query.sql for query, _ in waiting))
            await self._driver.fetch(statement, *(v for _, values in waiting for v in values))

    async def first(self, query: Query[Row], /, **values: Any) -> Row | None:
        """The first row, or None when there is none."""
        rows = await self.run(query, **values)
        return rows[0] if rows else None

    async def one(self, query: Query[Row], /, **values: Any) -> Row:
        """The one row of a statement that always has one."""
        rows = await self.run(query, **values)
        assert len(rows) == 1, f"expected one row, got {len(rows)}: {query.sql}"
        return rows[0]

    async def stream(self, query: Query[Row], /, **values: Any) -> AsyncIterator[Row]:
        """Rows one by one in bounded memory, for what may be large."""
        await self.flush()
        self.statements += 1
        decode = query.decode
        assert decode is not None, "a streamed query names what it returns"
        async for record in self._driver.cursor(query.sql, *query.arguments(values), prefetch=1000):
            yield decode(record)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """What happens inside is undone when it raises; the transaction goes on."""
        await self.flush()
        self.statements += 2
        async with self._driver.transaction():
            try:
                yield
                await self.flush()
            except BaseException:
                self._waiting.clear()
                raise


_PLACEHOLDER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=256)
def _together(statements: tuple[str, ...]) -> str:
    """Writes to different tables as one statement."""
    if len(statements) == 1:
        return statements[0]
    parts = (f"w{index} AS ({part})" for index, part in enumerate(_renumbered(statements)))
    return f"WITH {', '.join(parts)} SELECT"


@lru_cache(maxsize=256)
def _gathered(statements: tuple[str, ...]) -> str:
    """Reads as one row of JSON arrays."""
    parts = (
        f"(SELECT coalesce(json_agg(r), '[]')::text FROM ({part}) AS r)"  # noqa: S608  our own
        for part in _renumbered(statements)
    )
    return f"SELECT {', '.join(parts)}"


def _renumbered(statements: Sequence[str]) -> list[str]:
    """The statements with their placeholders numbered through."""
    parts, given = [], 0
    for statement in statements:
        shift = given

        def moved(match: re.Match[str], shift: int = shift) -> str:
            return f"${int(match[1]) + shift}"

        parts.append(_PLACEHOLDER.sub(moved, statement))
        given += max((int(number) for number in _PLACEHOLDER.findall(statement)), default=0)
    return parts


class Database:
    """A pool of connections to one database, opened with `Database.open`, closed with `close`."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", dsn: str) -> None:
        self.pool = pool
        self.dsn = dsn
        self.on_commit: Callable[[], None] = _nothing
        """Called after each transaction that has committed, while it is still being waited for."""

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        statement_timeout_seconds: float = 10,
        cache_statements: bool = True,
        name: str = "mostrador",
    ) -> "Database":
        """Connect. `cache_statements=False` is for a PgBouncer older than 1.21."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            init=prepare_connection,
            reset=_nothing_to_reset,
            command_timeout=statement_timeout_seconds + 5,
            statement_cache_size=1024 if cache_statements else 0,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,  # none: what is gathered is long and comes again
            server_settings={
                "application_name": name,
                "statement_timeout": str(int(statement_timeout_seconds * 1000)),
                "idle_in_transaction_session_timeout": "60000",
                "plan_cache_mode": "force_generic_plan",
                # A plan made while a table was empty serves it when it is full: never a scan.
                "enable_seqscan": "off",
                "jit": "off",
            },
        )
        return cls(pool, dsn)

    async def close(self) -> None:
        """Wait for running transactions, then disconnect."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """One transaction at READ COMMITTED: commits at the end of the block, or undoes all."""
        async with self.pool.acquire() as driver, driver.transaction():
            conn = Connection(driver)
            yield conn
            await conn.flush()
        self.on_commit()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection]:
        """A connection for single reading statements, each its own transaction."""
        async with self.pool.acquire() as driver:
            yield Connection(driver)

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Connection]:
        """A read-only transaction that sees one moment: for audits and reports."""
        async with (
            self.pool.acquire() as driver,
            driver.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield Connection(driver)

    async def commit(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Run `work` in a transaction of its own; repeat it when it lost a race (40001, 40P01)."""
        for attempt in range(ATTEMPTS):
            try:
                async with self.transaction() as conn:
                    return await work(conn)
            except (LostRace, asyncpg.PostgresError) as error:
                if not lost_race(error) or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.005 * 2**attempt)
        raise AssertionError("unreachable")


def _nothing() -> None:
    """What most programs do after a commit."""


def lost_race(error: Exception) -> bool:
    """Whether the transaction that failed so may be repeated and may then succeed."""
    return isinstance(error, LostRace) or getattr(error, "sqlstate", "") in SERIALIZATION_FAILURES


async def prepare_connection(driver: asyncpg.Connection) -> None:
    """JSONB in and out through msgspec. The codec must return str (the driver adds the rest)."""
    await driver.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: _encode_json(value).decode(),
        decoder=_decode_json,
    )


async def _nothing_to_reset(driver: Any) -> None:
    """The pool's reset is a round trip per release; we leave no session state behind."""


def rows_of(name: str, /, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """`unnest` of one array parameter per column, as a table: a whole batch in one statement."""
    arrays = [bindparam(key, required=False, type_=ARRAY(kind)) for key, kind in columns.items()]
    return func.unnest(*arrays).table_valued(
        *(column(key, kind) for key, kind in columns.items()),
        with_ordinality="position",
        name=name,
    ).render_derived()  # fmt: skip


def records_of(name: str, /, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """One JSON parameter `name` as a table: a whole batch of wide rows in one statement.

    For rows of many columns this is several times cheaper to send than an array per column. The
    parameter comes from `records`; what it holds beyond these columns is ignored.
    """
    given = cast(bindparam(name, required=False, type_=Text()), JSON())
    return func.json_to_recordset(given).table_valued(
        *(column(key, kind) for key, kind in columns.items()),
        name=name,
    ).render_derived(with_types=True)  # fmt: skip


def records(items: Sequence[Any]) -> str:
    """Structs or mappings as the parameter of a `records_of` table."""
    return _encode_json(items).decode()


def columns_of(items: Sequence[msgspec.Struct], *names: str) -> dict[str, list[Any]]:
    """Structs turned into one list per named field: the parameters of an `unnest` statement."""
    return {name: [getattr(item, name) for item in items] for name in names}


def either(
    condition: ColumnElement[bool], parameter: str, kind: TypeEngine[Any]
) -> ColumnElement[bool]:
    """`condition`, or everything when the named parameter is NULL: an optional filter."""
    return bindparam(parameter, type_=kind).is_(None) | condition
