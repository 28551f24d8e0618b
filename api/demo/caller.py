"""Somebody who calls the API, and what they hear from it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

HEARS_WITHIN_SECONDS = 10.0


class NotAsTold(Exception):
    """The shop did something else than the story says; `found` is what it said."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected)
        self.found = found if isinstance(found, str) else json.dumps(found, indent=2)


class Caller:
    """A key, and with it perhaps the session of whoever signed in."""

    def __init__(self, http: httpx.AsyncClient, key: str, session: str | None = None) -> None:
        self.http = http
        self.headers = {"X-API-Key": key}
        if session is not None:
            self.headers["Authorization"] = f"Bearer {session}"

    async def get(self, path: str, *, token: dict[str, str] | None = None, **params: Any) -> Any:
        """What stands there."""
        return self._good(await self._send("GET", path, token=token, params=params))

    async def send(
        self, method: str, path: str, body: Any = None, *, token: dict[str, str] | None = None
    ) -> Any:
        """A command that must succeed, under a key of its own."""
        return self._good(await self._send(method, path, token=token, body=body))

    async def refused(
        self, method: str, path: str, body: Any, *, code: str, token: dict[str, str] | None = None
    ) -> Any:
        """A command that must be refused for this reason; the problem document."""
        answer = await self._send(method, path, token=token, body=body)
        if answer.is_success or answer.json().get("code") != code:
            raise NotAsTold(f"{method} {path} is refused as {code}", _text(answer))
        return answer.json()

    async def _send(
        self,
        method: str,
        path: str,
        *,
        token: dict[str, str] | None,
        params: Any = None,
        body: Any = None,
    ) -> httpx.Response:
        headers = self.headers | (token or {})
        if method == "POST":
            headers["Idempotency-Key"] = uuid4().hex
        try:
            return await self.http.request(method, path, params=params, json=body, headers=headers)
        except httpx.HTTPError as silent:
            raise NotAsTold(f"{method} {path} is answered", repr(silent)) from silent

    @staticmethod
    def _good(answer: httpx.Response) -> Any:
        if not answer.is_success:
            raise NotAsTold(
                f"{answer.request.method} {answer.request.url.path} succeeds", _text(answer)
            )
        return answer.json() if answer.content else None


class Feed:
    """The live events of a store, since the moment that it was opened."""

    def __init__(self) -> None:
        self._heard: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def of(cls, caller: Caller) -> AsyncGenerator["Feed"]:
        """Listen as a tablet does, for as long as the block lasts."""
        feed = cls()
        opened = asyncio.Event()
        listening = asyncio.create_task(feed._listen(caller, opened))
        await asyncio.wait(
            [listening, asyncio.create_task(opened.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        if listening.done():
            listening.result()
        try:
            yield feed
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def heard(self, kind: str, aggregate_id: str) -> dict[str, Any]:
        """The event of this kind about this order, as soon as it comes."""
        try:
            async with asyncio.timeout(HEARS_WITHIN_SECONDS):
                while True:
                    for event in self._heard:
                        if (event["type"], event["aggregate_id"]) == (kind, aggregate_id):
                            return event
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise NotAsTold(
                f"the tablet hears {kind} within {HEARS_WITHIN_SECONDS:g} seconds", self._heard
            ) from None

    async def _listen(self, caller: Caller, opened: asyncio.Event) -> None:
        stream = caller.http.stream(
            "GET", "/v1/store/feed", headers=caller.headers, timeout=httpx.Timeout(10, read=60)
        )
        async with stream as answer:
            if not answer.is_success:
                await answer.aread()
                raise NotAsTold("the tablet's feed opens", _text(answer))
            opened.set()
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "data" and value != "{}":
                    self._heard.append(json.loads(value))
                    self._news.set()


def _text(answer: httpx.Response) -> str:
    try:
        return json.dumps(answer.json(), indent=2, ensure_ascii=False)
    except ValueError:
        return f"{answer.status_code} {answer.text[:1000]}"
