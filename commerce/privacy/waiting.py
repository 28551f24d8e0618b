"""What an erasure waits for: contracts under way, and messages that they still need."""

from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import Text, cast, literal, null, select, union_all

from commerce.kernel.holdings import Scope
from commerce.kernel.sql import Connection, Query
from commerce.messages.personal import OF_PERSON as MESSAGES_OF_PERSON
from commerce.orders.personal import OF_PERSON
from commerce.states import OPERATION, ORDER, RETURN
from commerce.tables import message, orders, payment, payment_operation, return_

MAX_NAMED = 100


class Wait(msgspec.Struct, frozen=True):
    """One thing that is not settled; orders have their number."""

    kind: Literal["order", "return", "payment", "message"]
    id: UUID
    number: str | None = None


_OPEN_OPERATIONS = ("pending", "unknown")
assert set(_OPEN_OPERATIONS) == OPERATION.keys() - {"succeeded", "failed"}
_NO_NUMBER = cast(null(), Text())
_ALL = union_all(
    select(literal("order").label("kind"), orders.c.id, orders.c.number).where(
        orders.c.id.in_(OF_PERSON), orders.c.state.in_(sorted(ORDER.keys() - ORDER.terminal))
    ),
    select(literal("return"), return_.c.id, _NO_NUMBER).where(
        return_.c.order_id.in_(OF_PERSON),
        return_.c.state.in_(sorted(RETURN.keys() - RETURN.terminal)),
    ),
    select(literal("payment"), payment_operation.c.id, _NO_NUMBER)
    .join(payment, payment.c.id == payment_operation.c.payment_id)
    .where(payment.c.order_id.in_(OF_PERSON), payment_operation.c.state.in_(_OPEN_OPERATIONS)),
    select(literal("message"), message.c.id, _NO_NUMBER).where(
        MESSAGES_OF_PERSON, message.c.purpose == "service", message.c.state == "queued"
    ),
).subquery("waits")
WAITS = Query(select(_ALL.c.kind, _ALL.c.id, _ALL.c.number).limit(MAX_NAMED), Wait)


async def waits_of(conn: Connection, scope: Scope) -> list[Wait]:
    """What must be settled first, at most a hundred of it."""
    return await conn.run(WAITS, **scope.values_for(WAITS))
