"""Where commands to place an order meet: one batch for all that arrive while one is in flight.

    claim the keys -> place -> store the answers, in one transaction

A command that comes twice while the first is running joins it, in this process; across processes
the key's lock decides. An order by card is answered when its authorization is certain: its key is
kept as running until then, and repeating the command resumes the payment.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from litestar.types import Scope

from api.once import kept
from api.order_views import OrderView, order_view
from api.services import Services
from commerce import orders, settlement
from commerce.kernel import idempotency
from commerce.kernel.coalesce import Coalescer
from commerce.kernel.errors import CommerceError
from commerce.kernel.idempotency import Claim, KeyReused, Stored
from commerce.kernel.sql import Connection
from commerce.orders import Order, Placement

CREATED = 201
_encode = msgspec.json.Encoder().encode


class Command(NamedTuple):
    """An order to place, the key that it comes under, and how to answer a refusal."""

    claim: Claim
    placement: Placement
    scope: Scope


class Answer(NamedTuple):
    """What to answer: a status and a stored body. `pays` names an order that waits for its card."""

    status: int
    body: bytes
    replayed: bool = False
    pays: UUID | None = None


class OrderDesk:
    """One per process; get it with `services.part(OrderDesk)`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._coalescer: Coalescer[Command, Answer] = Coalescer(
            services.database,
            self._place,
            weigh=lambda command: len(command.placement.basket.lines),
        )
        self._running: dict[tuple[UUID, str, str], tuple[bytes, asyncio.Future[Answer]]] = {}

    async def take(self, command: Command) -> Answer:
        """Place the order, or repeat the answer that it had.

        Raises `KeyReused`, `KeyRunning`, `Busy`, and refusals that are not kept. A caller that goes
        away does not stop the order.
        """
        claim = command.claim
        name = (claim.principal_id, claim.route, claim.key)
        running = self._running.get(name)
        if running is not None:
            if running[0] != claim.body_hash:
                raise KeyReused
            answer = await asyncio.shield(running[1])
            return answer._replace(replayed=True)
        if command.placement.waits_for_payment:
            answering: asyncio.Future[Answer] = asyncio.create_task(self._take(command))
        else:
            answering = self._coalescer.put(command)
        self._running[name] = claim.body_hash, answering
        answering.add_done_callback(lambda _: self._running.pop(name))
        return await asyncio.shield(answering)

    async def close(self) -> None:
        """Wait for the orders that are under way."""
        await asyncio.gather(*(it for _, it in self._running.values()), return_exceptions=True)
        await self._coalescer.close()

    async def _take(self, command: Command) -> Answer:
        answer = await self._coalescer.submit(command)
        return answer if answer.pays is None else await self._pay(command.claim, answer.pays)

    async def _pay(self, claim: Claim, order_id: UUID) -> Answer:
        """Carry the payment of a stored order on until it is certain, and keep that answer."""
        services = self._services
        gateway = await services.gateway()
        await settlement.settle_order(services.database, gateway, order_id, now=services.now)
        async with services.database.transaction() as conn:
            body = await order_body(conn, order_id)
            return Answer(CREATED, await idempotency.finish(conn, claim, CREATED, body))

    async def _place(
        self, conn: Connection, commands: Sequence[Command]
    ) -> Sequence[Answer | CommerceError]:
        now = self._services.now()
        claims = await idempotency.claim(conn, [each.claim for each in commands])
        fresh = [each for each, claim in zip(commands, claims, strict=True) if claim is None]
        outcomes = await orders.place(
            conn,
            [each.placement for each in fresh],
            numbers=self._services.numbers,
            now=now,
        )
        made = [_answer(each, outcome) for each, outcome in zip(fresh, outcomes, strict=True)]
        stored = [
            _stored(each.claim, answer)
            for each, answer in zip(fresh, made, strict=True)
            if isinstance(answer, Answer)
        ]
        await idempotency.store(conn, stored, now=now)
        answers = iter(made)
        return [next(answers) if claim is None else _known(claim) for claim in claims]


async def order_body(conn: Connection, order_id: UUID) -> bytes:
    """An order as it stands, as JSON."""
    return _encode(await order_view(conn, await orders.by_id(conn, order_id)))


def _answer(command: Command, outcome: Order | CommerceError) -> Answer | CommerceError:
    if isinstance(outcome, CommerceError):
        problem = kept(outcome, command.scope)
        return outcome if problem is None else Answer(*problem)
    if command.placement.waits_for_payment:
        return Answer(CREATED, b"", pays=outcome.id)
    return Answer(CREATED, _encode(OrderView.of(outcome)))


def _stored(claim: Claim, answer: Answer) -> idempotency.Answer:
    if answer.pays is not None:
        return idempotency.Answer(claim, None, None, answer.pays)
    return idempotency.Answer(claim, answer.status, answer.body)


def _known(claim: Stored | CommerceError) -> Answer | CommerceError:
    if isinstance(claim, CommerceError):
        return claim
    if claim.status is None or claim.answer is None:
        return Answer(CREATED, b"", pays=claim.resource_id)
    return Answer(claim.status, claim.answer, replayed=True)
