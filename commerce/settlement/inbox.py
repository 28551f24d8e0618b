"""The inbox of webhooks: kept once by id, applied once, in any order.

An event only says where to look; what is recorded is retrieved from the provider, so late,
repeated and reordered events are harmless. Events about payments that are not ours are kept and
left alone.
"""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from sqlalchemy import DateTime, Integer, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from commerce import payments
from commerce.kernel.clock import Clock
from commerce.kernel.sql import Connection, Database, Query
from commerce.provider import Gateway, ProviderEvent
from commerce.settlement.carrying_out import look, look_at_refund
from commerce.tables import payment, provider_event

WHO_KEPT_IT_APPLIES_IT = timedelta(seconds=10)

NEWS = {
    "payment_intent.amount_capturable_updated": {"pending", "requires_action", "failed"},
    "payment_intent.requires_action": set[str](),
    "payment_intent.payment_failed": {"requires_action"},
    "payment_intent.succeeded": {"pending", "requires_action", "authorized"},
    "payment_intent.canceled": {"pending", "requires_action", "authorized"},
}
"""Events worth a look, by the states in which we do not know yet what they tell."""

REFUND_NEWS = frozenset(("refund.updated", "refund.failed", "charge.refund.updated"))


class Kept(Struct, frozen=True):
    """An event as the inbox has it."""

    id: str
    type: str
    payment_id: UUID | None
    operation_id: UUID | None
    applied_at: datetime | None


_NOW = bindparam("now", type_=DateTime(timezone=True))
_EVENT = provider_event.c.id == bindparam("event_id")

KEEP = Query(
    insert(provider_event)
    .values(
        id=bindparam("event_id"),
        type=bindparam("of_type"),
        object_id=bindparam("of_object"),
        payment_id=bindparam("of_payment", type_=provider_event.c.payment_id.type),
        operation_id=bindparam("of_operation", type_=provider_event.c.operation_id.type),
        received_at=_NOW,
    )
    .on_conflict_do_nothing()
    .returning(provider_event.c.id),
    str,
)
OURS = Query(
    select(payment.c.id).where(
        (payment.c.id == bindparam("by_id", type_=payment.c.id.type))
        | (payment.c.provider_id == bindparam("by_provider", type_=payment.c.provider_id.type))
    ),
    UUID,
)
KEPT = Query(
    select(*(provider_event.c[name] for name in Kept.__struct_fields__)).where(_EVENT), Kept
)
APPLIED = Query(
    update(provider_event)
    .where(_EVENT, provider_event.c.applied_at.is_(None))
    .values(applied_at=_NOW, outcome=bindparam("found"))
)
OPEN = Query(
    select(provider_event.c.id)
    .where(
        provider_event.c.applied_at.is_(None),
        provider_event.c.received_at <= bindparam("before", type_=DateTime(timezone=True)),
    )
    .order_by(provider_event.c.received_at)
    .limit(bindparam("page", type_=Integer())),
    str,
)


async def keep(conn: Connection, event: ProviderEvent, *, now: datetime) -> bool:
    """Put a verified event into the inbox. False: it is there already."""
    ours = await conn.first(OURS, by_id=event.payment_id, by_provider=event.provider_id)
    kept = await conn.first(
        KEEP,
        event_id=event.id,
        of_type=event.type,
        of_object=event.object_id,
        of_payment=ours,
        of_operation=event.operation_id,
        now=now,
    )
    return kept is not None


async def apply(db: Database, gateway: Gateway, event_id: str, *, now: Clock) -> None:
    """Look where an event points, and take it out of the inbox.

    Raises ProviderUnavailable, and then it stays. Repeating it, even at the same time, is harmless.
    """
    async with db.reading() as conn:
        kept = await conn.first(KEPT, event_id=event_id)
    if kept is None or kept.applied_at is not None:
        return
    found = await _apply(db, gateway, kept, now)
    async with db.transaction() as conn:
        await conn.run(APPLIED, event_id=event_id, found=found, now=now())


async def open_events(conn: Connection, *, now: datetime, limit: int) -> list[str]:
    """Events that wait although whoever kept them should have applied them by now."""
    return await conn.run(OPEN, before=now - WHO_KEPT_IT_APPLIES_IT, page=limit)


async def _apply(db: Database, gateway: Gateway, kept: Kept, now: Clock) -> str:
    if kept.payment_id is None:
        return "not_ours"
    async with db.reading() as conn:
        about = await payments.get(conn, kept.payment_id)
        operations = (await payments.operations_of(conn, [about]))[about.id]
    if kept.type in REFUND_NEWS:
        for operation in operations:
            if operation.id == kept.operation_id and operation.kind == "refund":
                found = await look_at_refund(db, gateway, operation, now=now)
                return "applied" if found else "unknown_refund"
        return "unknown_refund"
    if about.state not in NEWS.get(kept.type, ()):
        return "no_news"
    await look(db, gateway, kept.payment_id, now=now)
    return "applied"
