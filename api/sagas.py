"""Commands that ask the payment provider after their commit, once per `Idempotency-Key`.

    claim the key, change, keep the key as running (one transaction)
        -> carry on with the provider -> keep the answer (a second one)

A command that needs nobody outside is answered in the first transaction. Whoever repeats the key of
a command that died in between carries it on. A provider that does not answer leaves the change as
it stands then; the sweep goes on with it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request, Response

from api.once import claim_of, kept, rendered, response
from api.services import services_of
from commerce.kernel import idempotency
from commerce.kernel.errors import CommerceError
from commerce.kernel.idempotency import Answer, Claim, Stored
from commerce.kernel.sql import Connection

_encode = msgspec.json.Encoder().encode


class Begun(NamedTuple):
    """What a command changed, and whether the provider must be asked before it is answered."""

    resource_id: UUID
    waits: bool


class Saga(NamedTuple):
    """The steps of a command. `begin` may run again when it lost a race; `carry_on` at any time.

    A refusal that `begin` raises undoes what it did; one that it returns leaves it as it is.
    """

    begin: Callable[[Connection], Awaitable[Begun | CommerceError]]
    carry_on: Callable[[UUID], Awaitable[None]]
    view: Callable[[Connection, UUID], Awaitable[msgspec.Struct]]


async def answer_saga(request: Request[Any, Any, Any], saga: Saga) -> Response[bytes]:
    """The answer of a command, or the one that its key had. For routes with `@claims_itself`."""
    services = services_of(request.scope)
    claim = await claim_of(request)
    status = request.route_handler.status_code

    async def begin(conn: Connection) -> Answer | Stored:
        (found,) = await idempotency.claim(conn, [claim])
        if isinstance(found, CommerceError):
            raise found
        if found is not None:
            return found
        try:
            async with conn.savepoint():
                answer = await _begin(request, saga, claim, conn)
        except CommerceError as refused:
            problem = kept(refused, request.scope)
            if problem is None:
                raise
            answer = Answer(claim, *problem)
        await idempotency.store(conn, [answer], now=services.now())
        return answer

    known = await services.commit(begin)
    if known.status is not None:
        replayed = isinstance(known, Stored)
        body = known.answer if isinstance(known, Stored) else known.body
        assert body is not None
        return response(known.status, body, replayed=replayed)
    resource_id = known.resource_id
    assert resource_id is not None

    async def finish(conn: Connection) -> bytes:
        body = _encode(await saga.view(conn, resource_id))
        return await idempotency.finish(conn, claim, status, body)

    await saga.carry_on(resource_id)
    return response(status, await services.commit(finish))


async def _begin(
    request: Request[Any, Any, Any], saga: Saga, claim: Claim, conn: Connection
) -> Answer:
    begun = await saga.begin(conn)
    if isinstance(begun, CommerceError):
        return Answer(claim, *rendered(begun, request.scope))
    if begun.waits:
        return Answer(claim, None, None, begun.resource_id)
    view = await saga.view(conn, begun.resource_id)
    status = request.route_handler.status_code
    return Answer(claim, status, _encode(view), begun.resource_id)
