"""The fake Stripe as a process of its own, and a webhook endpoint that remembers what arrived."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from commerce.kernel import settings

WEBHOOK_SECRET = "whsec_of_the_tests"
START_SECONDS = 20.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FakeStripeServer:
    """`python -m api.fake_stripe` on a free port, with its file in `state_dir`."""

    def __init__(self, state_dir: Path, webhook_port: int) -> None:
        self._settings = settings.Settings(
            state_dir=state_dir,
            port=webhook_port,
            fake_stripe_port=free_port(),
            stripe_webhook_secret=WEBHOOK_SECRET,
        )
        self.url = f"http://127.0.0.1:{self._settings.fake_stripe_port}"
        self.http = httpx.Client(base_url=self.url, trust_env=False, auth=("sk_test_raw", ""))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.http.close()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "api.fake_stripe"],
            cwd=Path(__file__).parent.parent,
            env=settings.inherited(os.environ) | self._settings.environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self._process.poll() is None, "the fake Stripe did not start"
            try:
                self.http.get("/_control/faults")
            except httpx.ConnectError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the fake Stripe did not answer in time")

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said goodbye to."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self, seconds: float) -> int:
        """SIGTERM, and the exit status, which must come in time."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def control(self, path: str, **body: Any) -> Any:
        """POST to the control path."""
        answer = self.http.post(f"/_control/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_until_delivered(self, seconds: float = 10.0) -> None:
        """Until no webhook waits any more."""
        until = time.monotonic() + seconds
        while self.http.get("/_control/webhooks").json()["waiting"]:
            assert time.monotonic() < until, "webhooks still wait"
            time.sleep(0.02)

    def fault(self, operation: str, kind: str, **fields: Any) -> None:
        """Let the next call of this operation go wrong."""
        self.control("faults", operation=operation, kind=kind, **fields)

    def books(self, provider_id: str) -> dict[str, Any]:
        """What happened to the money of one payment; empty when none was ever held."""
        every = self.http.get("/_control/books").json()["payment_intents"]
        found = [entry for entry in every if entry["payment_intent"] == provider_id]
        return found[0] if found else {}

    def post(self, path: str, form: Sequence[tuple[str, Any]], key: str = "") -> httpx.Response:
        """A raw call with form parameters, as curl would make it."""
        encoded = httpx.QueryParams(tuple(form))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        headers |= {"Idempotency-Key": key} if key else {}
        return self.http.post(path, content=str(encoded), headers=headers)


class Delivery(msgspec.Struct, frozen=True):
    """One request to the webhook endpoint."""

    body: bytes
    signature: str
    answered: int

    @property
    def event(self) -> Any:
        """The event in it."""
        return msgspec.json.decode(self.body)


class WebhookEndpoint:
    """Listens on a free port and answers 200, or first what `answers` says."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.answers: list[int] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = endpoint.answers.pop(0) if endpoint.answers else 200
                signature = self.headers["Stripe-Signature"]
                endpoint.deliveries.append(Delivery(body, signature, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def about(self, object_id: str) -> list[Delivery]:
        """What arrived about one object, in the order of arrival."""
        return [d for d in self.deliveries if d.event["data"]["object"]["id"] == object_id]

    def wait_for(self, object_id: str, count: int, seconds: float = 10.0) -> list[Delivery]:
        """The deliveries about one object, once there are so many."""
        until = time.monotonic() + seconds
        while len(found := self.about(object_id)) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert len(found) >= count, [d.event["type"] for d in found]
        return found
