"""Gates in front of the database and the provider: they see every boundary of the real product.

A gate passes bytes on and understands just enough of them: which transaction commits, and what it
wrote; which call goes to the provider. Before and after each of these it may stop the traffic and
let a test kill somebody. The processes behind it are the product's own, unchanged.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

WRITES = re.compile(rb"(?:INSERT INTO|UPDATE) (\w+)")
PAYMENT_TABLES = {"payment", "payment_operation", "provider_event"}
CALL = re.compile(rb"(?:POST|GET) /v1/([a-z_]+)(?:/(\w+)(?:/([a-z_]+))?)?[ ?]")
SOCKET = ".s.PGSQL.5432"
BUFFER = 65_536
STARTUP_CODE = struct.pack("!I", 196_608)

Kill = Callable[[int], Awaitable[None]]
"""Kills somebody; gets the process that waits at the gate."""


class Gate:
    """What has been seen of those processes that `counts` lets count, and when to kill."""

    def __init__(self, counts: Callable[[int], bool]) -> None:
        self.seen: list[str] = []
        self._counts = counts
        self._kill: Kill | None = None
        self._killing: asyncio.Future[None] | None = None
        self._at = ("", 0)

    def watch(self, name: str = "", times: int = 0, kill: Kill | None = None) -> None:
        """Start a list anew; when this boundary is reached so many times, kill."""
        self.seen, self._at, self._kill = [], (name, times), kill

    async def boundary(self, name: str, holder: int) -> None:
        """A process has come to a boundary."""
        if self._counts(holder):
            self.seen.append(name)
            if (name, self.seen.count(name)) == self._at and self._kill is not None:
                # Who is killed may end the connection whose traffic waits here, and this with it.
                self._killing = asyncio.ensure_future(self._kill(holder))
                await asyncio.shield(self._killing)


class DatabaseGate(msgspec.Struct):
    """Stands in front of PostgreSQL's socket; `folder` is the host that the product is given."""

    gate: Gate
    folder: Path
    upstream: Path

    async def open(self) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_unix_server(self._connected, self.folder / SOCKET)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self.upstream / SOCKET)
        except OSError:  # the database is dead at present
            writer.close()
            return
        session = _Session(self.gate, _peer(writer))
        await _until_one_ends(
            session.forward(reader, up_writer), session.backward(up_reader, writer)
        )
        up_writer.close()
        writer.close()


class _Session:
    """One connection: which statements it knows, and what its transaction has written."""

    def __init__(self, gate: Gate, holder: int) -> None:
        self._gate = gate
        self._holder = holder
        self._statements: dict[bytes, bytes] = {}
        self._wrote: set[str] = set()
        self._committing: str | None = None

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the product to the database."""
        length = await reader.readexactly(4)
        writer.write(length + await reader.readexactly(struct.unpack("!I", length)[0] - 4))
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            await self._note(kind, body)
            writer.write(kind + length + body)
            await writer.drain()

    async def backward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the database to the product. What answers a commit is held at its boundary."""
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            if kind == b"Z" and self._committing is not None:
                name, self._committing = self._committing, None
                await self._gate.boundary(f"{name}: after its commit", self._holder)
            writer.write(kind + length + body)
            await writer.drain()

    async def _note(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, _, rest = body.partition(b"\0")
            self._statements[name] = rest.partition(b"\0")[0]
        elif kind == b"B":
            statement = body.split(b"\0", 2)[1]
            self._wrote |= _tables(self._statements.get(statement, b""))
        elif kind == b"Q":
            await self._simple(body)

    async def _simple(self, body: bytes) -> None:
        if body.startswith((b"BEGIN", b"ROLLBACK")):
            self._wrote = set()
        elif body.startswith(b"COMMIT"):
            if self._wrote & PAYMENT_TABLES:
                self._committing = ", ".join(sorted(self._wrote))
                await self._gate.boundary(f"{self._committing}: before its commit", self._holder)
            self._wrote = set()
        else:
            self._wrote |= _tables(body)


class ProviderGate(msgspec.Struct):
    """Stands in front of the fake Stripe."""

    gate: Gate
    port: int
    upstream_port: int

    async def open(self) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        holder = _owner(writer.get_extra_info("peername")[1])
        asked: list[str] = []
        await _until_one_ends(
            self._forward(reader, up_writer, asked, holder),
            self._backward(up_reader, writer, asked, holder),
        )
        up_writer.close()
        writer.close()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: list[str],
        holder: int,
    ) -> None:
        while chunk := await reader.read(BUFFER):
            call = CALL.match(chunk)
            if call is not None:
                noun, _, verb = (part.decode() if part else "" for part in call.groups())
                asked.append(f"{noun} {verb or chunk[:4].decode().strip().lower()}")
                await self.gate.boundary(f"{asked[0]}: before the call", holder)
            writer.write(chunk)
            await writer.drain()

    async def _backward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: list[str],
        holder: int,
    ) -> None:
        while chunk := await reader.read(BUFFER):
            if asked:
                await self.gate.boundary(f"{asked.pop()}: after the call", holder)
            writer.write(chunk)
            await writer.drain()


async def _until_one_ends(*directions: Awaitable[None]) -> None:
    """A connection that ends on one side ends on the other."""
    tasks = [asyncio.ensure_future(each) for each in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        pass  # the loop ends, and asyncio would call that an error of the connection
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tables(sql: bytes) -> set[str]:
    return {name.decode() for name in WRITES.findall(sql)}


def _peer(writer: asyncio.StreamWriter) -> int:
    """The process at the other end."""
    sock = writer.get_extra_info("socket")
    pid: int
    pid, _, _ = struct.unpack(
        "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return pid


def _owner(port: int) -> int:
    """The process on this machine that has connected from this port; 0 when it is gone."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            return _holder_of(f"socket:[{fields[9]}]")
    return 0


def _holder_of(thing: str) -> int:
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it is no process, or it ends while we look
            for fd in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(fd.readlink()) == thing:
                        return int(process.name)
    return 0
