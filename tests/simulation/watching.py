"""A database and a gateway that say when a boundary is reached, so that a test can die there.

A boundary is the moment before and after each commit, and before and after each call to the
provider. Its name is the function that opened the transaction, or the call.
"""

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from commerce.kernel.money import Money
from commerce.kernel.sql import Connection, Database
from commerce.provider import Created, Gateway, PaymentOutcome, ProviderEvent, RefundOutcome

Boundary = Callable[[str], None]

PROJECT = Path(__file__).parent.parent.parent
_NOBODY = ("contextlib.py", "sql.py", "watching.py", "services.py")


class WatchedDatabase(Database):
    """A database whose transactions have observable ends."""

    def __init__(self, database: Database, boundary: Boundary) -> None:
        super().__init__(database.pool, database.dsn)
        self._boundary = boundary

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """As the real one, with a boundary on either side of the commit."""
        name = _who_asks()
        async with super().transaction() as conn:
            yield conn
            self._boundary(f"{name}: before its commit")
        self._boundary(f"{name}: after its commit")


class WatchedGateway:
    """A gateway whose calls have observable ends."""

    def __init__(self, gateway: Gateway, boundary: Boundary) -> None:
        self._gateway = gateway
        self._boundary = boundary

    async def _call(self, name: str, *args: Any, **named: Any) -> Any:
        self._boundary(f"{name}: before the call")
        try:
            return await getattr(self._gateway, name)(*args, **named)
        finally:
            self._boundary(f"{name}: after the call")

    async def create(
        self, *, payment_id: UUID, operation_id: UUID, order_id: UUID, amount: Money
    ) -> Created:
        """See `Gateway`."""
        made: Created = await self._call(
            "create",
            payment_id=payment_id,
            operation_id=operation_id,
            order_id=order_id,
            amount=amount,
        )
        return made

    async def confirm(
        self, provider_id: str, *, payment_method: str, operation_id: UUID, return_url: str | None
    ) -> PaymentOutcome:
        """See `Gateway`."""
        outcome: PaymentOutcome = await self._call(
            "confirm",
            provider_id,
            payment_method=payment_method,
            operation_id=operation_id,
            return_url=return_url,
        )
        return outcome

    async def retrieve(self, provider_id: str) -> PaymentOutcome:
        """See `Gateway`."""
        outcome: PaymentOutcome = await self._call("retrieve", provider_id)
        return outcome

    async def capture(
        self, provider_id: str, *, amount: Money, operation_id: UUID
    ) -> PaymentOutcome:
        """See `Gateway`."""
        outcome: PaymentOutcome = await self._call(
            "capture", provider_id, amount=amount, operation_id=operation_id
        )
        return outcome

    async def void(self, provider_id: str, *, operation_id: UUID) -> PaymentOutcome:
        """See `Gateway`."""
        outcome: PaymentOutcome = await self._call("void", provider_id, operation_id=operation_id)
        return outcome

    async def refund(
        self, provider_id: str, *, payment_id: UUID, operation_id: UUID, amount: Money
    ) -> RefundOutcome:
        """See `Gateway`."""
        outcome: RefundOutcome = await self._call(
            "refund",
            provider_id,
            payment_id=payment_id,
            operation_id=operation_id,
            amount=amount,
        )
        return outcome

    async def refund_status(self, refund_id: str) -> RefundOutcome:
        """See `Gateway`."""
        outcome: RefundOutcome = await self._call("refund_status", refund_id)
        return outcome

    async def find_refund(self, provider_id: str, *, operation_id: UUID) -> RefundOutcome | None:
        """See `Gateway`."""
        outcome: RefundOutcome | None = await self._call(
            "find_refund", provider_id, operation_id=operation_id
        )
        return outcome

    def event(self, body: bytes, signature: str) -> ProviderEvent:
        """See `Gateway`."""
        return self._gateway.event(body, signature)


def _who_asks() -> str:
    """The function of ours that opened the transaction, past the kernel's and our own frames."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PROJECT) and path.name not in _NOBODY and ".venv" not in path.parts:
            return f"{path.stem}.{frame.f_code.co_qualname.removesuffix('.<locals>.<lambda>')}"
        frame = frame.f_back
    return "nobody"
