"""What the retailer decides about each trigger: whether, how soon, how often, by which channel."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec
from sqlalchemy import Boolean, Integer, Text, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.access import Principal, record_staff
from commerce.consents import MessageChannel
from commerce.kernel.sql import Connection, Query
from commerce.tables import follow_up_settings

Trigger = Literal["abandoned_cart", "pickup_reminder", "back_in_stock", "after_purchase"]
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)

IN_HAND: frozenset[Trigger] = frozenset({"pickup_reminder"})
"""About an order that is under way: a service of the contract, which asks for no consent."""

_DAY_MINUTES = 24 * 60


class Settings(msgspec.Struct, frozen=True):
    """One trigger's. A person gets at most `cap` messages of it within `cap_days`.

    `delay_minutes` run from the last edit of the cart, from when goods came in, from the purchase;
    for the reminder of a pickup they are how long before its expiry it is sent. `channel`: by this
    one or not at all; None: by the one that the shopper prefers.
    """

    trigger: Trigger
    enabled: bool
    delay_minutes: int
    cap: int
    cap_days: int
    channel: MessageChannel | None = None

    @property
    def delay(self) -> timedelta:
        """How long it waits."""
        return timedelta(minutes=self.delay_minutes)

    @property
    def cap_window(self) -> timedelta:
        """How far back sent ones count."""
        return timedelta(days=self.cap_days)


DEFAULTS: Mapping[Trigger, Settings] = {
    each.trigger: each
    for each in (
        Settings("abandoned_cart", True, 4 * 60, cap=1, cap_days=7),
        Settings("pickup_reminder", True, 2 * _DAY_MINUTES, cap=5, cap_days=1),
        Settings("back_in_stock", True, 0, cap=5, cap_days=1),
        Settings("after_purchase", True, 3 * _DAY_MINUTES, cap=1, cap_days=30),
    )
}

ALL = Query(select(follow_up_settings), Settings)
_written = {
    "enabled": bindparam("is_enabled", type_=Boolean()),
    "delay_minutes": bindparam("minutes", type_=Integer()),
    "cap": bindparam("most", type_=Integer()),
    "cap_days": bindparam("within", type_=Integer()),
    "channel": bindparam("by", type_=Text()),
}
PUT = Query(
    upsert(follow_up_settings)
    .values(trigger=bindparam("of", type_=Text()), **_written)
    .on_conflict_do_update(index_elements=[follow_up_settings.c.trigger], set_=_written)
)


async def settings(conn: Connection) -> dict[Trigger, Settings]:
    """Every trigger's: what the back office has set, else the defaults."""
    return {**DEFAULTS, **{each.trigger: each for each in await conn.run(ALL)}}


async def change_settings(
    conn: Connection, who: Principal, changed: Settings, *, now: datetime
) -> Settings:
    """Set a trigger's. What is scheduled already keeps its time, unless its delay is longer now."""
    before = (await settings(conn))[changed.trigger]
    await conn.run(
        PUT,
        of=changed.trigger,
        is_enabled=changed.enabled,
        minutes=changed.delay_minutes,
        most=changed.cap,
        within=changed.cap_days,
        by=changed.channel,
    )
    pairs = {
        name: [getattr(before, name), getattr(changed, name)]
        for name in Settings.__struct_fields__
        if getattr(before, name) != getattr(changed, name)
    }
    await record_staff(
        conn,
        who,
        action="follow_up.settings_changed",
        subject=f"follow_up:{changed.trigger}",
        changes=pairs,
        now=now,
    )
    return changed
