"""The shopper's side of the conversation: their messages, and the devices that take push."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, put

from api.auth import may
from api.entries import key_of, position_of
from api.pages import Cursor, Page, PageSize, page_of
from commerce import messages
from commerce.access import Principal
from commerce.kernel.sql import Connection
from commerce.messages import Device, MessageEntry, Platform


class NewDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An app that takes push messages, with the token that its platform gave it."""

    platform: Platform
    token: Annotated[
        str,
        msgspec.Meta(
            min_length=8, max_length=4_096, pattern=r"^[\x21-\x7e]+$", examples=["fcm-3v9kQ2"]
        ),
    ]


class DeviceView(msgspec.Struct, frozen=True):
    """A device that takes push messages. Its token is not shown again."""

    id: UUID
    platform: Platform
    used_at: datetime

    @classmethod
    def of(cls, device: Device) -> "DeviceView":
        """As its owner sees it."""
        return cls(device.id, device.platform, device.used_at)


@get("/v1/profile/messages", guards=[may("profile.read_own")])
async def list_own_messages(
    who: Principal, reading: Connection, cursor: Cursor = None, limit: PageSize = 50
) -> Page[MessageEntry]:
    """What was written to the shopper and what they replied, newest first, on all channels.

    A message with a code comes without its words: the code is for who gets the message.
    """
    rows = await messages.messages_of(
        reading, who.person_ids, before=position_of(cursor), page=limit + 1
    )
    return page_of(rows, limit, view=lambda row: row, key=key_of)


@put("/v1/profile/devices/{device_id:uuid}", guards=[may("profile.write_own")])
async def put_device(
    device_id: UUID, data: NewDevice, conn: Connection, who: Principal, now: datetime
) -> DeviceView:
    """Take push messages in this app. Tell it again whenever the token changes, or is used."""
    put = await messages.put_device(
        conn, who.person_ids, device_id, platform=data.platform, token=data.token, now=now
    )
    return DeviceView.of(put)


@delete("/v1/profile/devices/{device_id:uuid}", guards=[may("profile.write_own")])
async def remove_device(device_id: UUID, conn: Connection, who: Principal) -> None:
    """Take none there any more, as before signing out. Repeating is harmless."""
    await messages.remove_device(conn, who.person_ids, device_id)


ROUTES = [list_own_messages, put_device, remove_device]
