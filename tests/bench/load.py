"""The load generator: many keep-alive HTTP connections of one process, as lean as Python allows.

Started as a process of its own: it reads a pickled `Plan` from standard input and writes a JSON
`Report` to standard output.
"""

import asyncio
import gc
import pickle
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import cast

import msgspec
import uvloop

GIVE_UP_SECONDS = 120
_HEADER_END = b"\r\n\r\n"


class Plan(msgspec.Struct):
    """Requests to send, already in bytes, by so many clients, each one after the other.

    `flows` are lists of requests; a client takes the next flow when it is done with one.
    """

    host: str
    port: int
    clients: int
    requests: list[bytes]
    warm_up: int
    expected_status: int


class Report(msgspec.Struct):
    """What came of it: seconds on the clock, seconds of each request, answers by status."""

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]
    cpu_seconds: float
    first_refusal: str = ""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that so large a share of requests stayed under, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Client(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last one is complete."""

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._buffer = bytearray()
        self._needed = -1
        self._status = 0
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._needed < 0:
            end = self._buffer.find(_HEADER_END)
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._status = int(head[9:12])
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._needed = end + len(_HEADER_END) + length
        if len(self._buffer) >= self._needed:
            seconds = time.perf_counter() - self._started
            self._run.note(self._status, seconds, self._buffer)
            self._buffer.clear()
            self._needed = -1
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._run.client_gone()

    def _send(self) -> None:
        request = next(self._run.requests, None)
        if request is None:
            self._transport.close()
            return
        self._started = time.perf_counter()
        self._transport.write(request)


class _Run:
    def __init__(self, requests: Iterator[bytes], clients: int, expected: int) -> None:
        self.requests = requests
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.first_refusal = ""
        self._expected = expected
        self._left = clients
        self.done = asyncio.Event()

    def note(self, status: int, seconds: float, answer: bytearray) -> None:
        self.latencies.append(seconds)
        self.statuses[status] += 1
        if status != self._expected and not self.first_refusal:
            self.first_refusal = bytes(answer[-500:]).decode("utf-8", "replace")

    def client_gone(self) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()


async def _send_all(plan: Plan, requests: list[bytes]) -> tuple[_Run, float]:
    run = _Run(iter(requests), plan.clients, plan.expected_status)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    for _ in range(plan.clients):
        await loop.create_connection(lambda: _Client(run), plan.host, plan.port)
    await asyncio.wait_for(run.done.wait(), timeout=GIVE_UP_SECONDS)
    return run, time.perf_counter() - started


async def _generate(plan: Plan) -> Report:
    if plan.warm_up:
        await _send_all(plan, plan.requests[: plan.warm_up])
    gc.disable()
    cpu = time.process_time()
    run, seconds = await _send_all(plan, plan.requests[plan.warm_up :])
    used = time.process_time() - cpu
    return Report(seconds, run.latencies, dict(run.statuses), used, run.first_refusal)


def main() -> None:
    """One plan in, one report out."""
    plan = pickle.load(sys.stdin.buffer)  # noqa: S301  from our own parent
    report = uvloop.run(_generate(plan))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
