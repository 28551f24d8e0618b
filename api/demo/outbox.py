"""What shoppers were told, as the back office sees it."""

import asyncio
from collections.abc import Callable
from typing import Any

from api.demo.caller import Caller, NotAsTold

SENT_WITHIN_SECONDS = 20.0
LOOKS_EVERY_SECONDS = 0.2


async def message(office: Caller, template: str, number: str) -> dict[str, Any]:
    """The message of this kind about an order, as soon as the worker has written it."""
    return await _found(
        office,
        lambda each: each["template"] == template and number in each["subject"],
        what=f"the message {template} about {number}",
    )


async def message_because(office: Caller, reason: str, template: str) -> dict[str, Any]:
    """The message of this kind that has this reason."""
    return await _found(
        office,
        lambda each: each["template"] == template and each["reason"] == reason,
        what=f"the message {template}",
    )


async def _found(
    office: Caller, fits: Callable[[dict[str, Any]], bool], *, what: str
) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(SENT_WITHIN_SECONDS):
            while True:
                shown = (await office.get("/v1/backoffice/messages", limit=20))["items"]
                for each in shown:
                    if fits(each):
                        return each
                await asyncio.sleep(LOOKS_EVERY_SECONDS)
    except TimeoutError:
        found = ", ".join(f"{each['template']}: {each['subject']}" for each in shown)
        raise NotAsTold(f"the worker writes {what}", found) from None
