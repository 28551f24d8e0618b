"""The hours in which the retailer writes to nobody, by each shopper's own clock."""

from datetime import datetime, time
from typing import Annotated

import msgspec
from litestar import get, put

from api.auth import may
from api.contract import raises
from commerce import consents
from commerce.access import Principal
from commerce.consents import QuietHours
from commerce.kernel.sql import Connection

Hour = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["21:00"])]


class QuietHoursView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From when until when, over midnight too; the same time twice means never.

    For follow-ups and marketing. What an order or a pickup in hand needs is told at any time.
    """

    starts: Hour
    ends: Hour

    @classmethod
    def of(cls, window: QuietHours) -> "QuietHoursView":
        """As the back office sees it."""
        return cls(f"{window.starts:%H:%M}", f"{window.ends:%H:%M}")


@get("/v1/backoffice/quiet-hours", guards=[may("quiet_hours.write")], opt=raises())
async def read_quiet_hours(reading: Connection) -> QuietHoursView:
    """The quiet hours that hold now."""
    return QuietHoursView.of(await consents.quiet_window(reading))


@put("/v1/backoffice/quiet-hours", guards=[may("quiet_hours.write")], opt=raises())
async def set_quiet_hours(
    data: QuietHoursView, conn: Connection, who: Principal, now: datetime
) -> QuietHoursView:
    """Set the quiet hours. Messages that wait already keep their hour."""
    window = QuietHours(time.fromisoformat(data.starts), time.fromisoformat(data.ends))
    await consents.set_quiet_window(conn, who, window, now=now)
    return data


ROUTES = [read_quiet_hours, set_quiet_hours]
