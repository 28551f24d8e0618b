"""The shopper's devices that take push messages, by the token that the app got for each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, Integer, Text, Uuid, any_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce.kernel.sql import Connection, Query
from commerce.tables import push_device

Platform = Literal["ios", "android", "web"]

MAX_DEVICES = 10
"""Of one person. The one that was used longest ago makes room."""


class Device(msgspec.Struct, frozen=True):
    """One app on one device."""

    id: UUID
    shopper_id: UUID
    platform: Platform
    token: str
    used_at: datetime


_IDS = any_(bindparam("person_ids", type_=ARRAY(Uuid())))
_device = push_device.c
_GIVEN = {
    "shopper_id": bindparam("owner", type_=Uuid()),
    "platform": bindparam("runs_on", type_=Text()),
    "token": bindparam("given_token", type_=Text()),
    "used_at": bindparam("now", type_=DateTime(timezone=True)),
}
# A token belongs to one app; where it shows up under another id, that one was installed anew.
FREE_TOKEN = Query(
    delete(push_device).where(
        _device.token == bindparam("given_token"), _device.id != bindparam("device_id")
    )
)
PUT = Query(
    upsert(push_device)
    .values(id=bindparam("device_id", type_=Uuid()), **_GIVEN)
    .on_conflict_do_update(index_elements=[_device.id], set_=_GIVEN)
    .returning(*(_device[name] for name in Device.__struct_fields__)),
    Device,
)
MAKE_ROOM = Query(
    delete(push_device).where(
        _device.id.in_(
            select(_device.id)
            .where(_device.shopper_id == _IDS)
            .order_by(_device.used_at.desc(), _device.id)
            .offset(bindparam("most", type_=Integer()))
        )
    )
)
REMOVE = Query(
    delete(push_device).where(_device.id == bindparam("device_id"), _device.shopper_id == _IDS)
)


async def put_device(
    conn: Connection,
    person_ids: Sequence[UUID],
    device_id: UUID,
    *,
    platform: Platform,
    token: str,
    now: datetime,
) -> Device:
    """This app takes push messages for this person, and for nobody else any more."""
    await conn.run(FREE_TOKEN, given_token=token, device_id=device_id)
    put = await conn.one(
        PUT, device_id=device_id, owner=person_ids[0], runs_on=platform, given_token=token, now=now
    )
    await conn.run(MAKE_ROOM, person_ids=list(person_ids), most=MAX_DEVICES)
    return put


async def remove_device(conn: Connection, person_ids: Sequence[UUID], device_id: UUID) -> None:
    """No more push messages there. Repeating it, or another's device, changes nothing."""
    await conn.run(REMOVE, device_id=device_id, person_ids=list(person_ids))
