"""Lists that are read to their end: what other tests of the process made stands in them too."""

from typing import Any

import httpx


async def all_of(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """The items of all pages."""
    items: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 200}
    while True:
        page = (await client.get(path, params=params)).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]
