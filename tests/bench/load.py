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
from typing import Any, cast

import msgspec
import uvloop

GIVE_UP_SECONDS = 120
_HEADER_END = b"\r\n\r\n"


class Plan(msgspec.Struct):
    """What to send: flows of requests in bytes, by so many clients, each one after the other.

    `captures` names values of a flow's first answer by their path in its JSON; `{name}` in the
    heads of the later requests stands for them.
    """

    host: str
    port: int
    clients: int
    flows: list[list[bytes]]
    warm_up: int
    expected: frozenset[int]
    captures: dict[str, list[str]] = {}


class Report(msgspec.Struct):
    """What came of it: seconds on the clock, seconds of each flow, answers by status."""

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]
    cpu_seconds: float
    first_refusal: str = ""

    @property
    def rate(self) -> float:
        """Flows per second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that so large a share of flows stayed under, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Run:
    def __init__(self, plan: Plan, flows: list[list[bytes]]) -> None:
        self.plan = plan
        self.flows: Iterator[list[bytes]] = iter(flows)
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.first_refusal = ""
        self._left = plan.clients
        self.done = asyncio.Event()

    def note(self, status: int, body: bytes) -> None:
        self.statuses[status] += 1
        if status not in self.plan.expected and not self.first_refusal:
            self.first_refusal = body[-600:].decode("utf-8", "replace")

    def client_gone(self) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()


class _Client(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last one is complete."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = bytearray()
        self._needed = -1
        self._body = 0
        self._status = 0
        self._flow: list[bytes] = []
        self._step = 0
        self._started = 0.0
        self._captured: list[tuple[bytes, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._begin()

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
            self._body = end + len(_HEADER_END)
            self._needed = self._body + length
        if len(self._buffer) >= self._needed:
            body = bytes(self._buffer[self._body :])
            self._buffer.clear()
            self._needed = -1
            self._answered(body)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._run.client_gone()

    def _begin(self) -> None:
        flow = next(self._run.flows, None)
        if flow is None:
            self._transport.close()
            return
        self._flow, self._step, self._captured = flow, 0, []
        self._started = time.perf_counter()
        self._transport.write(flow[0])

    def _answered(self, body: bytes) -> None:
        self._run.note(self._status, body)
        if self._step == 0 and self._run.plan.captures:
            self._capture(msgspec.json.decode(body))
        self._step += 1
        if self._step == len(self._flow):
            self._run.latencies.append(time.perf_counter() - self._started)
            self._begin()
            return
        request = self._flow[self._step]
        for name, value in self._captured:
            request = request.replace(name, value)
        self._transport.write(request)

    def _capture(self, answer: Any) -> None:
        for name, path in self._run.plan.captures.items():
            value = answer
            for key in path:
                value = value[key]
            self._captured.append((b"{%s}" % name.encode(), str(value).encode()))


async def _send_all(plan: Plan, flows: list[list[bytes]]) -> tuple[_Run, float]:
    run = _Run(plan, flows)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    for _ in range(plan.clients):
        await loop.create_connection(lambda: _Client(run), plan.host, plan.port)
    await asyncio.wait_for(run.done.wait(), timeout=GIVE_UP_SECONDS)
    return run, time.perf_counter() - started


async def _generate(plan: Plan) -> Report:
    if plan.warm_up:
        await _send_all(plan, plan.flows[: plan.warm_up])
    gc.disable()
    cpu = time.process_time()
    run, seconds = await _send_all(plan, plan.flows[plan.warm_up :])
    used = time.process_time() - cpu
    return Report(seconds, run.latencies, dict(run.statuses), used, run.first_refusal)


def main() -> None:
    """One plan in, one report out."""
    plan = pickle.load(sys.stdin.buffer)  # noqa: S301  from our own parent
    report = uvloop.run(_generate(plan))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
