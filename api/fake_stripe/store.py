"""What the fake remembers, in one SQLite file: objects, answers by key, books, deliveries, faults.

A request is one transaction over all of them, so a kill leaves either all of its effects or none.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from api.fake_stripe.wire import Object, missing
from commerce.kernel import clock

API_VERSION = "2026-10-28.endive"

SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    payment_intent TEXT, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS object_by_intent ON object (payment_intent, kind);
CREATE INDEX IF NOT EXISTS object_by_kind ON object (kind, place);
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, route TEXT NOT NULL, request BLOB NOT NULL, status INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    place INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, payment_intent TEXT NOT NULL,
    kind TEXT NOT NULL, amount INTEGER NOT NULL, operation_id TEXT);
CREATE TABLE IF NOT EXISTS delivery (
    place INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL, status INTEGER);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (due_at) WHERE due_at >= 0;
CREATE TABLE IF NOT EXISTS fault (
    place INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, kind TEXT NOT NULL,
    times INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

DONE = -1.0
"""The due time of a delivery that nobody waits for any more."""

Row = tuple[Any, ...]


def new_id(prefix: str) -> str:
    """An id as Stripe makes them: the kind, then something that cannot be guessed."""
    return f"{prefix}_{secrets.token_hex(12)}"


def timestamp() -> int:
    """Now, as Stripe tells time: seconds since 1970."""
    return int(clock.now().timestamp())


class Store:
    """Opens the file, or lives in memory where there is none."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, statement: str, *values: Any) -> list[Row]:
        """One statement and its rows; for the tables of deliveries, faults and settings."""
        return self._db.execute(statement, values).fetchall()

    def find(self, object_id: str) -> Object | None:
        """An object of any kind."""
        rows = self.run("SELECT body FROM object WHERE id = ?", object_id)
        return msgspec.json.decode(rows[0][0]) if rows else None

    def get(self, kind: str, object_id: str, param: str = "id") -> Object:
        """An object of this kind, or Stripe's 404."""
        found = self.find(object_id)
        if found is None or found["object"] != kind:
            raise missing(kind, object_id, param)
        return found

    def put(self, thing: Object) -> None:
        """Write a new object or a new state of a known one."""
        self.run(
            "INSERT INTO object (id, kind, payment_intent, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            thing["id"],
            thing["object"],
            thing.get("payment_intent"),
            msgspec.json.encode(thing),
        )

    def of_kind(self, kind: str, payment_intent: str | None = None) -> Iterator[Object]:
        """Objects of a kind, newest first, of one payment or of all."""
        rows = self._db.execute(
            "SELECT body FROM object WHERE kind = ?1 AND (?2 IS NULL OR payment_intent = ?2)"
            " ORDER BY place DESC",
            (kind, payment_intent),
        )
        for (body,) in rows:
            yield msgspec.json.decode(body)

    def answer(self, key: str) -> Row | None:
        """Route, request, status and body of the first request with this key."""
        rows = self.run("SELECT route, request, status, body FROM answer WHERE key = ?", key)
        return rows[0] if rows else None

    def remember(self, key: str, route: str, request: bytes, status: int, body: bytes) -> None:
        """Keep an answer for those who ask again."""
        self.run("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", key, route, request, status, body)

    def book(self, intent: Object, kind: str, amount: int, operation_id: str | None = None) -> None:
        """Append to the books. `operation_id` where the call named one of its own."""
        self.run(
            "INSERT INTO journal (at, payment_intent, kind, amount, operation_id)"
            " VALUES (?, ?, ?, ?, ?)",
            timestamp(),
            intent["id"],
            kind,
            amount,
            operation_id,
        )

    def emit(self, event_type: str, thing: Object) -> None:
        """Record an event and what waits to be delivered."""
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": timestamp(),
            "data": {"object": thing},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": event_type,
        }
        self.put(event)
        for _ in range(1 + self.setting("duplicates")):
            self.run("INSERT INTO delivery (event_id, due_at) VALUES (?, 0)", event["id"])

    def setting(self, name: str) -> int:
        """A switch of the control path; 0 where it was never set."""
        rows = self.run("SELECT value FROM setting WHERE name = ?", name)
        return int(rows[0][0]) if rows else 0
