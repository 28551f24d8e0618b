"""The secret of this installation: order numbers, pickup codes and sign-in codes derive from it.

It is made once and never changes; whoever restores the database gets it back with the orders.
"""

import secrets

from sqlalchemy import LargeBinary, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from commerce.kernel.sql import Connection, Query
from commerce.tables.sales import installation

_BYTES = 32

MAKE = Query(
    insert(installation)
    .values(id=1, secret=bindparam("made", type_=LargeBinary()))
    .on_conflict_do_nothing()
)
SECRET = Query(select(installation.c.secret), bytes)


async def make_installation(conn: Connection) -> None:
    """Make the secret where there is none yet."""
    await conn.run(MAKE, made=secrets.token_bytes(_BYTES))


async def installation_secret(conn: Connection) -> bytes:
    """The secret. Each process reads it once, when it starts."""
    return await conn.one(SECRET)
