"""Consents given aloud at the counter: the associate records them, and the shopper is told."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from commerce import consents, messages, stores
from commerce.access import Principal, record_staff
from commerce.clienteling.views import viewing
from commerce.consents import Consents, Decision
from commerce.kernel import ids
from commerce.kernel.sql import Connection
from commerce.messages import NewMessage


async def record_consents(
    conn: Connection, who: Principal, view_id: UUID, decisions: Sequence[Decision], now: datetime
) -> Consents:
    """Record what a shopper said through an open view of them; answers what holds now.

    The shopper gets a message that it was recorded, and finds it in the history, so that nobody is
    made to agree unknowingly. Raises `NotFound`, `ViewOver`, and `InvalidField` for a channel that
    a purpose does not have.
    """
    view = await viewing(conn, view_id, who, now, needs=None)
    held = await consents.decide(conn, view.shopper_id, decisions, "counter", who.actor, now)
    await record_staff(
        conn,
        who,
        action="consent.recorded",
        subject=f"shopper:{view.shopper_id}",
        changes={"decisions": msgspec.to_builtins(decisions)},
        now=now,
    )
    places = await stores.by_ids(conn, [view.location_id])
    told = NewMessage(
        template="consent_recorded",
        parameters={"store": places[view.location_id]},
        reason=ids.uuid7(),
        shopper_id=view.shopper_id,
        actor=who.actor,
    )
    await messages.write(conn, [told], now)
    return held
