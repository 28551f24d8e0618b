"""What routes share that take one import record as JSON, under an address that ends in its code."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar.params import PathParameter

from commerce import loading
from commerce.access import Principal
from commerce.importing import Kind, Record
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection
from commerce.loading import Act

Code = Annotated[str, PathParameter(min_length=1, max_length=64)]


async def put_record(
    conn: Connection,
    who: Principal,
    kind: Kind,
    record: Record,
    *,
    address: dict[str, str],
    before: msgspec.Struct | None,
    now: datetime,
) -> None:
    """Store a record, which must be the one that its address names: field by field.

    The staff record tells what differs from `before`. Raises InvalidField.
    """
    for field, code in address.items():
        if getattr(record, field) != code:
            raise InvalidField(path=f"/{field}", reason=f"the address says {code}")
    await loading.put_one(
        conn,
        kind,
        record,
        subject=f"{kind.removesuffix('s')}:{'/'.join(address.values())}",
        before=before,
        by=Act(who, now),
    )
